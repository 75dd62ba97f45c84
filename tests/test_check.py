"""The preflight: each thing it promises to catch, and good documents let through."""

import nbformat
from pdf_fixtures import executed

from helpers.pdf.check import check, check_cells, check_details, check_log
from helpers.pdf.edition import Edition, Question
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


def test_each_line_that_stands_out_is_named_where_it_was_written(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "b.tex").write_text("\\nbcell{1}\nx\n\\nbcell{2}\nwide\n")
    wide = LINE.format("9.0").replace("3--4", "4--4")
    log = f"(../../solutions_latex/answers/a.tex{wide})\n(./notebooks/b.tex{wide})\n"
    answer, notebook, edition = check_log(f"{log}homework: a question\n{wide}", tmp_path)
    assert (
        edition.text.startswith("line 4 of the edition: a line is 9 pt too wide") and edition.fatal
    )
    told = "a line is 9 pt too wide: break or shorten it; `make pdf DRAFT=1` makes a PDF"
    assert answer.text.startswith(f"solutions_latex/answers/a.tex:4: {told}")
    assert notebook.text == f"notebooks/b.ipynb, cell 2: {told.partition(';')[0]}"
    assert answer.fatal and not notebook.fatal
    high = "(./notebooks/b.tex\nOverfull \\vbox ({}pt too high)"
    assert check_log(high.format("5.1"), tmp_path) and not check_log(high.format("4.9"), tmp_path)


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


def cells(notebook):
    return check_cells(as_run(notebook, "n"))


def test_cells_must_be_run_in_order_and_succeed():
    good = executed()
    assert cells(good) == []
    good.cells[0].execution_count = None
    assert "n: cell 1 was not run" in texts(cells(good))
    good.cells[0].metadata["tags"] = ["skip-execution"]
    assert cells(good) == []
    failing = executed(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))
    assert "cell 1 failed" in texts(cells(failing))
    failing.cells[0].metadata["tags"] = ["raises-exception"]
    assert cells(failing) == []
    uncounted = executed(nbformat.v4.new_output("stream", text="1"))
    uncounted.cells[0].execution_count = None
    assert cells(uncounted) == []
    uncounted.cells.append(nbformat.v4.new_code_cell("y", execution_count=1))
    assert "cell 1 was not run" in texts(cells(uncounted))
    mixed = executed()
    mixed.cells.append(nbformat.v4.new_code_cell("y", execution_count=1))
    assert [finding.fatal for finding in cells(mixed)] == [False]


def test_a_question_without_pages_and_a_large_file_are_told(tmp_path):
    for ending in ("log", "settings.tex", "aux"):
        (tmp_path / f"hw.{ending}").touch()
    (tmp_path / "hw.pdf").write_bytes(b"x" * 2_000_000)
    edition = Edition("hw", (Question(number=1, title="x"),), "")
    found = check(tmp_path, edition, [], limit=1.5)
    assert texts(found["pages for every question"]) == "question 1 (x) has no pages"
    assert texts(found["size"]) == "the PDF has 2.0 MB; the limit is 1.5 MB"
    assert check(tmp_path, edition, [], limit=3)["size"] == []


def test_missing_details_are_told_and_stop_nothing():
    empty = "\\def\\hw@name{}\n\\def\\hw@netid{}\n\\def\\hw@tools{}\n"
    (finding,) = check_details(empty, "hw")
    assert finding.text.startswith("student.toml has no name and no netid and no tools: the")
    assert not finding.fatal
    assert check_details("\\def\\hw@name{}\n\\def\\hw@netid{}\n", "all") == []
