"""HTML tables, as pandas and others display them, as LaTeX tables that fit the page."""

import re
import textwrap
from dataclasses import dataclass
from itertools import zip_longest

from bs4 import BeautifulSoup, Tag

from .text import table_cell

MAX_WIDTH = 110  # characters that fit across the page at the smallest size we set
MAX_ROWS = 42  # rows that fit under one another on a page
MAX_CELLS = 6000  # cells that one table may print on paper, about ten pages
MAX_HTML = 1_000_000  # characters of HTML to look for tables in
_NUMBER = re.compile(r"^[-+−±]?[\d,.\s]*\d[\d,.]*(?:[eE][-+]?\d+)?(?:\s*±\s*[\d.]+)?\s*[%×]?$")
_MAX_NUMBER = 40  # characters of a number: the search is quadratic in the length of a cell
_ABSENT = {"", "-", "–", "—", "nan", "NaN", "None", "...", "…"}


@dataclass(frozen=True)
class Table:
    """Rows of equal length, all text; the first ``head`` rows are column titles."""

    rows: list[list[str]]
    head: int
    labels: int  # leading columns that label the rows

    @property
    def body(self) -> list[list[str]]:
        return self.rows[self.head :]


def html_tables(html: str) -> list[str]:
    """LaTeX for each table in ``html``; an empty list if there is none, or one is too large."""
    if "<table" not in html.lower() or len(html) > MAX_HTML:
        return []
    soup = BeautifulSoup(html, "html.parser")
    found = [table for table in soup.find_all("table") if not table.find_parent("table")]
    tables = [read_table(table) for table in found]
    if None in tables:
        return []
    return [latex_table(table) for table in tables if table.rows]


def read_table(element: Tag) -> Table | None:
    """An HTML table as a grid: spanning cells are filled with blanks; None if too large."""
    grid: dict[tuple[int, int], str] = {}
    head = labels = 0
    rows = [row for row in element.find_all("tr") if row.find_parent("table") is element]
    for r, row in enumerate(rows):
        cells, column = row.find_all(["th", "td"], recursive=False), 0
        if cells and all(cell.name == "th" for cell in cells) and head == r:
            head = r + 1
        elif r >= head:
            labels = max(labels, sum(cell.name == "th" for cell in cells))
        for cell in cells:
            while (r, column) in grid:
                column += 1
            down, across = _span(cell, "rowspan"), _span(cell, "colspan")
            for i in range(min(down, len(rows) - r)):
                for j in range(across):
                    first = i == j == 0
                    grid[r + i, column + j] = cell.get_text(" ", strip=True) if first else ""
            column += across
            if len(grid) > MAX_CELLS:
                return None
    width = 1 + max((column for _, column in grid), default=0)
    if width * len(rows) > MAX_CELLS:
        return None
    table = [[grid.get((r, c), "") for c in range(width)] for r in range(len(rows))]
    return Table([row for row in table if any(row)], sum(map(any, table[:head])), labels)


def latex_table(table: Table) -> str:
    """``table`` as one or several booktabs tables, none wider or longer than the page.

    Where it is too wide, its titles are broken between words before its columns are parted.
    """
    if sum(_widths(table)) > MAX_WIDTH and table.head == 1:
        table = _break_titles(table)
    parts = []
    for columns in _column_blocks(table):
        for start in range(0, max(1, len(table.body)), MAX_ROWS):
            rows = table.rows[: table.head] + table.body[start : start + MAX_ROWS]
            parts.append(_tabular([[row[c] for c in columns] for row in rows], table.head))
    return "\n\n".join(parts)


def _widths(table: Table) -> list[int]:
    """Characters that each column takes, and the space beside it."""
    return [max(map(len, column)) + 2 for column in zip(*table.rows, strict=True)]


def _break_titles(table: Table) -> Table:
    """The same table, each title over as many rows as it takes to be no wider than its column."""
    broken = []
    for title, *cells in zip(*table.rows, strict=True):
        width = max(map(len, (*cells, *title.split(), " ")))
        broken.append(textwrap.wrap(title, width, break_on_hyphens=False)[::-1])
    rows = [list(row) for row in zip_longest(*broken, fillvalue="")][::-1]  # they end level
    return Table(rows + table.body, len(rows), table.labels)


def _column_blocks(table: Table) -> list[list[int]]:
    """Columns that fit side by side; the labels, or else the first column, are in each block."""
    widths = _widths(table)
    labels = list(range(table.labels or int(sum(widths) > MAX_WIDTH)))
    full = MAX_WIDTH - sum(widths[: len(labels)])
    blocks, room = [list(labels)], full
    for column in range(len(labels), len(widths)):
        if widths[column] > room and len(blocks[-1]) > len(labels):
            blocks.append(list(labels))
            room = full
        blocks[-1].append(column)
        room -= widths[column]
    return blocks


def _tabular(rows: list[list[str]], head: int) -> str:
    body = list(zip(*rows[head:], strict=True)) or [()] * len(rows[0])
    columns = "".join("r" if _numeric(cells) else "l" for cells in body)
    lines = [" & ".join(table_cell(cell) for cell in row) + r" \\" for row in rows]
    titles, values = lines[:head], lines[head:]
    rule = [r"\midrule"] if titles else []
    return "\n".join(
        [rf"\begin{{nbtable}}{{{columns}}}", *titles, *rule, *values, r"\end{nbtable}"]
    )


def _numeric(cells: tuple[str, ...]) -> bool:
    given = [cell for cell in cells if cell not in _ABSENT]
    return bool(given) and all(len(cell) <= _MAX_NUMBER and _NUMBER.match(cell) for cell in given)


def _span(cell: Tag, name: str) -> int:
    value = str(cell.get(name, "1"))
    return min(int(value), 1000) if re.fullmatch("0*[1-9][0-9]{0,8}", value) else 1
