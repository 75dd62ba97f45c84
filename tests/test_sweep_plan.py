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

from helpers import cli, data, mime
from helpers.pdf.errors import UserError
from helpers.pdf.notebook import components
from helpers.pdf.parameters import read_parameters
from helpers.sweep import command
from helpers.sweep.plan import cross, grid, table
from helpers.sweep.store import Store, jobs, load

PATH = Path("notebooks/tiny.ipynb")
KNOWN = read_parameters(source_notebook(), PATH)


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
    assert len(jobs(grid(["n=1,2"]), KNOWN, "quick", PATH)) == 2
    assert len(jobs([{"n": "2"}, {"n": " +2"}], KNOWN, "quick", PATH)) == 1
    with pytest.raises(UserError, match="did you mean"):
        jobs(grid(["nn=1"]), KNOWN, "quick", PATH)
    with pytest.raises(UserError, match="not of type int"):
        jobs(grid(["n=1:x"]), KNOWN, "quick", PATH)
    with pytest.raises(UserError, match="outside"):
        jobs(grid(["n=1,99"]), KNOWN, "quick", PATH)
    typed, default = jobs([{"n": "1"}], KNOWN, "quick", PATH), jobs([{}], KNOWN, "quick", PATH)
    assert typed[0].key == default[0].key  # 1 is the default: the same run


@pytest.fixture
def store(tmp_path):
    return Store("tiny", records=tmp_path / "records", work=tmp_path / "work")


PARTS = {"the notebook's code": "1", "helpers/x.py": "2", "the data sets": "3"}


def test_a_run_is_done_when_its_record_is_whole_and_nothing_changed(store):
    (job,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    assert store.why(job, PARTS) == "not run yet"
    store.save(job, executed(claim("t/c"), value("t/v")), PARTS, 1.5)
    assert store.why(job, PARTS) == ""
    assert store.why(job, PARTS | {"helpers/x.py": "9"}) == "changed since: helpers/x.py"
    for name in ("recorded", "records", "plotting", "mime", "sweep/store", "press/text"):
        assert store.why(job, PARTS | {f"helpers/{name}.py": "9"}) == ""
    path = store.record(job)
    path.write_text(path.read_text()[:-20])
    assert store.why(job, PARTS) == "its record is broken"


def stamped(data):
    stamp = nbformat.v4.new_output("display_data", {mime.STAMP: {"data": data}})
    return executed(stamp)


def warned(text):
    return executed(nbformat.v4.new_output("stream", name="stderr", text=text))


OTHER_DATA = PARTS | {"the data sets": "4"}
NEW_DATA = "it ran without all its data, and there are other data now"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (stamped("Fashion-MNIST, 60,000 training images"), ""),
        (stamped("scikit-learn digits (stand-in), 1,437 training images"), NEW_DATA),
        (warned("helpers.datasets:1: StandInWarning: Going without wordsim353"), NEW_DATA),
        (warned("helpers.x:1: UserWarning: too warm"), ""),
        (executed(), ""),
    ],
)
def test_other_data_concern_only_a_run_that_had_to_do_without(store, monkeypatch, run, reason):
    (job,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    store.save(job, run, PARTS, 1.5)
    monkeypatch.setattr(data, "present", lambda: [("x", 1)])
    assert store.why(job, PARTS) == ""  # they are the same: it would do without again
    assert store.why(job, OTHER_DATA) == reason
    monkeypatch.setattr(data, "present", lambda: [])
    assert store.why(job, OTHER_DATA) == ""


def test_a_record_of_before_is_judged_by_its_stamp(store, monkeypatch):
    (job,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    store.save(job, stamped("generated reviews (stand-in), 2,000"), PARTS, 1.5)
    record = json.loads(store.record(job).read_text())
    del record["lacked_data"]
    store.record(job).write_text(json.dumps(record))
    monkeypatch.setattr(data, "present", lambda: [("x", 1)])
    assert store.why(job, OTHER_DATA) == NEW_DATA


def test_a_failure_is_known_whatever_it_left(store):
    one, two, three = jobs(grid(["n=1,2,3"]), KNOWN, "quick", PATH)
    store.fail(one, "its process died \udcff")
    store.failed(two).write_text("{}")
    assert [store.has_failed(job) for job in (one, two, three)] == [True, True, False]
    assert [store.why(job, PARTS) for job in (one, three)] == ["failed before", "not run yet"]
    for job in (one, two):
        store.forget_failure(job)
        assert not store.has_failed(job)


def test_only_failed_takes_what_left_no_notebook(store, monkeypatch, tmp_path):
    path, started = write(source_notebook("1"), tmp_path / "x.ipynb"), []
    two = jobs([{"n": "2"}], KNOWN, "quick", path)[0]
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


def test_a_key_tells_all_values_apart_whatever_the_defaults_are():
    other = read_parameters(source_notebook(parameters="profile = 'quick'\nn = 2"), PATH)
    text = read_parameters(source_notebook(parameters="profile = 'quick'\ntext = ''"), PATH)
    (one,), (two,) = jobs([{}], KNOWN, "quick", PATH), jobs([{}], other, "quick", PATH)
    assert one.key.rpartition("_")[2] != two.key.rpartition("_")[2]  # n is 1, n is 2
    (given,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    assert given.key.rpartition("_")[2] == two.key.rpartition("_")[2]
    long = jobs([{"text": "x" * 99 + end} for end in "ab"], text, "quick", PATH)
    assert len({job.key for job in long}) == 2
    assert max(len(job.key) for job in long) < 100


def test_a_record_is_there_whole_or_not_at_all(store, monkeypatch):
    (job,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    store.save(job, executed(value("t/v")), PARTS, 1.5)
    before = store.record(job).read_bytes()

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)  # when all is written and has no name yet
    with pytest.raises(KeyboardInterrupt):
        store.save(job, executed(value("t/other")), PARTS, 2.5)
    assert [path.name for path in store.records.iterdir()] == [store.record(job).name]
    assert store.record(job).read_bytes() == before


def test_another_profile_is_not_given_as_a_parameter():
    with pytest.raises(UserError, match="say --profile full"):
        jobs(grid(["profile=quick,full"]), KNOWN, "quick", PATH)
    assert len(jobs(grid(["profile=full"]), KNOWN, "full", PATH)) == 1


def test_a_record_holds_what_the_notebook_recorded(store):
    (job,) = jobs([{"n": "2"}], KNOWN, "quick", PATH)
    stamp = nbformat.v4.new_output("display_data", {mime.STAMP: {"data": "reviews", "seed": 0}})
    store.save(job, executed(stamp, claim("t/c"), value("t/v")), PARTS, 1.5)
    (record,) = load(store.records)
    assert record["stamp"] == {"data": "reviews", "seed": 0}
    assert record["parameters"] == {"profile": "quick", "n": 2}
    assert record["metrics"] == {"t/v": 1}
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
    ["", "null", "[]", "{}", '{"identity": {}}', '{"identity": 5, "parameters": {}, "metrics": {}}',
     '{"identity": {}, "parameters": [], "metrics": {}}', "[" * 100_000, "\udcff"],
)  # fmt: skip
def test_what_is_no_record_is_run_again_and_not_read(store, content):
    (job,) = jobs([{}], KNOWN, "quick", Path("x.ipynb"))
    store.records.mkdir(parents=True, exist_ok=True)
    store.record(job).write_text(content, errors="surrogateescape")
    assert store.why(job, {}) == "its record is broken"
    with pytest.raises(UserError, match="is not a record of a run"):
        load(store.records)


def test_what_another_sweep_did_meanwhile_is_not_done_again(store, monkeypatch, tmp_path):
    """The other one ends between our plan and our lock."""
    path, started = write(source_notebook("1"), tmp_path / "x.ipynb"), []
    lock = store.lock

    def lock_later():
        parts = components(source_notebook("1"))
        for job in jobs([{"n": "1"}, {"n": "2"}], read_parameters(source_notebook("1"), path),
                        "quick", path):  # fmt: skip
            store.save(job, source_notebook("1"), parts, 1.0)
        return lock()

    monkeypatch.setattr(store, "lock", lock_later)
    monkeypatch.setattr(command, "Store", lambda name: store)
    monkeypatch.setattr(command.local, "run_all", lambda jobs, *_: started.extend(jobs) or [])
    assert cli.main(["sweep", str(path), "-g", "n=1,2,3"]) == 0
    assert [job.values["n"] for job in started] == [3]
