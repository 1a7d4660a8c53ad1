"""Settings as declared, validated, immutable values: rules of trading, costs of execution, optimizer, walk-forward.

A parameter declares itself once: `Int(20, low=2)` is default, bounds, validation, command-line option and search space
in one line. Unknown names and impossible values raise ConfigError with the nearest match or the allowed range.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator
from pydantic.fields import FieldInfo

from barwise.costs import FeeSchedule
from barwise.errors import ConfigError, did_you_mean


def Int(
    default: int,
    *,
    low: int | None = None,
    high: int | None = None,
    help: str = "",
    stage: str = "7.1",
) -> Any:
    """Declare an integer parameter.

    Args:
        default: Its value where none is given.
        low, high: Smallest and largest allowed value, and the widest box a search may use; None = unbounded.
        help: One line for people.
        stage: Optimization stage that searches it: "7.1" integers, "7.3" tier timeouts, "" never.
    """
    return Field(default, ge=low, le=high, description=help, json_schema_extra={"stage": stage})


def Float(
    default: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    help: str = "",
    stage: str = "7.2",
) -> Any:
    """Declare a real parameter; `low` and `high` may be reached, `above` may not. Otherwise like `Int`."""
    return Field(
        default,
        ge=low,
        le=high,
        gt=above,
        description=help,
        json_schema_extra={"stage": stage},
    )


def Bool(default: bool, *, help: str = "") -> Any:
    """Declare a switch; switches are never searched."""
    return Field(default, description=help, json_schema_extra={"stage": ""})


class Parameters(BaseModel):
    """A frozen set of declared parameters; `replace` makes a changed copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(type(self), error) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed, validated like a new one."""
        return type(self)(
            **{
                **{name: getattr(self, name) for name in self.model_fields_set},
                **changes,
            }
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(
            f"{type(self).__name__} cannot be changed in place ({name} = {value!r}).",
            hint=f"make a changed copy: replace({name}=...).",
        )

    def __delattr__(self, name: str) -> None:
        raise ConfigError(f"{type(self).__name__} cannot be changed in place: {name} stays.")

    def to_dict(self) -> dict[str, Any]:
        """All values by name, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")

    def __repr_args__(self) -> Any:
        """Only what differs from the defaults."""
        fields = type(self).model_fields
        return [(name, value) for name in fields if (value := getattr(self, name)) != fields[name].default]


def _config_error(owner: type[Parameters], error: ValidationError) -> ConfigError:
    """The first finding of a validation as one sentence with a hint."""
    finding = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in finding["loc"])
    known = owner.model_fields
    if finding["type"] == "extra_forbidden":
        return ConfigError(
            f"{name} is not a parameter of {owner.__name__}.{did_you_mean(name, known)}",
            hint=f"the parameters are {', '.join(known)}.",
        )
    if not name:
        return ConfigError(f"{owner.__name__}: {finding['msg'].removeprefix('Value error, ')}")
    message = finding["msg"]
    message = message.removeprefix("Value error, ").removeprefix("Input should be ").removesuffix(".")
    field = known.get(str(finding["loc"][0]))
    return ConfigError(
        f"{owner.__name__}: {name} must be {message}; got {finding['input']!r}.",
        hint=f"the default is {field.default!r}." if field is not None and field.default is not None else "",
    )


def parameter_stage(field: FieldInfo) -> str:
    """Optimization stage that searches a declared parameter: "7.1", "7.2", "7.3" or "" for none."""
    extra = field.json_schema_extra
    return str(extra.get("stage", "")) if isinstance(extra, dict) else ""


class TradeRules(Parameters):
    """How a signal becomes a position and how a position ends: the same for every strategy (docs/execution.md).

    Thresholds and tolerances are fractions of price (0.02 = 2 %), multipliers are in units of the plan's risk line
    (ATR), timeouts are in signal bars.
    """

    atr_sl_multiplier: float = Float(1.5, above=0.0, help="stop distance from the mean entry price")
    atr_tp_multiplier: float = Float(2.0, above=0.0, help="target distance from the mean entry price")
    trailing_sl_threshold: float = Float(0.02, low=0.0, help="gain at which the stop starts to trail")
    trailing_tp_threshold: float = Float(0.03, low=0.0, help="gain at which the target turns into a trailing stop")
    trailing_sl_atr_multiplier: float | None = Float(
        None, above=0.0, help="distance of the trailing stop; None = atr_sl_multiplier"
    )
    trailing_tp_atr_multiplier: float = Float(1.0, above=0.0, help="distance of the trailing take-profit")
    trailing_sl_enabled: bool = Bool(True, help="let the stop trail")
    trailing_tp_enabled: bool = Bool(True, help="let the target turn into a trailing stop")
    enable_hybrid_engine: bool = Bool(True, help="five tiers; off = market order at the next open")
    enable_hybrid_tier1: bool = Bool(True, help="tier 1: limit pegged at the anchor line")
    enable_hybrid_tier2: bool = Bool(True, help="tier 2: limit near the last close")
    enable_hybrid_tier3: bool = Bool(True, help="tier 3: slices at the bar's VWAP")
    enable_hybrid_tier4: bool = Bool(True, help="tier 4: market order")
    hybrid_tier1_timeout: int = Int(5, low=0, high=1000, stage="7.3", help="bars tier 1 works; 0 = skipped")
    hybrid_tier2_timeout: int = Int(3, low=0, high=1000, stage="7.3", help="bars tier 2 works; 0 = skipped")
    hybrid_tier3_timeout: int = Int(4, low=0, high=1000, stage="7.3", help="bars tier 3 works; 0 = skipped")
    hybrid_tier4_timeout: int = Int(1, low=0, high=1000, stage="7.3", help="bars tier 4 works; 0 = skipped")
    ema_touch_tolerance: float = Float(
        0.0015, low=-0.5, high=0.5, stage="", help="tier 1: how far beyond the anchor it bids"
    )
    tier2_limit_offset_atr: float = Float(0.1, stage="", help="tier 2: how far behind the close it bids")
    tier3_vwap_band_atr: float = Float(1.0, low=0.0, stage="", help="tier 3: how far beyond the session VWAP it buys")
    max_chase_atr: float = Float(
        1.5, low=0.0, stage="", help="tiers 3 and 4: stand down beyond this run from the signal"
    )
    exit_on_opposite_signal: bool = Bool(False, help="leave at the open after an opposite signal")
    allow_long: bool = Bool(True, help="trade the long side")
    allow_short: bool = Bool(True, help="trade the short side")


class ExecutionConfig(Parameters):
    """What the account and the venue allow and cost.

    `fees` is a full schedule, `maker_fee` and `taker_fee` are fractions that replace the venue's schedule on both
    sides; without either the venue's public schedule applies. `tick_size` and `lot_size` None mean the market's own,
    where known; 0 means none.
    """

    initial_capital: float = Float(100_000.0, above=0.0, stage="", help="starting cash in quote currency")
    leverage: float = Float(1.0, above=0.0, stage="", help="largest notional per unit of equity")
    slippage: float = Float(
        0.0005,
        low=0.0,
        high=0.5,
        stage="",
        help="fraction of price every taker fill is worsened by",
    )
    maker_fee: float | None = Float(None, low=0.0, high=0.1, stage="", help="replaces the venue's maker rates")
    taker_fee: float | None = Float(None, low=0.0, high=0.1, stage="", help="replaces the venue's taker rates")
    fees: FeeSchedule | None = Field(default=None, description="a full fee schedule instead of the venue's")
    max_participation: float | None = Float(
        0.1,
        above=0.0,
        high=1.0,
        stage="",
        help="share of a bar's volume an entry may take; None = no cap",
    )
    limit_fill: Literal["through", "touch"] = Field(default="through", description="when a limit fills inside a bar")
    intrabar: Literal["worst", "path", "best"] = Field(default="worst", description="how an unclear bar is read")
    tick_size: float | None = Float(None, low=0.0, stage="", help="price step; None = the market's, 0 = none")
    lot_size: float | None = Float(None, low=0.0, stage="", help="quantity step; None = the market's, 0 = none")

    @field_serializer("fees")
    def _fees_as_json(self, fees: FeeSchedule | None) -> dict[str, Any] | None:
        return None if fees is None else fees.to_dict()

    @model_validator(mode="after")
    def _one_source_of_fees(self) -> Self:
        if self.fees is not None and (self.maker_fee is not None or self.taker_fee is not None):
            raise ValueError("give either fees or maker_fee/taker_fee, not both")
        return self


class MarketChoice(Parameters):
    """One market of several; what is left open is as the run has it for all of them."""

    exchange: str | None = Field(None, description="venue, such as BINANCE")
    symbol: str | None = Field(None, description="such as ETHUSDT")
    timeframe: str | None = Field(None, description="such as 4H")
    quantity: float | None = Field(None, gt=0.0, description="of every entry, in base units")
    file: Path | None = Field(None, description="candles of a Parquet or CSV file, not the store")


class OptimizationProfile(StrEnum):
    """How much an optimization tries: trials per stage and width of the search box around the base values."""

    FAST = "FAST"
    BALANCED = "BALANCED"
    THOROUGH = "THOROUGH"

    @property
    def trials(self) -> int:
        """Trials per stage."""
        return {"FAST": 50, "BALANCED": 150, "THOROUGH": 300}[self.value]

    @property
    def width(self) -> float:
        """Half width of the search box, a fraction of the base value."""
        return {"FAST": 0.10, "BALANCED": 0.15, "THOROUGH": 0.25}[self.value]


class OptimizationConfig(Parameters):
    """How a strategy is optimized (docs/optimization.md)."""

    profile: OptimizationProfile = Field(
        default=OptimizationProfile.BALANCED, description="trials and width of the search"
    )
    optuna_sampler: str = Field(default="TPE", description="sampler by name; AUTO = the batch search")
    multi_fidelity: bool = Bool(True, help="judge on a part of the bars first")
    fidelity_levels: tuple[float, ...] = Field(default=(0.33, 0.66, 1.0), description="shares of the bars per rung")
    min_rung_trades: int = Field(
        default=20, ge=0, description="a part of the bars with fewer trades of the base strategy judges nobody"
    )
    num_trials: int | None = Field(default=None, ge=1, description="trials per stage; None = the profile's")
    seed: int = Field(default=42, ge=0, description="same seed, same result")
    workers: int | None = Field(default=None, ge=1, description="threads or processes; None = all cores")
    storage: str | None = Field(
        default=None, description="ledger: a file, or a database URL; None = data/ledger.sqlite"
    )
    timeout: float | None = Field(default=None, gt=0, description="seconds per stage; None = no limit")
    objective: str | tuple[str | Callable[..., Any], ...] | Callable[..., Any] = Field(
        default="sharpe_ratio", description="reported metric, FILE.py:FUNCTION of the result, or several of them"
    )
    min_trades: int = Field(default=5, ge=0, description="fewer trades do not count as a result")
    max_drawdown: float | None = Field(default=None, gt=0, description="percent; deeper does not count; None = any")
    space: Literal["profile", "wide"] = Field(
        default="profile", description="box of the profile's width, or 0.4 to 2.5 times the base values"
    )
    ranges: tuple[tuple[str, tuple[float, float]], ...] = Field(
        default=(), description="(low, high) by parameter; a mapping is taken as well"
    )
    fixed: tuple[str, ...] = Field(default=(), description="parameters that are not searched")
    choose: Literal["best", "robust"] = Field(
        default="best", description="the best point, or the one with the best neighbourhood"
    )
    backend: Literal["auto", "threads", "processes", "ray", "cuda"] = Field(
        default="auto", description="where rows are simulated; auto = threads, or a card the profile found faster"
    )
    address: str | None = Field(default=None, description="of a Ray cluster; None = this machine")
    batch_size: int = Field(default=8192, ge=1, description="rows simulated at a time; bounds memory, changes nothing")

    @field_validator("ranges", mode="before")
    @classmethod
    def _ranges_of_a_mapping(cls, ranges: Any) -> Any:
        return tuple(ranges.items()) if isinstance(ranges, Mapping) else ranges

    @field_validator("storage")
    @classmethod
    def _storage_names_something(cls, storage: str | None) -> str | None:
        # As if nothing were said, the trials would go into another ledger than the one that was meant.
        if storage is not None and not storage.strip():
            raise ValueError("a file or a database URL")
        return storage

    @model_validator(mode="after")
    def _levels_rise_to_one(self) -> Self:
        levels = self.fidelity_levels
        if not levels or list(levels) != sorted(set(levels)) or levels[0] <= 0.0 or levels[-1] != 1.0:
            raise ValueError(f"fidelity_levels must rise from above 0 to exactly 1.0; got {levels}")
        return self

    @property
    def objectives(self) -> tuple[str | Callable[..., Any], ...]:
        """What is maximised, one or several."""
        return self.objective if isinstance(self.objective, tuple) else (self.objective,)

    @field_serializer("objective")
    def _objective_by_name(self, objective: Any) -> Any:
        return [objective_name(one) for one in objective] if isinstance(objective, tuple) else objective_name(objective)

    @field_serializer("storage")
    def _storage_without_password(self, storage: str | None) -> str | None:
        return None if storage is None else without_passwords(storage)

    def __repr_args__(self) -> Any:
        shown = self.to_dict()
        return [(name, shown[name] if name == "storage" else value) for name, value in super().__repr_args__()]


def objective_name(objective: Any) -> Any:
    """An objective by its name: that of a function, or the name itself."""
    return getattr(objective, "__name__", type(objective).__name__) if callable(objective) else objective


def without_passwords(address: str) -> str:
    """A ledger's address as it may be shown and written down: a URL without its passwords, a path as it is.

    A password stands before the host, or among the options after the question mark. Where an @ follows a question mark
    nobody can tell which of the two it is, so only the scheme is left.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    before, mark, options = rest.partition("?")
    if "@" in options:
        return f"{scheme}://***"
    login, at, host = before.rpartition("@")
    kept = [option for option in options.split("&") if "password" not in unquote_plus(option.partition("=")[0]).lower()]
    return f"{scheme}://{login.partition(':')[0]}{at}{host}{mark if any(kept) else ''}{'&'.join(kept)}"


class WalForwardConfig(Parameters):
    """Windows of a walk-forward analysis, in calendar days."""

    is_length_days: int = Field(default=60, ge=1, description="in-sample length")
    oos_length_days: int = Field(default=20, ge=1, description="out-of-sample length")
    stride_days: int = Field(default=20, ge=1, description="distance between windows")
    min_trades_per_window: int = Field(default=5, ge=0, description="fewer trades: the window is kept but not scored")
    reoptimize: bool = Bool(True, help="optimize in each window; off = stability check of one configuration")
    anchored: bool = Bool(False, help="every in-sample part starts at the first bar")
    embargo: int = Field(default=0, ge=0, description="bars left out between in-sample and out-of-sample")


WalkForwardConfig = WalForwardConfig
