"""The files of a run: which there are, and each of them as it lies on the disk.

A file is asked for by what it is, never by a path: the word is looked up among those below, and the path is made of the
name of a run that is there. Files go out in pieces, so a trail of gigabytes takes no memory, and no further than they
reached when they were opened, because a run may be writing.

The report is the only one that a browser shows, and it has scripts. Whoever can write into the home folder, or sends
somebody a report to put there, must not get the rights of the page with it: so it is shown in an origin of its own that
has nothing of the page and can ask nobody anything, whichever scripts are in it.
"""

import io
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from flask import Response, request
from werkzeug.wsgi import FileWrapper

from barwise.dashboard.answer_schemas import COUNT, FLAG, TEXT, TIME, list_of, record
from barwise.dashboard.endpoints import Endpoints
from barwise.dashboard.errors import NotFound
from barwise.dashboard.results import Results
from barwise.dashboard.state import dashboard
from barwise.errors import DataError, did_you_mean
from barwise.manifest import ENDING as MANIFEST
from barwise.trail import ENDING as TRAIL

endpoints = Endpoints("files")

_REPORT: Final = "report"
_PAGE: Final = ".html"
_PIECE: Final = 64 * 1024
# The policy that a report brings stands in its first lines, and names its two scripts.
_HEAD: Final = 4_096
_HASH: Final = re.compile(rb"sha256-[A-Za-z0-9+/]{43}=")
_MOST_SCRIPTS: Final = 4
_NO_LINK: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
# What all files have in common: nothing is loaded, sent or framed, and no part of the page's origin is theirs.
_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "


class _Sort(NamedTuple):
    """One of the files that a run may have.

    Attributes:
        which: The word that it is asked for by.
        ending: What its name has behind that of the run.
        about: What it is, in plain words.
    """

    which: str
    ending: str
    about: str


_RESULTS: Final = (
    _Sort(_REPORT, _PAGE, "The report: one page with everything in it, to read, print and send."),
    _Sort("document", ".json", "The same results as data, for programs."),
    _Sort("config", ".config.toml", "Every setting as it was resolved; `barwise run` takes this file."),
    _Sort("trail", TRAIL, "The audit trail: every decision of the run, one a line."),
    _Sort("stage5", ".stage5.json", "The baseline backtest with every program, trade and bar."),
    _Sort("stage7", ".stage7.json", "The search: stages, best configuration, neighbours."),
    _Sort("stage8", ".stage8.json", "The verdict: windows, shuffled markets, every test."),
    _Sort("manifest", MANIFEST, "Hashes of all that went in and came out, for `barwise verify`."),
    _Sort("manifest-baseline", f"-baseline{MANIFEST}", "The same of the baseline backtest."),
    _Sort("manifest-optimized", f"-optimized{MANIFEST}", "The same of the optimized backtest."),
)
_EXPORTS: Final = (
    _Sort("comparison", "-comparison.csv", "Every figure of every part side by side, as a table."),
    _Sort("trades", "-trades.csv", "Every trade, as a table."),
    _Sort("fills", "-fills.csv", "Every entry fill, as a table."),
    _Sort("equity", "-equity.csv", "Equity bar by bar, as a table."),
    _Sort("trials", "-trials.csv", "Every trial of the search, as a table."),
    _Sort("windows", "-windows.csv", "Every walk-forward window, as a table."),
    _Sort("markets", "-markets.csv", "Every market with its figures, as a table."),
    _Sort("correlation", "-correlation.csv", "How much the markets move together, as a table."),
    _Sort("portfolio", "-portfolio.csv", "All markets with equal weight day by day, as a table."),
)
_TRADE_LOG: Final = _Sort("trade-log", ".jsonl", "The raw log: programs, fills and trades in order of time.")
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".toml": "application/toml; charset=utf-8",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv; charset=utf-8",
}

FILES: Final = record(
    files=list_of(
        record(
            which={**TEXT, "description": "to ask for it by"},
            name={**TEXT, "description": "what it is called on the disk"},
            about=TEXT,
            bytes=COUNT,
            written_ms=TIME,
            opens={**FLAG, "description": "whether it is a page to look at; else it is downloaded"},
        )
    )
)


@endpoints.get("/runs/<name>/files", "The files of a run that are there, the report first.", answers=FILES)
def listed(name: str) -> dict[str, Any]:
    """What can be had."""
    results = dashboard().results
    return {"files": [_described(sort, path) for sort, path in _found(results, results.require(name))]}


@endpoints.get(
    "/runs/<name>/files/<which>",
    "One of these files as it is, in full or by Range; the report as a page that can do nothing but show itself.",
    answers={"type": "string", "contentMediaType": "*/*"},
)
def one(name: str, which: str) -> Response:
    """A file."""
    results = dashboard().results
    results.require(name)
    if which.endswith(_PAGE):
        name, which = _market(results, name, which), _REPORT
    there = {sort.which: path for sort, path in _found(results, name)}
    if which not in there:
        raise NotFound(
            f"{name} has no file {which[:60]}.{did_you_mean(which[:60], there)}",
            hint=f"GET /api/v1/runs/{name}/files lists those that are there.",
        )
    return _sent(there[which], is_page=which == _REPORT)


# -- Which there are ---------------------------------------------------------------------------------------------------


def _found(results: Results, name: str) -> Iterator[tuple[_Sort, Path]]:
    """The files that are there; a link that leads somewhere else is none."""
    data = results.home / "data"
    for folder, sorts in (("results", _RESULTS), ("exports", _EXPORTS)):
        for sort in sorts:
            path = data / folder / f"{name}{sort.ending}"
            if results.is_ours(path):
                yield sort, path
    logs = data / "raw_logs"
    # By market, which the name of a run does not tell. A name has no letter that glob would read as a pattern.
    for path in sorted(logs.glob(f"*/*/{name}{_TRADE_LOG.ending}"))[:1]:
        if results.is_ours(path, logs):
            yield _TRADE_LOG, path


def _described(sort: _Sort, path: Path) -> dict[str, Any]:
    found = path.stat()
    return {
        "which": sort.which,
        "name": path.name,
        "about": sort.about,
        "bytes": found.st_size,
        "written_ms": found.st_mtime_ns // 1_000_000,
        "opens": sort.which == _REPORT,
    }


def _market(results: Results, name: str, page: str) -> str:
    """The run of one market that the report over all of them links to, by the name of its file.

    Raises:
        NotFound: It has no such market.
    """
    wanted = page.removesuffix(_PAGE)
    if results.kind(name) == "multi" and any(one["run"] == wanted for one in results.document(name)["markets"]):
        return results.require(wanted)
    raise NotFound(
        f"{page[:60]} is no file of {name}.", hint=f"GET /api/v1/runs/{name}/files lists those that are there."
    )


# -- How they go out ---------------------------------------------------------------------------------------------------


class _AsItWas(io.FileIO):
    """A file that ends where it ended when it was opened.

    Attributes:
        found: What the system says of it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self.found = os.fstat(descriptor)

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.found.st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left)) or b""


def _sent(path: Path, *, is_page: bool) -> Response:
    """The answer with a file, or with the part of it that was asked for."""
    file = _opened(path)
    try:
        found = file.found
        answer = Response(FileWrapper(file, _PIECE), content_type=_TYPES[path.suffix], direct_passthrough=True)
        answer.content_length = found.st_size
        answer.set_etag(f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}")
        place = "inline" if is_page else "attachment"
        answer.headers["Content-Disposition"] = f'{place}; filename="{path.name}"'
        answer.headers["Content-Security-Policy"] = _policy(_head_of(file)) if is_page else f"{_NOTHING}sandbox"
        answer.make_conditional(request, accept_ranges=True, complete_length=found.st_size)
    except BaseException:
        file.close()
        raise
    return answer


def _opened(path: Path) -> _AsItWas:
    """The file, if it is still one: what has become a link or a pipe since it was looked up is not opened.

    Raises:
        DataError: It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="check who may read it.") from error
    file = _AsItWas(descriptor)
    if not stat.S_ISREG(file.found.st_mode):
        file.close()
        raise DataError(f"{path.name} is no file.", hint="look at what lies in its folder.")
    return file


def _head_of(file: _AsItWas) -> bytes:
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _policy(head: bytes) -> str:
    """What a report may do in a browser.

    `sandbox` gives it an origin that is nobody's: not the page's storage, not its cookie, nothing of the API. Charts
    need scripts, and saving one as an image is a download; it needs no forms, no windows and no dialogs. Scripts run
    that the report names itself, by their hashes, so one of another version is shown whole; one that names none is
    shown without.
    """
    scripts = sorted(set(_HASH.findall(head)))[:_MOST_SCRIPTS]
    if not scripts:
        return f"{_NOTHING}style-src 'unsafe-inline'; img-src data:; sandbox"
    named = " ".join(f"'{script.decode()}'" for script in scripts)
    return (
        f"{_NOTHING}script-src {named}; style-src 'unsafe-inline'; img-src data: blob:; "
        "sandbox allow-scripts allow-downloads"
    )
