"""The records of a sweep side by side, and the command line of sweeps."""

import json
import os
from itertools import product
from pathlib import Path

import pytest
from pdf_fixtures import source_notebook, write

from helpers import cli
from helpers.pdf.errors import UserError
from helpers.sweep import command, table
from helpers.sweep.engine import Outcome
from helpers.sweep.runs import Store, jobs

SETTING = {"profile": "full", "seed": 3, "n": 1, "m": 5}
SOURCE = source_notebook("1", parameters='profile = "quick"\nseed = 0\nn = 1\nm = 1')


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store("x", records=tmp_path / "records", work=tmp_path / "work")
    monkeypatch.setattr(command, "Store", lambda name: store)
    return store


@pytest.fixture
def notebook(tmp_path):
    return str(write(SOURCE, tmp_path / "x.ipynb"))


def planned(n):
    """The job with this value of n."""
    return jobs([{"n": n}], SOURCE, "quick", Path("x.ipynb"))[0]


def recorded(parameters, data="pictures", recipe=1, broken=(), **values):
    """The record of a run with these parameters and values; the claims ``broken`` do not hold."""
    return {
        "recipe": recipe,
        "parameters": parameters,
        "values": {f"t/{name}": value for name, value in values.items()},
        "claims": {"t/c": True} | dict.fromkeys(broken, False),
        "stamp": {"data": data, "device": "cpu", "commit": "abc1234"},
        "seconds": 1.0,
    }


def save(store, *records):
    store.records.mkdir(exist_ok=True)
    for record in records:
        name = f"{len(list(store.records.iterdir()))}.json"
        (store.records / name).write_text(json.dumps(record))


def everything(*records):
    return table.everything(list(records), 1)


@pytest.fixture
def seeded(store):
    """Two settings, three seeds each, with means of 1.1 and 2.1."""
    for n, seed in product((1, 2), (0, 1, 2)):
        save(store, recorded(SETTING | {"n": n, "seed": seed}, score=n + seed / 10))
    return store


def shown(capsys, *arguments):
    assert cli.main(["results", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_mean_and_spread_are_over_seeds(seeded, notebook, capsys):
    lines = shown(capsys, notebook, "--metric", "score")
    assert [line.split() for line in lines[1:3]] == [
        ["1", "3", "1.1", "0.1", "1", "1.2"],
        ["2", "3", "2.1", "0.1", "2", "2.2"],
    ]
    for name in ("t/score", "score"):  # as the sweep prints it, too
        lines = shown(capsys, notebook, "--metric", name)
        assert lines[-2] == "the same in all: profile full, m 5, data pictures"
        assert lines[-1] == "highest: n 2, mean 2.1"
    assert cli.main(["results", notebook, "--metric", "scores"]) == 2
    assert "no column 'scores'; did you mean 'score'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "record"),
    [
        ("profile", recorded(SETTING | {"profile": "quick"}, score=9.0)),
        ("m", recorded(SETTING | {"m": None}, score=9.0)),
        ("data", recorded(SETTING, data="digits (stand-in)", score=9.0)),
        ("recipe", recorded(SETTING, recipe=2, score=9.0)),
    ],
)
def test_a_mean_is_over_nothing_but_seeds(seeded, notebook, capsys, column, record):
    """Whatever else differs, the data set and the recipe too, splits the rows."""
    save(seeded, record)
    lines = shown(capsys, notebook, "--metric", "score", "--by", "n", "--format", "csv")
    assert lines[0] == f"n,{column},runs,mean,std,min,max"
    rows = [line.split(",") for line in lines[1:]]
    found = sorted((int(runs), round(float(mean), 6)) for _, _, runs, mean, *_ in rows)
    assert found == [(1, 9.0), (3, 1.1), (3, 2.1)]


def test_runs_of_one_kind_are_chosen(seeded, notebook, capsys):
    arguments = ["--format", "csv", "--where", "n=1", "--where", "profile=full"]
    assert len(shown(capsys, notebook, *arguments)) == 4
    assert cli.main(["results", notebook, "--where", "profile=quick"]) == 2
    assert cli.main(["results", notebook, "--where", "prof=quick"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "homework: no run has profile=quick",
        "homework: no column 'prof'; did you mean 'profile'?",
    ]


def test_what_does_not_hold_and_what_is_older_is_marked(seeded, notebook, capsys):
    text = "\n".join(shown(capsys, notebook))
    assert "recipe" not in text
    assert "claim" not in text
    save(seeded, recorded(SETTING, recipe=7, broken=["t/d"], score=9.0))
    lines = shown(capsys, notebook)
    assert [line for line in lines if "not t/d" in line and "7 (not 1)" in line]
    assert lines[-1].startswith("a claim does not hold in 1 run: ")


def test_a_table_for_the_eye_hides_what_is_the_same_and_csv_has_all(seeded, notebook, capsys):
    assert shown(capsys, notebook)[0].split() == ["seed", "n", "score"]
    assert shown(capsys, notebook, "--by", "m")[0].split() == ["seed", "n", "m", "score"]
    header, row, *_ = shown(capsys, notebook, "--format", "csv")
    assert header == "profile,seed,n,m,score,data,device,commit,recipe,seconds,claims"
    assert row == "full,0,1,5,1.0,pictures,cpu,abc1234,1,1.0,hold"


def test_runs_are_grouped_by_lists_and_by_none_too():
    frame = everything(
        recorded({"sizes": [1, 2], "cap": None, "seed": 0}, score=1),
        recorded({"sizes": [1, 2], "cap": None, "seed": 1}, score=3),
        recorded({"sizes": [3], "cap": 10, "seed": 0}, score=5),
        recorded({"sizes": [3], "cap": 9, "seed": 0}),
    )
    lines = table.report(frame, ["cap", "sizes"], "score", "csv").splitlines()
    ends = [line.rpartition("]")[2].split(",")[1:3] for line in lines[1:]]
    assert ends == [["1", "5.0"], ["2", "2.0"]]


def test_a_metric_is_a_number_that_some_run_has():
    frame = everything(recorded({"n": 1}, word="x", score=None, n=5))
    with pytest.raises(UserError, match=r"'word' is not a number \(.*'x'\)"):
        table.over_seeds(frame, ["n"], "word")
    with pytest.raises(UserError, match="no run has a value of 'score'"):
        table.over_seeds(frame, ["n"], "score")
    assert table.over_seeds(frame, [], "t/n")["mean"].tolist() == [5]  # n is the parameter


def test_numbers_read_as_they_were_recorded():
    frame = everything(recorded({"n": "a_b"}, size=351_190), recorded({"n": None}, share=0.123456))
    frame = frame[["n", "size", "share"]]
    rows = [line.split() for line in table.write(frame, "text").splitlines()[1:]]
    assert rows == [["a_b", "351190", "–"], ["None", "–", "0.1235"]]
    assert r"a\_b & 351190 & – \\" in table.write(frame, "latex")
    assert table.write(frame, "csv").splitlines()[-1] == "None,,0.123456"


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("", ["9,b,1", "10,a,0", "10,a,2", "10,b,0"]),
        ("rule,n", ["10,a,0", "10,a,2", "9,b,1", "10,b,0"]),
    ],
)
def test_rows_come_as_asked_then_by_what_differs_then_by_seed(store, notebook, capsys, by, rows):
    for n, rule, seed in [(10, "b", 0), (10, "a", 2), (10, "a", 0), (9, "b", 1)]:
        save(store, recorded({"n": n, "rule": rule, "seed": seed}))
    lines = shown(capsys, notebook, "--format", "csv", "--by", by)[1:]
    assert [",".join(line.split(",")[:3]) for line in lines] == rows


# The command line of the sweep


@pytest.fixture
def started(monkeypatch):
    """The jobs that a sweep starts; n = 2 fails, a claim of n = 3 does not hold, 4 is stopped."""
    begun = []

    def run_all(waiting, store, settings):
        begun.extend(waiting)
        for job in waiting:
            n = job.values["n"]
            if n == 4:
                raise KeyboardInterrupt
            record = {"values": {"t/score": n / 10, "t/last": 1}, "claims": {"t/c": n != 3}}
            problem = "x.ipynb failed: ValueError: two\n────\n  code" if n == 2 else ""
            yield Outcome(job, None if problem else record, problem, 1.0)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(command.engine, "run_all", run_all)
    return begun


def test_progress_and_end_say_what_failed_and_what_does_not_hold(store, notebook, started, capsys):
    assert cli.main(["sweep", notebook, "-g", "n=1,2,3", "--metric", "score"]) == 1
    out, err = map(str.splitlines, capsys.readouterr())
    assert out[0] == "3 runs: 0 done, 3 to run"
    assert out[1].startswith("[1/3] n=1: t/score 0.1 · 1.0 s · 0 failed · ")
    assert out[2].startswith("[2/3] n=2: ValueError: two · 1.0 s · 1 failed · ")
    assert out[3].startswith("[3/3] n=3: t/score 0.3 · does not hold: t/c · ")
    assert err[:2] == [
        "failed: n=2: ValueError: two",
        "recorded, but a claim does not hold: t/c: n=3",
    ]
    assert err[-1] == "the same command with --only-failed runs them again"


def test_a_dry_run_says_why_and_again_forces(store, notebook, started, capsys):
    one, two = planned("1"), planned("2")
    store.save(one, SOURCE, 1.0, "cpu")
    store.fail(two, "its process died")
    assert cli.main(["sweep", notebook, "-g", "n=1,2,3", "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[2:] == [
        "  done  n=1",
        "  run   n=2  failed before",
        "  run   n=3  no record of profile quick",
    ]
    assert "raise the recipe or say --again" in out[1]
    assert not started
    cli.main(["sweep", notebook, "-g", "n=1,2,3", "--only-failed"])
    assert started == [two]
    cli.main(["sweep", notebook, "-g", "n=1", "--again"])
    assert started == [two, one]


def test_what_goes_on_is_said_to_who_stops_it_and_what_is_missing_to_who_forgot_it(
    store, notebook, started, capsys
):
    assert cli.main(["sweep", notebook, "-g", "n=3,4"]) == 130
    told = "homework: stopped (the same command goes on with the rest)"
    assert told in capsys.readouterr().err
    assert cli.main(["sweep", notebook, "n=1"]) == 2
    assert "a list of values comes after -g: -g n=1" in capsys.readouterr().err


def test_what_another_sweep_did_meanwhile_is_not_done_again(store, notebook, started, monkeypatch):
    """The other one ends between our plan and our lock."""
    lock = store.lock

    def lock_later():
        other = Store("x", records=store.records, work=store.work)
        other.save(planned("1"), SOURCE, 1.0, "cpu")
        return lock()

    monkeypatch.setattr(store, "lock", lock_later)
    assert cli.main(["sweep", notebook, "-g", "n=1,3"]) == 0
    assert [job.values["n"] for job in started] == [3]


def test_a_sweep_with_nothing_to_do_needs_no_turn(store, notebook, capsys):
    with store.lock():
        assert cli.main(["sweep", notebook, "-g", "n=1", "--only-failed"]) == 0
        assert cli.main(["sweep", notebook, "-g", "n=1"]) == 2
    assert f"another sweep (process {os.getpid()}) is at work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        (0, "0,1", "--gpus 0,1: PyTorch finds 0 GPUs: see `make doctor`"),
        (1, "0,1", "finds 1 GPUs"),
        (2, " 0, 1, GPU-5a", ""),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    store, notebook, started, monkeypatch, capsys, count, wanted, message
):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert cli.main(["sweep", notebook, "--gpus", wanted]) == (2 if message else 0)
    assert message in capsys.readouterr().err
    assert bool(started) != bool(message)


def test_what_is_for_runs_here_is_refused_on_a_cluster(store, notebook, capsys):
    on_cluster = ["--scheduler", "tcp://x:1"]
    assert cli.main(["sweep", notebook, "--dry-run", "--jobs", "2", *on_cluster]) == 2
    assert "on a cluster its workers say what runs at once" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine", "mine.ipynb"])
def test_a_notebook_goes_by_its_name_with_or_without_the_ending(tmp_path, monkeypatch, name):
    monkeypatch.setattr(command, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "mine.ipynb").touch()
    assert command._notebook(name) == tmp_path / "notebooks" / "mine.ipynb"
