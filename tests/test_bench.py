"""The benchmarks keep their books in order."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import paired


@pytest.mark.parametrize(
    ("unit", "ratios"), [("images/s", [3, 2, 6]), ("s", [1 / 3, 1 / 2, 1 / 6])]
)
def test_more_is_better_round_by_round(unit, ratios):
    found = {"we": [3.0, 4.0, 6.0], "they": [1.0, 2.0, 1.0]}
    row = paired.row("work", found, "we", "they", unit=unit, growth="n^1.00")
    assert (row["ours"], row["theirs"]) == (4, 1)
    assert [row[key] for key in ("ratio", "least", "most")] == [
        find(ratios) for find in (statistics.median, min, max)
    ]


@given(power=st.floats(-3, 3), factor=st.floats(1e-3, 1e3))
def test_the_exponent_of_a_power_law_is_found(power, factor):
    sizes = [64, 128, 256, 512, 1024]
    size, found = paired.grows("n", sizes, [factor * n**power for n in sizes]).split("^")
    assert size == "n"
    assert float(found) == pytest.approx(power, abs=0.0051)
