"""What a dashboard is told when it starts, and what it refuses: an address that others reach needs a token.

Checked here and not on the command line, so that a program that makes the app itself is held to the same rules.
"""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from barwise.errors import ConfigError
from barwise.obs import home_folder

_SHORTEST_TOKEN: Final = 16
# What may stand in an Authorization header and in an address without being escaped.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::\d{1,5})?")
_MAKE_ONE: Final = "python3 -c 'import secrets; print(secrets.token_urlsafe(24))' makes one"


@dataclass(frozen=True)
class DashboardConfig:
    """How a dashboard is reached, by whom, and how much it bears.

    Attributes:
        home: The folder of data/ and logs/; nothing outside of it is read or shown. By default BARWISE_HOME, else the
            working directory.
        host: Address to listen on.
        port: 0 = one that is free.
        token: What whoever asks must know; None = nothing, which only an address of this machine may have.
        cors_origins: Pages of other origins that may read the API, such as https://notes.example.org.
        max_body: Most bytes of what is sent to it.
        max_streams: Most live streams at one time.

    Raises:
        ConfigError: A value cannot be, or an address that others reach has no token.
    """

    home: Path = field(default_factory=home_folder)
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    max_body: int = 64 * 1024
    max_streams: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", home_folder(Path(self.home)))
        object.__setattr__(self, "host", self.host.strip("[]").lower())
        if self.home.exists() and not self.home.is_dir():
            raise ConfigError(f"the home folder {self.home} is a file.", hint="give a folder: --home PATH.")
        if self.address is None and not _HOST.fullmatch(self.host):
            raise ConfigError(f"{self.host!r} is no address.", hint="give a name or an IP address, such as 127.0.0.1.")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port {self.port} is not in 0 .. 65535.", hint="8765 is the usual one, 0 a free one.")
        self._check_token()
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"{origin!r} is no origin that a page can have.",
                    hint="write scheme, host and port only, in lower case, such as https://notes.example.org.",
                )
        if not 1024 <= self.max_body <= 16 * 1024 * 1024:
            raise ConfigError(f"max_body is {self.max_body}; 1 KiB to 16 MiB are allowed.", hint="64 KiB is plenty.")
        if not 1 <= self.max_streams <= 1000:
            raise ConfigError(
                f"max_streams is {self.max_streams}; 1 to 1000 are allowed.", hint="each one holds a thread."
            )

    @property
    def address(self) -> str | None:
        """The host where it is an IP address, in its shortest spelling; None for a name."""
        try:
            return str(ip_address(self.host))
        except ValueError:
            return None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it; a name other than localhost may become any address."""
        return self.host == "localhost" if self.address is None else ip_address(self.host).is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return self.address is not None and ip_address(self.host).is_unspecified

    def _check_token(self) -> None:
        if self.token is None:
            if not self.is_local:
                raise ConfigError(
                    f"{self.host} can be reached by others, and no token is set.",
                    hint=f"add a token of {_SHORTEST_TOKEN} characters or more ({_MAKE_ONE}), or stay on 127.0.0.1.",
                )
        elif len(self.token) < _SHORTEST_TOKEN or not _TOKEN.fullmatch(self.token):
            # The token is not in the message: messages are logged.
            raise ConfigError(
                f"the token has {len(self.token)} characters; at least {_SHORTEST_TOKEN} out of letters, digits and "
                "- . _ ~ are needed.",
                hint=f"{_MAKE_ONE}.",
            )
