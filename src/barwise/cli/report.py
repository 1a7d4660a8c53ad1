"""`barwise report`: which reports there are, what each of them says in a line, and opening one."""

import json as json_text
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path, table_lines
from barwise.errors import CheckpointError, did_you_mean

logger = logging.getLogger(__name__)

_HEADS = ("written", "kind", "market", "verdict", "name")


def report(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of a report; without one, all of them are listed.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser; without NAME that of the newest.")
    ] = False,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """List the reports of the home folder, newest first, or tell where the files of one are."""
    session = Session.begin(home, json, quiet)
    settings_of("report", settings, {})
    found = _reports(session.home)
    if name is not None:
        wanted = Path(name).name.removesuffix(".html").removesuffix(".json")
        chosen = [report for report in found if report["name"] == wanted]
        if not chosen:
            raise CheckpointError(
                f"there is no report {name}.{did_you_mean(wanted, [report['name'] for report in found])}",
                hint="barwise report lists those that there are.",
            )
        found = chosen
    if show:
        _open(found, session.home)
    session.document({"reports": found})
    if not found:
        session.say("There is no report yet; barwise run makes one.")
    elif name is None:
        for line in table_lines(_HEADS, [[str(report[head] or "") for head in _HEADS] for report in found]):
            session.say(line)
    else:
        for label, value in (*((head, found[0][head]) for head in _HEADS), *found[0]["files"].items()):
            session.say(f" {label:<17}{value or ''}".rstrip())


def _reports(home: Path) -> list[dict[str, Any]]:
    """Every page with its document beside it, newest first; a document that cannot be read is left out with a word."""
    results = home / "data" / "results"
    pages = [page for page in results.glob("*.html") if page.with_suffix(".json").is_file()]
    pages.sort(key=lambda page: (page.stat().st_mtime_ns, page.name), reverse=True)
    found = []
    for page in pages:
        try:
            content = json_text.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
            found.append(_described(page, content, home))
        except (OSError, ValueError, AttributeError, KeyError) as error:
            logger.warning("%s is left out: %s cannot be read (%s).", page.name, page.with_suffix(".json").name, error)
    return found


def _described(page: Path, content: dict[str, Any], home: Path) -> dict[str, Any]:
    market = content.get("market")
    if isinstance(market, dict):
        words = [market.get("exchange"), market.get("symbol"), market.get("timeframe")]
    elif "markets" in content:
        words = [f"{len(content['markets'])} markets"]
    else:  # a single backtest
        words = [content.get("exchange"), content.get("symbol"), content.get("timeframe")]
    verdict = content.get("verdict")
    beside = [
        path for path in page.parent.glob(f"{page.stem}.*") if path.suffix in {".html", ".json", ".toml", ".jsonl"}
    ]
    exports = sorted((home / "data" / "exports").glob(f"{page.stem}-*.csv"))
    return {
        "name": page.stem,
        "kind": content.get("kind", "backtest"),
        "market": " ".join(str(word) for word in words if word),
        "verdict": verdict.get("word") if isinstance(verdict, dict) else verdict,
        "written": content.get("written"),
        "files": {
            path.name.removeprefix(page.stem).lstrip(".-"): shown_path(path) for path in (*sorted(beside), *exports)
        },
    }


def _open(found: list[dict[str, Any]], home: Path) -> None:
    """Open the page of the first.

    Raises:
        CheckpointError: There is none, or no browser.
    """
    import webbrowser

    if not found:
        raise CheckpointError("there is no report to open.", hint="barwise run makes one.")
    page = home / "data" / "results" / f"{found[0]['name']}.html"
    if not webbrowser.open(page.as_uri()):
        raise CheckpointError("no browser could be started.", hint=f"open {page} by hand.")
