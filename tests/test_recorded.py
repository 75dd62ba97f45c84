"""Recorded runs as notebooks read them."""

import json

import pytest
from press_fixtures import source_notebook

from helpers.press.errors import UserError
from helpers.press.notebook import ROOT, digest, helper_modules
from helpers.recorded import alike, frame, provenance, recorded


def run(finished="2026-01-02T00:00:00+00:00", profile="full", identity=None, **parameters):
    return {
        "parameters": {"profile": profile} | parameters,
        "metrics": {"t/score": 0.5},
        "stamp": {"data": "pictures", "device": "cpu, 1 thread", "torch": "2"},
        "seconds": 1.0,
        "finished": finished,
        "hardware": "abacus",
        "identity": identity or {},
    }


def test_runs_come_oldest_first_and_of_one_profile(tmp_path):
    days = ["2026-01-03", "2026-01-01", "2026-01-02"]
    for i, day in enumerate(days):
        path = tmp_path / "topic" / f"{i}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(run(day, "quick" if i == 2 else "full", n=i)))
    found = recorded("topic", folder=tmp_path)
    assert [one["parameters"]["n"] for one in found] == [1, 0]
    assert recorded("nothing", folder=tmp_path) == []
    bare = run() | {"parameters": {"n": 1}}  # of a notebook that has no profiles
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "x.json").write_text(json.dumps(bare))
    assert [len(recorded("bare", profile=p, folder=tmp_path)) for p in ("quick", "full")] == [1, 1]
    (tmp_path / "topic" / "x.json").write_text("{}")
    with pytest.raises(UserError, match=r"x\.json is not a record"):
        recorded("topic", folder=tmp_path)


def test_alike_is_the_largest_set_that_differs_in_nothing_else():
    short = [run(n=n, epochs=1) for n in range(2)]
    long = [run(n=n, epochs=9) for n in range(3)]
    assert alike([*short, *long], "n") == long
    assert alike([*short, *long], "n", "epochs") == [*short, *long]
    assert alike([short[0], long[0]], "n") == [short[0]]
    assert alike([], "n") == []


def test_the_sweep_does_without_what_notebooks_read_it_with():
    swept = helper_modules(source_notebook("import helpers.sweep.results, helpers.sweep.command"))
    assert ROOT / "helpers" / "recorded.py" not in swept
    assert ROOT / "helpers" / "sweep" / "store.py" in swept


def test_the_frame_has_parameters_and_metrics():
    (row,) = frame([run(n=3)]).to_dict("records")
    assert row == {"profile": "full", "n": 3, "score": 0.5, "seconds": 1.0}


def test_a_name_is_shortened_only_where_nothing_else_has_it():
    metrics = {"a/score": 1, "b/score": 2, "a/n": 7, "a/seconds": 9, "a/loss": 5}
    (row,) = frame([run(n=3) | {"metrics": metrics}]).to_dict("records")
    assert row == {"profile": "full", "n": 3, "seconds": 1.0, "loss": 5} | {
        "a/score": 1, "b/score": 2, "a/n": 7, "a/seconds": 9
    }  # fmt: skip


def test_provenance_says_which_code_is_newer(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(name)
    made_with = {name: digest((tmp_path / name).read_bytes()) for name in ("a.py", "b.py")}
    runs = [run(identity=made_with), run(identity=made_with)]
    text = provenance(runs, "a.py", "b.py", root=tmp_path)
    assert text == (
        "2 runs on pictures; cpu, 1 thread; abacus; torch 2; 2026-01-02; a.py, b.py unchanged since"
    )
    (tmp_path / "b.py").write_text("changed")
    text = provenance(runs, "a.py", "b.py", root=tmp_path)
    assert text.endswith("older code: b.py changed since")
