"""Which runs a sweep has, and which of them are done."""

import csv
import errno
import json
import os
import tempfile
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pdf_fixtures import claim, executed, source_notebook, value, write

from helpers import cli, mime
from helpers.pdf.errors import UserError
from helpers.sweep import command
from helpers.sweep.plan import cross, grid, table
from helpers.sweep.runs import Store, jobs, load

PATH = Path("notebooks/tiny.ipynb")
PARAMETERS = 'profile = "quick"  # [quick | full]\nn = 1  # [0..9]'
NOTEBOOK = source_notebook()


def test_a_grid_has_every_combination_the_last_axis_fastest():
    runs = grid(["layers=4:6", "heads=2,3"])
    assert [tuple(run.values()) for run in runs] == [
        ("4", "2"), ("4", "3"), ("5", "2"), ("5", "3"), ("6", "2"), ("6", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("a=4:8", ["4", "5", "6", "7", "8"]),
        ("a=8:4", ["8", "7", "6", "5", "4"]),
        ("a=0.1:0.3:0.1", ["0.1", "0.2", "0.3"]),
        ("a=1, 3:4 ,x", ["1", "3", "4", "x"]),
        ("a=2,2,2", ["2"]),
        ("a=0:64:32", ["0", "32", "64"]),
        ("a=1e-3:3e-3:1e-3", ["0.001", "0.002", "0.003"]),
        ("a=123456789012345:123456789012346", ["123456789012345", "123456789012346"]),
        ("a=[2,7,1], [[1,2],[3]] ,4", ["[2,7,1]", "[[1,2],[3]]", "4"]),
        ("""a=['x,]', "y"],z""", ["""['x,]', "y"]""", "z"]),
        ("""a="a,b.csv",'4:8',\"\"""", ["a,b.csv", "4:8", ""]),
        ("a=4.0:6.0", ["4", "5", "6"]),
        ("a=0.5:2:1", ["0.5", "1.5"]),
        ("a=C:x.csv,1:x,it's", ["C:x.csv", "1:x", "it's"]),
    ],
)
def test_an_axis_is_a_list_of_values_and_ranges(axis, values):
    assert [run["a"] for run in grid([axis])] == values


@pytest.mark.parametrize(
    "axis",
    [
        "a",
        "a=",
        "=1",
        "a b=1",
        "a=1,,2",
        "a=1,",
        "a=1:2:0",
        "a=1:5:-1",
        "a=0:1e9",
        "a=1e999:1e999",
        "a=[1,2",
        "a='x,y",
        "a=['x]",
    ],
)
def test_a_wrong_axis_is_refused_in_one_line(axis):
    with pytest.raises(UserError) as caught:
        grid([axis])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("axis", "instead"),
    [
        ("rate=0.1:0.5", "rate=0.1:0.5:0.1"),
        ("rate=1,0.5:0.25", "rate=0.5:0.25:-0.01"),
        ("rate=1:2.5", "rate=1:2.5:0.1"),
        ("rate=1e-3:3e-3", "rate=1e-3:3e-3:0.001"),
    ],
)
def test_a_range_of_fractions_says_its_step(axis, instead):
    with pytest.raises(UserError, match=f"needs a step: say {instead}$"):
        grid([axis])
    assert len(grid([instead])) > 1


@given(st.lists(st.lists(st.integers(-99, 99), min_size=1, max_size=4, unique=True), max_size=4))
def test_the_size_of_a_grid_is_the_product_of_its_axes(axes):
    texts = [f"p{i}={','.join(map(str, values))}" for i, values in enumerate(axes)]
    expected = 1
    for values in axes:
        expected *= len(values)
    assert len(grid(texts)) == expected


def test_more_runs_than_anyone_waits_for_are_refused_before_they_are_made():
    with pytest.raises(UserError, match=r"would be 10,000,000,000 runs; a sweep has at most 100,0"):
        grid(["a=1:100000", "b=1:100000"])
    with pytest.raises(UserError, match="would be 200,000 runs"):
        cross(grid(["a=1:100000"]), grid(["b=1,2"]))


def test_zip_takes_axes_side_by_side():
    runs = grid(["a=1,2", "b=3,4"], zipped=True)
    assert runs == [{"a": "1", "b": "3"}, {"a": "2", "b": "4"}]
    with pytest.raises(UserError, match="a has 2, b has 1"):
        grid(["a=1,2", "b=3"], zipped=True)


def test_runs_come_from_a_table_and_cross_with_a_grid(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("\ufeffa,b\n1,x\n2,\n2,\n", encoding="utf-8")
    assert table(path) == [{"a": "1", "b": "x"}, {"a": "2"}]
    assert len(cross(table(path), grid(["c=1,2"]))) == 4


@pytest.mark.parametrize("content", ["", "a,b\n", "a\n1,2\n", 'a\n"open\n'])
def test_a_table_without_runs_is_refused(tmp_path, content):
    path = tmp_path / "runs.csv"
    path.write_text(content)
    with pytest.raises(UserError):
        table(path)


def test_jobs_are_checked_before_anything_starts_and_counted_once():
    assert len(jobs(grid(["n=1,2"]), NOTEBOOK, "quick", PATH)) == 2
    assert len(jobs([{"n": "2"}, {"n": " +2"}], NOTEBOOK, "quick", PATH)) == 1
    with pytest.raises(UserError, match="did you mean"):
        jobs(grid(["nn=1"]), NOTEBOOK, "quick", PATH)
    with pytest.raises(UserError, match="not of type int"):
        jobs(grid(["n=1:x"]), NOTEBOOK, "quick", PATH)
    with pytest.raises(UserError, match="outside"):
        jobs(grid(["n=1,99"]), NOTEBOOK, "quick", PATH)
    (typed,), (default,) = (jobs([run], NOTEBOOK, "quick", PATH) for run in ({"n": "1"}, {}))
    assert typed.name == default.name  # 1 is the default: the same run


@pytest.fixture
def store(tmp_path):
    return Store("tiny", records=tmp_path / "records", work=tmp_path / "work")


def test_a_run_is_done_when_its_record_has_the_same_parameters_and_recipe(store):
    (job,) = jobs([{"n": "2"}], NOTEBOOK, "quick", PATH)
    assert store.why(job) == "no record"
    store.save(job, executed(claim("t/c"), value("t/v")), 1.5)
    for seen in (store, Store("tiny", records=store.records, work=store.work)):
        assert seen.why(job) == ""
    other = source_notebook("another = 'code'", parameters=PARAMETERS + "\nrecipe = 2  # raise it")
    (again,) = jobs([{"n": "2"}], other, "quick", PATH)
    assert store.why(again) == "its record is of recipe 1, now 2"
    store.save(again, executed(value("t/v")), 1.5)
    assert store.why(again) == ""
    (record,) = load(store.records)  # the older one is replaced
    assert (record["recipe"], record["parameters"]) == (2, {"profile": "quick", "n": 2})
    path = store.record(job)
    path.write_text(path.read_text()[:-20])
    store.look()
    assert store.why(job) == "no record"


def test_a_recipe_is_no_parameter():
    other = source_notebook("1", parameters=PARAMETERS + "\nrecipe = 2")
    with pytest.raises(UserError, match="no parameter 'recipe'"):
        jobs(grid(["recipe=3"]), other, "quick", PATH)
    with pytest.raises(UserError, match="recipe = 'two' is not a whole number"):
        jobs([{}], source_notebook("1", parameters=PARAMETERS + "\nrecipe = 'two'"), "quick", PATH)


def test_a_failure_is_known_whatever_it_left(store):
    one, two, three = jobs(grid(["n=1,2,3"]), NOTEBOOK, "quick", PATH)
    store.fail(one, "its process died \udcff")
    store.failed(two).write_text("{}")
    assert [store.has_failed(job) for job in (one, two, three)] == [True, True, False]
    assert [store.why(job) for job in (one, three)] == ["failed before", "no record"]
    for job in (one, two):
        store.forget_failure(job)
        assert not store.has_failed(job)


def test_only_failed_takes_what_left_no_notebook(store, monkeypatch, tmp_path):
    path, started = write(source_notebook("1"), tmp_path / "x.ipynb"), []
    two = jobs([{"n": "2"}], NOTEBOOK, "quick", path)[0]
    store.fail(two, "its process died")
    monkeypatch.setattr(command, "Store", lambda name: store)
    monkeypatch.setattr(command.local, "run_all", lambda jobs, *_: started.extend(jobs) or [])
    assert cli.main(["sweep", str(path), "-g", "n=1,2,3", "--only-failed"]) == 0
    assert started == [two]


def test_a_sweep_with_nothing_to_do_needs_no_turn(store, monkeypatch, tmp_path, capsys):
    path = write(source_notebook("1"), tmp_path / "x.ipynb")
    monkeypatch.setattr(command, "Store", lambda name: store)
    with store.lock():
        assert cli.main(["sweep", str(path), "-g", "n=1", "--only-failed"]) == 0
        assert cli.main(["sweep", str(path), "-g", "n=1"]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("1 run: 0 done, 0 to run\n")
    assert "another sweep" in shown.err


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
        ({"text": "../ä,b%"}, "full", "text=..%2F%C3%A4%2Cb%25"),
        ({"other": "true"}, "full", "other=true"),
        ({"other": "True"}, "full", "other=True"),
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
    store.save(job, executed(), 1.0)
    now = source_notebook(parameters=NAMED.replace("full: 8", "full: 6"))
    (other,) = jobs([{}], now, "full", PATH)  # of the same name since the profile has changed
    assert (other.name, store.why(other)) == (job.name, "no record")
    store.save(other, executed(), 1.0)
    assert [record["parameters"]["layers"] for record in load(store.records)] == [8, 6]
    assert store.why(job) == store.why(other) == ""


def test_a_record_is_there_whole_or_not_at_all(store, monkeypatch):
    (job,) = jobs([{"n": "2"}], NOTEBOOK, "quick", PATH)
    store.save(job, executed(value("t/v")), 1.5)
    before = store.record(job).read_bytes()

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)  # when all is written and has no name yet
    with pytest.raises(KeyboardInterrupt):
        store.save(job, executed(value("t/other")), 2.5)
    assert [path.name for path in store.records.iterdir()] == [store.record(job).name]
    assert store.record(job).read_bytes() == before


def test_another_profile_is_not_given_as_a_parameter():
    with pytest.raises(UserError, match="say --profile full"):
        jobs(grid(["profile=quick,full"]), NOTEBOOK, "quick", PATH)
    assert len(jobs(grid(["profile=full"]), NOTEBOOK, "full", PATH)) == 1


def test_a_record_holds_what_the_notebook_recorded(store):
    (job,) = jobs([{"n": "2"}], NOTEBOOK, "quick", PATH)
    stamp = nbformat.v4.new_output("display_data", {mime.STAMP: {"data": "reviews", "seed": 0}})
    store.save(job, executed(stamp, claim("t/c"), value("t/v")), 1.5)
    (record,) = load(store.records)
    assert record["stamp"] == {"data": "reviews", "seed": 0}
    assert record["parameters"] == {"profile": "quick", "n": 2}
    assert record["values"] == {"t/v": 1}
    assert record["claims"] == {"t/c": True}
    assert record["seconds"] == 1.5


def test_two_sweeps_do_not_share_a_folder(store):
    other = rf"another sweep \(process {os.getpid()}\) is at work in .*: wait for it"
    with store.lock():
        for _ in range(2):  # one that is refused leaves the first its lock, and its number there
            with pytest.raises(UserError, match=other), store.lock():
                pass
    with store.lock():
        pass


def test_a_folder_that_can_not_be_locked_is_no_other_sweep(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(UserError, match=r"\.lock can't be locked: No locks av"), store.lock():
        pass


def test_a_file_that_is_no_record_is_named(store):
    store.records.mkdir()
    (store.records / "x.json").write_text(json.dumps({"parameters": {}}))
    with pytest.raises(UserError, match=r"x\.json is not a record"):
        load(store.records)


CELL = st.text(max_size=12)


@given(st.lists(st.lists(CELL, min_size=1, max_size=3), min_size=1, max_size=4))
def test_any_table_is_read_or_refused(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.csv")
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            csv.writer(file).writerows(rows)
        try:
            runs = table(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert all(isinstance(v, str) and v for run in runs for v in run.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n,n\n1,2\n", "names 'n' twice"),
        (b"\xff\xfe\n", "not a CSV file"),
        (b'n\n"1', "not a CSV file"),
        (b"n\n" + b"1" * 200_000, "not a CSV file"),
        (b"n\n\n\n1,2\n", ":4: more values than"),
        (b"n,m\n\n\n", "has no runs"),
    ],
)
def test_a_table_that_is_ambiguous_or_broken_is_refused(tmp_path, content, message):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        table(path)
    with pytest.raises(UserError, match="Is a directory"):
        table(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "null", "[]", "{}", '{"recipe": "1", "parameters": {}, "values": {}}',
     '{"recipe": 1, "parameters": [], "values": {}}', "[" * 100_000, "\udcff"],
)  # fmt: skip
def test_what_is_no_record_is_run_again_and_not_read(store, content):
    (job,) = jobs([{}], NOTEBOOK, "quick", Path("x.ipynb"))
    store.records.mkdir(parents=True, exist_ok=True)
    store.record(job).write_text(content, errors="surrogateescape")
    assert store.why(job) == "no record"
    with pytest.raises(UserError, match="is not a record of a run"):
        load(store.records)


def test_what_another_sweep_did_meanwhile_is_not_done_again(store, monkeypatch, tmp_path):
    """The other one ends between our plan and our lock."""
    path, started = write(source_notebook("1"), tmp_path / "x.ipynb"), []
    lock = store.lock

    def lock_later():
        for job in jobs([{"n": "1"}, {"n": "2"}], source_notebook("1"), "quick", path):
            store.save(job, source_notebook("1"), 1.0)
        return lock()

    monkeypatch.setattr(store, "lock", lock_later)
    monkeypatch.setattr(command, "Store", lambda name: store)
    monkeypatch.setattr(command.local, "run_all", lambda jobs, *_: started.extend(jobs) or [])
    assert cli.main(["sweep", str(path), "-g", "n=1,2,3"]) == 0
    assert [job.values["n"] for job in started] == [3]
