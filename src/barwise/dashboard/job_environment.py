"""What of the dashboard's environment a job is given: what a run needs, and no secret that is none of its business.

A list of what is passed on, not of what is held back: nobody knows the names of all secrets.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import barwise
from barwise.config import without_passwords

_NAMES = frozenset(
    (
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
        "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "BARWISE_LOG",
        "BARWISE_REPLAY_DIR",
    )
)  # fmt: skip
_PREFIXES = ("LC_", "XDG_", "PYTHON", "NUMBA_", "OMP_", "MKL_", "OPENBLAS_", "POLARS_", "RAYON_", "CUDA_", "NVIDIA_")
# Where a ledger on a server may have its password.
STORAGE = "BARWISE_OPTIMIZATION__STORAGE"
_OF_SERVERS = "PG"


def child_environment(
    environment: Mapping[str, str], home: Path, values: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The environment of a job.

    Settings are none of it, because they are in the job's file already. The ledger's address is: a file may not hold
    the password that may be in it.

    Args:
        environment: The dashboard's.
        home: The home folder.
        values: The settings of the run: keys and addresses are passed on of the venues that it asks.
    """
    venues = tuple(f"{venue}_" for venue in set(_venues(values)))
    prefixes = (*_PREFIXES, *venues)
    found = {name: value for name, value in environment.items() if name.upper() in _NAMES or name.startswith(prefixes)}
    storage = environment.get(STORAGE)
    # A run that is resumed knows the same address without its password.
    if storage and values.get("optimization", {}).get("storage") in {None, without_passwords(storage)}:
        found[STORAGE] = storage
        if "://" in storage:
            found |= {name: value for name, value in environment.items() if name.startswith(_OF_SERVERS)}
    # The same code as the dashboard's, wherever that came from.
    places = [str(Path(barwise.__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
    return found | {"PYTHONPATH": os.pathsep.join(places), "BARWISE_HOME": str(home)}


def _venues(values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The first word of every venue that is named: BINANCE and BINANCE_UM have the same keys."""
    market = values.get("market", {})
    for one in (market, *(market.get("markets") or ())):
        name = str(one.get("exchange") or "").strip().upper()
        word = name.replace(":", "_").partition("_")[0]
        if word:
            yield word
