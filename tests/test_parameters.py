"""The parameters cell: its grammar, and what it accepts."""

import io
import math
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import cli
from helpers.pdf import execute
from helpers.pdf.errors import UserError
from helpers.pdf.parameters import choose, read_parameters

PATH = Path("notebooks/example.ipynb")
CELL = """
profile = "quick"  # budget of this run [quick | full]
seed = 0  # seed of every random number [0..]
epochs = 2  # passes over the training set [1..200] (full: 40)
rate = 2e-3  # peak learning rate [0<..1] (full: 1e-3)
flip = True  # mirror images (full: false)
sizes = [256, 512]  # lengths [1..65536] (full: [256, 65536])
name: str = "adam"  # optimiser
"""


def notebook(*sources, tag="parameters"):
    cells = [nbformat.v4.new_code_cell(s, metadata={"tags": [tag]}) for s in sources]
    return nbformat.v4.new_notebook(cells=cells)


def known(cell=CELL):
    return read_parameters(notebook(cell), PATH)


def test_the_comment_is_the_specification():
    parameters = known()
    assert list(parameters) == ["profile", "seed", "epochs", "rate", "flip", "sizes", "name"]
    epochs = parameters["epochs"]
    assert (epochs.default, epochs.low, epochs.high, epochs.full) == (2, 1, 200, 40)
    assert epochs.help == "passes over the training set"
    rate = parameters["rate"]
    assert (rate.low, rate.open_low, rate.high, rate.open_high) == (0, True, 1, False)
    assert parameters["profile"].choices == ("quick", "full")
    assert parameters["flip"].full is False
    assert parameters["sizes"].full == [256, 65536]


def test_profiles_set_the_values_of_their_comments():
    assert choose(known(), {}, "quick", PATH) == {}
    full = {"profile": "full", "epochs": 40, "rate": 1e-3, "flip": False, "sizes": [256, 65536]}
    assert choose(known(), {}, "full", PATH) == full
    assert choose(known(), {"epochs": "7"}, "full", PATH)["epochs"] == 7


def test_a_value_may_begin_with_a_dash(monkeypatch):
    """As with papermill; argparse alone takes -1e-3 for an option."""
    seen = {}
    monkeypatch.setattr(execute, "execute", lambda *_, **options: seen.update(options["given"]))
    pairs = ["-p", "rate", "-1e-3", "-p", "name", "-p", "-p", "a", "b=c"]
    assert cli.main(["execute", "x.ipynb", "y.ipynb", *pairs, "--timeout", "5"]) == 0
    assert seen == {"rate": "-1e-3", "name": "-p", "a": "b=c"}


@pytest.mark.parametrize("rest", [["-p"], ["-p", "rate"]])
def test_a_parameter_without_a_value_is_refused(rest, capsys):
    with pytest.raises(SystemExit):
        cli.main(["execute", "x.ipynb", "y.ipynb", *rest])
    assert "argument -p: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["render", "x.ipynb", "-p", "epochs", "3"], "unrecognized arguments: -p"),
    ],
)
def test_other_commands_take_no_parameter_and_say_so(arguments, told, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    message = capsys.readouterr().err
    assert told in message
    assert "\0" not in message


@pytest.mark.parametrize("errors", ["strict", None])
def test_a_character_that_the_terminal_lacks_is_no_traceback(monkeypatch, errors):
    terminal = io.TextIOWrapper(io.BytesIO(), "latin-1", errors)
    shown = terminal if errors else io.StringIO()  # one that has no encoding at all
    monkeypatch.setattr("sys.stderr", shown)
    assert cli.main(["render", "–.ipynb", "x.tex"]) == 2
    shown.seek(0)
    assert shown.read() == f"homework: {'?' if errors else '–'}.ipynb: there is no such notebook\n"


@pytest.mark.parametrize(("profile", "other"), [("quick", "full"), ("full", "quick")])
def test_a_profile_comes_with_its_budgets_or_not_at_all(profile, other):
    with pytest.raises(UserError, match=f"say --profile {other}, which sets them, too"):
        choose(known(), {"profile": other}, profile, PATH)
    assert choose(known(), {"profile": profile}, profile, PATH)["profile"] == profile


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1e-3", 1e-3),
        ("rate", "1", 1.0),
        ("flip", "false", False),
        ("flip", "True", True),
        ("epochs", "1_00", 100),
        ("sizes", "[1, 2]", [1, 2]),
        ("name", "12", "12"),
    ],
)
def test_text_is_read_as_the_parameter_s_type(name, text, value):
    result = choose(known(), {name: text}, "quick", PATH)[name]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epoch", "3", "did you mean 'epochs'"),
        ("zzz", "3", "it has profile, seed"),
        ("epochs", "0", r"outside \[1, 200\]"),
        ("epochs", "2.5", "of type float, not int"),
        ("epochs", "two", "not of type int"),
        ("epochs", "True", "of type bool, not int"),
        ("rate", "0", r"outside \(0, 1\]"),
        ("rate", "nan", "not of type float"),
        ("flip", "1", "write true or false"),
        ("profile", "fast", "choose one of quick, full"),
        ("sizes", "[0]", "outside"),
        ("epochs", "__import__('os')", "not of type int"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, text, message):
    with pytest.raises(UserError, match=message) as caught:
        choose(known(), {name: text}, "quick", PATH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("import os", "may hold only 'name = value'"),
        ("x = f()", "needs a literal"),
        ("x = 1 +", "not valid Python"),
        ("a = b = 1\nc, d = 1, 2", "may hold only"),
        ("x = 1  # n (full: two)", "not of type int"),
        ("x = 0  # n [1..]", r"example.ipynb: as default, x = 0 is outside \[1, inf\]"),
        ("x = [1, 9]  # n [1..8]", r"as default, x = 9 is outside \[1, 8\]"),
        ("x = 'c'  # n [a | b]", "as default, x = 'c': choose one of a, b"),
        ("x = 1  # n [1..9] (full: 10)", r"as full value, x = 10 is outside \[1, 9\]"),
        ("x = 'a'  # n [a | b] (full: c)", "as full value, x = 'c': choose one of a, b"),
    ],
)
def test_a_cell_that_is_more_than_defaults_is_refused(cell, message):
    with pytest.raises(UserError, match=message):
        known(cell)


def test_one_cell_must_hold_the_parameters():
    with pytest.raises(UserError, match=r"no cell tagged .* JupyterLab: .* Cell Tags"):
        read_parameters(notebook("x = 1", tag="other"), PATH)
    with pytest.raises(UserError, match="2 cells tagged"):
        read_parameters(notebook("x = 1", "y = 1"), PATH)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1.5, 1e999]"])
def test_a_number_is_finite_even_without_limits(text):
    with pytest.raises(UserError, match=r"x = -?inf is not a finite number"):
        choose(known(f"x = {'[0.5]' if '[' in text else 0.5}  # rate"), {"x": text}, "quick", PATH)


@given(st.floats() | st.integers() | st.booleans() | st.text())
def test_a_value_in_code_is_accepted_only_with_type_and_range(value):
    parameter = known()["rate"]
    good = type(value) in (int, float) and not math.isnan(value) and 0 < value <= 1
    try:
        accepted = parameter.check(value)
    except UserError:
        assert not good
    else:
        assert good
        assert isinstance(accepted, float)


@given(st.text(max_size=20))
def test_no_text_reaches_the_kernel_as_code(text):
    for name in ("epochs", "rate", "flip", "sizes"):
        try:
            value = choose(known(), {name: text}, "quick", PATH)[name]
        except UserError:
            continue
        assert isinstance(value, bool | int | float | list)


WORDS = st.text(max_size=30) | st.sampled_from(
    ["'''", '"""', "\\", "\n", "{x}", "%s", "# comment", "\u2028", "__import__('os')", "\x00", "🐍"]
)
ITEMS = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none() | WORDS


@given(st.lists(WORDS, max_size=4).map("".join) | ITEMS | st.lists(ITEMS, max_size=4))
def test_a_value_is_injected_as_a_literal_of_itself(value):
    """What papermill writes into the notebook is one assignment of a literal, no code."""
    import ast

    from papermill.translators import PythonTranslator

    cell = PythonTranslator.codify({"x": value})
    (statement,) = ast.parse(cell).body
    try:
        read = ast.literal_eval(statement.value)
    except ValueError:  # papermill writes infinity as float('inf')
        assert "inf" in cell
        read = eval(cell.partition("=")[2])
    assert read == value
    assert statement.targets[0].id == "x"


HUGE = ["1" + "0" * 400, "0x" + "f" * 2900, "9" * 5000, "1e999", "-" * 5000 + "1", "(" * 10**5]


@pytest.mark.parametrize("text", HUGE, ids=range(len(HUGE)))
def test_values_beyond_all_measure_get_one_short_line(text):
    for name in ("epochs", "rate", "sizes", "flip"):
        for given_text in (text, f"[{text}]"):
            with pytest.raises(UserError) as caught:
                choose(known(), {name: given_text}, "quick", PATH)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["['x']", "[True]", "[None]", "[[1]]", "[1.5]", "[{}]"])
def test_the_items_of_a_list_have_the_type_of_the_defaults(text):
    with pytest.raises(UserError, match=r"an item of sizes = .* not int"):
        choose(known(), {"sizes": text}, "quick", PATH)


LITERALS = ["{}", "(1, 2)", "1j", "b'x'", "...", "{1}", "-" * 3000 + "1", "9" * 5000, "[[[1" * 99]


@pytest.mark.parametrize("literal", LITERALS, ids=range(len(LITERALS)))
def test_a_default_is_a_number_text_list_or_none(literal):
    with pytest.raises(UserError, match=r"needs a literal|not valid Python"):
        known(f"x = {literal}")
    with pytest.raises(UserError, match=r"neither number, text nor list|too long|not of type"):
        choose(known("x = None\ny = 1"), {"x": "{}", "y": literal}, "quick", PATH)


def test_a_parameter_is_given_once():
    with pytest.raises(UserError, match="'x' is given twice"):
        known("x = 1\nx = 2")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_line_of_a_parameters_cell_is_read_or_refused(name, rest):
    try:
        found = known(f"{name} = 1  # {rest}")
    except UserError as error:
        assert "\n" not in str(error).replace("\\n", "")[:50]
    else:
        assert all(isinstance(p.default, int | float | str | list | None) for p in found.values())


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=3))
def test_any_names_and_values_are_taken_or_refused(given_values):
    try:
        values = choose(known(), given_values, "quick", PATH)
    except UserError:
        return
    assert values.keys() <= known().keys()
