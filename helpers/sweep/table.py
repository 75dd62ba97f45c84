"""Records side by side: one row for each run, or a mean and its spread over seeds."""

import difflib
import math
import reprlib
import statistics
from collections import Counter

import pandas as pd

from ..pdf.errors import UserError

STAMPED = ("data", "device", "commit")  # of the stamp, what a table shows


def columns(runs: list[dict]) -> dict[str, str]:
    """The column of each value: its name without the topic, where nothing else has that name."""
    names = dict.fromkeys(name for run in runs for name in run["values"])
    short = {name: name.split("/", 1)[-1] for name in [*names, *map("stamp/{}".format, STAMPED)]}
    taken = Counter(short.values())
    taken.update({"seconds", "recipe", *(name for run in runs for name in run["parameters"])})
    return {name: slug if taken[slug] == 1 else name for name, slug in short.items()}


def frame(runs: list[dict]) -> pd.DataFrame:
    """A row for each run: its parameters, its values (see ``columns``) and its seconds."""
    names = columns(runs)
    return pd.DataFrame(
        run["parameters"]
        | {names[name]: value for name, value in run["values"].items()}
        | {"seconds": run["seconds"]}
        for run in runs
    )


def everything(runs: list[dict], recipe: int) -> pd.DataFrame:
    """``frame`` with how each run was made, and each value as it was recorded.

    ``recipe`` is the notebook's present one: runs of another are marked. ``attrs`` hold the names
    of the parameters, and the column of each value.
    """
    names, rows = columns(runs), []
    for run in runs:
        row = run["parameters"] | {names[name]: value for name, value in run["values"].items()}
        row |= {names[f"stamp/{part}"]: run["stamp"].get(part) for part in STAMPED}
        older = "" if run["recipe"] == recipe else f" (not {recipe})"
        broken = [name for name, holds in run["claims"].items() if not holds]
        row |= {"recipe": f"{run['recipe']}{older}", "seconds": run["seconds"]}
        row["claims"] = f"not {', '.join(broken)}" if broken else "hold" if run["claims"] else "–"
        rows.append(row)
    table = pd.DataFrame(rows, dtype=object)
    table.attrs["names"] = names
    table.attrs["parameters"] = list({name: 0 for run in runs for name in run["parameters"]})
    return table


def where(frame: pd.DataFrame, conditions: list[str]) -> pd.DataFrame:
    """The rows that meet each ``name=value``. Raises UserError without such a column or row."""
    for condition in conditions:
        name, _, text = condition.partition("=")
        check_columns(frame, [name])
        frame = frame[[_same(value, text) for value in frame[name]]]
    if not len(frame):
        raise UserError(f"no run has {' and '.join(conditions)}")
    return frame


def _same(value: object, text: str) -> bool:
    """Whether a value is the one that was typed: 0.10 is 0.1."""
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return str(value) == text


def report(frame: pd.DataFrame, by: list[str], metric: str | None, style: str) -> str:
    """The table of runs, or of means over seeds, in one of the styles of ``write``.

    A mean is over seeds alone: whatever else differs splits the rows and is shown.
    """
    check_columns(frame, by)
    names = frame.attrs["names"]
    made = [names[f"stamp/{part}"] for part in STAMPED]
    settings = [*frame.attrs["parameters"], made[0], "recipe"]  # the data set comes with a number
    differ = [name for name in settings if name != "seed" and _differ(frame, name)]
    first = list(dict.fromkeys([*by, *differ]))
    alike = [name for name in settings if name != "recipe" and not _differ(frame, name)]
    said = [f"the same in all: {_listed(frame.iloc[0], alike)}"] if style == "text" else []
    broken = sum(value not in ("hold", "–") for value in frame["claims"])
    if broken and style == "text":
        said.append(f"a claim does not hold in {broken} run{'s' * (broken > 1)}: "
                    "`--format csv` names it")  # fmt: skip
    if metric:
        table = over_seeds(frame, first, metric)
        if style == "text":
            best = table.loc[table["mean"].astype(float).idxmax()]
            said.append(f"highest: {_listed(best, [*first, 'mean'])}")
        return "\n".join([write(table, style), *said])
    ordered = in_order(frame, [*first, "seed"])
    if style != "csv":  # a table for the eye: what is the same in all rows stands below it
        hidden = {*made[1:], *(name for name in frame if len(frame) > 1 and _is_known(frame, name))}
        ordered = ordered.drop(columns=list(hidden - set(by)))
    return "\n".join([write(ordered, style), *said])


def _differ(frame: pd.DataFrame, name: str) -> bool:
    return frame[name].astype(str).nunique() > 1


def _is_known(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column says nothing: the same in all rows, or a parameter that was recorded."""
    given = name.partition("/")[2]
    return not _differ(frame, name) or (given in frame and frame[name].equals(frame[given]))


def _listed(row: pd.Series, names: list[str]) -> str:
    return ", ".join(f"{name} {shown(row[name])}" for name in names if name in row)


def check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raises UserError for the first of ``names`` that is no column, with the nearest one."""
    for name in names:
        if name not in frame:
            near = difflib.get_close_matches(name, frame.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(frame.columns)}"
            raise UserError(f"no column {name!r}; {hint}")


def in_order(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The rows by the first of ``names``, then by the next; a name of no column counts nothing."""
    found = [frame[name].tolist() for name in names if name in frame]
    order = sorted(range(len(frame)), key=lambda i: [_rank(column[i]) for column in found])
    return frame.iloc[order]


def over_seeds(frame: pd.DataFrame, by: list[str], metric: str) -> pd.DataFrame:
    """Mean and standard deviation (n − 1) of ``metric`` for each combination of ``by``.

    Raises UserError for a metric that is not there, is no number, or that no run has.
    """
    metric = frame.attrs["names"].get(metric, metric)  # as the sweep prints it
    check_columns(frame, [metric])
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
    return pd.DataFrame(rows, columns=[*by, "runs", "mean", "std", "min", "max"], dtype=object)


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


def shown(value: object) -> str:
    """A value as the tables show it: four digits of a fraction, a whole number as such."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    large = 1e4 <= abs(value) < 1e15
    return f"{value:.0f}" if large else f"{value:.4g}"


def write(frame: pd.DataFrame, style: str) -> str:
    """The table as text, CSV or LaTeX."""
    if style == "csv":  # None as `--runs` reads it; an empty cell would be the default
        given = frame.map(lambda value: value is not None)
        return frame.where(given, "None").to_csv(index=False).rstrip("\n")
    text = frame.map(shown)
    if style == "latex":
        return text.to_latex(index=False, escape=True).rstrip("\n")
    return text.to_string(index=False)
