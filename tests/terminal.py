"""A terminal in memory, for tests of what is drawn and redrawn."""

import io
import re


class Terminal(io.StringIO):
    """A terminal that keeps what it was sent, and can say what then stands on it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def rows(self) -> list[str]:
        return rows_of(self.getvalue())


def rows_of(sent: str) -> list[str]:
    """The rows of an endless screen after this; only what a redrawn display needs is understood."""
    rows, row, column = [""], 0, 0
    for code, text in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z]|[\r\n])|([^\x1b\r\n]+)", sent):
        if text:
            rows[row] = rows[row].ljust(column)[:column] + text + rows[row][column + len(text) :]
            column += len(text)
        elif code == "\r":
            column = 0
        elif code == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif code.endswith("A"):
            row -= int(code[2:-1] or 1)
            assert row >= 0
        elif code.endswith("K"):
            rows[row] = ""
        else:
            assert code[-1] in "mhl", code
    return "\n".join(rows).rstrip("\n").split("\n")
