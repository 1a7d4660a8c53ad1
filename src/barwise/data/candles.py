"""Candles: bars that cannot change, that know what they are, and that everybody can read.

Everything in this package takes candles in this one form: read-only columns for machine code, a sequence of dicts for
people, an identity (exchange, symbol, timeframe) that travels with the data, and a fingerprint that names the content,
so that a result can say exactly which data it was computed from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from html import escape
from importlib import import_module
from operator import index
from typing import TYPE_CHECKING, Any, Literal, NotRequired, SupportsIndex, TypedDict, cast, get_args, overload

import numpy as np

from barwise.core.layout import Bars, FloatArray, IntArray
from barwise.core.resample import resample_bars
from barwise.data.checks import audit, common_spacing
from barwise.data.columns import Columns, Instant, instant_ms, read_columns
from barwise.data.gaps import Gaps, find_gaps, indian_market
from barwise.data.quality import DataAudit, Finding, counted, length_text, utc_text
from barwise.errors import ConfigError, DataError, did_you_mean
from barwise.timeframe import Calendar, Timeframe, calendar_of

if TYPE_CHECKING:
    import polars as pl

AuditPolicy = Literal["raise", "report", "off"]
SYNTHETIC_EXCHANGE = "SAMPLE"
_HTML_ROWS = 3


class Candle(TypedDict):
    """One bar as a dict of plain Python numbers; `time` is its open in ms UTC."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: NotRequired[float]


@dataclass(frozen=True, eq=False, repr=False)
class Candles(Sequence[Candle]):
    """Immutable candles of one market and timeframe. Build them with `Candles.of`.

    To the outside a sequence of dicts: `len(candles)`, iteration, `candles[-1]["close"]`; `candles[10:20]` and
    `between()` are views that share memory. Inside, columns: C-contiguous, read-only, float64 (`time`: int64).

    Attributes:
        time: Opens of the bars, ms UTC.
        open, high, low, close: Prices.
        volume: In base units (shares on NSE).
        quote_volume: Traded money per bar, or None.
        exchange, symbol: Upper case, "" where nobody said.
        timeframe: Length of a bar.
        synthetic: True where the prices were made up; shown wherever the candles show.
        notes: What was noticed while the data was read, such as rows that had to be sorted.
    """

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    quote_volume: FloatArray | None
    timeframe: Timeframe
    exchange: str = ""
    symbol: str = ""
    synthetic: bool = False
    notes: tuple[Finding, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("exchange", "symbol"):
            object.__setattr__(self, name, identity_text(getattr(self, name), name))
        object.__setattr__(self, "synthetic", bool(self.synthetic) or self.exchange == SYNTHETIC_EXCHANGE)
        object.__setattr__(self, "time", _read_only(self.time, np.int64))
        for name in ("open", "high", "low", "close", "volume", "quote_volume"):
            column = getattr(self, name)
            if column is None:
                continue
            column = _read_only(column, np.float64)
            if column.shape != self.time.shape:
                raise DataError(f"Column {name} has shape {column.shape}, column time has {self.time.shape}.")
            object.__setattr__(self, name, column)

    @classmethod
    def of(
        cls,
        data: object,
        *,
        exchange: str = "",
        symbol: str = "",
        timeframe: str | Timeframe | None = None,
        synthetic: bool = False,
        audit: AuditPolicy = "raise",
    ) -> "Candles":
        """Candles of whatever holds candles.

        Args:
            data: Candles, a list of dicts, a pandas or polars frame, or a mapping of names to columns. Names are found
                by meaning (`timestamp`, `Open`, `c`, ...); volume may be absent (it is 0 then). Times are numbers (the
                unit is found by their size), datetimes (naive ones are UTC) or ISO strings; dates without a time mean
                the trading day.
            exchange: BINANCE, BINANCE_UM, DELTA, ZERODHA, DHAN, NSE, SAMPLE, ...; gives the trading calendar.
            symbol: Name of the market.
            timeframe: Length of a bar; None: the most common distance of the times.
            synthetic: The prices are made up; always True for the exchange SAMPLE.
            audit: "raise" refuses data with errors; "report" takes them, and `candles.audit` says what is wrong; "off"
                skips the checks.

        Raises:
            DataError: The data cannot be read, the audit found errors, or it contradicts the identity given.
            ConfigError: The timeframe or the audit policy is none of those that exist.
        """
        require_policy(audit)
        frame = None if timeframe is None else Timeframe.parse(timeframe)
        if isinstance(data, Candles):
            candles = data.identified(
                identity_text(exchange, "exchange"), identity_text(symbol, "symbol"), frame, synthetic
            )
        else:
            columns = read_columns(data, calendar_of(identity_text(exchange, "exchange")))
            candles = cls.of_columns(columns, exchange=exchange, symbol=symbol, timeframe=frame, synthetic=synthetic)
        if audit == "raise":
            candles.require_sound()
        return candles

    @classmethod
    def of_columns(
        cls,
        columns: Columns,
        *,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe | None,
        synthetic: bool,
    ) -> "Candles":
        """Candles of columns that have been read already, not audited.

        Raises:
            DataError: No timeframe is named and the times do not tell it.
            ConfigError: The timeframe is not one of ours.
        """
        return cls(
            *columns[:7],
            timeframe=_infer_timeframe(columns.time) if timeframe is None else Timeframe.parse(timeframe),
            exchange=exchange,
            symbol=symbol,
            synthetic=synthetic,
            notes=columns.notes,
        )

    def identified(self, exchange: str, symbol: str, timeframe: Timeframe | None, synthetic: bool) -> "Candles":
        """These candles with the blanks of their identity filled in; self where there is nothing to fill in."""
        for name, given in (("exchange", exchange), ("symbol", symbol), ("timeframe", timeframe)):
            own = getattr(self, name)
            if given and own and given != own:
                raise DataError(
                    f"These candles are {self.label}, not {name} {given}.",
                    hint="use resample() for another timeframe; Candles.of(candles.to_polars(), ...) names them anew."
                    if name == "timeframe"
                    else "leave the name out, or name them anew with Candles.of(candles.to_polars(), ...).",
                )
        nothing_new = (exchange or self.exchange, symbol or self.symbol) == (self.exchange, self.symbol)
        if nothing_new and (self.synthetic or not synthetic):
            return self
        return Candles(
            *self.bars,
            self.quote_volume,
            timeframe=self.timeframe,
            exchange=exchange or self.exchange,
            symbol=symbol or self.symbol,
            synthetic=synthetic or self.synthetic,
            notes=self.notes,
        )

    def require_sound(self, now: Instant | None = None) -> None:
        """Do nothing where the audit found no error.

        Args:
            now: The present; with it, bars that have not closed yet are errors.

        Raises:
            DataError: The first error in one sentence, with how many kinds there are besides.
        """
        found = self.check(now) if now is not None else self.audit
        if found.ok:
            return
        first, others = found.errors[0], len(found.errors) - 1
        more = f" (and {counted(others, 'other kind')} of error)" if others else ""
        name = f"{self.label}: " if self.symbol or self.exchange else ""
        hint = f'{first.hint} audit="report" lists everything.' if first.hint and others else first.hint
        raise DataError(f"{name}{first.message}{more}", hint=hint)

    def check(self, now: Instant | None = None) -> DataAudit:
        """A fresh audit.

        Args:
            now: The present (ms UTC or datetime); with it, bars that have not closed yet are found.
        """
        found = audit(
            self.bars,
            self.timeframe,
            self.calendar,
            market=indian_market(self.exchange, self.symbol),
            quote_volume=self.quote_volume,
            now=None if now is None else instant_ms(now),
        )
        return found.with_notes(self.notes) if self.notes else found

    @cached_property
    def audit(self) -> DataAudit:
        """What is wrong with these candles, errors and warnings; computed once."""
        return self.check()

    @cached_property
    def gaps(self) -> Gaps:
        """Bars that should be there by timeframe and calendar, and are not."""
        return find_gaps(self.time, self.timeframe, self.calendar, indian_market(self.exchange, self.symbol))

    @property
    def calendar(self) -> Calendar:
        """When the market trades, by the exchange."""
        return calendar_of(self.exchange)

    @cached_property
    def bars(self) -> Bars:
        """The columns as the engine takes them: the same array objects on every access."""
        return Bars(self.time, self.open, self.high, self.low, self.close, self.volume)

    @cached_property
    def fingerprint(self) -> str:
        """Name of identity and content, 32 hex digits: equal exactly where both are, however the candles were built."""
        digest = blake2b(digest_size=16)
        identity = (self.exchange, self.symbol, self.timeframe.name, str(self.synthetic), str(len(self)))
        digest.update("\x1f".join(identity).encode("utf-8", "surrogatepass"))
        digest.update(self.time.astype("<i8", copy=False).tobytes())
        for column in (*self.bars[1:], self.quote_volume):
            # Adding 0 makes -0.0 and 0.0, which are equal, the same bytes.
            digest.update(b"none" if column is None else (column + 0.0).astype("<f8", copy=False).tobytes())
        return digest.hexdigest()

    @property
    def label(self) -> str:
        """`BINANCE BTCUSDT 1H`, with SYNTHETIC where the prices were made up."""
        words = [self.exchange, self.symbol, self.timeframe.name, "SYNTHETIC" if self.synthetic else ""]
        return " ".join(word for word in words if word)

    @cached_property
    def _ascending(self) -> bool:
        return bool((self.time[1:] > self.time[:-1]).all())

    def between(self, start: Instant | None = None, end: Instant | None = None) -> "Candles":
        """The candles that open at or after `start` and before `end`; shares memory.

        Args:
            start, end: Datetime (naive = UTC), ISO string or ms UTC; None: from the first, to the last.

        Raises:
            DataError: A time cannot be read, `start` lies after `end`, or the candles are not in order.
        """
        if not self._ascending:
            raise DataError(
                f"{self.label}: the candles are not in time order, so a span has no meaning.",
                hint="sort them first; candles.audit says where.",
            )
        first = None if start is None else instant_ms(start, self.calendar)
        stop = None if end is None else instant_ms(end, self.calendar)
        if first is not None and stop is not None and first > stop:
            raise DataError(f"The span starts at {utc_text(first)}, after its end at {utc_text(stop)}.")
        return self._view(
            slice(
                0 if first is None else int(np.searchsorted(self.time, first)),
                len(self) if stop is None else int(np.searchsorted(self.time, stop)),
            )
        )

    def resample(self, timeframe: str | Timeframe) -> "Candles":
        """Candles of a coarser timeframe, on the exchange's own grid.

        Weeks start on Monday; NSE bars count from 09:15 IST and days from 00:00 IST. A first or last bar that the data
        does not cover from its beginning or to its end is left out (docs/data.md).

        Raises:
            ConfigError: The timeframe is not one of ours, or finer.
            DataError: The candles have errors, or do not fill one coarse bar.
        """
        target = Timeframe.parse(timeframe)
        if target == self.timeframe:
            return self
        if target.ms % self.timeframe.ms:
            coarser = [name for name in Timeframe.names() if Timeframe(name).ms > self.timeframe.ms]
            raise ConfigError(
                f"{self.timeframe} candles cannot become {target}: detail that is not there cannot be made.",
                hint=f"choose a coarser one: {', '.join(coarser) or 'there is none'}.",
            )
        self.require_sound()
        bars, quote_volume = resample_bars(self.bars, self.quote_volume, self.timeframe, target, self.calendar)
        if not len(bars.time):
            raise DataError(
                f"{self.label}: {counted(len(self), 'bar')} do not fill one {target} bar from beginning to end.",
                hint=f"give a longer span, or stay at {self.timeframe}.",
            )
        return Candles(
            *bars,
            quote_volume,
            timeframe=target,
            exchange=self.exchange,
            symbol=self.symbol,
            synthetic=self.synthetic,
        )

    def to_dicts(self) -> list[Candle]:
        """A list of plain dicts."""
        return list(self)

    def to_polars(self) -> "pl.DataFrame":
        """A polars frame; `time` is Datetime in ms, UTC."""
        import polars as pl

        columns = {name: column for name, column in self._columns() if name != "time"}
        time = pl.Series("time", self.time).cast(pl.Datetime("ms", "UTC"))
        return pl.DataFrame([time, *(pl.Series(name, column) for name, column in columns.items())])

    def to_pandas(self) -> Any:
        """A pandas frame indexed by `time`, a UTC DatetimeIndex in ms."""
        pandas = import_module("pandas")
        columns = {name: column.copy() for name, column in self._columns() if name != "time"}
        opens = pandas.DatetimeIndex(self.time.astype("datetime64[ms]"), tz="UTC", name="time")
        return pandas.DataFrame(columns, index=opens)

    def _columns(self) -> list[tuple[str, Any]]:
        columns: list[tuple[str, Any]] = list(self.bars._asdict().items())
        return columns if self.quote_volume is None else [*columns, ("quote_volume", self.quote_volume)]

    def _view(self, rows: slice) -> "Candles":
        return Candles(
            self.time[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            None if self.quote_volume is None else self.quote_volume[rows],
            timeframe=self.timeframe,
            exchange=self.exchange,
            symbol=self.symbol,
            synthetic=self.synthetic,
        )

    @overload
    def __getitem__(self, position: SupportsIndex) -> Candle: ...

    @overload
    def __getitem__(self, position: slice) -> "Candles": ...

    def __getitem__(self, position: SupportsIndex | slice) -> "Candle | Candles":
        if isinstance(position, slice):
            if position.step not in (None, 1):
                raise DataError(
                    f"Candles cannot be taken in steps of {position.step}: they would be no {self.timeframe} bars.",
                    hint="use resample() for a coarser timeframe, or a slice of candles.to_dicts().",
                )
            return self._view(position)
        at = index(position)
        if not -len(self) <= at < len(self):
            raise IndexError(f"candle {at} of {len(self):,}")
        return cast("Candle", {name: column[at].item() for name, column in self._columns()})

    def __iter__(self) -> Iterator[Candle]:
        names = [name for name, _ in self._columns()]
        for values in zip(*(column.tolist() for _, column in self._columns()), strict=True):
            yield cast("Candle", dict(zip(names, values, strict=True)))

    def __len__(self) -> int:
        return len(self.time)

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, Candles) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:
        return Candles, (
            *self.bars,
            self.quote_volume,
            self.timeframe,
            self.exchange,
            self.symbol,
            self.synthetic,
            self.notes,
        )

    def _span_text(self) -> str:
        if not len(self):
            return "no bars"
        gaps = counted(self.gaps.count, "gap") if self._ascending else "not in order"
        span = f"{utc_text(int(self.time[0]))} .. {utc_text(int(self.time[-1]))}".replace(" UTC ..", " ..")
        return f"{span}, {counted(len(self), 'bar')}, {gaps}"

    def __repr__(self) -> str:
        return f"<Candles {self.label}: {self._span_text()}>"

    def _repr_html_(self) -> str:
        names = [name for name, _ in self._columns()]
        shown = [*self[:_HTML_ROWS], None, *self[-_HTML_ROWS:]] if len(self) > 2 * _HTML_ROWS else list(self)
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = []
        for candle in shown:
            cells = ["…"] * len(names)
            if candle is not None:
                cells = [utc_text(candle["time"]), *(f"{value:.10g}" for value in list(candle.values())[1:])]
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        caption = f"<b>{escape(self.label)}</b> {escape(self._span_text())}"
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{''.join(rows)}</table>"


def require_policy(policy: object) -> None:
    """Do nothing where the audit policy exists.

    Raises:
        ConfigError: It does not.
    """
    if policy not in get_args(AuditPolicy):
        raise ConfigError(
            f"audit={policy!r} is not a policy.{did_you_mean(str(policy), get_args(AuditPolicy))}",
            hint='use "raise", "report" or "off".',
        )


def identity_text(name: object, what: str) -> str:
    """A name in upper case without blanks around it.

    Raises:
        DataError: It is no text.
    """
    if not isinstance(name, str):
        raise DataError(f"{what} is {name!r}; it has to be text.", hint=f'for example {what}="BTCUSDT".')
    return name.strip().upper()


def _read_only(values: Any, dtype: type) -> Any:
    """The values as a read-only contiguous array that nobody else can write to; a copy only where one is needed."""
    array: Any = np.ascontiguousarray(values, dtype=dtype)
    if array.ndim != 1:
        raise DataError(f"A column has {array.ndim} dimensions where one is needed.")
    if not _is_safe(array):
        array = array.copy()
        array.setflags(write=False)
    return array


def _is_safe(array: Any) -> bool:
    """Whether no writable array shares this memory, as far as it can be told; anything unknown counts as writable."""
    owner = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None


def _infer_timeframe(time: IntArray) -> Timeframe:
    """The timeframe by the most common distance of the times.

    Raises:
        DataError: There are fewer than two times, or their distance is not one of our timeframes.
    """
    spacing = common_spacing(time)
    if spacing is None:
        raise DataError(
            f"The timeframe cannot be found from {counted(len(time), 'bar')}.",
            hint='name it, for example timeframe="1H".' if len(time) else "there is not one bar: give some.",
        )
    timeframe = Timeframe.of_length(spacing[0])
    if timeframe is None:
        raise DataError(
            f"The bars are {length_text(spacing[0])} apart, which is none of the timeframes "
            f"{', '.join(Timeframe.names())}.",
            hint="check the time column, or bring the bars to one of these timeframes first.",
        )
    return timeframe
