"""What a run was told, said again: for people in a few lines, for a shell as a command.

Whoever has answered questions once should not have to answer them again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from barwise.run_config import RunConfig, toml_value

Sections = dict[str, dict[str, Any]]

OPEN = "open"
# The options of `barwise run`; every other key goes by --set.
_OPTIONS: Mapping[tuple[str, str], str] = {
    ("market", "exchange"): "--exchange",
    ("market", "symbol"): "--symbol",
    ("market", "timeframe"): "--timeframe",
    ("market", "start"): "--start",
    ("market", "end"): "--end",
    ("market", "quantity"): "--qty",
    ("market", "file"): "--file",
    ("market", "detail"): "--detail",
    ("strategy", "class"): "--strategy",
    ("optimization", "profile"): "--profile",
}
_OF_EACH_MARKET = ("exchange", "symbol", "timeframe", "quantity")


def summary(told: RunConfig, found: Sections) -> list[str]:
    """What will be run, in a few lines.

    Args:
        told: What was said before the questions.
        found: What was answered, by section and key.
    """
    market, before = found.get("market", {}), told.settings
    if "markets" in market:
        lines = [_market_line(one) for one in market["markets"]]
    elif before.markets:
        lines = [f"{len(before.markets)} markets, as given"]
    else:
        shown = {key: market.get(key, told.values["market"][key]) for key in _OF_EACH_MARKET}
        lines = [_market_line(shown) + (f", of {before.candle_file}" if before.candle_file else "")]
    start, end = market.get("start", before.start), market.get("end", before.end)
    if start is not None or end is not None:
        lines.append(f"{OPEN if start is None else start} .. {OPEN if end is None else end} (exclusive)")
    strategy = found.get("strategy", {}).get("class", before.strategy.name())
    profile = found.get("optimization", {}).get("profile", told.optimization.profile)
    return [*lines, f"strategy {strategy}, search {profile}"]


def command(told: RunConfig, found: Sections, file: Path | None) -> list[str]:
    """The words of a command that says without questions all that was answered, and all that options said before.

    What the environment says is not in it: it will be there again.

    Args:
        told: What was said before the questions.
        found: What was answered, by section and key.
        file: Of settings; None = without one.
    """
    words = ["barwise", "run", *([str(file)] if file else [])]
    for section, sources in told.sources.items():
        for key, source in sources.items():
            answered = key in found.get(section, {})
            if not answered and source not in {"option", "--set"}:
                continue
            value = found[section][key] if answered else told.values[section][key]
            option = _OPTIONS.get((section, key))
            if key == "markets" and source != "--set":
                for one in value:
                    parts = [_word(one[part]) if part in one else "" for part in _OF_EACH_MARKET]
                    words += ["--market", ",".join(parts).rstrip(",")]
            else:
                words += [option, _word(value)] if option else ["--set", f"{section}.{key}={_word(value)}"]
    return [*words, "--yes"]


def _market_line(market: Mapping[str, Any]) -> str:
    names = [str(market[key]) for key in ("exchange", "symbol", "timeframe") if market[key] is not None]
    return f"{' '.join(names)}, quantity {_word(market['quantity'])}".removeprefix(", ")


def _word(value: Any) -> str:
    """A value as an option takes it."""
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return toml_value(value).strip('"')
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
