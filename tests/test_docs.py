"""`make docs`: what it publishes, and what keeps it from publishing."""

import base64
import io
import json
import os
import re
import shutil

import nbformat
import pytest
from pdf_fixtures import executed, stamp, write
from pypdf import PdfWriter

from helpers.pdf import docs
from helpers.pdf.errors import UserError

needs_poppler = pytest.mark.skipif(
    not shutil.which("pdftoppm"), reason="poppler-utils is missing; only `make docs` needs it"
)


def pdf(width=72):
    writer, buffer = PdfWriter(), io.BytesIO()
    writer.add_blank_page(width, 72)
    writer.add_blank_page(width * 2, 72)
    writer.write(buffer)
    return buffer.getvalue()


def figure(caption):
    data = {"application/pdf": base64.b64encode(pdf(36)).decode(), "text/plain": ""}
    return nbformat.v4.new_output("display_data", data, metadata={"caption": caption})


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "commit", lambda: "1234abc")
    build = tmp_path / "build"
    notebooks = {
        "vit_sweep": executed(stamp(commit="1111111"), figure("a table"), figure("As a heat map.")),
        "other": executed(stamp(commit="2222222")),
        "removed": executed(stamp(commit="unknown")),
    }
    for name, notebook in notebooks.items():
        write(notebook, build / "full" / "executed" / f"{name}.ipynb")
    (build / "all.pdf").write_bytes(pdf())
    pages = {"questions": [{"number": 1, "first": 2, "last": 2}]}
    (build / "all.pages.json").write_text(json.dumps(pages))
    edition = r"\documentclass{homework}\question[notebook={vit_sweep, other}]{x}"
    (tmp_path / "solutions_latex").mkdir()
    (tmp_path / "solutions_latex" / "all.tex").write_text(edition)
    return build


def publish(build):
    return docs.publish(build / "all.pdf", build / "full", build / "docs", "full")


def width_of(path):
    assert path.read_bytes().startswith(b"\x89PNG")
    return int.from_bytes(path.read_bytes()[16:20], "big")


@needs_poppler
def test_it_publishes_the_pdf_a_page_the_heat_map_and_where_they_come_from(build):
    made = publish(build)
    assert sorted(made) == sorted((build / "docs").iterdir())
    assert (build / "docs" / "all.pdf").read_bytes() == (build / "all.pdf").read_bytes()
    assert width_of(build / "docs" / "page.png") == 2 * docs.DOTS, "the first question's page"
    assert width_of(build / "docs" / "heat_map.png") == docs.DOTS / 2
    note = (build / "docs" / "README.md").read_text()
    assert "commit 1234abc, profile full; the notebooks ran at 1111111, 2222222:" in note


@pytest.mark.parametrize("commit", ["1234abc+", "unknown"])
def test_changes_that_no_commit_holds_are_refused(build, monkeypatch, commit):
    write(executed(stamp(commit=commit)), build / "full" / "executed" / "other.ipynb")
    with pytest.raises(UserError, match=f"other ran at commit {re.escape(commit)}, which"):
        publish(build)
    monkeypatch.setattr(docs, "commit", lambda: commit)
    with pytest.raises(UserError, match="commit your changes first"):
        publish(build)
    assert not (build / "docs").exists()


@needs_poppler
def test_what_is_too_large_or_missing_is_refused(build, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(docs, "LIMIT_MB", 0.001)
        with pytest.raises(UserError, match=r"the limit is 0.001 MB"):
            publish(build)
    write(executed(figure("a table")), build / "full" / "executed" / "vit_sweep.ipynb")
    with pytest.raises(UserError, match="no figure of vit_sweep"):
        publish(build)
    (build / "all.pdf").write_bytes(b"no PDF")
    with pytest.raises(UserError, match="pdftoppm refuses"):
        publish(build)
    monkeypatch.setitem(os.environ, "PATH", str(build))
    with pytest.raises(UserError, match="poppler-utils"):
        publish(build)
