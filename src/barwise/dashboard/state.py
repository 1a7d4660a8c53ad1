"""What one dashboard knows, from its start to its end; every endpoint finds it through the app that serves it.

There is nothing global: two apps of one process, as tests make them, have nothing in common.
"""

import secrets
from pathlib import Path
from typing import Final

from flask import current_app

from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.live import Live
from barwise.dashboard.results import Results

EXTENSION: Final = "barwise"


class Dashboard:
    """One dashboard.

    Args:
        config: How it is reached, and where its files are.

    Attributes:
        home: The folder of data/ and logs/.
        results: The runs.
        live: What goes on: the streams, and the runs that were started here.
        csrf: What the page sends with everything that changes something; another page cannot read it.
    """

    def __init__(self, config: DashboardConfig) -> None:
        self.config = config
        self.home: Path = config.home
        self.csrf = secrets.token_urlsafe(32)
        self.results = Results(config.home)
        self.live = Live(config.home, max_streams=config.max_streams)

    def close(self) -> None:
        """End the streams and stop watching files; runs that were started here go on."""
        self.live.close()


def dashboard() -> Dashboard:
    """The dashboard that the request now being answered belongs to."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Dashboard)
    return found
