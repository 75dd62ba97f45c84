"""TeX as the press runs it: it reads and writes nothing elsewhere, and its errors are told."""

import pytest
from pypdf import PdfReader

from helpers.pdf.errors import UserError
from helpers.pdf.typeset import first_error, run_latex

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


def test_an_error_of_tex_is_found_in_any_log_at_once():
    log = "(fontspec) x\n" * 20_000
    assert first_error(log) == ""
    assert (
        first_error(f"{log}! Undefined control sequence.\n{log}") == "Undefined control sequence."
    )
    assert first_error(f"! A\n<read>\n{log}l.7 \\x\n! B\nl.9\n") == "A (l.7 \\x)"
    assert (
        first_error(f"{log}./answers/a-b.tex:7: C\nl.7 \\x\n") == "answers/a-b.tex:7: C (l.7 \\x)"
    )
