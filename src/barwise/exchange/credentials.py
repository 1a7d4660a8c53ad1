"""What the venues need to know of this computer: addresses and keys, from the environment and from config/.env.

The environment wins over the file. Nothing of the file goes into os.environ, where every child process and every dump
would have it, and every key is known to the log's redaction before anybody else sees it.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from barwise.data.files import write_atomically
from barwise.errors import ConfigError
from barwise.obs import CREDENTIALS, hide, home_folder

ADDRESSES = (
    "BINANCE_BASE_URL",
    "BINANCE_FUTURES_BASE_URL",
    "BINANCE_ARCHIVE_URL",
    "BINANCE_WS_URL",
    "BINANCE_FUTURES_WS_URL",
    "DELTA_BASE_URL",
    "DELTA_WS_URL",
    "ZERODHA_BASE_URL",
    "ZERODHA_WS_URL",
    "DHAN_BASE_URL",
    "DHAN_WS_URL",
    "DHAN_INSTRUMENTS_URL",
)
FOLDERS = ("BARWISE_REPLAY_DIR",)
_FOREIGN_ADDRESS = re.compile(r"CCXT_[A-Z0-9]+_BASE_URL")


class Environment(Mapping[str, str]):
    """Addresses and keys by name; it shows names and never values.

    Two of them are equal where all their values are.
    """

    __slots__ = ("__values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self.__values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self.__values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__values)

    def __len__(self) -> int:
        return len(self.__values)

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these are set."""
        return all(self.__values.get(name, "").strip() for name in names)

    def part(self, prefix: str) -> "Environment":
        """What concerns one venue, and the folders."""
        return Environment(
            {name: value for name, value in self.__values.items() if name.startswith((f"{prefix}_", "BARWISE_"))}
        )

    def __repr__(self) -> str:
        return f"Environment({', '.join(self.__values)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("keys are not copied or stored")


def read_environment() -> Environment:
    """Addresses, keys and the home folder as they are now; empty values count as not set.

    Raises:
        ConfigError: config/.env is there and cannot be read.
    """
    written = _written(home_folder() / "config" / ".env")
    foreign = {name for name in (*os.environ, *written) if _FOREIGN_ADDRESS.fullmatch(name)}
    names = (*CREDENTIALS, *ADDRESSES, *FOLDERS, *sorted(foreign))
    found = {name: os.environ.get(name) or written.get(name) or "" for name in names}
    hide(*(found[name].strip() for name in CREDENTIALS))
    values = {name: value for name, value in found.items() if value.strip()}
    return Environment(values | {"BARWISE_HOME": str(home_folder())})


def write_credential(name: str, value: str) -> Path:
    """Put one credential into config/.env of the home folder, which only its owner may read afterwards.

    The other lines of the file stay as they are; the file is replaced whole or not at all.

    Raises:
        ConfigError: The file is there and cannot be read.
        DataError: It cannot be written.
    """
    hide(value)
    path = home_folder() / "config" / ".env"
    _written(path)  # says what is wrong with a file that is no text
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    kept = [line for line in lines if line.partition("=")[0].removeprefix("export ").strip() != name]
    write_atomically(path, "\n".join([*kept, f"{name}={value}", ""]), mode=0o600)
    return path


def _written(path: Path) -> Mapping[str, str | None]:
    """What the file says; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        # Without interpolation: a secret may have a dollar sign in it.
        return dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}).",
            hint="it is a text file in UTF-8 with one NAME=value a line, readable for you: see config/.env.example.",
        ) from None
