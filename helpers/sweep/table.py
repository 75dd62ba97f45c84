"""Records side by side: one row for each run, or a mean and its spread over seeds."""

from collections import Counter

import pandas as pd

from ..pdf.errors import UserError, did_you_mean

STAMPED = ("data", "device", "commit")  # of the stamp, what a table shows


def frame(runs: list[dict]) -> pd.DataFrame:
    """A row for each run: its parameters, its values (see ``columns``) and its seconds."""
    names = columns(runs)
    return pd.DataFrame(
        run["parameters"]
        | {names[name]: value for name, value in run["values"].items()}
        | {"seconds": run["seconds"]}
        for run in runs
    )


def columns(runs: list[dict]) -> dict[str, str]:
    """The column of each value: its name without the topic, where nothing else has that name."""
    names = dict.fromkeys(name for run in runs for name in run["values"])
    short = {name: name.split("/", 1)[-1] for name in [*names, *map("stamp/{}".format, STAMPED)]}
    taken = Counter(short.values())
    taken.update({"seconds", "recipe", "claims", *(n for run in runs for n in run["parameters"])})
    return {name: slug if taken[slug] == 1 else name for name, slug in short.items()}


def everything(runs: list[dict], recipe: int) -> pd.DataFrame:
    """``frame`` with how each run was made, and each value as it was recorded.

    ``recipe`` is the notebook's present one: runs of another are marked. ``attrs`` hold the names
    of the parameters, and the column of each value.
    """
    names, rows = columns(runs), []
    for run in runs:
        older = "" if run["recipe"] == recipe else f" (not {recipe})"
        broken = ", ".join(name for name, holds in run["claims"].items() if not holds)
        row = run["parameters"] | {names[name]: value for name, value in run["values"].items()}
        row |= {names[f"stamp/{part}"]: run["stamp"].get(part) for part in STAMPED}
        row |= {"recipe": f"{run['recipe']}{older}", "seconds": run["seconds"]}
        row["claims"] = f"not {broken}" if broken else "hold" if run["claims"] else "–"
        rows.append(row)
    table = pd.DataFrame(rows, dtype=object)
    parameters = dict.fromkeys(name for run in runs for name in run["parameters"])
    table.attrs = {"names": names, "parameters": list(parameters)}
    return table


def where(frame: pd.DataFrame, conditions: list[str]) -> pd.DataFrame:
    """The rows that meet each ``name=value``. Raises UserError without such a column or row."""
    for condition in conditions:
        name, _, text = map(str.strip, condition.partition("="))
        check_columns(frame, [name])
        frame = frame[[text in (str(value), shown(value)) for value in frame[name]]]
    if frame.empty:
        raise UserError(f"no run has {' and '.join(conditions)}")
    return frame


def check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raises UserError for the first of ``names`` that is no column, with the nearest one."""
    for name in names:
        if name not in frame:
            hint = did_you_mean(name, frame.columns, f"there are {', '.join(frame.columns)}")
            raise UserError(f"no column {name!r}; {hint}")


def report(frame: pd.DataFrame, by: list[str], metric: str | None, style: str) -> str:
    """The table of runs, or of means over seeds, in one of the styles of ``write``.

    A mean is over seeds alone: whatever else differs splits the rows and is shown. In a table for
    the eye, what is the same in all rows stands below it.
    """
    check_columns(frame, by)
    # As texts, since a list has no hash; by map, since astype takes None for nothing.
    differs = {name: frame[name].map(str).nunique() > 1 for name in frame}
    data, *made = (frame.attrs["names"][f"stamp/{part}"] for part in STAMPED)
    settings = [*frame.attrs["parameters"], data]  # the data set is a setting, too
    varied = [name for name in [*settings, "recipe"] if differs[name] and name != "seed"]
    first = list(dict.fromkeys([*by, *varied]))
    order = [name for name in [*first, "seed"] if name in frame]
    rows = frame.loc[sorted(frame.index, key=lambda run: [*map(_key, frame.loc[run, order])])]
    same = [name for name in settings if not differs[name]]
    said = [f"the same in all: {_listed(frame.iloc[0], same)}"]
    if broken := int(frame["claims"].str.startswith("not ").sum()):
        said.append(f"a claim does not hold in {broken} run{'s' * (broken > 1)}: "
                    "`--format csv` names it")  # fmt: skip
    if metric:
        rows = over_seeds(rows, first, frame.attrs["names"].get(metric, metric))
        best = rows.loc[rows["mean"].idxmax()]
        said.append(f"highest: {_listed(best, [*first, 'mean'])}")
    elif style != "csv":
        constant = [name for name in frame if len(frame) > 1 and not differs[name]]
        rows = rows.drop(columns=list({*made, *constant} - {*by}))
    return "\n".join([write(rows, style), *(said if style == "text" else [])])


def _listed(row: pd.Series, names: list[str]) -> str:
    return ", ".join(f"{name} {shown(row[name])}" for name in names)


def _key(value: object) -> tuple:
    """Where a value stands in the table: numbers by size, then all others as they read."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def over_seeds(frame: pd.DataFrame, by: list[str], metric: str) -> pd.DataFrame:
    """Mean and standard deviation (n − 1) of ``metric`` for each combination of ``by``.

    Raises UserError for a metric that is not there, is no number, or that no run has.
    """
    check_columns(frame, [metric])
    known = frame[frame[metric].notna()]
    if known.empty:
        raise UserError(f"no run has a value of {metric!r}")
    try:
        scores = known[metric].astype(float)
    except (TypeError, ValueError) as error:
        raise UserError(f"{metric!r} is not a number ({error}): choose another --metric") from None
    setting = pd.Series(known[by].to_numpy().tolist(), index=known.index).map(str)  # lists, None
    spread = scores.groupby(setting, sort=False).agg(
        runs="count", mean="mean", std="std", min="min", max="max"
    )
    named = known.loc[~setting.duplicated(), by]
    return pd.concat([named.reset_index(drop=True), spread.reset_index(drop=True)], axis=1)


def shown(value: object) -> str:
    """A value as the tables show it: four digits of a fraction, a whole number as such."""
    if not isinstance(value, float):
        return str(value)
    if value != value:  # NaN, which pandas puts where a run has nothing
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
