"""The preflight: each thing it promises to catch, and good documents let through."""

import nbformat
import pytest
from pdf_fixtures import executed
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from helpers.pdf.preflight import (
    check_acknowledgement,
    check_data,
    check_log,
    check_name,
    check_notebook,
    check_pages,
    check_pdf,
)


def texts(findings):
    return " · ".join(finding.text for finding in findings)


def test_missing_glyphs_are_named_once():
    line = "Missing character: There is no ✓ (U+2713) in font TeXGyrePagella/OT:script=latn!\n"
    assert "glyph ✓ is missing" in texts(check_log(line * 2))
    assert len(check_log(line * 2)) == 1


@pytest.mark.parametrize(("points", "caught"), [("5.1", True), ("4.9", False), ("120.0", True)])
def test_lines_that_stand_out_are_caught(points, caught):
    log = f"(./answers/rnn.tex\nOverfull \\hbox ({points}pt too wide) in paragraph at lines 3--4\n"
    assert bool(check_log(log)) == caught
    assert not caught or "rnn.tex" in texts(check_log(log))


def test_each_line_that_stands_out_is_looked_for_in_its_own_file():
    line = "\nOverfull \\hbox (9.0pt too wide) in paragraph at lines 3--4\n"
    log = f"(./answers/a.tex{line})\n(./notebooks/b.tex{line})\n"
    found = [finding.text for finding in check_log(log)]
    place = "a line is 9.0 pt too wide in paragraph at lines 3--4"
    assert found == [f"{place} (answers/a.tex)", f"{place} (notebooks/b.tex)"]


@pytest.mark.parametrize(("points", "caught"), [("5.1", True), ("4.9", False), ("300.0", True)])
def test_pages_that_stand_out_are_caught(points, caught):
    log = f"(./answers/a.tex) (./notebooks/rnn.tex\nOverfull \\vbox ({points}pt too high)"
    assert bool(check_log(log)) == caught
    assert not caught or f"{points} pt too full (notebooks/rnn.tex)" in texts(check_log(log))


def test_references_to_nothing_are_caught():
    assert check_log("LaTeX Warning: Reference `q9.last' on page 1 undefined on input line 5.\n")


def test_an_honest_log_passes():
    log = "Underfull \\hbox (badness 10000)\nOverfull \\vbox (2.0pt too high)\nOutput written\n"
    assert check_log(log) == []


def test_cells_must_be_run_in_order_and_succeed():
    good = executed()
    assert check_notebook(good, "good") == []
    good.cells[0].execution_count = None
    assert "was not run" in texts(check_notebook(good, "n"))
    failing = executed(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))
    assert "cell 1 failed" in texts(check_notebook(failing, "n"))
    failing.cells[0].metadata["tags"] = ["raises-exception"]
    assert check_notebook(failing, "n") == []
    mixed = executed()
    mixed.cells.append(nbformat.v4.new_code_cell("y", execution_count=1))
    assert "out of order" in texts(check_notebook(mixed, "n"))


def test_every_question_needs_pages():
    question = {"number": 1, "title": "x", "first": 0, "last": 0}
    assert "has no pages" in texts(check_pages({"questions": [question]}))
    assert check_pages({"questions": [question | {"first": 2, "last": 3}]}) == []


def of_pdf(path, limit):
    return [finding for found in check_pdf(path, limit).values() for finding in found]


def pdf(tmp_path, font=None, told=True):
    writer = PdfWriter()
    page = writer.add_blank_page(72, 72)
    if told:
        writer.add_metadata({"/Title": "x"})
        writer.root_object[NameObject("/Lang")] = TextStringObject("en")
        writer.add_outline_item(title="x", page_number=0)
    if font is not None:
        fonts = DictionaryObject({NameObject("/F1"): DictionaryObject(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    path = tmp_path / "x.pdf"
    writer.write(path)
    return path


def test_fonts_must_be_embedded(tmp_path):
    times = {
        NameObject("/Type"): NameObject("/Font"),
        NameObject("/Subtype"): NameObject("/Type1"),
        NameObject("/BaseFont"): NameObject("/Times-Roman"),
    }
    assert "/Times-Roman is not embedded" in texts(of_pdf(pdf(tmp_path, times), 100))
    assert of_pdf(pdf(tmp_path), 100) == []


def test_the_file_must_not_be_too_large(tmp_path):
    assert "the limit is 1e-06 MB" in texts(of_pdf(pdf(tmp_path), 1e-6))


def test_readers_must_be_told_title_language_and_outline(tmp_path):
    assert "x.pdf has no title · x.pdf has no language · x.pdf has no outline" in texts(
        of_pdf(pdf(tmp_path, told=False), 100)
    )


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["collaborators", "tools"], "names no collaborators and no tools"),
        (["tools"], "names no tools"),
    ],
)
def test_a_missing_acknowledgement_is_told_and_stops_nothing(missing, told):
    given = {"collaborators": "none", "tools": r"\LaTeX{}"} | dict.fromkeys(missing, "")
    settings = "".join(f"\\{name}{{{value}}}\n" for name, value in given.items())
    (finding,) = check_acknowledgement(settings)
    assert told in finding.text
    assert not finding.fatal


def test_an_acknowledgement_passes():
    assert check_acknowledgement("\\collaborators{none}\n\\tools{none}\n") == []


def test_a_citation_of_nothing_and_a_group_never_closed_are_found():
    log = "LaTeX Warning: Citation 'foo' on page 2 undefined on input line 5.\n"
    assert "'foo' leads nowhere" in texts(check_log(log))
    assert "never closed" in texts(check_log("(\\end occurred inside a group at level 1)\n"))


def test_missing_names_and_data_are_told_and_stop_nothing():
    (finding,) = check_name("\\student{}\n\\netid{}\n")
    assert finding.text.startswith("the cover has no name and no NetID: fill in student.toml")
    (other,) = check_name("\\student{Ada}\n\\netid{}\n")
    assert other.text.startswith("the cover has no NetID:")
    assert check_name("\\student{Ada}\n\\netid{al1}\n") == []
    (data,) = check_data(["cnn_vs_rnn"])
    assert "stand-ins for missing data were used in cnn_vs_rnn" in data.text
    assert not (finding.fatal or other.fatal or data.fatal)
    assert check_data([]) == []
