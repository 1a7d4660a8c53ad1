"""What a fill costs: the fee schedules of the venues, part by part, with source and date.

A backtest that is free of charge proves nothing, and one with a single guessed percentage proves little more: an Indian
delivery trade pays tax on both sides and a flat depository fee, an intraday trade pays tax on one side and a capped
brokerage, a perpetual pays by liquidity. So a schedule here is a list of parts, each with the place it was published
and a date, and the rates the engine charges are summed from the parts, never typed a second time. docs/costs.md shows
the same parts as tables, with the doubts.

Money of one fill (execution specification, section 7): rate by side and liquidity times notional, plus the per-order
part `min(flat, rate * notional)` of that side. Rates are fractions (0.001 is 0.1 %), amounts are in the quote currency.
Notional is price times quantity; for options it is the premium times quantity.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any, Final, Literal

from barwise.errors import ConfigError, did_you_mean

Side = Literal["buy", "sell", "both"]
Liquidity = Literal["maker", "taker", "both"]

_SIDES: Final = ("buy", "sell", "both")
_LIQUIDITIES: Final = ("maker", "taker", "both")
_HIGHEST_RATE: Final = 0.1  # at or above this a rate was meant in percent: 0.1 written for 0.1 %
_BY_USER: Final = "set by the user"


def _number(owner: str, name: str, value: object, *, infinite: bool = False) -> float:
    """`value` as a float >= 0; ConfigError says which field of what is wrong."""
    if isinstance(value, bool):
        raise ConfigError(f"{owner}: {name} is {value!r}; a number >= 0 is needed.")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{owner}: {name} is {value!r}; a number >= 0 is needed.") from None
    if math.isnan(number) or number < 0 or (math.isinf(number) and not infinite):
        raise ConfigError(
            f"{owner}: {name} is {value!r}; a number >= 0 is needed.",
            hint="Rebates (negative fees) are not modelled: use 0, which understates the result and never flatters it.",
        )
    return number


def _rate(owner: str, name: str, value: object) -> float:
    """`value` as a fraction of notional, refusing what can only be a percentage."""
    number = _number(owner, name, value)
    if number >= _HIGHEST_RATE:
        raise ConfigError(
            f"{owner}: {name} is {value!r}, {number:.0%} of every fill; a fraction below {_HIGHEST_RATE} is needed.",
            hint="Rates are fractions: 0.1 % is 0.001.",
        )
    return number


def _per_order(owner: str, prefix: str, flat: object, rate: object) -> tuple[float, float]:
    """The pair of a per-order part, checked: a flat amount needs a rate, and the other way round."""
    amount = _number(owner, f"{prefix}flat", flat)
    share = _number(owner, f"{prefix}rate", rate, infinite=True)
    if (amount > 0) != (share > 0):
        raise ConfigError(
            f"{owner}: {prefix}flat is {amount:g} and {prefix}rate is {share:g}, so min(flat, rate * notional) is 0.",
            hint="Give both, with rate math.inf where the flat amount is always due, or neither.",
        )
    return amount, share


def _text(owner: str, name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{owner}: {name} is {value!r}; a text that is not empty is needed.")
    return value


def _iso_date(owner: str, value: object) -> None:
    try:
        date.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{owner}: as_of is {value!r}; an ISO date such as 2026-10-08 is needed.") from None


def _choice(owner: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{owner}: {name} is {value!r}; allowed: {', '.join(allowed)}.{did_you_mean(str(value), allowed)}"
        )


def _known_keys(owner: str, data: Mapping[str, Any], allowed: Iterable[str]) -> None:
    known = tuple(allowed)
    for key in data:
        if key not in known:
            raise ConfigError(
                f"{key} is not a field of {owner}.{did_you_mean(str(key), known)}", hint=f"Fields: {', '.join(known)}."
            )


def _json_number(value: float) -> float | str:
    return "inf" if math.isinf(value) else value  # JSON has no infinity


@dataclass(frozen=True, slots=True)
class FeePart:
    """One line of a contract note: brokerage, a tax, an exchange charge.

    Args:
        name: As a contract note would call it.
        side: "buy", "sell" or "both".
        rate: Fraction of notional. With `flat` the rate under the cap, math.inf = always the flat amount.
        flat: Amount per executed order in the quote currency, 0 = none. The part then costs min(flat, rate * notional).
        basis: What the rate is taken of, in words.
        source: Where it was published.
        as_of: ISO date, the day it came into force or was published.
        liquidity: "maker", "taker" or "both".

    Raises:
        ConfigError: A field is out of range.
    """

    name: str
    side: Side
    rate: float
    flat: float = 0.0
    basis: str = "notional"
    source: str = _BY_USER
    as_of: str = ""
    liquidity: Liquidity = "both"

    def __post_init__(self) -> None:
        _text("A fee part", "name", self.name)
        owner = f"Fee part {self.name!r}"
        _choice(owner, "side", self.side, _SIDES)
        _choice(owner, "liquidity", self.liquidity, _LIQUIDITIES)
        _text(owner, "source", self.source)
        if self.as_of:
            _iso_date(owner, self.as_of)
        object.__setattr__(self, "flat", _number(owner, "flat", self.flat))
        if self.flat > 0:
            object.__setattr__(self, "rate", _per_order(owner, "", self.flat, self.rate)[1])
            if self.liquidity != "both":
                raise ConfigError(f"{owner}: a flat amount per order is due for maker and taker fills alike.")
        else:
            object.__setattr__(self, "rate", _rate(owner, "rate", self.rate))

    def applies(self, side: Literal["buy", "sell"], liquidity: Literal["maker", "taker"]) -> bool:
        """Whether a fill of this side and liquidity pays the part."""
        return self.side in (side, "both") and self.liquidity in (liquidity, "both")

    def amount(self, notional: float) -> float:
        """What the part costs for one fill of `notional`, taking for granted that it applies."""
        return _capped(self.flat, self.rate, notional) if self.flat > 0 else self.rate * notional

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON knows them; an infinite rate is the text "inf"."""
        return {**asdict(self), "rate": _json_number(self.rate)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FeePart":
        """The inverse of `to_dict`.

        Raises:
            ConfigError: An unknown or missing field, or one out of range.
        """
        _known_keys("a fee part", data, (field.name for field in fields(cls)))
        for key in ("name", "side", "rate"):
            if key not in data:
                raise ConfigError(f"A fee part needs {key}; it has {', '.join(data) or 'nothing'}.")
        return cls(**data)


def _capped(flat: float, rate: float, notional: float) -> float:
    """min(flat, rate * notional); 0 for a notional of 0, where an infinite rate would give NaN."""
    return min(flat, rate * notional) if notional > 0 and flat > 0 else 0.0


def _totals(owner: str, parts: tuple[FeePart, ...]) -> dict[str, float]:
    """The eight numbers of a schedule, summed from its parts.

    Raises:
        ConfigError: Two per-order parts of one side reach their caps at different notionals, so that one
            min(flat, rate * notional) cannot stand for both.
    """
    totals: dict[str, float] = {}
    for side in ("buy", "sell"):
        for liquidity in ("maker", "taker"):
            totals[f"{side}_{liquidity}"] = math.fsum(
                part.rate for part in parts if part.flat == 0 and part.applies(side, liquidity)
            )
        per_order = [part for part in parts if part.flat > 0 and part.side in (side, "both")]
        caps = [part.flat / part.rate for part in per_order]
        if any(not math.isclose(cap, caps[0], rel_tol=1e-9) for cap in caps):
            named = ", ".join(f"{part.name} at {cap:g}" for part, cap in zip(per_order, caps, strict=True))
            raise ConfigError(
                f"{owner}: the per-order parts of a {side} reach their caps at different notionals ({named}).",
                hint="Add them up into one part with one flat amount and one rate.",
            )
        totals[f"{side}_order_flat"] = math.fsum(part.flat for part in per_order)
        totals[f"{side}_order_rate"] = math.fsum(part.rate for part in per_order)
    return totals


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """All that a fill costs at one venue for one product, all-in.

    Built from parts with `from_parts`, or from the totals alone. Works with `dataclasses.replace`; where that changes a
    total, pass `parts=()` too, because parts that do not add up to the totals are refused.

    Args:
        name: Venue and product.
        buy_maker, buy_taker, sell_maker, sell_taker: Fractions of notional, every tax included.
        buy_order_flat, buy_order_rate, sell_order_flat, sell_order_rate: Per executed order min(flat, rate * notional)
            in the quote currency, taxes included; flat 0 and rate 0 = none, rate math.inf = always the flat amount.
        source: URL or title of the venue's public document.
        as_of: ISO date on which the schedule was last seen published.
        parts: What the totals are made of.

    Raises:
        ConfigError: A field is out of range, or the parts do not add up to the totals.
    """

    name: str
    buy_maker: float
    buy_taker: float
    sell_maker: float
    sell_taker: float
    buy_order_flat: float = 0.0
    buy_order_rate: float = 0.0
    sell_order_flat: float = 0.0
    sell_order_rate: float = 0.0
    source: str = _BY_USER
    as_of: str = ""
    parts: tuple[FeePart, ...] = ()

    def __post_init__(self) -> None:
        _text("A fee schedule", "name", self.name)
        owner = f"Fee schedule {self.name!r}"
        _text(owner, "source", self.source)
        if self.as_of:
            _iso_date(owner, self.as_of)
        for name in _RATES:
            object.__setattr__(self, name, _rate(owner, name, getattr(self, name)))
        for side in ("buy_order_", "sell_order_"):
            flat, rate = _per_order(owner, side, getattr(self, f"{side}flat"), getattr(self, f"{side}rate"))
            object.__setattr__(self, f"{side}flat", flat)
            object.__setattr__(self, f"{side}rate", rate)
        if not self.parts:
            return
        for name, total in _totals(owner, self.parts).items():
            if not math.isclose(total, getattr(self, name), rel_tol=1e-9, abs_tol=1e-15):
                raise ConfigError(
                    f"{owner}: {name} is {getattr(self, name):g}, but its parts add up to {total:g}.",
                    hint="Build it with FeeSchedule.from_parts, or pass parts=() with the new total.",
                )

    @classmethod
    def from_parts(
        cls, name: str, parts: Iterable[FeePart], *, source: str = _BY_USER, as_of: str = ""
    ) -> "FeeSchedule":
        """A schedule whose totals are the sums of `parts`.

        Raises:
            ConfigError: See `FeeSchedule`.
        """
        given = tuple(parts)
        return cls(name, **_totals(f"Fee schedule {name!r}", given), source=source, as_of=as_of, parts=given)

    def fee(self, side: int, maker: bool, notional: float) -> float:
        """The cost of one fill, taken as one executed order.

        Args:
            side: +1 for a buy, -1 for a sell.
            maker: True for resting liquidity, False for taken.
            notional: Price times quantity in the quote currency, >= 0.

        Returns:
            Amount in the quote currency, >= 0.

        Raises:
            ConfigError: side is neither +1 nor -1, or notional is not a number >= 0.
        """
        _check_fill(side, notional)
        if side > 0:
            rate = self.buy_maker if maker else self.buy_taker
            return rate * notional + _capped(self.buy_order_flat, self.buy_order_rate, notional)
        rate = self.sell_maker if maker else self.sell_taker
        return rate * notional + _capped(self.sell_order_flat, self.sell_order_rate, notional)

    def breakdown(self, side: int, maker: bool, notional: float) -> dict[str, float]:
        """The same cost line by line, as a contract note shows it; the values add up to `fee`.

        A schedule without parts has the lines "rate" and "per order".

        Raises:
            ConfigError: See `fee`.
        """
        _check_fill(side, notional)
        if not self.parts:
            flat, rate = (
                (self.buy_order_flat, self.buy_order_rate) if side > 0 else (self.sell_order_flat, self.sell_order_rate)
            )
            per_order = _capped(flat, rate, notional)
            return {"rate": self.fee(side, maker, notional) - per_order, "per order": per_order}
        lines: dict[str, float] = {}
        for part in self.parts:
            if part.applies("buy" if side > 0 else "sell", "maker" if maker else "taker"):
                lines[part.name] = lines.get(part.name, 0.0) + part.amount(notional)
        return lines

    def with_rates(self, maker: float | None = None, taker: float | None = None) -> "FeeSchedule":
        """This schedule with own rates on both sides and without its per-order parts.

        A rate that is not given keeps the venue's value of each side. Per-order parts go in any case, because they
        cannot be told apart by liquidity: give both rates where the venue charges per order.

        Args:
            maker, taker: Fractions of notional in [0, 0.1), or None.

        Raises:
            ConfigError: A rate is out of range.
        """
        if maker is None and taker is None:
            return self
        owner = "Own fees"
        kept: list[FeePart] = []
        pairs: tuple[tuple[Liquidity, float | None], ...] = (("maker", maker), ("taker", taker))
        for liquidity, rate in pairs:
            if rate is not None:
                own = _rate(owner, f"{liquidity} fee", rate)
                kept.append(FeePart(f"own {liquidity} fee", "both", own, liquidity=liquidity))
            else:
                kept.extend(self._only(liquidity))
        given = " and ".join(liquidity for liquidity, rate in pairs if rate is not None)
        source = _BY_USER if maker is not None and taker is not None else f"{self.source}; {given} fee {_BY_USER}"
        return FeeSchedule.from_parts(f"{self.name}, own {given} fee", kept, source=source, as_of=self.as_of)

    def _only(self, liquidity: Liquidity) -> list[FeePart]:
        """The parts that are rates, narrowed to one liquidity; the totals stand in where there are no parts."""
        if not self.parts:
            return [
                FeePart(
                    f"{side} {liquidity} fee",
                    side,
                    getattr(self, f"{side}_{liquidity}"),
                    source=self.source,
                    as_of=self.as_of,
                    liquidity=liquidity,
                )
                for side in ("buy", "sell")
            ]
        return [
            replace(part, liquidity=liquidity)
            for part in self.parts
            if part.flat == 0 and part.liquidity in (liquidity, "both")
        ]

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON knows them, parts included; an infinite rate is the text "inf"."""
        numbers = {name: _json_number(getattr(self, name)) for name in (*_RATES, *_PER_ORDER)}
        parts = [part.to_dict() for part in self.parts]
        return {"name": self.name, **numbers, "source": self.source, "as_of": self.as_of, "parts": parts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FeeSchedule":
        """The inverse of `to_dict`; the totals may be left out where there are parts.

        Raises:
            ConfigError: An unknown or missing field, one out of range, or parts that do not add up to the totals.
        """
        _known_keys("a fee schedule", data, (field.name for field in fields(cls)))
        name = _text("A fee schedule", "name", data.get("name"))
        owner = f"Fee schedule {name!r}"
        listed = data.get("parts") or ()
        if not isinstance(listed, (list, tuple)) or not all(isinstance(part, Mapping) for part in listed):
            raise ConfigError(f"{owner}: parts is {listed!r}; a list of tables is needed.")
        parts = tuple(FeePart.from_dict(part) for part in listed)
        values: dict[str, Any] = dict(_totals(owner, parts)) if parts else {}
        for key in (*_RATES, *_PER_ORDER):
            if key in data:
                values[key] = data[key]
            elif key in _RATES and not parts:
                raise ConfigError(f"{owner}: {key} is missing.", hint=f"Give {', '.join(_RATES)}, or parts.")
        values.update({key: data[key] for key in ("source", "as_of") if key in data})
        return cls(name, **values, parts=parts)


_RATES: Final = ("buy_maker", "buy_taker", "sell_maker", "sell_taker")
_PER_ORDER: Final = ("buy_order_flat", "buy_order_rate", "sell_order_flat", "sell_order_rate")


def _check_fill(side: int, notional: float) -> None:
    if side not in (1, -1):
        raise ConfigError(f"side is {side!r}; +1 (buy) or -1 (sell) is needed.")
    if not 0 <= notional < math.inf:
        raise ConfigError(f"notional is {notional!r}; a number >= 0 is needed.")


# Sources. Each is the publisher's own document; docs/costs.md says which of them could be read first hand.
_BINANCE_SPOT: Final = "https://www.binance.com/en/fee/trading"
_BINANCE_FUTURES: Final = "https://www.binance.com/en/fee/futureFee"
_DELTA: Final = "https://www.delta.exchange/fees"
_ZERODHA: Final = "https://zerodha.com/charges/"
_DHAN: Final = "https://dhan.co/pricing/"
_NSE_CHARGES: Final = "https://nsearchives.nseindia.com/content/circulars/FA73061.pdf"  # NSE/FA/73061, 27 Feb 2026
_NSE_STT: Final = "NSE circular NSE/FATAX/73524 (Finance Act 2026, section 98 of the Finance (No. 2) Act 2004)"
_NSE_LEVIES: Final = "https://www.nseindia.com/static/invest/first-time-investor-sebi-turnover-fees-stt-other-levies"
_NSE_STAMP: Final = "https://nseindia.com/invest/first-time-investor-stamp-duty-charges-taxes"

_SYNTHETIC: Final = "synthetic venue, same rates as BINANCE spot VIP0"

_GST: Final = 0.18
_CRORE: Final = 10_000_000


def _with_gst(parts: Iterable[FeePart], source: str, as_of: str) -> tuple[FeePart, ...]:
    """The parts, each followed by the 18 % goods and services tax on it."""
    taxed: list[FeePart] = []
    for part in parts:
        tax = replace(
            part,
            name=f"GST on {part.name}",
            rate=_GST * part.rate,
            flat=_GST * part.flat,
            basis=f"18 % of {part.name}",
            source=source,
            as_of=as_of,
        )
        taxed += [part, tax]
    return tuple(taxed)


# What the state and NSE charge for each product, whoever the broker is. First product = default of the brokers.
#                     STT is due on   STT      NSE, IPFT included  stamp duty  taken of
_INDIAN_LEVIES: Final[dict[str, tuple[Side, float, float, float, str]]] = {
    "equity_delivery": ("both", 0.001, 307 / _CRORE, 0.00015, "notional"),
    "equity_intraday": ("sell", 0.00025, 307 / _CRORE, 0.00003, "notional"),
    "futures": ("sell", 0.0005, 183 / _CRORE, 0.00002, "notional"),
    "options": ("sell", 0.0015, 3553 / _CRORE, 0.00003, "premium"),
}


def _indian_products(
    broker: str, source: str, as_of: str, depository: dict[str, float], futures_rate: float
) -> dict[str, FeeSchedule]:
    """The schedules of one Indian broker on NSE.

    Args:
        broker: Name of the venue.
        source, as_of: The broker's public price list and the day it was last seen.
        depository: Rupees per sell order of a delivery, before GST, by the name of the line.
        futures_rate: Brokerage on futures under the cap of 20 rupees; math.inf = always 20 rupees.
    """
    own: dict[str, tuple[FeePart, ...]] = {
        "equity_delivery": tuple(
            FeePart(name, "sell", math.inf, rupees, "sell order (published: per share and day)", source, as_of)
            for name, rupees in depository.items()
        )
    }
    for product, rate in (("equity_intraday", 0.0003), ("futures", futures_rate), ("options", math.inf)):
        own[product] = (FeePart("brokerage", "both", rate, 20.0, "executed order", source, as_of),)
    schedules: dict[str, FeeSchedule] = {}
    for product, (stt_side, stt, exchange, stamp, basis) in _INDIAN_LEVIES.items():
        services = (
            *own[product],
            FeePart("exchange transaction charge", "both", exchange, 0.0, basis, _NSE_CHARGES, "2026-03-01"),
            FeePart("SEBI turnover fee", "both", 10 / _CRORE, 0.0, basis, _NSE_LEVIES, "2026-04-17"),
        )
        taxes = (
            FeePart("STT", stt_side, stt, 0.0, basis, _NSE_STT, "2026-04-01"),
            FeePart("stamp duty", "buy", stamp, 0.0, basis, _NSE_STAMP, "2020-07-01"),
        )
        parts = (*_with_gst(services, source, as_of), *taxes)
        schedules[product] = FeeSchedule.from_parts(f"{broker} {product}", parts, source=source, as_of=as_of)
    return schedules


def _two_rates(name: str, source: str, as_of: str, maker: float, taker: float, *, gst: bool = False) -> FeeSchedule:
    """A venue that charges by liquidity alone, with or without GST on its fee."""
    parts = (
        FeePart("maker fee", "both", maker, source=source, as_of=as_of, liquidity="maker"),
        FeePart("taker fee", "both", taker, source=source, as_of=as_of, liquidity="taker"),
    )
    taxed = _with_gst(parts, source, as_of) if gst else parts
    return FeeSchedule.from_parts(name, taxed, source=source, as_of=as_of)


# First product = default of the venue.
_SCHEDULES: Final[dict[str, dict[str, FeeSchedule]]] = {
    "BINANCE": {"spot": _two_rates("BINANCE spot VIP0", _BINANCE_SPOT, "2026-10-04", 0.001, 0.001)},
    "BINANCE_UM": {"futures": _two_rates("BINANCE_UM futures VIP0", _BINANCE_FUTURES, "2026-10-12", 0.0002, 0.0005)},
    "DELTA": {"futures": _two_rates("DELTA futures", _DELTA, "2026-09-05", 0.0002, 0.0005, gst=True)},
    "ZERODHA": _indian_products(
        "ZERODHA", _ZERODHA, "2026-10-08", {"DP charge of CDSL": 3.5, "DP charge of the broker": 9.5}, 0.0003
    ),
    "DHAN": _indian_products("DHAN", _DHAN, "2026-10-08", {"DP charge": 12.5}, math.inf),
    "SAMPLE": {"spot": _two_rates("SAMPLE spot (SYNTHETIC)", _SYNTHETIC, "2026-10-04", 0.001, 0.001)},
    "ZERO": {"any": FeeSchedule("ZERO, no costs", 0.0, 0.0, 0.0, 0.0, source="by definition", as_of="2026-11-22")},
}


def fee_exchanges() -> tuple[str, ...]:
    """The venues that have a schedule here."""
    return tuple(_SCHEDULES)


def products(exchange: str) -> tuple[str, ...]:
    """The products that have a schedule at `exchange`, the default first.

    Raises:
        ConfigError: No schedule is known for the venue.
    """
    return tuple(_venue(exchange))


def fee_schedule(exchange: str, product: str | None = None) -> FeeSchedule:
    """The public fee schedule of a venue.

    Without a product: the one schedule of a crypto venue, and equity_delivery at the Indian brokers. A backtest does
    not know whether a position will be closed on the day it was opened, and delivery is the dearest way to trade a
    share: a wrong guess makes the result worse than it is, where a wrong guess of intraday would flatter it.

    Args:
        exchange: Name of the venue, any case.
        product: One of `products(exchange)`, any case, or None for the default.

    Raises:
        ConfigError: An unknown venue or product; the message lists the known ones.
    """
    venue = _venue(exchange)
    if product is None:
        return next(iter(venue.values()))
    name = str(product).strip().lower()
    if name not in venue:
        raise ConfigError(
            f"{exchange} has no fee schedule for {product!r}; it has {', '.join(venue)}.{did_you_mean(name, venue)}"
        )
    return venue[name]


def _venue(exchange: str) -> dict[str, FeeSchedule]:
    name = str(exchange).strip().upper()
    if name not in _SCHEDULES:
        raise ConfigError(
            f"{exchange!r} has no fee schedule; known: {', '.join(_SCHEDULES)}.{did_you_mean(name, _SCHEDULES)}",
            hint="Give your own: ExecutionConfig(maker_fee=, taker_fee=) or ExecutionConfig(fees=FeeSchedule(...)).",
        )
    return _SCHEDULES[name]
