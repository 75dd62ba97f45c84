"""What the fifteen Vision Transformers show: whole seeds of a sweep, and linear effects."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # of Student's t; scipy.stats takes a second to import

DEPTHS, HEADS = range(4, 9), range(2, 5)


def whole_seeds(runs: list[dict]) -> list[dict]:
    """The runs of those seeds of which all fifteen combinations are there, each once.

    A sweep that is under way tips no comparison.
    """
    settings = set(itertools.product(DEPTHS, HEADS))
    of_seed: dict[int, dict[tuple, dict]] = {}
    for run in runs:
        values = run["parameters"]
        of_seed.setdefault(values["seed"], {})[values["layers"], values["heads"]] = run
    return [run for found in of_seed.values() if settings <= set(found) for run in found.values()]


@dataclass(frozen=True)
class Effect:
    """A slope of the linear fit, in the outcome's unit for one layer or one head more."""

    size: float
    error: float  # standard error
    low: float  # 95 % interval
    high: float
    p: float  # two-sided, of no effect
    visible: float  # the least size that this design would find in four of five repetitions


def linear_effects(table: pd.DataFrame, outcome: str) -> tuple[dict[str, Effect], float, int]:
    """Slopes of ``outcome`` in "layers" and "heads", how far runs scatter, and the freedom.

    Least squares on ``table``, a row a run with columns layers, heads, seed, machine and
    ``outcome``: a straight line in each of the two, and a constant for each seed on each machine,
    since all models of a seed share the split, and one machine may have got the deeper models.
    ``visible`` is (t(0.975) + t(0.8)) standard errors, the usual size for a power of 80 % at a
    level of 5 %; t and the scatter have so many degrees of freedom.
    """
    groups = table.groupby(["seed", "machine"]).ngroup()
    constants = pd.get_dummies(groups).to_numpy(dtype=float)  # (runs, groups)
    slopes = table[["layers", "heads"]].to_numpy(dtype=float)  # (runs, 2)
    design = np.column_stack([slopes - slopes.mean(0), constants])
    target = table[outcome].to_numpy(dtype=float)
    found, *_ = np.linalg.lstsq(design, target, rcond=None)
    free = len(target) - design.shape[1]
    scatter = math.sqrt(((target - design @ found) ** 2).sum() / free)
    errors = scatter * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    bound, power = stdtrit(free, [0.975, 0.8])
    effects = {}
    for name, size, error in zip(("layers", "heads"), found, errors, strict=False):
        reach, p = bound * error, 2 * stdtr(free, -abs(size) / error)
        effects[name] = Effect(size, error, size - reach, size + reach, p, (bound + power) * error)
    return effects, scatter, free
