"""The press and its preflight on whole submissions: broken ones are caught, good ones pass.

LaTeX is not run: what it would leave behind is made here, so that it can be broken, too.
"""

import json
import threading
from pathlib import Path

import nbformat
import pytest
from pdf_fixtures import claim, executed, value, write
from pypdf import PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    NameObject,
    StreamObject,
    TextStringObject,
)

from helpers import mime
from helpers.pdf import typeset as press
from helpers.pdf.errors import UserError
from helpers.pdf.execute import MARK
from helpers.pdf.foresee import read_student
from helpers.pdf.notebook import ROOT
from helpers.pdf.render import lock, render

EDITION = r"""\documentclass{homework}
\edition{Corpus}
\begin{document}
\maketitle
\question[points=2, notebook=one]{First}
\answer{one}
\question[points=1, notebook=two]{Second}
\end{document}
"""
ANSWER = r"It is \val{one/n}. \verified{one/holds}"
STUDENT = 'name = "Ada Lovelace"\nnetid = "al1"\n'
LOG = "(./answers/one.tex)\nUnderfull \\hbox (badness 10000)\nOutput written on corpus.xdv\n"
AUX = r"""\newlabel{q1.first}{{1}{2}{}{section.1}{}}
\newlabel{q1.last}{{1}{3}{}{section.1}{}}
\newlabel{q2.first}{{2}{4}{}{section.2}{}}
\newlabel{q2.last}{{2}{4}{}{section.2}{}}
"""


def dictionary(**entries):
    return DictionaryObject({NameObject(f"/{k}"): v for k, v in entries.items()})


def font(subtype="Type1", embedded=True, **more):
    file = {"FontFile": dictionary()} if embedded else {}
    return dictionary(
        Subtype=NameObject(f"/{subtype}"),
        BaseFont=NameObject("/Times"),
        FontDescriptor=dictionary(**file),
        **more,
    )


def pdf(*fonts, figure=None, pages=4):
    writer = PdfWriter()
    for _ in range(pages):
        page = writer.add_blank_page(72, 72)
        resources = dictionary(Font=dictionary(**{f"F{i}": f for i, f in enumerate(fonts)}))
        if figure is not None:
            form = StreamObject()
            form[NameObject("/Resources")] = dictionary(Font=dictionary(F=figure))
            resources[NameObject("/XObject")] = dictionary(X=form)
        page[NameObject("/Resources")] = resources
    writer.add_metadata({"/Title": "Corpus"})
    writer.root_object[NameObject("/Lang")] = TextStringObject("en-US")
    if pages:
        writer.add_outline_item(title="First", page_number=0)
    return writer


class Submission:
    """A project in a folder, good until something in it is changed."""

    def __init__(self, folder: Path):
        self.folder, self.work = folder, folder / "build" / "quick"
        self.edition = folder / "solutions_latex" / "corpus.tex"
        self.answer = self.edition.parent / "answers" / "one.tex"
        self.answer.parent.mkdir(parents=True)
        self.edition.write_text(EDITION)
        self.answer.write_text(ANSWER)
        self.edition.with_name("homework.cls").write_text("")
        self.student = folder / "student.toml"
        self.student.write_text(STUDENT)
        self.log, self.aux, self.pdf, self.limit = LOG, AUX, pdf(font()), 100.0
        self.one = executed(value("one/n", "12"), claim("one/holds"))
        self.two = executed(value("two/n", "2"), source="y = 2")
        self.pdf_bytes = None
        self.removed = ()  # notebooks that are there no more, but what they left is

    def path(self, name):
        return self.work / "executed" / f"{name}.ipynb"

    def hand_in(self, monkeypatch):
        for name, notebook in (("one", self.one), ("two", self.two)):
            if notebook is not None and not self.path(name).exists():
                write(notebook, self.path(name))
        for path in sorted(self.path("x").parent.glob("*.ipynb")):
            if path.stem not in self.removed:
                write(executed(), self.folder / "notebooks" / path.name)
            render(path, self.work / "notebooks" / f"{path.stem}.tex")
        monkeypatch.setattr(press, "run_latex", lambda work, name, epoch: self.set(epoch))
        given = read_student(self.student, {})
        target = self.folder / "corpus.pdf"
        self.warnings = press.typeset(
            self.edition, self.work, target, student=given, profile="quick", limit=self.limit
        )
        return target

    def set(self, epoch):
        self.epoch = epoch
        (self.work / "corpus.log").write_text(self.log)
        (self.work / "corpus.aux").write_text(self.aux)
        if self.pdf_bytes is None:
            self.pdf.write(self.work / "corpus.pdf")
        else:
            (self.work / "corpus.pdf").write_bytes(self.pdf_bytes)

    def write_raw(self, text, name="one"):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)


@pytest.fixture
def submission(tmp_path):
    return Submission(tmp_path)


def shows(data, **metadata):
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def in_one(**outputs):
    def change(s):
        s.one.cells[0].outputs += outputs.values()

    return change


def attribute(name, value_):
    return lambda s: setattr(s, name, value_)


def text(name, old, new):
    """Replace in a file of the submission, or in an attribute that is text."""

    def change(s):
        content = getattr(s, name)
        if isinstance(content, Path):
            content.write_text(content.read_text().replace(old, new))
        else:
            setattr(s, name, content.replace(old, new))

    return change


def cell(**fields):
    return lambda s: s.one.cells[0].update(fields)


def second_cell(count):
    new = nbformat.v4.new_code_cell("z", execution_count=count)
    return lambda s: s.one.cells.append(new)


def error(*tags):
    def change(s):
        s.one.cells[0].outputs.append(
            nbformat.v4.new_output("error", ename="E", evalue="", traceback=["E"])
        )
        s.one.cells[0].metadata["tags"] = list(tags)

    return change


WIDE = "Overfull \\hbox ({}pt too wide) in paragraph at lines 3--4\n"
GLYPH = "Missing character: There is no ✓ (U+2713) in font TeXGyrePagella!\n"
REFERENCE = "LaTeX Warning: Reference `q9' on page 1 undefined on input line 5.\n"
HYPER = "LaTeX Warning: Hyper reference `claim:x' on page 1 undefined on input line 5.\n"
R_KERNEL = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
CID = font("Type0", DescendantFonts=ArrayObject([font("CIDFontType2", embedded=False)]))

BROKEN = {
    "no question": (text("edition", r"\question", r"\section"), "has no "),
    "an unknown key": (text("edition", "points=2", "point=2"), "unknown key 'point'"),
    "no title": (text("edition", "]{First}", "] First"), "needs a title in braces"),
    "no edition": (lambda s: s.edition.unlink(), "there is no edition 'corpus'"),
    "no answer file": (lambda s: s.answer.unlink(), "one.tex is missing"),
    "no student file": (lambda s: s.student.unlink(), "which says whose this is"),
    "another value": (text("answer", "one/n", "one/m"), r"one.tex:1: no notebook .* 'one/m'"),
    "another claim": (text("answer", "one/holds", "one/h"), "proves 'one/h'"),
    "a value of no notebook": (attribute("one", None), "records 'one/n'"),
    "an empty notebook file": (lambda s: s.write_raw(""), "not JSON"),
    "a notebook cut short": (lambda s: s.write_raw('{"nbformat": 4, "cel'), "not JSON"),
    "an old notebook": (lambda s: s.write_raw('{"nbformat": 3}'), "of format 4"),
    "an invalid notebook": (
        lambda s: s.write_raw('{"nbformat": 4, "nbformat_minor": 5, "cells": 5}'),
        "not a valid notebook",
    ),
    "a conflict of git": (
        lambda s: s.write_raw(f"<<<<<<< HEAD\n{json.dumps({'nbformat': 4})}\n=======\n"),
        "not JSON",
    ),
    "a notebook in R": (lambda s: s.one.metadata.update(R_KERNEL), "a notebook in R"),
    "a cell not run": (cell(execution_count=None), "one: cell 1 was not run"),
    "a cell that failed": (error(), "one: cell 1 failed"),
    "cells run out of order": (second_cell(0), "out of order"),
    "a cell run twice": (second_cell(1), "out of order"),
    "a claim that fails": (in_one(a=claim("one/b", holds=False)), "'one/b' does not hold"),
    "a claim made twice": (in_one(a=claim("one/holds")), "uses the name 'one/holds'"),
    "a name of two notebooks": (
        lambda s: s.two.cells[0].outputs.append(value("one/n")),
        "two uses the name 'one/n' that one uses",
    ),
    "a forged name": (in_one(a=claim(r"one/a}\input{x")), "broken record or claim"),
    "a record without text": (in_one(a=shows({mime.RECORD: {"name": "a/b"}})), "broken record"),
    "a claim that is text": (in_one(a=shows({mime.CLAIM: "yes"})), "broken record or claim"),
    "an SVG figure": (in_one(a=shows({"image/svg+xml": "<svg/>"})), "can't be printed"),
    "HTML only": (in_one(a=shows({"text/html": "<b>x</b>"})), "can't be printed"),
    "a picture cut short": (in_one(a=shows({"image/png": "iVBORw0KGgo="})), "broken picture"),
    "student.toml that is no TOML": (text("student", '"Ada', "Ada"), "write a line as name ="),
    "a student's unknown key": (text("student", "netid", "netID"), "unknown key 'netID'"),
    "a name that is a number": (text("student", '"al1"', "1"), "netid must be text"),
    "a list of numbers": (text("student", '"al1"', "[1]"), "netid must be text"),
    "student.toml in Latin-1": (lambda s: s.student.write_bytes(b'name = "Z\xeb"'), "codec"),
    "a character of no font": (text("student", "Ada", "\ue123"), "no font on this machine"),
    "a glyph missing in the PDF": (attribute("log", GLYPH), "glyph ✓ is missing"),
    "a line too wide": (attribute("log", WIDE.format("5.1")), "a line is 5.1 pt too wide"),
    "a wide line in an answer": (
        attribute("log", "(./answers/one.tex\n" + WIDE.format("80.0")),
        r"80.0 pt .*answers/one.tex",
    ),
    "a wide line in a notebook": (
        attribute("log", "(./notebooks/two.tex\n" + WIDE.format("6.0")),
        r"6.0 pt .*notebooks/two.tex",
    ),
    "a reference to nothing": (attribute("log", REFERENCE), "reference to 'q9' leads nowhere"),
    "a link to nothing": (attribute("log", HYPER), "reference to 'claim:x' leads nowhere"),
    "a question without pages": (text("aux", "q2", "q3"), r"question 2 \(Second\) has no pages"),
    "no page map at all": (attribute("aux", ""), r"question 1 \(First\) has no pages"),
    "too large a PDF": (attribute("limit", 1e-4), "the limit is 0.0001 MB"),
    "a font not embedded": (attribute("pdf", pdf(font(embedded=False))), "/Times is not embed"),
    "a TrueType font not embedded": (
        attribute("pdf", pdf(font(), font("TrueType", embedded=False))),
        "/Times is not embedded",
    ),
    "a composite font not embedded": (attribute("pdf", pdf(CID)), "/Times is not embedded"),
    "a figure's font not embedded": (
        attribute("pdf", pdf(font(), figure=font(embedded=False))),
        "/Times is not embedded",
    ),
    "a page too full": (
        attribute("log", "(./notebooks/two.tex\nOverfull \\vbox (90.0pt too high) has"),
        r"90.0 pt too full \(notebooks/two.tex\)",
    ),
    "a notebook of the full profile": (
        lambda s: s.one.metadata.update({MARK: {"profile": "full"}}),
        "one.ipynb is of profile full, not quick",
    ),
    "a notebook that was removed": (attribute("removed", ["one"]), "records 'one/n'"),
    "an object's bare name": (
        in_one(a=shows({"image/svg+xml": "<svg/>", "text/plain": "<x.SVG object>"})),
        "shows image/svg.xml, which can't be printed",
    ),
    "an empty PDF": (attribute("pdf_bytes", b""), "not a whole PDF"),
    "a PDF that is none": (attribute("pdf_bytes", b"<html>404</html>"), "not a whole PDF"),
    "a PDF cut short": (attribute("pdf_bytes", b"%PDF-1.7\n1 0 obj <<"), "not a whole PDF"),
    "a PDF without pages": (attribute("pdf", pdf(pages=0)), "has no pages"),
}

GOOD = {
    "nothing changed": lambda s: None,
    "the second notebook is not written": attribute("two", None),
    "a value named in a comment": text("answer", "It is", "% \\val{none/none}\nIt is"),
    "a cell that is to fail": error("raises-exception"),
    "a line a little wide": attribute("log", WIDE.format("4.9")),
    "a font in the file itself": attribute("pdf", pdf(font("Type3", embedded=False))),
    "a figure with its font": attribute("pdf", pdf(font(), figure=font())),
    "a name in Greek and umlauts": text("student", "Ada Lovelace", "Ζωή Ærø & Söhne 100%"),
    "collaborators in a list": text("student", '"al1"', '"al1"\ncollaborators = ["A", "B"]'),
    "no student": lambda s: s.student.write_text(""),
    "an empty cell not run": lambda s: s.one.cells.append(nbformat.v4.new_code_cell("")),
    "more prose": lambda s: s.one.cells.append(nbformat.v4.new_markdown_cell("# A\n\n$x^2$")),
    "LaTeX in an output": in_one(a=shows({"text/plain": r"\input{/etc/passwd} ^^5c %"})),
    "a caption of TeX's characters": in_one(
        a=shows({"text/html": "<table><tr><td>1</td></tr></table>"}, caption=r"a_b & \c % #")
    ),
    "both questions from one notebook": lambda s: (
        text("edition", "notebook=two", "notebook=one")(s),
        setattr(s, "two", None),
    ),
    "a notebook of this profile": lambda s: s.one.metadata.update({MARK: {"profile": "quick"}}),
    "an object and its text": in_one(a=shows({"text/html": "<b>5</b>", "text/plain": "five"})),
    "an empty table": in_one(a=shows({"text/html": "<table></table>", "text/plain": "none"})),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_submission_is_caught(submission, monkeypatch, name):
    change, message = BROKEN[name]
    change(submission)
    with pytest.raises(UserError, match=message) as caught:
        submission.hand_in(monkeypatch)
    said = str(caught.value)
    assert len(said.splitlines()) <= 4
    assert len(said) < 500
    assert not (submission.folder / "corpus.pdf").exists()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_submission_passes(submission, monkeypatch, name):
    GOOD[name](submission)
    assert submission.hand_in(monkeypatch).exists()
    pages = json.loads((submission.folder / "corpus.pages.json").read_text())
    assert [question["first"] for question in pages["questions"]] == [2, 4]


def test_what_is_missing_and_stops_nothing_is_told(submission, monkeypatch):
    submission.student.write_text("")
    submission.two = None
    submission.one.cells[0].outputs.append(shows({mime.STAMP: {"data": "digits (stand-in)"}}))
    submission.hand_in(monkeypatch)
    told = [
        "two.ipynb was not executed",
        "stand-ins for missing data were used in one",
        "the cover has no name and no NetID",
        "names no collaborators and no tools",
    ]
    for warning, beginning in zip(submission.warnings, told, strict=True):
        assert beginning in warning
    assert r"\standins{one}" in (submission.work / "corpus.settings.tex").read_text()


def test_a_document_is_dated_by_its_newest_run(submission, monkeypatch):
    for notebook, day in ((submission.one, 3), (submission.two, 2)):
        notebook.metadata["papermill"] = {"end_time": f"1980-01-0{day}T00:00:00+00:00"}
    submission.hand_in(monkeypatch)
    assert submission.epoch == 315532800 + 2 * 86400


def test_what_a_removed_notebook_left_is_not_set(submission, monkeypatch):
    submission.removed = ["two"]
    submission.hand_in(monkeypatch)
    assert [path.name for path in submission.work.glob("notebooks/*.tex")] == ["one.tex"]


def test_two_builds_in_one_folder_wait_for_each_other(submission, monkeypatch):
    submission.hand_in(monkeypatch)
    (bodies,) = submission.work.glob("notebooks")
    body, pdf = bodies / "one.tex", submission.folder / "corpus.pdf"
    body.unlink()
    with lock(bodies):  # as if the other were at work
        rendering = threading.Thread(target=render, args=(submission.path("one"), body))
        rendering.start()
        rendering.join(2)
        assert not body.exists()
    rendering.join()
    assert body.exists()
    pdf.unlink()
    with lock(bodies):
        setting = threading.Thread(target=submission.hand_in, args=(monkeypatch,), daemon=True)
        setting.start()
        setting.join(2)
        assert not pdf.exists()
    setting.join()
    assert pdf.exists()


def test_the_corpus_is_as_large_as_promised():
    assert len(BROKEN) >= 30
    assert len(GOOD) >= 10
    assert (ROOT / "solutions_latex" / "homework.cls").exists()
