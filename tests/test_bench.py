"""The benchmarks leave what they find as it is."""

import pytest
from press_fixtures import ROOT

from bench import paired, press

MAKE = """#!/bin/sh
echo "$PWD $* $(grep -c Changed notebooks/rnn_recurrence.ipynb)" >> {log}
[ -e helpers ] && [ -e data/results ] && [ -n "$DATA_DIR" ]
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """What a pretended make was called for: folder, arguments, notebooks with changed prose."""
    make, log = tmp_path / "make", tmp_path / "log"
    make.write_text(MAKE.format(log=log))
    make.chmod(0o755)
    monkeypatch.setenv("MAKE", str(make))
    return log


def test_the_press_is_measured_in_a_copy(log, monkeypatch):
    saved = {}
    monkeypatch.setattr(press, "by_hand", lambda notebooks, folder: None)
    monkeypatch.setattr(press, "rendering", float)
    monkeypatch.setattr(paired, "save", lambda topic, rows, **more: saved.update(more))
    before = (ROOT / "notebooks" / "rnn_recurrence.ipynb").read_bytes()
    monkeypatch.setattr(press, "CELLS", (1, 2))
    press.main("2025-hw2")
    calls = [line.split() for line in log.read_text().splitlines()]
    assert {folder for folder, *_ in calls}.isdisjoint({str(ROOT)})
    asked = [" ".join(rest) for _, *rest in calls]
    pdf = "pdf HW=2025-hw2"
    assert asked == ["setup 0", f"{pdf} 0", f"{pdf} 0", f"{pdf} 1"]
    assert (ROOT / "notebooks" / "rnn_recurrence.ipynb").read_bytes() == before
    assert saved.keys() == {"seconds_again", "seconds_after_prose_changed"}
