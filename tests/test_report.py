"""What a notebook says and shows."""

import json

from helpers import report


def run(finished="2026-01-02T00:00:00+00:00", profile="full", **parameters):
    return {
        "parameters": {"profile": profile} | parameters,
        "values": {"t/score": 0.5},
        "stamp": {"data": "pictures", "device": "cpu, 1 thread", "torch": "2"},
        "seconds": 1.0,
        "finished": finished,
        "hardware": "abacus",
        "recipe": 1,
    }


def test_runs_come_oldest_first_and_of_one_profile(tmp_path):
    days = ["2026-01-03", "2026-01-01", "2026-01-02"]
    for i, day in enumerate(days):
        path = tmp_path / "topic" / f"{i}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(run(day, "quick" if i == 2 else "full", n=i)))
    found = report.runs("topic", folder=tmp_path)
    assert [one["parameters"]["n"] for one in found] == [1, 0]
    assert report.runs("nothing", folder=tmp_path) == []
    bare = run() | {"parameters": {"n": 1}}  # of a notebook that has no profiles
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "x.json").write_text(json.dumps(bare))
    for profile in ("quick", "full"):
        assert len(report.runs("bare", profile=profile, folder=tmp_path)) == 1


def test_alike_is_the_largest_set_that_differs_in_nothing_else():
    short = [run(n=n, epochs=1) for n in range(2)]
    long = [run(n=n, epochs=9) for n in range(3)]
    assert report.alike([*short, *long], "n") == long
    assert report.alike([*short, *long], "n", "epochs") == [*short, *long]
    assert report.alike([short[0], long[0]], "n") == [short[0]]
    assert report.alike([], "n") == []
    newer, other = run(n=5, epochs=9) | {"recipe": 2}, run(n=6, epochs=9)
    other["stamp"]["data"] = "digits (stand-in)"
    assert report.alike([*long, newer, other], "n") == long


def test_the_frame_has_parameters_and_values():
    (row,) = report.frame([run(n=3)]).to_dict("records")
    assert row == {"profile": "full", "n": 3, "score": 0.5, "seconds": 1.0}


def test_a_name_is_shortened_only_where_nothing_else_has_it():
    metrics = {"a/score": 1, "b/score": 2, "a/n": 7, "a/seconds": 9, "a/loss": 5}
    (row,) = report.frame([run(n=3) | {"values": metrics}]).to_dict("records")
    assert row == {"profile": "full", "n": 3, "seconds": 1.0, "loss": 5} | {
        "a/score": 1, "b/score": 2, "a/n": 7, "a/seconds": 9
    }  # fmt: skip


def test_provenance_says_how_the_runs_were_made():
    text = report.provenance([run(), run()])
    assert text == "2 recorded runs on pictures; cpu, 1 thread; abacus; torch 2; 2026-01-02"
