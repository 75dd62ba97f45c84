"""The parameters cell: its grammar, and what it accepts."""

import io
from pathlib import Path

import nbformat
import pytest

from helpers import cli
from helpers.pdf import execute
from helpers.pdf.errors import UserError
from helpers.pdf.parameters import UNKNOWN, choose, read_parameters, read_recipe

PATH = Path("notebooks/example.ipynb")
CELL = """
recipe = 3  # raise it when the same parameters would give other numbers
profile = "quick"  # budget of this run [quick | full]
seed = 0  # seed of every random number [0..]
epochs = 2  # passes over the training set [1..200] (full: 40)
rate = 2e-3  # peak learning rate [0<..1] (full: 1e-3)
share = 1  # of the data [0..1.0]
flip = True  # mirror images (full: false)
sizes = [256, 512]  # lengths [1..65536] (full: [256, 65536])
name: str = "adam"  # optimizer
lr = 1  # as in [Kingma and Ba]
"""


def notebook(*sources, tag="parameters"):
    cells = [nbformat.v4.new_code_cell(s, metadata={"tags": [tag]}) for s in sources]
    return nbformat.v4.new_notebook(cells=cells)


def chosen(cell=CELL, profile="quick", **given_values):
    return choose(read_parameters(notebook(cell), PATH), given_values, profile, PATH)


def test_profiles_set_the_values_of_their_comments():
    assert chosen() == {}
    full = {"profile": "full", "epochs": 40, "rate": 1e-3, "flip": False, "sizes": [256, 65536]}
    assert chosen(profile="full") == full
    assert chosen(profile="full", epochs="7")["epochs"] == 7
    with pytest.raises(UserError, match="say --profile full, which sets them, too"):
        choose(read_parameters(notebook(CELL), PATH), {"profile": "full"}, "quick", PATH)


def test_the_recipe_is_no_parameter():
    assert read_recipe(notebook(CELL), PATH) == 3
    assert read_recipe(notebook("n = 1"), PATH) == 1
    with pytest.raises(UserError, match="no parameter 'recipe'"):
        chosen(recipe="4")
    with pytest.raises(UserError, match="must be a whole number"):
        read_recipe(notebook("recipe = 'a'"), PATH)


def test_text_is_read_as_the_parameter_s_kind():
    given = {"rate": "1", "lr": "0.5", "share": "1e-1", "flip": "false", "sizes": "[1, 2]"}
    wanted = {"rate": 1.0, "lr": 0.5, "share": 0.1, "flip": False, "sizes": [1, 2]}
    assert repr(chosen(**given, name="12")) == repr(wanted | {"name": "12"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epoch", "3", "did you mean 'epochs'"),
        ("zzz", "3", "it has profile, seed"),
        ("epochs", "0", r"outside \[1\.\.200\]"),
        ("epochs", "2.5", "of type float, not int"),
        ("epochs", "two", "of type str, not int"),
        ("epochs", "True", "of type bool, not int"),
        ("rate", "0", r"outside \[0<\.\.1\]"),
        ("flip", "1", "of type int, not bool"),
        ("sizes", "[0]", "outside"),
        ("epochs", "__import__('os')", "of type str, not int"),
    ],
)
def test_what_does_not_fit_is_refused(name, text, message):
    with pytest.raises(UserError, match=message):
        chosen(**{name: text})


def test_any_cell_of_the_wild_is_taken_and_what_is_known_of_it_is_checked():
    cell = "%matplotlib inline\nimport os\nwidth = 2 * 32\nopts = {'a': 1}\npair = (1, 2)\n!ls\n"
    cell += "a = b = 1\nc, d = 1, 2\nn = 3  # pages [12-14]\nif True:\n    deep = 1"
    known = read_parameters(notebook(cell, "second = 1"), PATH)
    assert list(known) == ["width", "opts", "pair", "a", "n"]
    assert known["width"].default is UNKNOWN
    assert chosen(cell, opts="{'b': 2}", pair="(3, 4)", width="what") == {
        "opts": {"b": 2}, "pair": (3, 4), "width": "what",
    }  # fmt: skip
    assert chosen(cell, n="99") == {"n": 99}, "a comment like [12-14] is no limit"
    assert read_parameters(notebook("x = 1", tag="other"), PATH) == {}
    with pytest.raises(UserError, match="tag the cell"):
        choose({}, {"n": "1"}, "quick", PATH)
    with pytest.raises(UserError, match="not valid Python"):
        read_parameters(notebook("x = 1 +"), PATH)
    with pytest.raises(UserError, match=r"x = 10 is outside \[1\.\.9\]"):
        chosen("x = 1  # n [1..9] (full: 10)", profile="full")
    with pytest.raises(UserError, match="x = None is of type NoneType, not int"):
        chosen("x = 1  # n (full: None)", profile="full")
    with pytest.raises(UserError, match="choose one of a, b"):
        chosen("x = 'a'  # n [a | b]", x="c")


def test_a_value_may_begin_with_a_dash(monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(execute, "execute", lambda *_, **options: seen.update(options) or (0, 1))
    monkeypatch.setattr(execute, "refuse_failed_claims", lambda *_: None)
    pairs = ["-p", "rate", "-1e-3", "-p", "name", "-p", "-p", "a", "b=c"]
    assert cli.main(["execute", "x.ipynb", "y.ipynb", *pairs, "--timeout", "5"]) == 0
    assert seen["given"] == {"rate": "-1e-3", "name": "-p", "a": "b=c"}
    assert cli.main(["execute", "x.ipynb", "y.ipynb", "-p", "rate"]) == 2
    assert cli.main(["check", "x.pdf", "-p", "epochs", "3"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_character_that_the_terminal_lacks_is_no_traceback(tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr("sys.stderr", terminal)
    assert cli.main(["execute", "–.ipynb", str(tmp_path / "x.ipynb")]) == 2
    terminal.seek(0)
    assert terminal.read() == "homework: ?.ipynb: there is no such notebook\n"
