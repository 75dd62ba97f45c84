"""The benchmarks leave what they find as it is, and keep their books in order."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pdf_fixtures import ROOT

from bench import paired
from bench import pdf as pdf_bench

MAKE = """#!/bin/sh
echo "$PWD $* $(grep -c Changed notebooks/rnn_recurrence.ipynb)" >> {log}
[ -e helpers ] && [ -e data/results ]
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """What a pretended make was called for: folder, arguments, notebooks with changed prose."""
    make, log = tmp_path / "make", tmp_path / "log"
    make.write_text(MAKE.format(log=log))
    make.chmod(0o755)
    monkeypatch.setenv("MAKE", str(make))
    return log


@pytest.mark.skipif(
    not (ROOT / "notebooks" / "rnn_recurrence.ipynb").exists(), reason="that notebook was removed"
)
def test_the_pdf_is_measured_in_a_copy(log, monkeypatch):
    saved = {}
    monkeypatch.setattr(pdf_bench, "by_hand", lambda notebooks, folder: None)
    monkeypatch.setattr(pdf_bench, "rendering", float)
    monkeypatch.setattr(paired, "save", lambda topic, rows, **more: saved.update(more))
    before = (ROOT / "notebooks" / "rnn_recurrence.ipynb").read_bytes()
    monkeypatch.setattr(pdf_bench, "CELLS", (1, 2))
    pdf_bench.main("2025-hw2")
    calls = [line.split() for line in log.read_text().splitlines()]
    assert {folder for folder, *_ in calls}.isdisjoint({str(ROOT)})
    asked = [" ".join(rest) for _, *rest in calls]
    pdf = "pdf HW=2025-hw2"
    assert asked == ["setup 0", f"{pdf} 0", f"{pdf} 0", f"{pdf} 1"]
    assert (ROOT / "notebooks" / "rnn_recurrence.ipynb").read_bytes() == before
    assert saved.keys() == {"seconds_again", "seconds_after_prose_changed"}


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
