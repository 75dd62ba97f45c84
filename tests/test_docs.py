"""`make docs`: what it publishes, and what keeps it from publishing."""

import base64
import io
import json
import shutil

import nbformat
import pytest
from pdf_fixtures import executed, stamp, write
from pypdf import PdfWriter

from helpers.pdf import docs
from helpers.pdf.errors import UserError


def pdf(width=72):
    writer, buffer = PdfWriter(), io.BytesIO()
    writer.add_blank_page(width, 72)
    writer.add_blank_page(width * 2, 72)
    writer.write(buffer)
    return buffer.getvalue()


def figure(caption):
    data = {"application/pdf": base64.b64encode(pdf(36)).decode(), "text/plain": ""}
    return nbformat.v4.new_output("display_data", data, metadata={"caption": caption})


def width_of(path):
    assert path.read_bytes().startswith(b"\x89PNG")
    return int.from_bytes(path.read_bytes()[16:20], "big")


@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="only `make docs` needs poppler-utils")
def test_the_pdf_a_page_and_the_heat_map_are_published_with_their_commits(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "commit", lambda: "1234abc")
    work, target = tmp_path / "build" / "full", tmp_path / "docs"
    sweep = executed(stamp(commit="1111111"), figure("a table"), figure("As a heat map."))
    write(sweep, work / "executed" / "vit_sweep.ipynb")
    other = write(executed(stamp(commit="2222222")), work / "executed" / "other.ipynb")
    (tmp_path / "build" / "all.pdf").write_bytes(pdf())
    pages = {"questions": [{"number": 1, "first": 2, "last": 2}]}
    (tmp_path / "build" / "all.pages.json").write_text(json.dumps(pages))
    edition = r"\documentclass{homework}\question[notebook={vit_sweep, other}]{x}"
    (tmp_path / "solutions_latex").mkdir()
    (tmp_path / "solutions_latex" / "all.tex").write_text(edition)

    made = docs.publish(tmp_path / "build" / "all.pdf", work, target, "full")
    assert sorted(made) == sorted(target.iterdir())
    assert (target / "all.pdf").read_bytes() == pdf()
    assert width_of(target / "page.png") == 2 * docs.DOTS, "the first question's page"
    assert width_of(target / "heat_map.png") == docs.DOTS / 2
    note = (target / "README.md").read_text()
    assert "commit 1234abc, profile full; notebooks ran at 1111111, 2222222:" in note

    write(executed(stamp(commit="2222222+")), other)
    with pytest.raises(UserError, match=r"other is of commit 2222222\+, which"):
        docs.publish(tmp_path / "build" / "all.pdf", work, target, "full")
