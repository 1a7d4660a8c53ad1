"""The command line `barwise`: options in, pages, JSON and exit codes out; all work is done further down."""

from barwise.cli.app import main

__all__ = ["main"]
