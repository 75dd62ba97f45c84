"""The records of a sweep side by side, and the command line of sweeps."""

import json
import os
import subprocess
from pathlib import Path

import nbformat
import pytest
from pdf_fixtures import BIN, executed, source_notebook, value, write

from helpers import cli
from helpers.pdf.errors import UserError
from helpers.pdf.parameters import read_parameters
from helpers.sweep import command
from helpers.sweep import table as results
from helpers.sweep.plan import grid
from helpers.sweep.runs import Store, jobs

PATH = Path("notebooks/tiny.ipynb")


@pytest.fixture
def store(tmp_path):
    return Store("tiny", records=tmp_path / "records", work=tmp_path / "work")


def test_the_table_gives_mean_and_spread_over_seeds(store):
    notebook = source_notebook(parameters="seed = 0  # s\nn = 1  # n\nprofile='q'")
    known = read_parameters(notebook, PATH)
    for job in jobs(grid(["n=1,2", "seed=0,1,2"]), notebook, "quick", PATH):
        score = nbformat.from_dict(value("t/score"))
        content = next(iter(content for m, content in score.data.items() if "record" in m))
        content["value"] = job.values["n"] + job.values["seed"] / 10
        store.save(job, executed(score), 1.0)
    frame = results.runs(store.records)
    assert len(frame) == 6
    assert results.varied(frame, list(known)) == ["n"]
    table = results.over_seeds(frame, ["n"], "score")
    assert table["mean"].tolist() == pytest.approx([1.1, 2.1])
    assert table["std"].tolist() == pytest.approx([0.1, 0.1])
    assert table["runs"].tolist() == [3, 3]
    with pytest.raises(UserError, match="no column 'scores'"):
        results.over_seeds(frame, ["n"], "scores")
    assert results.over_seeds(frame, ["n"], "t/score").equals(table)
    for name in ("u/score", "t/scores"):
        with pytest.raises(UserError, match=f"no column '{name}'; did you mean 'score'"):
            results.over_seeds(frame, ["n"], name)
    for style in command.FORMATS:
        assert "mean" in results.write(table, style)


def recorded(store, *runs):
    """Records with the given parameters and metrics."""
    store.records.mkdir()
    for i, (parameters, metrics) in enumerate(runs):
        metrics = {f"t/{name}": value for name, value in metrics.items()}
        record = {"parameters": parameters, "values": metrics, "recipe": 1, "seconds": 1.0}
        (store.records / f"{i}.json").write_text(json.dumps(record))
    return results.runs(store.records)


def test_runs_are_grouped_by_lists_and_by_none_too(store):
    frame = recorded(
        store,
        ({"sizes": [1, 2], "cap": None}, {"score": 1}),
        ({"sizes": [1, 2], "cap": None}, {"score": 3}),
        ({"sizes": [3], "cap": 10}, {"score": 5}),
        ({"sizes": [3], "cap": 9}, {}),
    )
    table = results.over_seeds(frame, ["cap", "sizes"], "score")
    assert table[["cap", "sizes", "runs", "mean"]].to_numpy().tolist() == [
        [10, [3], 1, 5.0],
        [None, [1, 2], 2, 2.0],
    ]


def test_a_metric_of_a_parameters_name_is_asked_for_with_its_topic(store):
    frame = recorded(store, ({"n": 1}, {"n": 5, "score": 2}))
    assert results.over_seeds(frame, [], "t/n")["mean"].tolist() == [5]
    assert results.over_seeds(frame, [], "n")["mean"].tolist() == [1]
    assert results.over_seeds(frame, [], "t/score")["mean"].tolist() == [2]


def test_a_metric_is_a_number_that_some_run_has(store):
    frame = recorded(store, ({"n": 1}, {"word": "x", "score": None}))
    with pytest.raises(UserError, match=r"'word' is no number but 'x'"):
        results.over_seeds(frame, ["n"], "word")
    with pytest.raises(UserError, match="no run has a value of 'score'"):
        results.over_seeds(frame, ["n"], "score")


def test_whole_numbers_are_shown_whole_beside_runs_that_have_none(store):
    frame = recorded(store, ({"n": 1}, {"size": 351_190}), ({"n": 2}, {"share": 0.123456}))
    assert results.write(frame, "csv").splitlines()[1] == "1,351190,1.0,"
    lines = results.write(frame, "markdown").splitlines()
    assert lines[2:] == ["| 1 | 351190 | 1 | – |", "| 2 | – | 1 | 0.1235 |"]
    assert results.shown(351_190.0) == "351190"


def test_a_bar_in_markdown_begins_no_cell(store):
    frame = recorded(store, ({"text": "a|b\nc", "none": None}, {}))
    assert results.write(frame, "markdown").splitlines()[2] == "| a\\|b c | None | 1 |"
    assert results.write(frame, "csv").endswith(",None,1.0")


@pytest.fixture
def layered(store, monkeypatch, tmp_path):
    """A notebook with records, as the command line sees it."""
    path = write(source_notebook("1", parameters="layers = 1\nheads = 1"), tmp_path / "x.ipynb")
    scores = {(5, 2): 0.5, (5, 3): 0.9, (6, 2): 0.7}
    runs = [({"layers": m, "heads": n}, {"score": score}) for (m, n), score in scores.items()]
    recorded(store, *runs)
    monkeypatch.setattr(command, "Store", lambda name: store)
    return str(path)


@pytest.mark.parametrize(
    ("by", "last"),
    [
        ("layers, heads,layers", "highest: layers 5, heads 3, mean of score 0.9"),
        ("layers", "highest: layers 5, mean of score 0.7"),
        (",", "highest: layers 5, heads 3, mean of score 0.9"),
    ],
)
def test_the_highest_mean_is_named(layered, capsys, by, last):
    assert cli.main(["results", layered, "--metric", "score", "--by", by]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_a_metric_is_named_as_the_sweep_prints_it_too(layered, capsys):
    assert cli.main(["results", layered, "--metric", "t/score"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("mean of t/score 0.9")


@pytest.mark.parametrize("rest", [[], ["--metric", "score"]])
def test_a_column_to_group_by_that_is_not_there_is_refused(layered, capsys, rest):
    assert cli.main(["results", layered, "--by", "heads,layer", *rest]) == 2
    assert "no column 'layer'; did you mean 'layers'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ([], ["9,b,1", "10,a,0", "10,a,2", "10,b,0"]),
        (["--by", "rule,n"], ["10,a,0", "10,a,2", "9,b,1", "10,b,0"]),
        (["--by", "rule"], ["10,a,0", "10,a,2", "9,b,1", "10,b,0"]),
        (["--by", "same"], ["9,b,1,5", "10,a,0,5", "10,a,2,5", "10,b,0,5"]),
    ],
)
def test_rows_come_by_the_parameters_that_vary_then_by_seed(
    store, monkeypatch, capsys, tmp_path, by, rows
):
    cell = 'n = 1\nrule = "a"\nseed = 0\nsame = 5'
    path = write(source_notebook("1", parameters=cell), tmp_path / "x.ipynb")
    names = ("n", "rule", "seed", "same")
    runs = [(10, "b", 0, 5), (10, "a", 2, 5), (10, "a", 0, 5), (9, "b", 1, 5)]
    recorded(store, *((dict(zip(names, run, strict=True)), {}) for run in runs))
    monkeypatch.setattr(command, "Store", lambda name: store)
    assert cli.main(["results", str(path), "--format", "csv", *by]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.removesuffix(",1.0") for line in lines] == rows


def test_a_reader_that_goes_away_is_no_success(layered):
    reader, writer = os.pipe()
    os.close(reader)
    command = [BIN / "homework", "sweep", layered, "--dry-run"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.fixture
def started(monkeypatch):
    """The jobs that a sweep would start."""
    jobs = []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(command.local, "run_all", lambda waiting, *_: jobs.extend(waiting) or [])
    return jobs


def gpus(monkeypatch, count):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        (0, "0,1", "--gpus 0,1: PyTorch finds no GPU here: see `make doctor`, or leave"),
        (1, "0,1", "there is no GPU 1; the only GPU is 0"),
        (2, "2,0", "there is no GPU 2; the GPUs are 0 to 1"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    layered, started, monkeypatch, capsys, count, wanted, message
):
    gpus(monkeypatch, count)
    assert cli.main(["sweep", layered, "--gpus", wanted]) == 2
    assert message in capsys.readouterr().err
    assert not started
    assert cli.main(["sweep", layered, "--gpus", wanted, "--dry-run"]) == 0


@pytest.mark.parametrize(("wanted", "hidden"), [("0,1", ""), ("GPU-5a", ""), ("7", "6,7")])
def test_gpus_that_are_there_or_not_told_by_number_are_taken(
    layered, started, monkeypatch, wanted, hidden
):
    gpus(monkeypatch, 2)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert cli.main(["sweep", layered, "--gpus", wanted]) == 0
    assert len(started) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timeout", "0"], "'0' is not a number of seconds above 0"),
        (["--timeout", "nan"], "'nan' is not a number of seconds above 0"),
        (["--timeout", "inf"], "'inf' is not a number of seconds above 0"),
        (["--timeout=-1"], "'-1' is not a number of seconds above 0"),
        (["--retries=-1"], "'-1' is not a whole number from 0"),
        (["--jobs", "0"], "'0' is not a whole number from 1"),
        (["--limit", "x"], "'x' is not a whole number of at least 1"),
        (["--gpus", "0,,1"], "not a list of devices"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(layered, capsys, options, message):
    with pytest.raises(SystemExit):
        cli.main(["sweep", layered, "--dry-run", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--engine", "dask", "--jobs", "2"], ["--engine", "dask", "--gpus", "0"],
                ["--scheduler", "tcp://x:1"]],
)  # fmt: skip
def test_what_the_engine_would_not_heed_is_refused(layered, capsys, options):
    assert cli.main(["sweep", layered, "--dry-run", *options]) == 2
    assert " --engine " in capsys.readouterr().err
