"""What a strategy is: declared parameters and one method that turns bars into a plan.

A strategy decides, the kernel executes. The kernel never sees user code, so a user's class runs as fast as the built-in
one and gets the optimizer, the walk-forward and the reports for free.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from barwise.config import TradeRules
from barwise.core.layout import Bars, BoolArray, ByteArray, FloatArray
from barwise.errors import BacktestError

if TYPE_CHECKING:
    from barwise.strategy.shared_lines import SharedLines

# Bars within which nearly all indicators are defined.
_USUAL_WARM_UP = 2048


class Plan(NamedTuple):
    """What a strategy wants, one value per signal bar, known at that bar's close and acted on from the next open.

    Attributes:
        entry: +1 long, -1 short, 0 nothing.
        exit: 0 nothing, +1 closes a long, -1 closes a short, 2 closes either.
        anchor: The line tier 1 waits at; None = EMA(20) of the close.
        vwap: The line tier 3 slices around; None = session VWAP.
        risk: One "R": stops and targets are multiples of it; None = ATR(14).
        start: First bar whose signal may be used; None = the first bar where the lines above are defined.
    """

    entry: ByteArray
    exit: ByteArray
    anchor: FloatArray | None
    vwap: FloatArray | None
    risk: FloatArray | None
    start: int | None

    @classmethod
    def of(
        cls,
        entry: Any,
        *,
        entry_short: Any = None,
        exit: Any = None,
        anchor: Any = None,
        vwap: Any = None,
        risk: Any = None,
        needs: Sequence[Any] = (),
    ) -> "Plan":
        """Build a plan from columns of any array type.

        Args:
            entry: Bools (True = go long) or integers -1, 0, +1.
            entry_short: Bools, True = go short; where both sides are True neither is taken.
            exit: Bools (True = close whatever is open) or integers 0, +1, -1, 2 as above.
            anchor, vwap, risk: Float columns, NaN until defined.
            needs: Other indicator columns the signals were made from; no signal is used before all of them are defined.

        Raises:
            BacktestError: A column has another length, shape or impossible values.
        """
        sides = _signal_column("entry", entry, allowed=(-1, 0, 1))
        if entry_short is not None:
            shorts = _signal_column("entry_short", entry_short, allowed=(0, 1), length=sides.size)
            sides = np.clip(sides - shorts, -1, 1).astype(np.int8)
        leave = np.zeros(sides.size, np.int8)
        if exit is not None:
            leave = _signal_column("exit", exit, allowed=(-1, 0, 1, 2), length=sides.size)
            if np.asarray(exit).dtype == np.bool_:
                leave = (2 * leave).astype(np.int8)
        lines = {
            name: None if line is None else _line(name, line, sides.size)
            for name, line in (("anchor", anchor), ("vwap", vwap), ("risk", risk))
        }
        start = max(
            (first_defined(_line("needs", line, sides.size)) for line in needs),
            default=None,
        )
        return cls(sides, leave, lines["anchor"], lines["vwap"], lines["risk"], start)


def _signal_column(name: str, values: Any, *, allowed: tuple[int, ...], length: int | None = None) -> ByteArray:
    column = np.asarray(values)
    if column.ndim != 1 or (length is not None and column.size != length):
        raise BacktestError(f"plan: {name} has shape {column.shape}; it must be one value per bar.")
    if column.dtype == np.bool_:
        return column.astype(np.int8)
    if column.dtype.kind not in "iuf" or not np.isin(column, allowed).all():
        raise BacktestError(
            f"plan: {name} may hold {', '.join(map(str, allowed))} or bools; got dtype {column.dtype}.",
            hint="NaN is not a signal: compare first, the comparison is False where a value is NaN.",
        )
    return column.astype(np.int8)


def _line(name: str, values: Any, length: int) -> FloatArray:
    line = np.ascontiguousarray(values, dtype=np.float64)
    if line.shape != (length,):
        raise BacktestError(f"plan: {name} has shape {line.shape}; it must be one number per bar, {length} in all.")
    if np.isinf(line).any():
        raise BacktestError(
            f"plan: {name} is infinite at bar {int(np.isinf(line).argmax())}.", hint="use NaN where it is not defined."
        )
    return line


def first_defined(line: FloatArray) -> int:
    """Index of the first value that is not NaN; the length where there is none."""
    for stop in (_USUAL_WARM_UP, line.size):  # most lines begin early, and a year of minutes is long
        defined: BoolArray = ~np.isnan(line[:stop])
        if defined.any():
            return int(defined.argmax())
    return line.size


class PlanRows(NamedTuple):
    """The plans of many parameter rows at once, sharing their lines; what `Strategy.plan_rows` returns.

    Attributes:
        plans: PLAN records (core.layout), one per distinct plan.
        lines: float64 [lines, bars], C-contiguous; plans refer to its rows.
        event_bars, event_codes: Events of all plans one after the other (core.layout.event_codes).
        plan_of_row: Which plan a row runs, int64 [rows].
    """

    plans: np.ndarray[Any, np.dtype[np.void]]
    lines: FloatArray
    event_bars: np.ndarray[Any, np.dtype[np.int32]]
    event_codes: ByteArray
    plan_of_row: np.ndarray[Any, np.dtype[np.int64]]


class Strategy(TradeRules):
    """Base of all strategies. Declare parameters, write `plan`.

    class Breakout(Strategy):
        lookback: int = Int(20, low=10, high=60)

        def plan(self, bars: Bars) -> Plan:
            return Plan.of(entry=bars.close > shift(rolling_max(bars.high, self.lookback)))
    """

    label: ClassVar[str] = ""
    # Chains of parameters that must rise strictly, for a search to respect; a validator enforces them.
    rising: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def plan(self, bars: Bars) -> Plan:
        """Signals and lines for these bars, from bar t and earlier alone for each bar t.

        Args:
            bars: Read-only columns of n bars.

        Returns:
            A plan with n values per column.
        """
        raise BacktestError(
            f"{type(self).__name__} has no plan().",
            hint="define plan(self, bars) and return Plan.of(entry=...).",
        )

    @classmethod
    def plan_rows(cls, bars: Bars, shared: "SharedLines", columns: Mapping[str, Any]) -> PlanRows | None:
        """Plans of many parameter rows at once; None (the default) means: call `plan` once per distinct set.

        A strategy may override it where it can share work between rows; the results must equal `plan`'s to the bit.

        Args:
            bars: As in `plan`.
            shared: Where the lines of all rows and sweeps over these bars are; row 0 is the default of the vwap line.
            columns: Every signal parameter and switch by name, an array of one value per row.
        """
        return None

    @classmethod
    def check_rows(cls, columns: Mapping[str, Any]) -> None:
        """Check the rules between parameters for many rows at once; a class with a `plan_rows` of its own needs it.

        Args:
            columns: As in `plan_rows`.

        Raises:
            ConfigError: A row breaks a rule; the message names the row.
        """

    def needed_bars(self) -> dict[str, int]:
        """Bars each part needs before a signal can be used, for the message when there are too few; may be empty."""
        return {}

    def idle_parameters(self) -> frozenset[str]:
        """Parameters that change nothing as the switches stand; a search leaves them out."""
        idle: set[str] = set()
        if not self.trailing_sl_enabled:
            idle |= {"trailing_sl_threshold", "trailing_sl_atr_multiplier"}
        if not self.trailing_tp_enabled:
            idle |= {"trailing_tp_threshold", "trailing_tp_atr_multiplier"}
        for tier in (1, 2, 3, 4):
            if not (self.enable_hybrid_engine and getattr(self, f"enable_hybrid_tier{tier}")):
                idle.add(f"hybrid_tier{tier}_timeout")
        return frozenset(idle)

    @classmethod
    def name(cls) -> str:
        """What people call it: `label`, else the class name."""
        return cls.label or cls.__name__

    @classmethod
    def signal_parameters(cls) -> tuple[str, ...]:
        """The parameters a plan depends on: all but the trade rules, which the kernel applies."""
        return tuple(name for name in cls.model_fields if name not in TradeRules.model_fields)


def checked_plan(strategy: Strategy, bars: Bars) -> Plan:
    """The strategy's plan for these bars.

    Raises:
        BacktestError: plan() failed, or returned something that does not fit the bars.
    """
    name = type(strategy).__name__
    try:
        plan = strategy.plan(bars)
    except BacktestError:
        raise
    except Exception as error:
        raise BacktestError(
            f"{name}.plan() failed: {type(error).__name__}: {error}",
            hint="the log has the traceback.",
        ) from error
    if not isinstance(plan, Plan):
        raise BacktestError(
            f"{name}.plan() returned {type(plan).__name__}, not a Plan.", hint="return Plan.of(entry=...)."
        )
    shape = bars.close.shape
    for column, values in zip(Plan._fields[:5], plan, strict=False):
        if values is None and column in ("anchor", "vwap", "risk"):
            continue
        kind = np.int8 if column in ("entry", "exit") else np.float64
        if not isinstance(values, np.ndarray) or values.dtype != kind:
            raise BacktestError(
                f"{name}.plan() returned a plan whose {column} is no {np.dtype(kind)} array.",
                hint="build plans with Plan.of(...), which takes any kind of column.",
            )
        if values.shape != shape:
            raise BacktestError(
                f"{name}.plan() returned {values.size:,} values of {column} for {bars.close.size:,} bars.",
                hint="a plan has one value per bar it was given, also when it is given the first bars alone.",
            )
    if not (np.isin(plan.entry, (-1, 0, 1)).all() and np.isin(plan.exit, (-1, 0, 1, 2)).all()):
        raise BacktestError(
            f"{name}.plan() returned signals other than -1, 0, +1 (exit: also 2).",
            hint="build plans with Plan.of(...).",
        )
    return plan
