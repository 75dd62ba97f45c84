"""Which runs are done, and what their records hold and are called."""

import os
from pathlib import Path

import pytest
from pdf_fixtures import claim, executed, source_notebook, stamp, value

from helpers.pdf.errors import UserError
from helpers.sweep.plan import grid
from helpers.sweep.runs import Store, jobs, load

PATH = Path("notebooks/tiny.ipynb")
PARAMETERS = 'profile = "quick"  # [quick | full]\nn = 1  # [0..9]'
NOTEBOOK = source_notebook()


def test_jobs_are_checked_before_anything_starts_and_counted_once():
    assert len(jobs(grid(["n=1,2"]), NOTEBOOK, "quick", PATH)) == 2
    assert len(jobs([{"n": "2"}, {"n": " +2"}], NOTEBOOK, "quick", PATH)) == 1
    with pytest.raises(UserError, match="did you mean"):
        jobs(grid(["nn=1"]), NOTEBOOK, "quick", PATH)
    (typed,), (default,) = (jobs([run], NOTEBOOK, "quick", PATH) for run in ({"n": "1"}, {}))
    assert typed.name == default.name  # 1 is the default: the same run


@pytest.fixture
def store(tmp_path):
    return Store("tiny", records=tmp_path / "records", work=tmp_path / "work")


def test_a_run_is_done_when_its_record_has_the_same_parameters_and_recipe(store):
    (job,) = jobs([{"n": "2"}], NOTEBOOK, "quick", PATH)
    assert store.why(job) == "no record of profile quick"
    store.save(job, executed(stamp(data="reviews"), claim("t/c"), value("t/v")), 1.5, "cpu")
    (record,) = load(store.records)
    assert record["parameters"] == {"profile": "quick", "n": 2}
    assert record["stamp"]["data"] == "reviews"
    assert (record["values"], record["claims"]) == ({"t/v": 1}, {"t/c": True})
    assert (record["seconds"], record["hardware"]) == (1.5, "cpu")
    for seen in (store, Store("tiny", records=store.records, work=store.work)):
        assert seen.why(job) == ""
    other = source_notebook("another = 'code'", parameters=PARAMETERS + "\nrecipe = 2  # raise it")
    (again,) = jobs([{"n": "2"}], other, "quick", PATH)
    assert store.why(again) == "its record is of recipe 1, now 2"
    store.save(again, executed(value("t/v")), 1.5, "cpu")
    assert store.why(again) == ""
    (record,) = load(store.records)  # the older one is replaced
    assert (record["recipe"], record["parameters"]) == (2, {"profile": "quick", "n": 2})
    path = store.record(job)
    path.write_text(path.read_text()[:-20])
    store.look()
    assert store.why(job) == "no record of profile quick"


def test_a_failure_is_known_until_the_run_is_done(store):
    one, two = jobs(grid(["n=1,2"]), NOTEBOOK, "quick", PATH)
    store.fail(one, "its process died \udcff")
    store.failed(one).write_text("{}")
    assert [store.why(job) for job in (one, two)] == ["failed before", "no record of profile quick"]
    store.save(one, executed(), 1.0, "cpu")
    assert store.why(one) == ""
    assert not list(store.work.iterdir())


NAMED = """profile = "quick"  # [quick | full]
layers = 4  # (full: 8)
rates = [0.1]
text = "a"
other = None
"""


@pytest.mark.parametrize(
    ("given", "profile", "name"),
    [
        ({}, "full", "defaults"),
        ({}, "quick", "profile=quick"),
        ({"layers": "8"}, "full", "defaults"),
        ({"layers": "8"}, "quick", "profile=quick,layers=8"),
        ({"text": "b", "layers": "4"}, "full", "layers=4,text=b"),
        ({"rates": "[0.1, 1e-5]"}, "full", "rates=[0.1,1e-05]"),
        ({"other": "True"}, "full", "other=true"),
    ],
)
def test_a_name_says_what_differs_from_the_profile(given, profile, name):
    notebook = source_notebook(parameters=NAMED)
    assert jobs([given], notebook, profile, PATH)[0].name == name


def test_two_sets_of_parameters_never_share_a_file(store):
    notebook = source_notebook(parameters=NAMED)
    runs = [{"text": "x" * 200 + end} for end in "ab"] + [{"text": "Ä"}, {"text": "ä"}]
    names = {job.name.lower() for job in jobs(runs, notebook, "full", PATH)}
    assert len(names) == 4
    assert max(map(len, names)) < 140
    (job,) = jobs([{}], notebook, "full", PATH)
    store.save(job, executed(), 1.0, "cpu")
    now = source_notebook(parameters=NAMED.replace("full: 8", "full: 6"))
    (other,) = jobs([{}], now, "full", PATH)  # of the same name since the profile has changed
    assert (other.name, store.why(other)) == (job.name, "no record of profile full")
    store.save(other, executed(), 1.0, "cpu")
    assert [record["parameters"]["layers"] for record in load(store.records)] == [8, 6]
    assert store.why(job) == store.why(other) == ""


def test_a_record_is_there_whole_or_not_at_all(store, monkeypatch):
    (job,) = jobs([{"n": "2"}], NOTEBOOK, "quick", PATH)
    store.save(job, executed(value("t/v")), 1.5, "cpu")
    before = store.record(job).read_bytes()

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)  # when all is written and has no name yet
    with pytest.raises(KeyboardInterrupt):
        store.save(job, executed(value("t/other")), 2.5, "cpu")
    assert [path.name for path in store.records.iterdir()] == [store.record(job).name]
    assert store.record(job).read_bytes() == before


def test_two_sweeps_do_not_share_a_folder(store):
    other = rf"another sweep \(process {os.getpid()}\) is at work in .*: wait for it"
    with store.lock():
        for _ in range(2):  # one that is refused leaves the first its lock, and its number there
            with pytest.raises(UserError, match=other), store.lock():
                pass
    with store.lock():
        pass


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"parameters": {}, "values": {}}', "\udcff"],
)
def test_what_is_no_record_is_run_again_and_not_read(store, content):
    (job,) = jobs([{}], NOTEBOOK, "quick", Path("x.ipynb"))
    store.records.mkdir(parents=True, exist_ok=True)
    store.record(job).write_text(content, errors="surrogateescape")
    assert store.why(job) == "no record of profile quick"
    with pytest.raises(UserError, match=r"\.json is not a record of a run"):
        load(store.records)


def test_a_default_that_is_an_expression_is_no_part_of_a_record(store):
    """Nobody knows its value before the run; what is given for it is recorded."""
    notebook = source_notebook(parameters="n = 1\nm = 2 * n")
    usual, given = jobs([{}, {"m": "5"}], notebook, "quick", PATH)
    assert (usual.values, given.values, given.name) == ({"n": 1}, {"n": 1, "m": 5}, "m=5")
    store.save(usual, executed(), 1.0, "cpu")
    assert [store.why(job) for job in (usual, given)] == ["", "no record of profile quick"]
