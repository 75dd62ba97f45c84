"""`make docs`: what it publishes, and what keeps it from publishing."""

import base64
import io
import json
import os
import re
import shutil

import nbformat
import pytest
from pdf_fixtures import executed, write
from pypdf import PdfWriter

from helpers import mime
from helpers.pdf import docs
from helpers.pdf.errors import UserError

PNG = b"\x89PNG"
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


def stamp(commit):
    return nbformat.v4.new_output("display_data", {mime.STAMP: {"commit": commit}})


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "commit", lambda: "1234abc")
    (tmp_path / "all.pdf").write_bytes(pdf())
    pages = {"questions": [{"number": 1, "first": 2, "last": 2}]}
    (tmp_path / "all.pages.json").write_text(json.dumps(pages))
    notebooks = {
        "vit_sweep": executed(stamp("1111111"), figure("a table"), figure("As a heat map.")),
        "other": executed(stamp("2222222"), stamp("2222222")),
        "removed": executed(stamp("unknown")),
    }
    for name, notebook in notebooks.items():
        write(notebook, tmp_path / "full" / "executed" / f"{name}.ipynb")
        (tmp_path / "full" / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "full" / "notebooks" / f"{name}.tex").touch()
    (tmp_path / "full" / "all.tex").write_text(r"\question[notebook={vit_sweep, other}]{x}")
    return tmp_path


def publish(build):
    return docs.publish(build / "all.pdf", build / "full", build / "docs", "full")


def width_of(path):
    assert path.read_bytes().startswith(PNG)
    return int.from_bytes(path.read_bytes()[16:20], "big")


@needs_poppler
def test_it_publishes_the_pdf_a_page_the_heat_map_and_where_they_come_from(build):
    made = publish(build)
    assert sorted(made) == sorted((build / "docs").iterdir())
    assert (build / "docs" / "all.pdf").read_bytes() == (build / "all.pdf").read_bytes()
    assert width_of(build / "docs" / docs.PAGE) == 2 * docs.DOTS, "the first question's page"
    assert width_of(build / "docs" / docs.HEAT_MAP) == docs.DOTS / 2
    note = (build / "docs" / "README.md").read_text()
    assert "commit 1234abc, profile full; the notebooks ran at 1111111, 2222222:" in note


@pytest.mark.parametrize("commit", ["1234abc+", "unknown"])
def test_changes_that_no_commit_holds_are_refused(build, monkeypatch, commit):
    path = build / "full" / "executed" / "other.ipynb"
    write(executed(stamp("2222222"), stamp(commit)), path)
    with pytest.raises(UserError, match=f"other.ipynb ran at commit {re.escape(commit)}, which"):
        publish(build)
    monkeypatch.setattr(docs, "commit", lambda: commit)
    with pytest.raises(UserError, match="commit your changes first"):
        publish(build)
    assert not (build / "docs").exists()


@needs_poppler
def test_too_much_is_refused(build, monkeypatch):
    monkeypatch.setattr(docs, "LIMIT_MB", 0.001)
    with pytest.raises(UserError, match=r"the limit is 0.001 MB"):
        publish(build)
    assert not (build / "docs").exists()


@needs_poppler
def test_a_notebook_without_a_heat_map_is_named(build):
    write(executed(figure("a table")), build / "full" / "executed" / "vit_sweep.ipynb")
    with pytest.raises(UserError, match=r"vit_sweep.ipynb has no figure .* 'heat map'"):
        publish(build)


def test_without_poppler_the_package_is_named(build, monkeypatch):
    monkeypatch.setitem(os.environ, "PATH", str(build))
    with pytest.raises(UserError, match="poppler-utils"):
        publish(build)


@needs_poppler
def test_a_file_that_poppler_refuses(build):
    (build / "all.pdf").write_bytes(b"no PDF")
    with pytest.raises(UserError, match="pdftoppm refuses"):
        publish(build)
