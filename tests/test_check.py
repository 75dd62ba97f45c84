"""The preflight: each thing it promises to catch, and good documents let through."""

import nbformat
import pytest
from pdf_fixtures import executed

from helpers.pdf.check import (
    check_acknowledgement,
    check_cells,
    check_log,
    check_name,
    check_pages,
    check_size,
)
from helpers.pdf.notebook import as_run

LINE = "\nOverfull \\hbox ({}pt too wide) in paragraph at lines 3--4\n"


def texts(findings):
    return " · ".join(finding.text for finding in findings)


def test_missing_glyphs_are_named_once(tmp_path):
    line = "Missing character: There is no ✓ (U+2713) in font TeXGyrePagella/OT:script=latn!\n"
    (finding,) = check_log(line * 2, tmp_path)
    assert "the font TeXGyrePagella/OT:script=latn has no ✓" in finding.text
    assert finding.fatal
    (finding,) = check_log(line * 2, tmp_path, draft=True)
    assert not finding.fatal


@pytest.mark.parametrize(("points", "caught"), [("5.1", True), ("4.9", False), ("120.0", True)])
def test_lines_and_pages_that_stand_out_are_caught(tmp_path, points, caught):
    log = f"(../../solutions_latex/answers/rnn.tex{LINE.format(points)}"
    assert bool(check_log(log, tmp_path)) == caught
    high = f"(./notebooks/rnn.tex\nOverfull \\vbox ({points}pt too high)"
    assert bool(check_log(high, tmp_path)) == caught


def test_each_line_that_stands_out_is_named_where_it_was_written(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "b.tex").write_text("\\nbcell{1}\nx\n\\nbcell{2}\nwide\n")
    wide = LINE.format("9.0").replace("3--4", "4--4")
    log = f"(../../solutions_latex/answers/a.tex{wide})\n(./notebooks/b.tex{wide})\n"
    answer, notebook = check_log(log, tmp_path)
    told = "a line is 9 pt too wide: break or shorten it; `make pdf DRAFT=1` makes a PDF"
    assert answer.text.startswith(f"solutions_latex/answers/a.tex:4: {told}")
    assert notebook.text == f"notebooks/b.ipynb, cell 2: {told.partition(';')[0]}"
    assert answer.fatal and not notebook.fatal


def test_references_citations_and_groups_are_looked_at_and_an_honest_log_passes(tmp_path):
    for warning in ("Reference `q9.last'", "Citation 'foo'"):
        log = f"LaTeX Warning: {warning} on page 1 undefined on input line 5.\n"
        log = f"(../../solutions_latex/answers/a.tex\n{log}"
        told = "solutions_latex/answers/a.tex:5: a reference to"
        assert texts(check_log(log, tmp_path)).startswith(told)
    log = "(\\end occurred inside a group at level 1)\n\n### simple group entered at line 7 ({)\n"
    assert "never closed: it is in line 7 of" in texts(check_log(log, tmp_path))
    log = "Underfull \\hbox (badness 10000)\nOverfull \\vbox (2.0pt too high)\nOutput written\n"
    assert check_log(log, tmp_path) == []


def cells(notebook, **options):
    return check_cells(as_run(notebook, "n"), **options)


def test_cells_must_be_run_in_order_and_succeed():
    good = executed()
    assert cells(good) == []
    good.cells[0].execution_count = None
    assert "n: cell 1 was not run" in texts(cells(good))
    good.cells[0].metadata["tags"] = ["skip-execution"]
    assert cells(good) == []
    failing = executed(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))
    assert "cell 1 failed" in texts(cells(failing, as_is=True))
    failing.cells[0].metadata["tags"] = ["raises-exception"]
    assert cells(failing) == []
    uncounted = executed(nbformat.v4.new_output("stream", text="1"))
    uncounted.cells[0].execution_count = None
    assert "was not run" in texts(cells(uncounted))
    assert cells(uncounted, as_is=True) == []
    mixed = executed()
    mixed.cells.append(nbformat.v4.new_code_cell("y", execution_count=1))
    assert [finding.fatal for finding in cells(mixed)] == [True]
    assert [finding.fatal for finding in cells(mixed, as_is=True)] == [False]


def test_every_question_needs_pages():
    question = {"number": 1, "title": "x", "first": 0, "last": 0}
    assert "has no pages" in texts(check_pages({"questions": [question]}))
    assert check_pages({"questions": [question | {"first": 2, "last": 3}]}) == []


def test_a_large_file_is_told(tmp_path):
    (tmp_path / "x.pdf").write_bytes(b"x" * 2_000_000)
    assert check_size(tmp_path / "x.pdf", 3) == []
    assert "x.pdf has 2.0 MB; the limit is 1.5 MB" in texts(check_size(tmp_path / "x.pdf", 1.5))


def test_a_missing_name_or_acknowledgement_is_told_and_stops_nothing():
    (finding,) = check_name("\\student{}\n\\netid{}\n")
    assert finding.text.startswith("the cover has no name and no NetID: fill in student.toml")
    (other,) = check_acknowledgement("\\collaborators{none}\n\\tools{}\n")
    assert "names no tools" in other.text
    assert not (finding.fatal or other.fatal)
    assert check_name("\\student{Ada}\n\\netid{al1}\n") == []
    assert check_acknowledgement("\\collaborators{none}\n\\tools{none}\n") == []
