"""One file for everything a run can be told, so that a run can be kept, compared and done again.

The sections and keys are those of the classes that use them; here is only how values are found. The order is

    option or --set    before    environment    before    file    before    default

and every value keeps where it came from. A key that nobody knows is an error, because a misspelt one would otherwise be
a default that nobody notices. Credentials have no place in such a file: it is made to be passed on.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticOmit

from barwise.config import (
    ExecutionConfig,
    MarketChoice,
    OptimizationConfig,
    Parameters,
    WalkForwardConfig,
    without_passwords,
)
from barwise.data.files import write_atomically
from barwise.errors import ConfigError, did_you_mean
from barwise.pipeline import RunSettings, choose_rules
from barwise.prepare import order_quantity
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

SECTIONS: Mapping[str, str] = {
    "market": "what to test, and how much of it",
    "strategy": "with which rules",
    "execution": "what the account and the venue allow and cost",
    "optimization": "how the parameters are searched",
    "walk_forward": "the windows: search in the past, trade what came after",
    "validation": "the tests behind the verdict",
}
VARIABLE_PREFIX = "BARWISE_"
ENDING = ".config.toml"

_CLASS = "class"
_DEFAULT_CLASS = f"{EmaRsiAtr.__module__}:{EmaRsiAtr.__name__}"
_NONE = "none"
_NOTHING = {"", _NONE, "null"}
# Where a file has another notation than Python: a schedule by its name, a table for pairs.
_WRITTEN: Mapping[tuple[str, str], tuple[Any, Any]] = {
    ("execution", "fees"): (str | None, None),
    ("optimization", "ranges"): (dict[str, tuple[float, float]], {}),
}
# What a key is called in a file, where the settings of a run have a longer name.
_SHORT = {"candle_file": "file"}
_MARKET_HELP = {
    "exchange": "venue, such as BINANCE; none = SAMPLE",
    "symbol": "such as BTCUSDT; none = SAMPLE-BTC",
    "timeframe": "1M (a minute) 5M 15M 30M 1H 2H 4H 1D 1W; none = 1H",
    "start": "first bar, such as 2025-01-01",
    "end": "bars open before it: the end is exclusive",
    "quantity": "of every entry, in base units; none = 0.1, one share in India",
    "file": "candles of a Parquet or CSV file, not the store",
    "detail": "fill in finer candles of the same market, such as 5M",
    "detail_file": "those finer candles as a file",
    "funding_file": "funding settlements of a perpetual, as a file",
    "markets": "several of them: [{exchange, symbol, timeframe, quantity, file}, ...]; open = as above",
}
_TELLING = re.compile(
    r"api[_-]?key|secret|token|passw|passphrase|client[_-]?id|private[_-]?key|credential|totp", re.IGNORECASE
)


_HEAD = """\
# Settings of barwise. Take the # off a line to change its value; what stays a comment is the default.
# Before this file come options and --set, then BARWISE_SECTION__KEY variables. "none" = off, or left open.
# Credentials do not belong here but into config/.env.
"""


class ValidationSettings(Parameters):
    """What a verdict is based on, besides the search and the windows."""

    permutations: int | None = Field(
        default=None, ge=0, description="shuffled markets, at most; 0 = no such test; none = 39, 99, 199 by profile"
    )


class _Market(Parameters):
    # A quantity that is no number is refused in the words of the backtest.
    model_config = ConfigDict(allow_inf_nan=True)


def _market_settings() -> type[Parameters]:
    """The settings of a run that say what to test, as a checked section."""
    kinds = get_type_hints(RunSettings)
    names = {field.name: _SHORT.get(field.name, field.name) for field in fields(RunSettings)}
    declared: dict[str, Any] = {
        names[field.name]: (
            kinds[field.name],
            Field(default=field.default, description=_MARKET_HELP[names[field.name]]),
        )
        for field in fields(RunSettings)
        if names[field.name] in _MARKET_HELP
    }
    return create_model("Market", __base__=_Market, **declared)


MarketSettings = _market_settings()
_KINDS: Mapping[str, type[Parameters]] = {
    "market": MarketSettings,
    "execution": ExecutionConfig,
    "optimization": OptimizationConfig,
    "walk_forward": WalkForwardConfig,
    "validation": ValidationSettings,
}


class Key(NamedTuple):
    """One key of a section: its type, its default and one line for people."""

    kind: Any
    default: Any
    help: str


@dataclass(frozen=True, eq=False)
class RunConfig:
    """Everything a run was told, checked, with where each value came from.

    Attributes:
        settings: As the stages of the main job take them.
        strategy, execution, optimization, walk_forward, validation: The sections as the parts of the package take them.
        values: Every key of every section in plain TOML types; None where a value is off or open.
        sources: "default", "file", "environment", "--set" or "option", for every key.
    """

    settings: RunSettings
    strategy: Strategy
    execution: ExecutionConfig
    optimization: OptimizationConfig
    walk_forward: WalkForwardConfig
    validation: ValidationSettings
    values: Mapping[str, Mapping[str, Any]]
    sources: Mapping[str, Mapping[str, str]]

    def to_toml(self) -> str:
        """The whole configuration as a file that means the same, each line with where its value came from."""
        parts = []
        for section, values in self.values.items():
            lines = [
                (f"{_bare(key)} = {toml_value(value)}", self.sources[section][key]) for key, value in values.items()
            ]
            parts.append(f"[{section}]\n{_commented(lines)}")
        return "\n".join(parts)

    def save_beside(self, report: Path) -> Path:
        """Write it beside a report, under the report's name.

        Raises:
            DataError: The file cannot be written.
        """
        return write_atomically(report.with_name(report.stem + ENDING), self.to_toml())


@dataclass(frozen=True)
class _Given:
    """One value that somebody gave.

    Attributes:
        section, key: Where it belongs; section "" where only the key was said.
        value: As it came: of a TOML type, or text.
        source: In a word.
        place: How a message names it, "" where the key alone is clear enough.
    """

    section: str
    key: str
    value: Any
    source: str
    place: str


def resolve(
    file: Path | None = None,
    *,
    environment: Mapping[str, str],
    load: Callable[[str], type[Strategy]],
    load_function: Callable[[str], Callable[..., Any]] | None = None,
    settings: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunConfig:
    """Everything a run is told, from all places.

    Args:
        file: The TOML file, or None.
        environment: Its BARWISE_SECTION__KEY variables are read; an empty one counts as not set.
        load: The class that a text such as `breakout.py:Breakout` names.
        load_function: The function that an objective such as `goals.py:calm` names; None = no objective may name one.
        settings: Texts by key, as --set takes them: SECTION.KEY, or the bare name of a parameter of the strategy or of
            an execution setting.
        options: Values by section and key that other options gave; None values count as not given.
        defaults: Defaults by section and key that a command has instead of those of the classes.

    Raises:
        ConfigError: The file cannot be read, a section or key is unknown, or a value is impossible.
    """
    given = [
        *_of_options(defaults or {}, "default"),
        *_of_file(file),
        *_of_environment(environment),
        *_of_settings(settings or {}),
        *_of_options(options or {}),
    ]
    reference, strategy = _chosen_class(given, load)
    given = [_in_its_section(value, strategy) for value in given]
    for value in given:
        _require_known(value, strategy)
    chosen = {(value.section, value.key): value for value in given}
    found: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for value in chosen.values():
        found[value.section][value.key] = _plain(value)
    # Windows that do not overlap, unless somebody wants them to.
    if "oos_length_days" in found["walk_forward"]:
        found["walk_forward"].setdefault("stride_days", found["walk_forward"]["oos_length_days"])
    with _placed(chosen, file, {"Market": "market", MarketChoice.__name__: "market"}, ("market", "quantity")):
        market = MarketSettings(**found["market"])
        run = RunSettings(**{name: getattr(market, _SHORT.get(name, name)) for name in _market_names()})
        if run.quantity is not None:
            order_quantity(run.quantity, 0.0)
    # The stages know one name for one value, whatever section it came from.
    both = found["strategy"] | found["execution"]
    texts = {key: _text(value) for key, value in both.items() if key != _CLASS}
    run = replace(run, strategy=strategy, values=texts)
    owners = {strategy.__name__: "strategy", ExecutionConfig.__name__: "execution"}
    with _placed(chosen, file, owners, ("execution", "fees")):
        rules = choose_rules(run)
    owners = {_KINDS[section].__name__: section for section in ("optimization", "walk_forward", "validation")}
    with _placed(chosen, file, owners, ("optimization", "objective")):
        optimization = OptimizationConfig(**found["optimization"])
        optimization = _with_functions(optimization, load_function)
        walk_forward = WalkForwardConfig(**found["walk_forward"])
        validation = ValidationSettings(**found["validation"])
    plain = {
        "market": market.to_dict() | {"markets": [_said(choice) for choice in run.markets]},
        "strategy": {_CLASS: reference, **rules.strategy.to_dict()},
        "execution": rules.execution.to_dict() | {"fees": found["execution"].get("fees")},
        "optimization": _as_written(optimization, found["optimization"]),
        "walk_forward": walk_forward.to_dict(),
        "validation": validation.to_dict(),
    }
    values = {section: {key: plain[section][key] for key in keys_of(section, strategy)} for section in SECTIONS}
    sources = {
        section: {
            key: chosen[section, key].source if (section, key) in chosen else "default" for key in values[section]
        }
        for section in SECTIONS
    }
    return RunConfig(
        run, rules.strategy, rules.execution, optimization, walk_forward, validation, values, sources
    )  # fmt: skip


def keys_of(section: str, strategy: type[Strategy] = EmaRsiAtr) -> dict[str, Key]:
    """The keys of a section in the order of a file; those of [strategy] are the parameters of the class."""
    keys: dict[str, Key] = {}
    kind = strategy if section == "strategy" else _KINDS[section]
    names: Iterable[str] = kind.model_fields
    if section == "strategy":
        keys[_CLASS] = Key(str, _DEFAULT_CLASS, "FILE.py:CLASS or MODULE:CLASS; its parameters are the other keys here")
        names = dict.fromkeys([*strategy.signal_parameters(), *strategy.model_fields])
    for name in names:
        field = kind.model_fields[name]
        written, default = _WRITTEN.get((section, name), (field.annotation, field.default))
        keys[name] = Key(written, default, (field.description or "").replace("None =", f"{_NONE} ="))
    return keys


# -- Where values come from --------------------------------------------------------------------------------------------


def _of_file(file: Path | None) -> Iterator[_Given]:
    if file is None:
        return
    for section, content in _read(file).items():
        if section not in SECTIONS:
            _refuse_credentials(f"{file}: ", section, content)
            owners = [owner for owner in SECTIONS if section in keys_of(owner)]
            if owners and not isinstance(content, dict):
                raise ConfigError(
                    f"{file}: {section} stands outside of its section.",
                    hint=f"put it below [{owners[0]}].",
                )
            raise ConfigError(
                f"{file}: {section} is not a section.{did_you_mean(section, SECTIONS)}",
                hint=f"the sections are {', '.join(SECTIONS)}.",
            )
        if not isinstance(content, dict):
            raise ConfigError(
                f"{file}: {section} must be a section; got {content!r}.",
                hint=f"write [{section}] on a line of its own, and its keys below.",
            )
        for key, value in content.items():
            yield _Given(section, key, value, "file", f"{file}: [{section}] ")


def _read(file: Path) -> dict[str, Any]:
    """The content of a TOML file; a byte order mark, which some editors write, is no part of it."""
    text = ""
    try:
        # With a last line end, a mistake in the last line has a place like any other.
        text = file.read_bytes().decode("utf-8-sig") + "\n"
        return tomllib.loads(text)
    except OSError as error:
        near = [other.name for other in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        if isinstance(error, FileNotFoundError):
            raise ConfigError(
                f"there is no file {file}.{did_you_mean(file.name, near)}",
                hint="barwise config init writes one with every key and its default.",
            ) from None
        raise ConfigError(f"{file} cannot be read: {error.strerror}.", hint="give a TOML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not TOML: byte {error.start} is not UTF-8.", hint="save it as UTF-8 text."
        ) from None
    except tomllib.TOMLDecodeError as error:
        place = str(error).replace("at end of document", f"at the end, line {len(text.splitlines())}")
        raise ConfigError(
            f"{file} is not TOML: {place}.",
            hint='a line is a [section] or key = value; text stands in quotes: symbol = "BTCUSDT".',
        ) from None


def _of_environment(environment: Mapping[str, str]) -> Iterator[_Given]:
    for name, text in sorted(environment.items()):
        section, separator, key = name.removeprefix(VARIABLE_PREFIX).lower().partition("__")
        if not name.startswith(VARIABLE_PREFIX) or not separator or not text.strip():
            continue
        _require_section(section, key, f"{name}: ", f"{VARIABLE_PREFIX}SECTION__KEY names one")
        yield _Given(section, key, text, "environment", f"{name}: ")


def _of_settings(settings: Mapping[str, str]) -> Iterator[_Given]:
    for name, text in settings.items():
        section, dot, key = name.partition(".")
        if not dot:
            yield _Given("", name, text, "--set", "")
            continue
        _require_section(section, key, f"--set {name}: ", "--set SECTION.KEY=VALUE names one")
        yield _Given(section, key, text, "--set", f"--set {name}: ")


def _of_options(options: Mapping[str, Mapping[str, Any]], source: str = "option") -> Iterator[_Given]:
    for section, values in options.items():
        for key, value in values.items():
            if value is not None:
                yield _Given(section, key, value, source, "")


def _chosen_class(given: Iterable[_Given], load: Callable[[str], type[Strategy]]) -> tuple[str, type[Strategy]]:
    """The strategy's class and how it was named: it has to be known first, because it says which keys there are."""
    named = [value for value in given if (value.section, value.key) == ("strategy", _CLASS)]
    if not named:
        return _DEFAULT_CLASS, EmaRsiAtr
    reference, place = named[-1].value, named[-1].place
    if not isinstance(reference, str):
        raise ConfigError(
            f"{place}class must be a text; got {reference!r}.", hint='for example class = "breakout.py:Breakout".'
        )
    try:
        return reference, load(reference)
    except ConfigError as error:
        raise ConfigError(f"{place}{error.message}", hint=error.hint) from error


def _in_its_section(value: _Given, strategy: type[Strategy]) -> _Given:
    """A value that was given by its key alone, with the section that has such a key."""
    if value.section:
        return value
    if value.key in strategy.model_fields:
        return _Given("strategy", value.key, value.value, value.source, value.place)
    if value.key in ExecutionConfig.model_fields:
        return _Given("execution", value.key, value.value, value.source, value.place)
    for section in SECTIONS:
        if value.key in keys_of(section, strategy):
            raise ConfigError(
                f"{value.key} is a key of [{section}], and only parameters of the strategy and execution "
                "settings go by their bare names.",
                hint=f"write --set {section}.{value.key}={value.value}.",
            )
    # The stage that knows the strategy has the sentence for an unknown name.
    choose_rules(RunSettings(strategy=strategy, values={value.key: ""}))
    raise AssertionError(value.key)


# -- Checks ------------------------------------------------------------------------------------------------------------


def _require_section(section: str, key: str, place: str, how: str) -> None:
    if section not in SECTIONS:
        _refuse_credentials(place, section, {key: ""})
        raise ConfigError(
            f"{place}{section} is not a section.{did_you_mean(section, SECTIONS)}",
            hint=f"{how}; the sections are {', '.join(SECTIONS)}.",
        )


def _refuse_credentials(place: str, name: str, content: Any) -> None:
    """Refuse what looks like a credential, without its value."""
    names = [name, *(content if isinstance(content, dict) else ())]
    for word in names:
        if _TELLING.search(word):
            raise ConfigError(
                f"{place}{word} looks like a credential, and settings hold none.",
                hint="put it into config/.env, which is never passed on; config/.env.example has the names.",
            )


def _require_known(value: _Given, strategy: type[Strategy]) -> None:
    """Check that there is such a key, and that a value of a file has its type: there, 20 is a number and "20" is not.

    Raises:
        ConfigError: There is not, or it has not.
    """
    keys = keys_of(value.section, strategy)
    if value.key not in keys:
        _refuse_credentials(value.place, value.key, value.value)
        elsewhere = [section for section in SECTIONS if value.key in keys_of(section, strategy)]
        guess = f" It belongs to [{elsewhere[0]}]." if elsewhere else did_you_mean(value.key, keys)
        raise ConfigError(
            f"{value.place.removesuffix(f'[{value.section}] ')}{value.key} is not a key of [{value.section}].{guess}",
            hint=f"its keys are {', '.join(keys)}.",
        )
    if value.source == "file":
        _require_type(value, keys[value.key])


def _require_type(value: _Given, key: Key) -> None:
    plain = _plain_value(value.value)
    if plain is None:
        return  # whether it may be open, the section itself knows
    if value.key == "storage" and isinstance(plain, str) and without_passwords(plain) != plain:
        raise ConfigError(
            f"{value.place}storage has a password in it, and settings hold none.",
            hint="leave it out and set PGPASSWORD, or use BARWISE_OPTIMIZATION__STORAGE or --storage.",
        )
    # A time of day, which TOML has and no key takes, is given as what no key takes.
    content = json.dumps(plain, default=lambda _: {})
    try:
        TypeAdapter(key.kind, config=ConfigDict(arbitrary_types_allowed=True)).validate_json(content, strict=True)
    except ValidationError as error:
        # Of the types a value may have, the first that is named is the usual one.
        finding = error.errors(include_url=False)[0]
        within = finding.get("ctx", {}).get("error")
        if isinstance(within, ConfigError):  # one of several markets has its own sentence
            number = int(finding["loc"][0]) + 1
            message = within.message.removeprefix(f"{MarketChoice.__name__}: ")
            message = message.replace(f"a parameter of {MarketChoice.__name__}", "a key of a market")
            raise ConfigError(f"{value.place}{value.key}, number {number}: {message}", hint=within.hint) from None
        said = finding["msg"]
        wanted = said.removeprefix("Input should be ")
        raise ConfigError(
            f"{value.place}{value.key} must be {wanted if wanted != said else f'of its type ({said.lower()})'}; "
            f"got {value.value!r}.",
            hint=f"the default is {toml_value(_jsonable(key.default))}.",
        ) from None


@contextmanager
def _placed(
    chosen: Mapping[tuple[str, str], _Given],
    file: Path | None,
    owners: Mapping[str, str],
    otherwise: tuple[str, str] = ("", ""),
) -> Iterator[None]:
    """Name the file and the section, or the variable, in an error that only knows the class and the key.

    Args:
        chosen: What was given, by section and key.
        file: The file of settings.
        owners: The section of each class that may raise.
        otherwise: Section and key that an error is about which names no class.
    """
    try:
        yield
    except ConfigError as error:
        owner, _, rest = error.message.partition(": ")
        if owner in owners:
            section, message = owners[owner], rest
            word = re.match(r"\w+", rest)
            key = word.group() if word else ""
        else:
            (section, key), message = otherwise, f"{otherwise[1]}: {error.message}"
        value = chosen.get((section, key))
        place = value.place if value is not None else ""
        if value is None and any(other.section == section and other.source == "file" for other in chosen.values()):
            place = f"{file}: [{section}] "  # a rule between several keys
        if not place:
            raise
        raise ConfigError(f"{place}{message}", hint=error.hint) from error


# -- Values ------------------------------------------------------------------------------------------------------------


def _plain(value: _Given) -> Any:
    """A value as its class takes it; text from outside a file may be a TOML list or table."""
    plain = _plain_value(value.value)
    if value.key == "storage" and isinstance(value.value, str) and not value.value.strip():
        raise ConfigError(
            f"{value.place}storage must name a ledger; got an empty text.",
            hint="a file or a database URL; leave it out for data/ledger.sqlite.",
        )
    if value.source not in {"file", "option"} and isinstance(plain, str) and plain[:1] in {"[", "{"}:
        try:
            return tomllib.loads(f"value = {plain}")["value"]
        except tomllib.TOMLDecodeError:
            raise ConfigError(
                f"{value.place}{value.key} must be a list or a table as in TOML; got {plain!r}.",
                hint='for example ["ema_fast", "ema_slow"] or {ema_fast = [5, 40]}.',
            ) from None
    return plain


def _plain_value(value: Any) -> Any:
    """None for its word, and a date in the words that the settings of a run take."""
    if isinstance(value, str):
        return None if value.strip().lower() in _NOTHING else value.strip()
    return value.isoformat() if isinstance(value, date) else value


def _text(value: Any) -> str:
    if value is None:
        return _NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


def _jsonable(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value


def _with_functions(
    optimization: OptimizationConfig, load: Callable[[str], Callable[..., Any]] | None
) -> OptimizationConfig:
    """The settings with the functions that objectives such as `goals.py:calm` name in the place of their names.

    Raises:
        ConfigError: There is no such function, or none may be named.
    """

    def loaded(name: Any) -> Any:
        if not isinstance(name, str) or ":" not in name:
            return name
        if load is None:
            raise ConfigError(
                f"an objective of your own is not taken here; got {name}.", hint="give it on the command line."
            )
        return load(name)

    objective = optimization.objective
    found = tuple(map(loaded, objective)) if isinstance(objective, tuple) else loaded(objective)
    return optimization if found == objective else optimization.replace(objective=found)


def _as_written(optimization: OptimizationConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """The section as a file has it: ranges as a table, functions by their files, the ledger without its password."""
    return optimization.to_dict() | {
        "ranges": dict(optimization.ranges),
        "objective": _jsonable(given.get("objective", optimization.objective)),
    }


def _said(choice: MarketChoice) -> dict[str, Any]:
    """A market of several, without what it leaves open."""
    return {name: value for name, value in choice.to_dict().items() if value is not None}


def _market_names() -> list[str]:
    return [field.name for field in fields(RunSettings) if _SHORT.get(field.name, field.name) in _MARKET_HELP]


# -- Texts -------------------------------------------------------------------------------------------------------------


def example(strategy: type[Strategy] = EmaRsiAtr, reference: str | None = None) -> str:
    """A file with every key as a comment, its default as the value and a line on what it is.

    Args:
        strategy: Whose parameters [strategy] has.
        reference: How the file names this class; None = it is the default and stays a comment.
    """
    parts = [_HEAD]
    for section, about in SECTIONS.items():
        lines = []
        for key, (kind, default, text) in keys_of(section, strategy).items():
            value, mark = _jsonable(default), "#"
            if key == _CLASS and reference is not None:
                value, mark = reference, ""
            among = "" if ":" in text else _among(kind)
            lines.append(
                (f"{mark}{_bare(key)} = {toml_value(value)}", "; ".join(word for word in (text, among) if word))
            )
        parts.append(f"[{section}]  # {about}\n{_commented(lines)}")
    return "\n".join(parts)


def schema(strategy: type[Strategy] = EmaRsiAtr) -> dict[str, Any]:
    """The JSON schema of a file, for editors and programs: sections, keys, types, bounds, defaults."""
    sections: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for section, about in SECTIONS.items():
        declared: dict[str, Any] = {}
        kind = strategy if section == "strategy" else _KINDS[section]
        for name, key in keys_of(section, strategy).items():
            if name != _CLASS:
                field = copy(kind.model_fields[name])
                field.default, field.description = key.default, key.help
                declared[name] = (key.kind, field)
        model: type[Parameters] = create_model(section, __base__=Parameters, **declared)
        made = model.model_json_schema(schema_generator=_FileSchema)
        definitions |= _without_null(made.pop("$defs", {}))
        if section == "strategy":
            about_class = keys_of(section)[_CLASS].help
            named = {"type": "string", "default": _DEFAULT_CLASS, "description": about_class}
            made["properties"] = {_CLASS: named, **made["properties"]}
        sections[section] = _without_null(made) | {"description": about, "title": section}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of barwise",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "$defs": definitions,
    }


class _FileSchema(GenerateJsonSchema):
    """What a file can hold; types that only Python has are left out of the choices."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
        raise PydanticOmit


def _without_null(content: Any) -> Any:
    """TOML has no null; a file says "none"."""
    if isinstance(content, list):
        return [_without_null(item) for item in content]
    if not isinstance(content, dict):
        return content
    if content == {"type": "null"}:
        return {"const": _NONE}
    return {
        key: _NONE if key == "default" and value is None else _without_null(value) for key, value in content.items()
    }


def toml_value(value: Any) -> str:
    """A value in the notation of TOML; None is the text "none"."""
    if value is None:
        return f'"{_NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_bare(str(key))} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    # The escapes of JSON are those of TOML, but for one control character that JSON lets stand.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _among(kind: Any) -> str:
    """The words that a key may be one of, for those that have such."""
    if get_origin(kind) is Literal:
        return " ".join(map(str, get_args(kind)))
    return " ".join(str(item.value) for item in kind) if isinstance(kind, type) and issubclass(kind, Enum) else ""


def _commented(lines: Iterable[tuple[str, str]]) -> str:
    """Lines with their comments one below the other."""
    rows = list(lines)
    width = min(max((len(line) for line, _ in rows), default=0), 48)
    return "".join(f"{line:<{width}}  # {comment}".rstrip("# ") + "\n" for line, comment in rows)
