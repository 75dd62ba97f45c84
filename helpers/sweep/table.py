"""Records side by side: one row for each run, or a mean and its spread over seeds."""

import difflib
import math
import reprlib
import statistics
from collections import Counter
from pathlib import Path

import pandas as pd

from ..pdf.errors import UserError
from .runs import load


def runs(folder: Path) -> pd.DataFrame:
    """All records: parameters and metrics (see ``columns``) as columns, a row a run.

    Raises UserError if there is no record.
    """
    records = load(folder)
    if not records:
        raise UserError(
            f"{folder} has no records yet: `homework sweep {folder.name} -g …` makes them"
        )
    table = frame(records, dtype=object)
    table.attrs["metrics"] = columns(records)
    return table


def columns(runs: list[dict]) -> dict[str, str]:
    """The column of each metric: its name without the topic, where nothing else has that name."""
    short = {name: name.split("/", 1)[-1] for run in runs for name in run["values"]}
    taken = Counter(short.values())
    taken.update({"seconds", *(name for run in runs for name in run["parameters"])})
    return {name: slug if taken[slug] == 1 else name for name, slug in short.items()}


def frame(runs: list[dict], dtype: type | None = None) -> pd.DataFrame:
    """A row for each run: its parameters, its metrics (see ``columns``) and its seconds.

    ``dtype=object`` leaves each value as it was recorded: without it, None becomes NaN, and a
    whole number beside it a float.
    """
    names, rows = columns(runs), []
    for run in runs:
        metrics = {names[name]: value for name, value in run["values"].items()}
        rows.append(run["parameters"] | metrics | {"seconds": run["seconds"]})
    return pd.DataFrame(rows, dtype=dtype)


def check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raises UserError for the first of ``names`` that is no column, with the nearest one."""
    for name in names:
        if name not in frame:
            near = difflib.get_close_matches(name, frame.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(frame.columns)}"
            raise UserError(f"no column {name!r}; {hint}")


def in_order(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The rows by the first of ``names``, then by the next; a name of no column counts nothing."""
    columns = [frame[name].tolist() for name in names if name in frame]
    order = sorted(range(len(frame)), key=lambda i: [_rank(column[i]) for column in columns])
    return frame.iloc[order]


def over_seeds(frame: pd.DataFrame, by: list[str], metric: str) -> pd.DataFrame:
    """Mean and standard deviation (n − 1) of ``metric`` for each combination of ``by``.

    Raises UserError for a column that is not there, or a metric that is no number or that no
    run has.
    """
    metric = frame.attrs.get("metrics", {}).get(metric, metric)  # as the sweep prints it
    check_columns(frame, [*by, metric])
    groups: dict[str, tuple[list, list[float]]] = {}
    for row in frame.to_dict("records"):
        if not _missing(row[metric]):
            values = [row[name] for name in by]  # lists and None among them, so no groupby
            groups.setdefault(repr(values), (values, []))[1].append(_number(row[metric], metric))
    if not groups:
        raise UserError(f"no run has a value of {metric!r}")
    rows = []
    for values, scores in sorted(groups.values(), key=lambda group: [*map(_rank, group[0])]):
        spread = statistics.stdev(scores) if len(scores) > 1 else math.nan
        mean = statistics.fmean(scores)
        rows.append([*values, len(scores), mean, spread, min(scores), max(scores)])
    columns = [*by, "runs", "mean", "std", "min", "max"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _missing(value: object) -> bool:
    return value is None or value != value  # NaN is what pandas puts where a run has nothing


def _number(value: object, metric: str) -> float:
    if not isinstance(value, int | float):
        raise UserError(
            f"{metric!r} is no number but {reprlib.repr(value)}: choose another --metric"
        )
    return float(value)


def _rank(value: object) -> tuple:
    """Where a value stands in the table: numbers by size, then all others as they read."""
    if isinstance(value, int | float) and not _missing(value):
        return (0, value, "")
    return (1, 0, str(value))


def varied(frame: pd.DataFrame, parameters: list[str]) -> list[str]:
    """The parameters, but the seed, that differ between runs."""
    return [
        name
        for name in parameters
        if name in frame and name != "seed" and frame[name].astype(str).nunique() > 1
    ]


def shown(value: object) -> str:
    """A value as the tables show it: four digits of a fraction, a whole number as such."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    large = 1e4 <= abs(value) < 1e15
    return f"{value:.0f}" if large else f"{value:.4g}"


def write(frame: pd.DataFrame, style: str) -> str:
    """The table as text, CSV, Markdown or LaTeX."""
    if style == "csv":  # None as `--runs` reads it; an empty cell would be the default
        given = frame.map(lambda value: value is not None)
        return frame.where(given, "None").to_csv(index=False).rstrip("\n")
    text = frame.map(shown)
    if style == "latex":
        return text.to_latex(index=False, escape=True).rstrip("\n")
    if style == "text":
        return text.to_string(index=False)
    lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)


def _markdown(cell: str) -> str:
    """A cell's text: a bar would begin the next cell, a line break the next row."""
    return " ".join(cell.replace("|", "\\|").splitlines())
