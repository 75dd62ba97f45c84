"""The benchmarks' own bookkeeping."""

import json

from bench import paired, skipgram


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
