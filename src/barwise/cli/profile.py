"""`barwise profile`: what this computer is, how fast it backtests, and how long an optimization will take on it."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from barwise.hardware import Hardware, HardwareProfile, Timing

logger = logging.getLogger(__name__)

# A quarter of hourly bars, and six years of them.
_BARS = (2_136, 52_560)
_SAMPLERS = ("TPE", "AUTO")


def profile(
    bars: Annotated[
        list[int] | None,
        typer.Option("--bars", metavar="NUMBER", min=1, help="Estimate for data of so many bars; repeatable."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure even where a profile is stored.")] = False,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Time this computer with the real kernel, choose threads and batch size, and estimate optimizations.

    The profile is kept in data/hardware_profile.json and used until the computer or a version changes.
    """
    session = Session.begin(home, json, quiet)
    settings_of("profile", settings, {})
    from barwise.hardware import BUSY, FILE_NAME, load_profile, measure_hardware, save_profile

    path = session.home / "data" / FILE_NAME
    found = None if again else load_profile(path)
    stored = found is not None
    if found is None:
        logger.info("timing this computer; that takes some 15 seconds")
        found = measure_hardware(folder=path.parent)
        save_profile(found, path)
    if found.busy is not None and found.busy > BUSY:
        logger.warning(
            "other programs kept %.0f %% of the cores busy when this was timed: times and estimates may be too long. "
            "Run barwise profile --again when they are done.",
            100.0 * min(1.0, found.busy),
        )
    lengths = tuple(bars or _BARS)
    session.document(
        {"file": str(path), "stored": stored, "profile": _content(found), "estimates": list(_estimates(found, lengths))}
    )
    if session.speaks:
        _print(session, found, lengths)
        session.say(f" {'kept from before' if stored else 'written'}: {shown_path(path)}")


def _content(found: "HardwareProfile") -> Any:
    from dataclasses import asdict

    return asdict(found)


def _estimates(found: "HardwareProfile", lengths: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    from barwise.config import OptimizationConfig, OptimizationProfile
    from barwise.hardware import estimate_of

    for bars in lengths:
        for sampler in _SAMPLERS:
            for search in OptimizationProfile:
                estimate = estimate_of(found, OptimizationConfig(profile=search, optuna_sampler=sampler), bars=bars)
                yield {
                    "bars": bars,
                    "sampler": sampler,
                    "profile": search.value,
                    "seconds": estimate.seconds,
                    **{f"{part}_seconds": value for part, value in estimate._asdict().items()},
                }


def _print(session: Session, found: "HardwareProfile", lengths: tuple[int, ...]) -> None:
    from rich.padding import Padding

    console = session.console()
    for part in (_machine(found), _threads(found), _batches(found), _chosen(found), _searches(found, lengths)):
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)
    loading = ", ".join(f"{name} {_time(seconds)}" for name, seconds in found.loading_seconds.items())
    session.say(f" Once per process, part of every estimate, for loading: {loading}.")


def _machine(found: "HardwareProfile") -> "RenderableType":
    from rich.table import Table

    hardware = found.hardware
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="bold", width=10)
    table.add_column()
    versions = ", ".join(f"{name} {number}" for name, number in hardware.versions.items() if name != "core")
    for label, text in (
        ("Processor", f"{hardware.processor}, {hardware.cores_usable} of {hardware.cores_total} cores usable"),
        ("Vectors", " ".join(hardware.instruction_sets) or "none"),
        ("Memory", _memory(hardware, found.memory_available)),
        ("Card", _card(hardware)),
        ("Versions", versions),
        ("Timed", f"{found.measured_at.replace('T', ' ').removesuffix('+00:00')} UTC on SAMPLE candles (SYNTHETIC)"),
    ):
        table.add_row(label, text)
    return table


def _memory(hardware: "Hardware", available: int | None) -> str:
    if hardware.memory_total is None:
        return "not known on this system"
    free = "" if available is None else f", {available / 2**30:.1f} GiB available"
    return f"{hardware.memory_total / 2**30:.1f} GiB{free}"


def _card(hardware: "Hardware") -> str:
    if hardware.card is None:
        return f"none: {hardware.no_card}"
    return f"{hardware.card.name}, {hardware.card.memory / 2**30:.1f} GiB"


def _threads(found: "HardwareProfile") -> "RenderableType":
    first = found.thread_speeds[0]
    table = _plain_table(f"Kernel, ns per bar and row ({first.rows:,} rows, {first.bars:,} bars)")
    for name in ("threads", "ns", "fastest .. slowest", "backtests per s", "speed-up"):
        table.add_column(name, justify="right")
    for speed in (*found.thread_speeds, *found.card_speeds):
        unit = speed.rows * speed.bars / 1e9
        table.add_row(
            str(speed.threads) if speed.threads else f"card, {speed.rows:,} rows",
            f"{speed.nanoseconds:.2f}",
            _spread(speed.kernel, unit),
            f"{1e9 / speed.nanoseconds / speed.bars:,.0f}",
            f"{first.nanoseconds / speed.nanoseconds:.2f}",
        )
    return table


def _batches(found: "HardwareProfile") -> "RenderableType":
    table = _plain_table(f"Plans and kernel, {found.threads} threads, ns per bar and row")
    lengths = sorted({speed.bars for speed in found.batch_speeds})
    table.add_column("rows at a time", justify="right")
    for bars in lengths:
        table.add_column(f"{bars:,} bars", justify="right")
        table.add_column("of which plans", justify="right")
    for rows in sorted({speed.rows for speed in found.batch_speeds}):
        cells = []
        for bars in lengths:
            speed = next(one for one in found.batch_speeds if (one.rows, one.bars) == (rows, bars))
            cells += [f"{speed.nanoseconds:.2f}", f"{speed.planning.median / rows / bars * 1e9:.2f}"]
        table.add_row(f"{rows:,}", *cells)
    return table


def _chosen(found: "HardwareProfile") -> "RenderableType":
    from rich.text import Text

    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    why = ""
    if found.card_speeds:
        fewest = found.card_wins_from
        why = " (the card is slower)" if fewest is None else f" from {fewest:,} rows on"
    line = Text("Chosen     ", "bold")
    line.append(f"{threads}, {found.batch_size:,} rows at a time, backend {found.backend}{why}", "")
    return line


def _searches(found: "HardwareProfile", lengths: tuple[int, ...]) -> "RenderableType":
    table = _plain_table("Time of an optimization (of it the sampler's own)")
    table.add_column("")
    for bars in lengths:
        for sampler in _SAMPLERS:
            table.add_column(f"{bars:,} bars\n{sampler}", justify="right")
    rows: dict[str, list[str]] = {}
    for one in _estimates(found, lengths):
        cell = f"{_time(one['seconds'])} ({_time(one['sampler_seconds'])})"
        rows.setdefault(one["profile"], []).append(cell)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _plain_table(title: str) -> "Table":
    from rich.table import Table

    return Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0),
        header_style="dim",
    )  # fmt: skip


def _spread(timing: "Timing", unit: float) -> str:
    return f"{timing.fastest / unit:.2f} .. {timing.slowest / unit:.2f}"


def _time(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.5 else f"{seconds / 60.0:.1f} min"
