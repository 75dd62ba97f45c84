"""TeX as the press runs it: it reads and writes nothing elsewhere, and its errors are told."""

import pytest
from pypdf import PdfReader

from helpers.pdf.errors import UserError
from helpers.pdf.typeset import run_latex, tex_errors

DOCUMENT = r"\documentclass{article}\begin{document}x %s\end{document}"
DAY = 86_400


def set_latex(work, body, epoch=DAY):
    work.mkdir(exist_ok=True)
    (work / "a.tex").write_text(DOCUMENT % body)
    run_latex(work, "a", epoch)
    return work / "a.pdf"


def test_a_document_carries_the_date_that_it_is_given(tmp_path):
    metadata = PdfReader(set_latex(tmp_path / "work", "", 365 * DAY)).metadata
    assert metadata.creation_date.isoformat().startswith("1971-01-01T00:00:00")


@pytest.mark.parametrize("name", ["{0}/canary.tex", "../canary.tex"])
def test_what_lies_outside_the_folder_is_not_read(tmp_path, name):
    (tmp_path / "canary.tex").write_text("CANARY")
    with pytest.raises(UserError, match=r"XeLaTeX stopped: .*canary.tex"):
        set_latex(tmp_path / "work", rf"\input{{{name.format(tmp_path)}}}")
    (tmp_path / "work" / "canary.tex").write_text("CANARY")
    (page,) = PdfReader(set_latex(tmp_path / "work", r"\input{canary.tex}")).pages
    assert "CANARY" in page.extract_text()


def test_nothing_is_written_outside_and_no_command_is_run(tmp_path):
    set_latex(tmp_path / "work", rf"\immediate\write18{{touch {tmp_path}/pwned}}")
    with pytest.raises(UserError, match="XeLaTeX stopped"):
        set_latex(tmp_path / "work", rf"\immediate\openout15={tmp_path}/pwned ")
    assert not list(tmp_path.rglob("pwned*"))


def test_tex_that_never_ends_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.pdf.typeset.LATEX_SECONDS", 2)
    with pytest.raises(UserError, match="XeLaTeX stopped"):
        set_latex(tmp_path / "work", r"\def\x{\x}\x")


def test_all_errors_of_tex_are_told_each_with_its_notebook_and_cell(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "x.tex").write_text("\\nbcell{1}\na\n\\nbcell{2}\nb\n")
    log = "! A\n<read>\nl.7 \\x\n./notebooks/x.tex:4: B\nl.4 b\n./answers/a-b.tex:7: C\n"
    assert tex_errors("(fontspec) x\n" * 20_000, tmp_path) == []
    assert tex_errors(log, tmp_path) == [
        "A (l.7 \\x)",
        "notebooks/x.ipynb: cell 2: B (l.4 b)",
        "answers/a-b.tex:7: C",
    ]
