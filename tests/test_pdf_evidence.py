"""Editions, values and claims: what the document may rely on."""

import shutil
import subprocess

import pytest
from pdf_fixtures import claim, executed, value, write

from helpers.pdf.edition import read_edition
from helpers.pdf.errors import UserError
from helpers.pdf.evidence import check_answers, gather
from helpers.pdf.notebook import ROOT
from helpers.pdf.render import render


def edition(tmp_path, body):
    path = tmp_path / "2000-hw1.tex"
    path.write_text(body, encoding="utf-8")
    return read_edition(path)


def test_an_edition_is_read_from_its_latex(tmp_path):
    read = edition(
        tmp_path,
        r"""% \question[points=9]{commented out}
        \question[points=3, notebook=rnn, asked={2021 Q1, 2022 Q2}]{A \textbf{bold} title}
        text \answer{rnn} 100\% sure % \answer{no}
        \question{No options}
        \question[notebook={rnn, cnn}, points=1]{Again}\answer{rnn}\answer{other}
        """,
    )
    first, second, third = read.questions
    assert (first.number, first.title, first.points) == (1, r"A \textbf{bold} title", "3")
    assert first.notebooks == ("rnn",)
    assert (first.asked, first.answers) == ("2021 Q1, 2022 Q2", ("rnn",))
    assert second.title == "No options"
    assert third.answers == ("rnn", "other")
    assert third.notebooks == ("rnn", "cnn")
    assert read.notebooks == ["rnn", "cnn"]
    assert read.answers == ["rnn", "other"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (r"\question[point=3]{x}", "unknown key 'point'"),
        (r"\question[points=3] x", "needs a title"),
        (r"\question[points=three]{x}", "points=three is not a number"),
        (r"\question[points={2,5}]{x}", "points=2,5 is not a number"),
        ("\\question[points=3,\n notebook=x]{x}", "on one line"),
        (r"\question [notebook=x]{x}", r"without a space before the \["),
        (r"\question[notebook = x]{x}", "or beside an ="),
        (r"\question[notebook=x.y]{x}", r"question 1: 'x\.y' names no notebook"),
        (r"\question{x} \question[notebook=x]{x}", "on a line of its own"),
        ("nothing", "has no"),
    ],
)
def test_a_wrong_edition_is_refused(tmp_path, body, message):
    with pytest.raises(UserError, match=message):
        edition(tmp_path, body)


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
@pytest.mark.parametrize(
    "body",
    [
        "% \\question[notebook=no]{x}\n\\question[notebook=yes]{notebook=title}",
        "\\question[notebook=a-b]{x}\n100\\% sure % \\question[notebook=no]{x}",
        "\\question[points=1, notebook={a, b_2,c}, asked={2021 Q1}]{x}\n\\question{none}",
        "  \\question[notebook=a]\n  {On the next line}\n\\question[notebook=b,points=1]{x}",
    ],
)
def test_make_reads_the_same_notebooks(tmp_path, body):
    folder = tmp_path / "solutions_latex"
    folder.mkdir()
    read = edition(folder, body)
    for name in (*read.notebooks, "no", "title"):
        write(executed(), tmp_path / "notebooks" / f"{name}.ipynb")
    command = ["make", "-f", ROOT / "Makefile", "--eval=shown: ; @echo $(FOUND)", "shown"]
    done = subprocess.run(
        [*command, "HW=2000-hw1"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == set(read.notebooks)


def test_an_unknown_edition_names_the_known_ones(tmp_path):
    edition(tmp_path, r"\question{x}")
    with pytest.raises(UserError, match="HW is one of 2000-hw1"):
        read_edition(tmp_path / "2001-hw1.tex")


def test_values_and_claims_are_gathered(tmp_path):
    path = write(executed(claim("a/b"), value("a/n", "12,345")), tmp_path / "a.ipynb")
    evidence = gather([path])
    assert evidence.values == {"a/n": "12,345"}
    assert evidence.claims["a/b"].notebook == "a"


def test_a_claim_that_does_not_hold_stops_the_build(tmp_path):
    path = write(executed(claim("a/b", False, "found 3, not 4")), tmp_path / "a.ipynb")
    with pytest.raises(UserError, match=r"'a/b' does not hold in this run: found 3, not 4"):
        gather([path])


def test_a_claim_that_fails_is_not_printed_as_one_that_holds(tmp_path):
    outputs = [claim(f"a/{name}", holds) for name, holds in (("b", True), ("c", False))]
    render(write(executed(*outputs), tmp_path / "a.ipynb"), tmp_path / "a.tex")
    latex = (tmp_path / "a.tex").read_text(encoding="utf-8")
    assert r"\nbclaim{a/b}{holds}" in latex
    assert r"\nbclaim{a/c}{fails}" in latex


def test_a_name_belongs_to_one_notebook(tmp_path):
    paths = [write(executed(value("a/n")), tmp_path / f"{name}.ipynb") for name in "ab"]
    with pytest.raises(UserError, match="'a/n' that a uses"):
        gather(paths)
    twice = write(executed(claim("a/c"), claim("a/c")), tmp_path / "c.ipynb")
    with pytest.raises(UserError, match="'a/c'"):
        gather([twice])


def test_a_value_recorded_twice_is_the_same(tmp_path):
    same = write(executed(value("a/n", "1"), value("a/n", "1")), tmp_path / "a.ipynb")
    assert gather([same]).values == {"a/n": "1"}
    other = write(executed(value("a/n", "1"), value("a/n", "2")), tmp_path / "a.ipynb")
    with pytest.raises(UserError, match="a records 'a/n' as '1' and as '2'"):
        gather([other])


@pytest.mark.parametrize(
    ("macro", "told"),
    [
        (r"\val{a/x}", r"records 'a/x'; did you mean 'a/v'\?$"),
        (r"\verified{a/x}", r"proves 'a/x'; did you mean 'a/c'\?$"),
        (r"\val{other/slug}", r"records 'other/slug'$"),
    ],
)
def test_an_answer_may_name_only_what_was_recorded_or_proved(tmp_path, macro, told):
    evidence = gather([write(executed(claim("a/c"), value("a/v")), tmp_path / "a.ipynb")])
    answer = tmp_path / "answer.tex"
    answer.write_text("\\val{a/v} \\verified{a/c}\n% \\val{a/comment}\n", encoding="utf-8")
    check_answers([answer], evidence)
    answer.write_text(f"fine\n{macro}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"answer.tex:2: no notebook of this document {told}"):
        check_answers([answer], evidence)
