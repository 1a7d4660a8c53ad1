"""Flat API: the dashboard, as a WSGI application or served at once. See docs/dashboard.md."""

import sys
from collections.abc import Sequence

from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig

__all__ = ["DashboardConfig", "create_app", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the dashboard until Ctrl-C, as `barwise dashboard` does.

    Args:
        arguments: Its options; by default the words after the program's name.

    Returns:
        The exit code.
    """
    from barwise.cli import main as barwise

    return barwise(["dashboard", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
