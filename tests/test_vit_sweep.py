"""Effects of depth and heads against known answers, and seeds that are whole."""

import numpy as np
import pandas as pd
import pytest

from helpers.vit_sweep import DEPTHS, HEADS, linear_effects, whole_seeds


def design(seeds, noise=0.0, layers=0.3, heads=-0.2, rng=None):
    rows = [(L, H, s) for s in range(seeds) for L in DEPTHS for H in HEADS]
    table = pd.DataFrame(rows, columns=["layers", "heads", "seed"])
    shift = 7 * table["seed"]  # of a seed: no part of either effect
    luck = noise * (rng.standard_normal(len(table)) if rng else 0)
    score = layers * table["layers"] + heads * table["heads"] + shift + luck
    return table.assign(score=score, machine="one")


@pytest.mark.parametrize("other", [0, 5])  # what another machine adds, which got the deeper models
def test_a_straight_line_is_found_whatever_seeds_and_machines_add(other):
    table = design(3)
    moved = (table["seed"] == 1) & (table["layers"] > 5)
    table = table.assign(machine=moved.astype(str), score=table["score"] + other * moved)
    effects, scatter, free = linear_effects(table, "score")
    assert free == 45 - 4 - 2
    assert effects["layers"].size == pytest.approx(0.3)
    assert effects["heads"].size == pytest.approx(-0.2)
    assert scatter == pytest.approx(0, abs=1e-9)


def test_one_factor_is_scipys_regression():
    from scipy.stats import linregress  # half a second, which only this test needs

    table = design(1, noise=1.0, heads=0, rng=np.random.default_rng(0))
    table = table.assign(score=table.groupby("layers")["score"].transform("mean"))  # none of heads
    effects, *_ = linear_effects(table, "score")
    theirs = linregress(table["layers"], table["score"])
    assert effects["layers"].size == pytest.approx(theirs.slope)
    ratio = effects["layers"].error / theirs.stderr  # heads take one degree of freedom more
    assert ratio == pytest.approx(np.sqrt(13 / 12))
    assert effects["heads"].p == pytest.approx(1)


def test_intervals_hold_as_often_as_they_say_and_the_least_visible_effect_is_found_so_often():
    rng, missed, found = np.random.default_rng(1), 0, 0
    size = linear_effects(design(2, noise=1.0, layers=0, rng=rng), "score")[0]["layers"]
    size = size.visible / size.error * np.sqrt(1 / (2 * 3 * 10))  # in units of the noise
    for _ in range(400):
        effects, *_ = linear_effects(design(2, noise=1.0, layers=size, rng=rng), "score")
        missed += not effects["heads"].low < -0.2 < effects["heads"].high
        found += effects["layers"].p < 0.05
    assert 6 <= missed <= 36  # of 400 at 5 %: 20 ± 4.4
    assert 290 <= found <= 350  # at 80 %: 320 ± 8


def test_only_whole_seeds_count():
    runs = [
        {"parameters": {"layers": L, "heads": H, "seed": seed}}
        for seed in (0, 1)
        for L in DEPTHS
        for H in HEADS
    ]
    assert len(whole_seeds(runs)) == 30
    assert {run["parameters"]["seed"] for run in whole_seeds(runs[:-1])} == {0}
    assert len(whole_seeds([*runs, runs[0]])) == 30
