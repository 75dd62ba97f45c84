"""Which runs a sweep consists of: grids, zipped lists, or the rows of a table."""

import csv
import itertools
import re
from decimal import Decimal
from pathlib import Path

import yaml

from ..pdf.errors import UserError

Run = dict[str, str]  # parameters as typed on a command line; the notebook gives the types

MOST = 100_000  # values of a range
_NUMBER = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?\s*"
_RANGE = re.compile(rf"{_NUMBER}:{_NUMBER}(?::{_NUMBER})?", re.ASCII)


def grid(axes: list[str], *, zipped: bool = False) -> list[Run]:
    """Runs from axes such as ``layers=4:8`` and ``heads=2,3,4``.

    A grid has every combination, the last axis changing fastest; ``zipped`` takes the axes
    side by side. ``first:last`` and ``first:last:step`` include both ends. Values are read as YAML
    does: a list stands in brackets, and a text with a comma, or one that reads like a range, in
    quotes: ``sizes=[1,2],[3]`` and ``file="a,b.csv"``. Raises UserError.
    """
    named: dict[str, list[str]] = {}
    for axis in axes:
        name, _, values = map(str.strip, axis.partition("="))
        if not name.isidentifier() or not values:
            raise UserError(f"-g {axis!r}: write it as name=values, such as layers=4:8 or lr=1,2")
        named.setdefault(name, []).extend(_values(values, axis))
    if zipped and len(set(map(len, named.values()))) > 1:
        counts = ", ".join(f"{name} has {len(values)}" for name, values in named.items())
        raise UserError(f"--zip needs as many values for each parameter: {counts}")
    combine = zip if zipped else itertools.product
    return [dict(zip(named, values, strict=True)) for values in combine(*named.values())]


def table(path: Path) -> list[Run]:
    """Runs from a CSV file: a column per parameter, a row per run, an empty cell for a default.

    Raises UserError for a file that is no CSV, has no runs, or whose rows do not fit.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
            runs = [dict(zip(names, row, strict=True)) for row in rows]
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: write a line of parameter names, then a line of values for each run, with "
            f"commas between ({error})"
        ) from None
    return [{name: value for name, value in run.items() if value} for run in runs]


def _values(text: str, axis: str) -> list[str]:
    """The values as typed: a YAML list, in which plain ``4:8`` is a range and quotes are taken off.

    BaseLoader leaves every value a text: the notebook's parameters say what type it has.
    """
    try:
        items = yaml.compose(f"[{text}]", yaml.BaseLoader).value
    except (yaml.YAMLError, RecursionError):
        items = []
    if not items or any(isinstance(item, yaml.MappingNode) for item in items):
        raise UserError(
            f"-g {axis!r}: write values with commas between, lists in brackets, and a text with "
            "other signs in it in quotes"
        )
    values = []
    for item in items:
        if isinstance(item, yaml.SequenceNode):
            values.append(f"[{text}]"[item.start_mark.index : item.end_mark.index])
        elif item.style is None and _RANGE.fullmatch(item.value):
            values += _range(item.value, axis)
        else:
            values.append(item.value)
    return values


def _range(text: str, axis: str) -> list[str]:
    """``4:8`` as 4, 5, 6, 7, 8; ``0.1:0.3:0.1`` as 0.1, 0.2, 0.3.

    Decimal numbers: what is typed is what is counted with, however many digits it has.
    """
    first, last, *rest = map(Decimal, text.split(":"))
    if not rest and (int(first), int(last)) != (first, last):
        raise UserError(f"-g {axis!r}: a range of fractions needs a step, as in {text}:0.1")
    step = rest[0] if rest else Decimal(1 if last >= first else -1)
    if not step or not 0 <= (last - first) / step < MOST:
        raise UserError(f"-g {axis!r}: {text!r} names no value, or too many")
    return [f"{(first + i * step).normalize():f}" for i in range(int((last - first) / step) + 1)]
