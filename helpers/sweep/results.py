"""Records side by side: one row for each run, or a mean and its spread over seeds."""

import statistics
from pathlib import Path

import pandas as pd

from ..press.errors import UserError
from ..recorded import frame
from .store import load

FORMATS = ("text", "csv", "markdown", "latex")


def runs(folder: Path) -> pd.DataFrame:
    """All records: parameters and metrics as columns (metrics without their topic), a row a run.

    Raises UserError if there is no record.
    """
    records = load(folder)
    if not records:
        raise UserError(
            f"{folder} has no records yet: `homework sweep {folder.name} -g …` makes them"
        )
    return frame(records)


def over_seeds(frame: pd.DataFrame, by: list[str], metric: str) -> pd.DataFrame:
    """Mean and standard deviation (n − 1) of ``metric`` for each combination of ``by``.

    Raises UserError for a column that is not there.
    """
    for name in [*by, metric]:
        if name not in frame:
            raise UserError(f"no column {name!r}; there are {', '.join(frame.columns)}")
    rows = []
    for values, group in frame.groupby(by, sort=True):
        scores = [float(score) for score in group[metric].dropna()]
        if scores:
            spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
            mean = statistics.fmean(scores)
            rows.append([*values, len(scores), mean, spread, min(scores), max(scores)])
    return pd.DataFrame(rows, columns=[*by, "runs", "mean", "std", "min", "max"])


def varied(frame: pd.DataFrame, parameters: list[str]) -> list[str]:
    """The parameters, but the seed, that differ between runs."""
    return [
        name
        for name in parameters
        if name in frame and name != "seed" and frame[name].astype(str).nunique() > 1
    ]


def write(frame: pd.DataFrame, style: str) -> str:
    """The table as text, CSV, Markdown or LaTeX."""
    if style == "csv":
        return frame.to_csv(index=False).rstrip("\n")
    text = frame.map(lambda value: f"{value:.4g}" if isinstance(value, float) else str(value))
    if style == "latex":
        return text.to_latex(index=False, escape=True).rstrip("\n")
    if style == "text":
        return text.to_string(index=False)
    lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
