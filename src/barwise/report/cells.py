"""Tables of the page: captions, headings and scopes for those who cannot see them, and cells that know their colour."""

from collections.abc import Iterable, Sequence
from typing import Self

from barwise.report.markup import Child, Markup, element, joined
from barwise.report.text import money

_MOST_COLUMNS = 20


class Cell(str):
    """Text of a table cell with a class: `long-text` may wrap, `gain` and `loss` colour it."""

    __slots__ = ("kind", "style")
    kind: str
    style: str | None

    def __new__(cls, text: str, kind: str, style: str | None = None) -> Self:
        """A cell's text, its classes and its inline style."""
        cell = super().__new__(cls, text)
        cell.kind, cell.style = kind, style
        return cell


def data_table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    class_: str = "",
    long: bool = False,
) -> Markup:
    """A table in a region that scrolls by itself; the first cell of each row is its heading.

    Args:
        caption: What the table shows.
        header: Names of the columns; those that start with `<` are text and aligned left, all others are numbers.
        rows: Cells, as many as there are names.
        class_: Of the table.
        long: The region has a height of its own, and on paper only the first 60 rows are shown.
    """
    left = [f"text-{i}" for i, name in enumerate(header, 1) if name.startswith("<")]
    names = (element("th", name.removeprefix("<"), scope="col") for name in header)
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *names)),
        element("tbody", *(_row(cells) for cells in rows)),
        class_=" ".join((class_, *left)).strip() or None,
    )
    kind = "scroll long" if long else "scroll"
    return element("div", table, class_=kind, role="region", aria_label=caption, tabindex=0)


def _row(cells: Sequence[Child]) -> Markup:
    return element("tr", _cell("th", cells[0], scope="row"), *(_cell("td", cell) for cell in cells[1:]))


def _cell(name: str, content: Child, scope: str | None = None) -> Markup:
    if isinstance(content, Cell):
        return element(name, str(content), class_=content.kind, style=content.style, scope=scope)
    return element(name, content, scope=scope)


def alignment_rules() -> str:
    """The style of text columns: named once per table instead of in each of its thousands of cells."""
    columns = ", ".join(f".text-{i} tr > :nth-child({i})" for i in range(1, _MOST_COLUMNS + 1))
    return f"{columns} {{ text-align: left; }}\n"


def signed(value: float | None, text: str) -> str:
    """The text of a result, coloured by its sign."""
    return Cell(text, "gain" if value > 0 else "loss") if value else text


def money_result(value: float | None) -> str:
    """A result in money, coloured by its sign."""
    return signed(value, money(value, signed=True))


def swatch(role: str, text: str) -> Markup:
    """A name with the colour it has in the charts."""
    return joined(element("span", class_="swatch", style=f"background:var(--{role})", aria_hidden="true"), text)
