"""The benchmarks leave what they find as it is, and keep their books in order."""

import math

import pytest
from pdf_fixtures import ROOT

from bench import attention, paired, vit
from bench import pdf as pdf_bench

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


def test_the_pdf_is_given_the_data_that_are_used_here(log, monkeypatch, tmp_path):
    (tmp_path / "make").write_text(f'#!/bin/sh\necho "$DATA_DIR" > {log}')
    for given, found in (("~/sets", tmp_path / "sets"), ("data/here", ROOT / "data" / "here")):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("DATA_DIR", given)
        pdf_bench.make(tmp_path)
        assert log.read_text().strip() == str(found)


def test_the_limit_of_the_machine_is_that_of_as_many_threads_as_the_runs(monkeypatch):
    threads, saved = [], {}

    def limit(*_):
        assert threads == [2]
        return 1.0

    monkeypatch.setattr(vit.torch, "set_num_threads", threads.append)
    monkeypatch.setattr(vit, "matrix_limit", limit)
    monkeypatch.setattr(vit, "_start", lambda *_, **settings: settings)
    monkeypatch.setattr(vit, "_result", lambda run: run["threads"])
    monkeypatch.setattr(
        paired, "save", lambda topic, rows, **more: saved.update(more, rows=len(rows))
    )
    vit.main(rounds=1)
    assert saved["rows"] == 2 * len(vit.PEERS)
    assert saved["share_of_matrix_product_limit"] > 0


def test_a_way_that_is_always_cheaper_is_told_from_one_that_never_is():
    assert [attention.finite(size) for size in (-math.inf, 700.0, math.inf)] == [0, 700.0, None]
