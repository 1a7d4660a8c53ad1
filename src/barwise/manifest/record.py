"""What a manifest holds, and its file.

Everything that could change a result is in it as a hash or in full: the candles, the configuration, the code, the
libraries. So is what came out: every event in order of time, the equity of every bar, the headline. It names no folder,
no user and no computer: a file is named from the home folder on, and one that lies elsewhere by its name alone.

The manifest of a search (`search_record`) is made of the same pieces.
"""

import base64
import binascii
import hashlib
import json
import platform
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from barwise import __version__
from barwise.core._jit import core_stamp
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.data.files import write_atomically
from barwise.errors import CheckpointError, DataError, did_you_mean
from barwise.optimizer.identity import source_digest
from barwise.result import BacktestResult, Fill, Program, Trade
from barwise.strategy.base import Strategy

Manifest: TypeAlias = Mapping[str, Any]

SCHEMA_VERSION = 1
ENDING = ".manifest.json"
_LIBRARIES = ("numba", "numpy", "polars", "pydantic")
_EVENTS = {"program": Program, "fill": Fill, "trade": Trade}
TIME_OF = {"program": "signal_time", "fill": "time", "trade": "exit_time"}
_HEADLINE = (
    "total_trades", "winning_trades", "win_rate", "net_pnl", "gross_pnl", "fees", "slippage", "funding", "total_return",
    "sharpe_ratio", "sortino_ratio", "max_drawdown", "profit_factor", "expectancy", "final_equity",
)  # fmt: skip
_CONFIGURATION = ("strategy", "execution", "fees", "quantity", "trade_from")
_MADE_FROM: dict[str, tuple[str, ...]] = {
    "inputs": (),
    "configuration": _CONFIGURATION,
    "code": ("barwise", "core", "strategy"),
    "libraries": (),
    "data": ("candles", "detail", "funding"),
    "events": ("fields", "rows"),
}
_SEARCH = _MADE_FROM | {"configuration": (*_CONFIGURATION, "search"), "on_record": (), "backtests": ()}
_BACKTEST = _MADE_FROM | {"equity": ("bars", "values"), "metrics": ()}
# What a file must have to be a manifest at all, by its kind; values are looked at where they are used.
_SECTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "backtest": _BACKTEST,
    "optimization": _SEARCH,
    "walk_forward": _SEARCH,
    "validation": _SEARCH,
    "run": _SEARCH | {"baseline": tuple(_BACKTEST)},
}


@dataclass(frozen=True)
class Origin:
    """How the inputs of a run can be had again.

    Attributes:
        exchange, symbol, timeframe: The market as it was asked for; "" or None where the file says it.
        start, end: Half-open span that was asked for, ms UTC; None where open.
        quantity: Of every order, as asked for.
        candle_file, detail_file, funding_file: As `portable` names them, or None.
        detail: Timeframe of the detail candles, or None.
        strategy: `FILE.py:CLASS` or `module:CLASS`; None for a class that cannot be named.
    """

    exchange: str
    symbol: str
    timeframe: str | None
    start: int | None
    end: int | None
    quantity: float
    candle_file: str | None = None
    detail: str | None = None
    detail_file: str | None = None
    funding_file: str | None = None
    strategy: str | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> "Origin":
        """The origin that a manifest tells.

        Raises:
            CheckpointError: A part of it is missing, unknown or of another type.
        """
        try:
            return cls(**manifest["inputs"])
        except TypeError as error:
            raise CheckpointError(
                f"the manifest does not say how its inputs can be had: {error}.",
                hint="write it anew with the backtest's command.",
            ) from error


def portable(path: Path, home: Path) -> str:
    """A file's path from the home folder on, or its name alone where it lies elsewhere: no folder of a user in it."""
    try:
        return path.expanduser().absolute().relative_to(home).as_posix()
    except ValueError:
        return path.name


def describe_run(
    result: BacktestResult,
    origin: Origin,
    *,
    detail: Candles | None = None,
    funding: Iterable[tuple[int, float]] | None = None,
    written: datetime | None = None,
) -> Manifest:
    """The manifest of one backtest, in plain JSON types.

    Args:
        result: What came out.
        origin: How its inputs can be had again.
        detail, funding: As they were given to the backtest.
        written: When, aware; by default now. The only part that two runs of the same inputs do not share.
    """
    return sealed(
        "backtest",
        origin,
        result.strategy,
        configuration_of(result, origin.quantity),
        data_of(result.candles, detail, funding),
        outcome_of(result),
        written=written,
    )


def sealed(
    kind: str,
    origin: Origin,
    strategy: Strategy,
    configuration: Mapping[str, Any],
    data: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    libraries: Iterable[str] = (),
    written: datetime | None = None,
) -> Manifest:
    """A manifest of its parts, in plain JSON types, with the code and the libraries of now and its digest.

    Args:
        kind: Of the run.
        origin: How its inputs can be had again.
        strategy: Whose code it rests on.
        configuration, data: What the run was made from.
        found: What came out, by the names of its parts.
        libraries: Those it rests on besides the ones of every backtest.
        written: When, aware; by default now.
    """
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "written": (written or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        "inputs": asdict(origin),
        "configuration": configuration,
        "code": {"barwise": __version__, "core": core_stamp(), "strategy": source_digest(type(strategy))},
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in sorted({*_LIBRARIES, *libraries})},
        },
        "data": data,
        **found,
    }
    # Once through JSON, so that a manifest just made and one just read are of the same types.
    content = json.loads(json.dumps(content, allow_nan=False))
    return content | {"digest": digest_of(content)}


def configuration_of(result: BacktestResult, quantity: float) -> dict[str, Any]:
    """The settings of one backtest, the fees as resolved."""
    return {
        "strategy": {"name": type(result.strategy).__name__, "parameters": result.strategy.to_dict()},
        "execution": result.execution.to_dict(),
        "fees": result.fees_schedule.to_dict(),
        "quantity": quantity,
        "trade_from": result.trade_from,
        "seed": None,  # a backtest draws no random numbers
    }


def data_of(candles: Candles, detail: Candles | None, funding: Iterable[tuple[int, float]] | None) -> dict[str, Any]:
    """The hashes of all data of a run."""
    settlements = None if funding is None else [(int(time), float(rate)) for time, rate in funding]
    return {
        "candles": _described(candles),
        "detail": None if detail is None else _described(detail),
        "funding": None
        if settlements is None
        else {"fingerprint": _digest(settlements), "settlements": len(settlements)},
    }


def outcome_of(result: BacktestResult) -> dict[str, Any]:
    """What came out of one backtest: every event, the equity of every bar, the headline."""
    return {
        "events": _events(result),
        "equity": {"bars": result.equity_curve.size, "values": packed(result.equity_curve)},
        "metrics": {
            **{name: plain(getattr(result, name)) for name in _HEADLINE},
            "band": {name: plain(value) for name, value in asdict(result.band).items()},
        },
    }


def digest_of(manifest: Manifest) -> str:
    """Hash of a manifest's content, its own digest left out."""
    return _digest({name: value for name, value in manifest.items() if name != "digest"})


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(candles: Candles) -> dict[str, Any]:
    return {
        "market": candles.label,
        "fingerprint": candles.fingerprint,
        "bars": len(candles),
        "first_ms": int(candles.time[0]),
        "last_ms": int(candles.time[-1]),
        "marks": packed(bar_marks(candles)),
    }


def bar_marks(candles: Candles) -> Any:
    """A hash of 32 bits for each bar, uint32 [bars], to find the first one that has changed.

    The fingerprint tells whether something has changed at all; one changed bar in four thousand million keeps its mark,
    and then a later one is named.
    """
    marks = np.zeros(len(candles), np.uint64)
    for column in (*candles.bars, candles.quote_volume):
        if column is None:
            continue
        # Adding 0 makes -0.0 and 0.0, which are equal, the same bits.
        marks = (marks ^ (column + 0).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        marks ^= marks >> np.uint64(29)
    return (marks >> np.uint64(32)).astype("<u4")


def packed(values: Any) -> str:
    """An array's bytes, compressed, as text; little-endian."""
    ordered = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(ordered.tobytes(), 6)).decode("ascii")


def unpacked(text: Any, dtype: str) -> Any:
    """The inverse of `packed`.

    Raises:
        CheckpointError: The text is not that of an array.
    """
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype)
    except (TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise CheckpointError(
            f"the manifest is damaged: a column of it cannot be unpacked ({error}).",
            hint="take a copy of it, or do the run again.",
        ) from error


def equity_of(manifest: Manifest) -> FloatArray:
    """The equity at each bar's close.

    Raises:
        CheckpointError: It cannot be unpacked.
    """
    values: FloatArray = unpacked(manifest["equity"]["values"], "<f8")
    return values


def _events(result: BacktestResult) -> dict[str, Any]:
    """Programs at their signal, fills, and trades at their exit: rows in order of time, and their fields' names."""
    names = {kind: [field.name for field in fields(of) if field.name != "fills"] for kind, of in _EVENTS.items()}
    names["fill"] = ["program_id", "side", *names["fill"]]
    found: list[tuple[str, dict[str, Any]]] = []
    for program in result.programs:
        found.append(("program", {name: program[name] for name in names["program"]}))
        found += [
            ("fill", {"program_id": program.program_id, "side": program.side, **{n: fill[n] for n in fill.keys()}})  # noqa: SIM118 - a record is no dict
            for fill in program.fills
        ]
    found += [("trade", {name: trade[name] for name in names["trade"]}) for trade in result.trades]
    rank = {kind: place for place, kind in enumerate(names)}
    found.sort(key=lambda event: (event[1][TIME_OF[event[0]]], event[1]["program_id"], rank[event[0]]))
    return {
        "fields": names,
        "rows": [[kind, *(plain(values[name]) for name in names[kind])] for kind, values in found],
    }


def plain(value: Any) -> Any:
    """A value as JSON has it, to the bit; what is no number is its name."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def manifest_path(report: Path) -> Path:
    """Where the manifest of a report lies, by the report's JSON or page."""
    return report.with_name(report.stem + ENDING)


def write_manifest(manifest: Manifest, path: Path) -> Path:
    """Write it, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    return write_atomically(path, json.dumps(manifest, allow_nan=False))


def write_beside(manifest: Manifest, report: Mapping[str, Path | None]) -> Path:
    """Write it beside a report; where it cannot be written, the report is taken away again.

    Args:
        manifest: Of the run that the report is about.
        report: The report's files by name, among them `json`; None where one was not wanted.

    Raises:
        DataError: The file cannot be written.
    """
    place = report["json"]
    assert place is not None
    try:
        return write_manifest(manifest, manifest_path(place))
    except DataError:
        for written in report.values():
            if written is not None:
                with suppress(OSError):
                    written.unlink()
        raise


def find_manifest(run: str | None, home: Path, kind: str | None = "backtest") -> Path:
    """The manifest that a user means.

    Args:
        run: Name of a report, path of a manifest or of a report's JSON or page; None: the newest below the home folder.
        home: The home folder.
        kind: Of the newest: "backtest", "optimization", "validation", "walk_forward", "run"; None = any.

    Raises:
        CheckpointError: There is none.
    """
    folder = home / "data" / "results"
    known = {path.name.removesuffix(ENDING): path for path in folder.glob(f"*{ENDING}")} if folder.is_dir() else {}
    if run is None:
        for path in sorted(known.values(), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
            if kind is None or _kind_of(path) in (kind, None):
                return path
        wanted = "run" if kind is None else kind.replace("_", "-")
        raise CheckpointError(
            f"there is no manifest of a {wanted} in {folder}.", hint="run barwise backtest first, or choose --home."
        )
    given = Path(run).expanduser()
    path = given if given.name.endswith(ENDING) else manifest_path(given)
    for candidate in (path, home / path):
        if candidate.is_file():
            return candidate
    name = given.name.removesuffix(ENDING)
    for candidate_name in (name, Path(name).stem):
        if candidate_name in known:
            return known[candidate_name]
    raise CheckpointError(
        f"there is no manifest of a run {run}.{did_you_mean(name, known)}",
        hint="give the name of a report in data/results, the path of its manifest, or nothing for the newest.",
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        CheckpointError: The file cannot be read, is no manifest, or is of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}.", hint="check the path.") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} is damaged: it is no JSON ({error}).", hint="take a copy of it, or do the run again."
        ) from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(found, int) and found != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path.name} has version {found} of the manifest; this barwise reads version {SCHEMA_VERSION}.",
            hint="verify it with the barwise that wrote it.",
        )
    kind = str(content.get("kind", "backtest")) if isinstance(content, dict) else "backtest"
    if found is not None and kind not in _SECTIONS:
        raise CheckpointError(
            f"{path.name} is the manifest of a {kind}, which this barwise does not know.",
            hint=f"it knows {', '.join(_SECTIONS)}; verify it with the barwise that wrote it.",
        )
    missing = "schema_version" if found is None else _first_missing(content, _SECTIONS[kind])
    if missing:
        raise CheckpointError(
            f"{path.name} is no manifest of a run: it has no {missing}.",
            hint=f"a manifest ends in {ENDING} and lies beside the report.",
        )
    checked: Manifest = content
    return checked


def _kind_of(path: Path) -> str | None:
    """Of which kind a manifest is; None where it cannot be read."""
    try:
        return str(read_manifest(path)["kind"])
    except (CheckpointError, KeyError):
        return None


def _first_missing(content: Mapping[str, Any], sections: Mapping[str, tuple[str, ...]]) -> str:
    """The first part that a manifest needs and this one has not; "" where all are there."""
    for section, names in sections.items():
        part = content.get(section)
        if not isinstance(part, dict):
            return section
        for name in names:
            if name not in part:
                return f"{section}.{name}"
    return ""
