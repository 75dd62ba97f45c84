"""Which runs a sweep has."""

import pytest

from helpers.pdf.errors import UserError
from helpers.sweep.plan import grid, table


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
        ("a=0:64:32", ["0", "32", "64"]),
        ("a=1e-3:3e-3:1e-3", ["0.001", "0.002", "0.003"]),
        ("a=123456789012345:123456789012346", ["123456789012345", "123456789012346"]),
        ("a=[2,7,1], [[1,2],[3]] ,4", ["[2,7,1]", "[[1,2],[3]]", "4"]),
        ("""a=['x,]', "y"],z""", ["""['x,]', "y"]""", "z"]),
        ("""a="a,b.csv",'4:8',\"\"""", ["a,b.csv", "4:8", ""]),
        ("a=4.0:6.0", ["4", "5", "6"]),
        ("a=0.5:2:1", ["0.5", "1.5"]),
        ("a=C:x.csv,1:x,it's,~,-1,", ["C:x.csv", "1:x", "it's", "~", "-1"]),
    ],
)
def test_an_axis_is_a_list_of_values_and_ranges(axis, values):
    assert [run["a"] for run in grid([axis])] == values


@pytest.mark.parametrize(
    "axis",
    ["a", "a=", "=1", "a b=1", "a=1,,2", "a={b: 1}", "a=x: 1", "a=x[1", "a=*x", "a=1:2:0",
     "a=1:5:-1", "a=0:1e9", "a=1e40:2e41:1", "a=[1,2", "a='x,y", "a=['x]", "a=0.1:0.5"],
)  # fmt: skip
def test_a_wrong_axis_is_refused_in_one_line(axis):
    with pytest.raises(UserError) as caught:
        grid([axis])
    assert len(str(caught.value).splitlines()) == 1


def test_zip_takes_axes_side_by_side():
    runs = grid(["a=1,2", "b=3,4"], zipped=True)
    assert runs == [{"a": "1", "b": "3"}, {"a": "2", "b": "4"}]
    with pytest.raises(UserError, match="a has 2, b has 1"):
        grid(["a=1,2", "b=3"], zipped=True)


def test_runs_come_from_a_table(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("\ufeffa, b\n1, x\n\n2,\n2,\n", encoding="utf-8")
    assert table(path) == [{"a": "1", "b": "x"}, {"a": "2"}, {"a": "2"}]


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"n\n1,2\n", b"n,m\n1\n", b""])
def test_a_table_that_is_broken_is_refused(tmp_path, content):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="a line of parameter names, then a line of values"):
        table(path)
