"""The benchmarks leave what they find as it is, and keep their books in order."""

import json
import math

import pytest
from pdf_fixtures import ROOT

from bench import attention, paired, skipgram, vit
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


def test_an_interrupted_benchmark_is_compared_by_the_seeds_that_both_have(tmp_path, monkeypatch):
    monkeypatch.setattr(skipgram, "RESULTS", tmp_path / "new" / "runs.json")
    (ours, rate), (other, other_rate) = skipgram.RUNS[:2]
    fields = {"code": skipgram.code_digest(), "words": 10, "epochs": 1, "wordsim353": 0.5}
    mine, theirs = {"trainer": ours, "rate": rate}, {"trainer": other, "rate": other_rate}
    for which, seed, seconds in ((mine, 0, 1), (mine, 1, 2), (theirs, 1, 8), (theirs, 2, 3)):
        run = which | {"seed": seed, "cpu_seconds": seconds}
        skipgram.add(fields | run)
    saved = {}
    monkeypatch.setattr(paired, "save", lambda topic, rows: saved.update({topic: rows}))
    skipgram.compare("x^1")
    (row,) = saved["skipgram"]
    assert (row["ours"], row["theirs"], row["ratio"]) == (10, 2.5, 4)


def test_a_run_is_added_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "runs.json"
    monkeypatch.setattr(skipgram, "RESULTS", path)
    skipgram.add({"seed": 0})
    before = path.stat().st_ino
    skipgram.add({"seed": 1})
    assert [run["seed"] for run in json.loads(path.read_text())] == [0, 1]
    assert path.stat().st_ino != before, "put in place whole"


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
