"""The list of references: every work that is cited, and no other."""

from pathlib import Path

import nbformat
import pytest
from pdf_fixtures import executed, write

from helpers import mime
from helpers.pdf.errors import UserError
from helpers.pdf.notebook import read_notebook
from helpers.pdf.references import Work, citations, read_works, reference_list

ROOT = Path(__file__).parents[1]
WORKS = read_works(ROOT / "solutions_latex" / "references.toml")


@pytest.mark.parametrize(
    "text, found",
    [
        ("(Vaswani et al. 2017)", {"Vaswani et al. 2017"}),
        ("by Vaswani et~al.\n(2017, section 3)", {"Vaswani et al. 2017"}),
        (r"(Vaswani et al.\ 2017), Elman\ (1990)", {"Vaswani et al. 2017", "Elman 1990"}),
        (r"(Wang et al.\ 2020a)", {"Wang et al. 2020a"}),
        ('by Wang et al. (2020, "Linformer", eq. 7)', {"Wang et al. 2020a"}),
        ("(Wang et al. 2020, “MiniLM”; Elman 1990)", {"Wang et al. 2020b", "Elman 1990"}),
        ("(Wang et al. 2020)", {"Wang et al. 2020"}),
        ("(Levy & Goldberg 2014), Levy and Goldberg, 2014", {"Levy and Goldberg 2014"}),
        ("Islam, Jia and Bruce (2020)", {"Islam et al. 2020"}),
        ("(PatchDropout, Liu et al. 2023; Elman 1990)", {"Liu et al. 2023", "Elman 1990"}),
        ("(Řehůřek and Sojka 2010)", {"Řehůřek and Sojka 2010"}),
        ("homework 4 of 2021, in 2022, IMDB 2011, T = 1900", set()),
    ],
)
def test_citations_are_found_in_each_of_their_forms(text, found):
    assert citations(text, WORKS) == found


def test_every_citation_of_the_project_is_listed_and_every_entry_cited():
    texts = [path.read_text() for path in (ROOT / "solutions_latex" / "answers").glob("*.tex")]
    texts += [
        path.read_text() for path in (ROOT / "helpers").rglob("*.py") if "press" not in path.parts
    ]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        texts += [cell.source for cell in read_notebook(path).cells]
    found = set().union(*(citations(text, WORKS) for text in texts))
    assert found == {work.cite for work in WORKS}
    assert len(WORKS) == len(found), "two works are cited alike"


def test_a_document_lists_what_its_answers_notebooks_and_sources_cite(tmp_path):
    answer = tmp_path / "answer.tex"
    answer.write_text("As in Elman (1990).", encoding="utf-8")
    shown = {mime.SOURCE: "# Kingma and Ba 2015", "text/plain": ""}
    run = executed(nbformat.v4.new_output("display_data", shown))
    run.cells.insert(0, nbformat.v4.new_markdown_cell("(Vaswani et al. 2017)"))
    write(run, tmp_path / "run.ipynb")
    latex = reference_list(WORKS, [answer], [tmp_path / "run.ipynb"])
    assert latex.count("\\work{") == 3
    assert latex.index("Elman") < latex.index("Kingma") < latex.index("Vaswani")
    assert r"\href{https://arxiv.org/abs/1706.03762}{arXiv:1706.03762}" in latex
    assert reference_list(WORKS, [], []) == ""


def test_an_entry_is_escaped_and_an_address_is_a_link():
    work = Work("A 2000", "A & B", "What for?", "https://a.org/x_y")
    assert work.latex() == r"\work{A \& B (2000). \emph{What for?} \url{https://a.org/x\_y}.}"


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "references.toml"
    assert read_works(path) == []
    for content in ("[[work]]\ncite = 'A 2000'", "[[work]", "x = 1"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"references.toml: .*cite, by, title and at"):
            read_works(path)
