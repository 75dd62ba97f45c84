"""Which runs a sweep consists of: grids, zipped lists, or the rows of a table."""

import csv
import itertools
import math
import re
from decimal import Decimal
from pathlib import Path

import yaml

from ..pdf.errors import UserError

Run = dict[str, str]  # parameters as typed on a command line; the notebook gives the types

MOST = 100_000  # values of a range, and runs of a sweep
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
        name, equals, values = axis.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or not values.strip():
            raise UserError(f"-g {axis!r}: write it as name=values, such as layers=4:8 or lr=1,2")
        named.setdefault(name, []).extend(_values(values, axis))
    if zipped:
        lengths = {name: len(values) for name, values in named.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise UserError(f"--zip needs as many values for each parameter: {counts}")
        combinations = zip(*named.values(), strict=True)
    else:
        _check_count(math.prod(map(len, named.values())))
        combinations = itertools.product(*named.values())
    return _distinct([dict(zip(named, values, strict=True)) for values in combinations])


def table(path: Path) -> list[Run]:
    """Runs from a CSV file: a column per parameter, a row per run, an empty cell for a default.

    Raises UserError for a file that is missing, no CSV, without runs, or whose rows do not fit.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            rows = list(reader)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file: {error}") from None
    if double := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: the header names {double[0]!r} twice")
    if long := [row for row in rows if None in row]:
        raise UserError(f"{path}: more values than names in the header: {long[0][None]}")
    if not rows:
        raise UserError(f"{path} has no runs: a header of parameter names, then a row for each run")
    return _distinct([{name: value for name, value in row.items() if value} for row in rows])


def cross(runs: list[Run], others: list[Run]) -> list[Run]:
    """Every run of ``runs`` with every run of ``others``; the latter win over the former."""
    _check_count(len(runs) * len(others))
    return _distinct([run | other for run in runs for other in others])


def _check_count(runs: int) -> None:
    if runs > MOST:
        raise UserError(f"that would be {runs:,} runs; a sweep has at most {MOST:,}")


def _values(text: str, axis: str) -> list[str]:
    """The values as typed: a YAML list, in which plain ``4:8`` is a range and quotes are taken off.

    BaseLoader leaves every value a text: the notebook's parameters say what type it has.
    """
    try:
        items = yaml.compose(f"[{text}]", yaml.BaseLoader).value
    except (yaml.YAMLError, RecursionError):
        items = []
    values = []
    for item in items:
        if isinstance(item, yaml.SequenceNode):
            values.append(f"[{text}]"[item.start_mark.index : item.end_mark.index])
        elif isinstance(item, yaml.MappingNode):
            items = []
        elif item.style is None and _RANGE.fullmatch(item.value):
            values += _range(item.value, axis)
        else:
            values.append(item.value)
    if not items:
        raise UserError(
            f"-g {axis!r}: write values with commas between, lists in brackets, and a text with "
            "other signs in it in quotes"
        )
    return values


def _range(text: str, axis: str) -> list[str]:
    """``4:8`` as 4, 5, 6, 7, 8; ``0.1:0.3:0.1`` as 0.1, 0.2, 0.3.

    Decimal numbers: what is typed is what is counted with, however many digits it has.
    """
    try:
        first, last, *rest = map(Decimal, text.split(":"))
        if not rest and (first % 1 or last % 1):
            raise UserError(f"-g {axis!r}: a range of fractions needs a step, as in {text}:0.1")
        step = rest[0] if rest else Decimal(1 if last >= first else -1)
        count = math.floor((last - first) / step) + 1
    except ArithmeticError:  # a step of 0, or too large
        count = 0
    if not 1 <= count <= MOST:
        raise UserError(f"-g {axis!r}: {text!r} names no value, or too many")
    return [f"{(first + i * step).normalize():f}" for i in range(count)]


def _distinct(runs: list[Run]) -> list[Run]:
    """Each run once, in order."""
    return list({tuple(sorted(run.items())): run for run in runs}.values())
