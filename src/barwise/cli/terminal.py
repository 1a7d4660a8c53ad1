"""One question on a terminal: the line, its default, its explanation, and what becomes of a bad answer.

Nothing but lines: no cursor keys, no colours, no library for editing. So it is the same on a wide terminal, on a narrow
one, over a slow line and in a test.
"""

import os
import textwrap
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

from barwise.cli.hints import in_options
from barwise.errors import BarwiseError, ConfigError

_UNKNOWN_WIDTH = 80
_LEAST_ROOM = 12  # columns that a list of choices must leave for the answer

T = TypeVar("T")


class Terminal:
    """Lines to read and a screen to write to.

    Args:
        answers: What is typed.
        screen: Where questions go; not stdout, which is for results.

    Attributes:
        ended: The input has ended (Ctrl-D), and defaults are the answers from then on.
    """

    def __init__(self, answers: TextIO, screen: TextIO) -> None:
        self._answers, self._screen = answers, screen
        self.ended = False
        self._greeted = False

    def ask(self, name: str, default: str, check: Callable[[str], T], about: str, choices: Sequence[str] = ()) -> T:
        """One question, until its answer is a good one.

        Args:
            name: What is asked.
            default: The answer of an empty line; "" = `check` gets the empty line.
            check: Makes the value of an answer, or raises what is wrong with it.
            about: What `?` says.
            choices: Shown where the line has room for them, and by `?`.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            BarwiseError: The input has ended and the default is no good answer.
        """
        if not self._greeted:
            self._greeted = True
            self.say("Enter takes what stands in brackets, ? explains, Ctrl-D takes the rest as it stands.")
        prompt = self._prompt(name, default, choices)
        while not self.ended:
            try:
                text = self._line(prompt)
                if text == "?":
                    self.say(f"{about} Choices: {', '.join(choices)}." if choices else about)
                elif not self.ended:
                    return check(text or default)
            except BarwiseError as error:
                self.say(in_options(str(error)))
        return check(default)

    def say(self, text: str) -> None:
        """Lines for people, as wide as the terminal."""
        for line in text.splitlines():
            indent = " " * (2 + len(line) - len(line.lstrip()))
            wrapped = textwrap.wrap(
                line.strip(),
                max(self._width - 1, len(indent) + 8),
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            self.show("\n".join(wrapped))

    def show(self, text: str) -> None:
        """A line as it is: what is to be copied must not be cut."""
        self._screen.write(f"{text}\n")
        self._screen.flush()

    def _line(self, prompt: str) -> str:
        """The next line without the blanks around it; "" at the end of the input.

        Raises:
            ConfigError: It holds what is no text, such as the code of an arrow key.
        """
        self._screen.write(prompt)
        self._screen.flush()
        try:
            line = self._answers.readline()
        except KeyboardInterrupt:
            self.show("")
            raise
        except UnicodeDecodeError:
            raise ConfigError("the answer is not UTF-8.", hint="set the terminal to UTF-8, or use ASCII.") from None
        if not line:
            self.ended = True
            self.show("")
            self.say("The input has ended: the rest takes its defaults.")
        text = line.replace("\t", " ").strip()
        if not text.isprintable():
            raise ConfigError(f"{text!r} holds keys that are no text.", hint="type the answer again.")
        return text

    def _prompt(self, name: str, default: str, choices: Sequence[str]) -> str:
        shown = f" [{default}]: " if default else ": "
        listed = f"{name} ({' '.join(choices)}){shown}"
        return listed if choices and len(listed) <= self._width - _LEAST_ROOM else f"{name}{shown}"

    @property
    def _width(self) -> int:
        """Columns; looked up each time, because windows are made wider when lines are too long."""
        try:
            # A terminal that nobody has told its size says 0.
            return os.get_terminal_size(self._screen.fileno()).columns or _UNKNOWN_WIDTH
        except (OSError, ValueError):
            return _UNKNOWN_WIDTH
