"""Values and claims in answers, and TeX as the press runs it."""

import pytest
from pdf_fixtures import claim, executed, value

from helpers.pdf.errors import UserError
from helpers.pdf.notebook import as_run
from helpers.pdf.typeset import check_answers, citations, owners, percent_signs, tex_errors
from helpers.pdf.typeset import set_latex as set_document


def run(name, *outputs):
    return as_run(executed(*outputs), name)


def test_a_name_belongs_to_one_notebook():
    runs = [run("a", claim("a/b"), value("a/n")), run("b", claim("b/c"))]
    assert owners(runs) == {"a/n": "a", "a/b": "a", "b/c": "b"}
    with pytest.raises(UserError, match="b uses the name 'a/n' that a uses"):
        owners([run("a", value("a/n")), run("b", value("a/n"))])


@pytest.mark.parametrize(
    ("macro", "told"),
    [
        (r"\val{a/valu}", r"records 'a/valu'; did you mean 'a/value'\?$"),
        (r"\verified{a/clam}", r"proves 'a/clam'; did you mean 'a/claim'\?$"),
        (r"\val{other/slug}", r"records 'other/slug'$"),
    ],
)
def test_an_answer_may_name_only_what_was_recorded_or_proved(tmp_path, macro, told):
    known = ["a/claim", "a/value"]
    answer = tmp_path / "answer.tex"
    answer.write_text("\\val{a/value} \\verified{a/claim}\n% \\val{a/comment}\n", encoding="utf-8")
    check_answers([answer], known)
    answer.write_text(f"fine\n{macro}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"answer.tex:2: no notebook of this document {told}"):
        check_answers([answer], known)
    with pytest.raises(UserError, match=r"; there is no 'b'$"):
        check_answers([answer], [], "there is no 'b'")


@pytest.fixture
def latex(tmp_path):
    """A folder of LaTeX, and beside it one to set documents in."""
    (tmp_path / "a folder" / "solutions_latex" / "answers").mkdir(parents=True)
    (tmp_path / "a folder" / "work").mkdir()
    return tmp_path / "a folder" / "solutions_latex"


def set_latex(latex, body):
    work = latex.parent / "work"
    document = rf"\documentclass{{article}}\usepackage{{graphicx}}\begin{{document}}x {body}"
    (work / "a.tex").write_text(document + "\n\\end{document}")
    set_document(latex, work, "a")
    return work / "a.pdf"


def test_nothing_outside_is_read_or_written_and_no_command_is_run(latex):
    (latex.parent / "canary.tex").write_text("CANARY")
    set_latex(latex, rf"\immediate\write18{{touch {latex}/pwned}}")
    for body in (r"\input{../canary.tex}", rf"\immediate\openout15={latex}/pwned "):
        with pytest.raises(UserError, match="XeLaTeX stopped"):
            set_latex(latex, body)
    assert not list(latex.parent.rglob("pwned*"))


def test_tex_that_never_ends_is_ended(latex, monkeypatch):
    monkeypatch.setattr("helpers.pdf.typeset.TEX_SECONDS", 1)
    with pytest.raises(UserError, match="XeLaTeX stopped"):
        set_latex(latex, r"\def\x{\x}\x")


def test_an_error_of_tex_is_named_where_it_was_written(latex, tmp_path):
    (latex / "answers" / "part.tex").write_text("fine\n\\nonsense here\n")
    told = r"solutions_latex/answers/part.tex:2: Undefined control sequence. \(\\nonsense\)"
    with pytest.raises(UserError, match=told):
        set_latex(latex, r"\input{answers/part}")
    with pytest.raises(
        UserError, match=r"absent.* not found.*Put it into solutions_latex/figures/"
    ):
        set_latex(latex, r"\includegraphics{absent}")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "n.tex").write_text("\\nbcell{3}\n\n\\x")
    (told,) = tex_errors("! LaTeX Error: File `siunitx.sty' not found.", tmp_path)
    assert "not found. `tlmgr install siunitx` brings it, or" in told
    assert tex_errors("(fontspec) x\n" * 20_000, tmp_path) == []
    log = "! A\n<read>\nl.7 \\x\n./notebooks/n.tex:3: Missing $ inserted.\nl.3 \\x\n"
    assert tex_errors(log, tmp_path) == [
        "A (\\x)",
        "notebooks/n.ipynb, cell 3: Missing $ inserted. (\\x)",
    ]


def test_a_document_that_was_mended_is_set(latex):
    cited = r"\cite{a} \bibliographystyle{plain}\bibliography{own} "
    (latex / "own.bib").write_text("@misc{a, title={A}}")
    with pytest.raises(UserError, match="Undefined control sequence"):
        set_latex(latex, cited + r"\nonsense")
    (latex / "own.bib").write_text("@misc{a, title={{A}")
    with pytest.raises(UserError, match=r"stopped: solutions_latex/own.bib:1: .*end of database"):
        set_latex(latex, cited)
    (latex / "own.bib").write_text("@misc{a, title={A}}")
    set_latex(latex, cited)


def test_bibtex_is_told_before_the_first_pass_what_it_will_cite(latex):
    answer = latex / "answers" / "a.tex"
    answer.write_text(r"\citep[see][p.~3]{a, b}, \citet*{c}, \nocite{a}, \nbcite{d}{D}, \cites")
    assert citations([answer]) == ["a", "b", "c", "d"]


def test_a_percent_sign_that_hides_words_is_told(tmp_path):
    answer = tmp_path / "a.tex"
    answer.write_text("50\\% of it, 3%\n% 5% of\nx {2}% y\nAbout 50% of it")
    told = f"{answer}:4: TeX skips what follows 50%: a percent sign is \\%"
    assert percent_signs([answer]) == [told]


def test_formulas_of_notebooks_are_set_as_written_only_where_the_rest_is_right(latex):
    body = latex.parent / "work" / "notebooks" / "n.tex"
    body.parent.mkdir()
    text = "\\nbcell{1}\n\nGood \\nbm{x}, bad \\nbm{\\frac{1}} and \\nbm{y^}.\n"
    macros = "\\def\\nbcell#1{}\\def\\nbm#1{$#1$}\\def\\nbwritten#1{\\detokenize{#1}}"
    for rest, right in ((r"\nonsense", False), ("", True)):
        body.write_text(text)
        document = rf"{macros}\input{{./notebooks/n}}{rest}"
        if right:
            set_latex(latex, document)
            assert body.read_text().count("nbwritten") == 2 and r"\nbm{x}" in body.read_text()
        else:
            with pytest.raises(UserError, match="Undefined control sequence"):
                set_latex(latex, document)
            assert body.read_text() == text
