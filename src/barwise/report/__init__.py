"""The report of one backtest: a page in the terminal, an HTML page with charts, and files for other programs.

Everything here reads a `BacktestResult` and computes no result of its own, so that the terminal, the page and the files
can never disagree. Rich and Plotly load when something is printed or drawn, not before.
"""

from barwise.report.files import ReportFiles, write_report
from barwise.report.terminal import print_summary

__all__ = ["ReportFiles", "print_summary", "write_report"]
