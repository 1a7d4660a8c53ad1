"""HTML that cannot be injected into: every text is escaped on its way into an element, with no exception to remember.

Only `element` makes markup out of strings, and only markup passes through it unescaped. Data for scripts goes through
`json_block`, whose text contains none of the characters that could end a script element.
"""

import html
import json
from typing import Any, TypeAlias

# Elements without content or end tag, and those whose end tag HTML lets us leave out: in a table of thousands of cells
# that is a third of the page.
_VOID = frozenset({"br", "hr", "link", "meta"})
_NO_END_TAG = frozenset({"td", "th", "tr"})


class Markup(str):
    """Text that already is HTML."""

    __slots__ = ()


Child: TypeAlias = str | None


def escape(text: str) -> Markup:
    """Plain text as HTML, safe in content and in quoted attributes; what cannot be printed becomes U+FFFD."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in "\n\t\u00a0" else "\ufffd" for char in text)
    return Markup(html.escape(text, quote=True))


def element(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """One element.

    Args:
        name: Its tag.
        children: Markup is kept as it is, other text is escaped, None is left out.
        attributes: `class_` and `for_` lose their underscore, other underscores become hyphens; True is an attribute
            without value, False and None leave it out.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(f" {attribute}" if value is True else f' {attribute}="{escape(str(value))}"')
    parts.append(">")
    parts.extend(child if isinstance(child, Markup) else escape(child) for child in children if child is not None)
    if name not in _VOID and name not in _NO_END_TAG:
        parts.append(f"</{name}>")
    return Markup("".join(parts))


def joined(*children: Child) -> Markup:
    """Several pieces one after the other, escaped where they are text."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def json_block(identifier: str, data: Any) -> Markup:
    """Data for the page's script, as a script element that browsers do not run.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(f'<script type="application/json" id="{escape(identifier)}">{text}</script>')
