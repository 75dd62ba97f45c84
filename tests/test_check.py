"""The preflight: each thing it promises to catch, and good documents let through."""

import nbformat
import pytest
from pdf_fixtures import executed
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, StreamObject, TextStringObject

from helpers.pdf.check import (
    check_acknowledgement,
    check_cells,
    check_log,
    check_name,
    check_pages,
    check_pdf,
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
    assert "never closed" in texts(check_log("(\\end occurred inside a group", tmp_path))
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


def dictionary(**entries):
    return DictionaryObject({NameObject(f"/{k}"): v for k, v in entries.items()})


def font(subtype="Type1", embedded=True, **more):
    file = {"FontFile2": dictionary()} if embedded else {}
    name, kind = NameObject("/Times"), NameObject(f"/{subtype}")
    return dictionary(Subtype=kind, BaseFont=name, FontDescriptor=dictionary(**file), **more)


def of_pdf(path, resources=None, limit=100.0, told=True):
    writer = PdfWriter()
    page = writer.add_blank_page(72, 72)
    if told:
        writer.add_metadata({"/Title": "x"})
        writer.root_object[NameObject("/Lang")] = TextStringObject("en")
        writer.add_outline_item(title="x", page_number=0)
    page[NameObject("/Resources")] = resources or dictionary()
    writer.write(path)
    return texts(finding for found in check_pdf(path, limit).values() for finding in found)


def in_figure(font):
    form = StreamObject()
    form[NameObject("/Resources")] = dictionary(Font=dictionary(F=font))
    return dictionary(XObject=dictionary(X=form))


def test_fonts_must_be_embedded_in_pages_figures_and_composites(tmp_path):
    bare = font(embedded=False)
    composite = font("Type0", DescendantFonts=ArrayObject([bare]))
    for resources in (
        dictionary(Font=dictionary(F=bare)),
        dictionary(Font=dictionary(F=composite)),
        in_figure(bare),
    ):
        assert "the font /Times is not embedded" in of_pdf(tmp_path / "x.pdf", resources)
    for good in (dictionary(Font=dictionary(F=font())), in_figure(font("Type3", embedded=False))):
        assert of_pdf(tmp_path / "x.pdf", good) == ""


def test_size_title_language_and_outline_are_looked_at(tmp_path):
    path = tmp_path / "x.pdf"
    assert "the limit is 1e-06 MB" in of_pdf(path, limit=1e-6)
    absent = "x.pdf has no title · x.pdf has no language · x.pdf has no outline"
    assert of_pdf(path, told=False) == absent
    path.write_bytes(path.read_bytes()[:200])
    assert "is not a whole PDF" in texts(check_pdf(path, 100)["a whole PDF"])


def test_a_missing_name_or_acknowledgement_is_told_and_stops_nothing():
    (finding,) = check_name("\\student{}\n\\netid{}\n")
    assert finding.text.startswith("the cover has no name and no NetID: fill in student.toml")
    (other,) = check_acknowledgement("\\collaborators{none}\n\\tools{}\n")
    assert "names no tools" in other.text
    assert not (finding.fatal or other.fatal)
    assert check_name("\\student{Ada}\n\\netid{al1}\n") == []
    assert check_acknowledgement("\\collaborators{none}\n\\tools{none}\n") == []
