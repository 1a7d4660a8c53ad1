"""The settings that a run was told, so that another can be begun with them: of its trail, or of the file beside it."""

import tomllib
from collections.abc import Mapping
from typing import Any

from barwise.dashboard.errors import NotFound
from barwise.dashboard.results import Results
from barwise.errors import DataError
from barwise.run_config import ENDING, SECTIONS
from barwise.trail import read


def settings_of(results: Results, name: str) -> Mapping[str, Mapping[str, Any]]:
    """Every value by section and key; None where it is none.

    Of a market that was one of several they are those of the whole run: it was begun with all of them.

    Raises:
        NotFound: There is no such run, or it left nothing that says how it was begun.
        DataError, CheckpointError: A file of it is damaged.
    """
    trail = results.trail_path(results.require(name))
    if trail is not None:
        line = next(read(trail, kinds=["configuration"]), None)
        if line is not None:
            return _known(line["sections"])
    file = results.folder / f"{name}{ENDING}"
    if results.is_ours(file):
        try:
            return _known(tomllib.loads(file.read_bytes().decode("utf-8-sig")))
        except (OSError, ValueError) as error:
            raise DataError(f"{file.name} is no file of settings.", hint="begin a new run by hand.") from error
    if results.kind(name) == "multi":
        # One of before such a run had a trail: each of its markets knows the settings of all.
        for market in results.document(name)["markets"]:
            return settings_of(results, str(market["run"]))
    raise NotFound(
        f"nothing says how {name} was begun.", hint="runs of all stages do, and those with a .config.toml beside them."
    )


def _known(sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = {section: values for section, values in sections.items() if section in SECTIONS}
    return {section: {key: _plain(value) for key, value in values.items()} for section, values in found.items()}


def _plain(value: Any) -> Any:
    """The word for none, which TOML has no sign for, as what it means."""
    return None if value == "none" else value
