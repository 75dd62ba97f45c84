"""``homework check``: the preflight alone, on any PDF, and the page map for Gradescope."""

from pathlib import Path

from pypdf import PdfReader

from .edition import Edition, read_edition
from .errors import UserError
from .preflight import Finding, check, check_pdf, page_map
from .typeset import executed_notebooks


def inspect(pdf: Path, work: Path | None, limit: float) -> int:
    """Print a line for each check of ``pdf`` and its page map; 1 if a check failed.

    ``work`` is the folder it was set in (default: the newest below the PDF's folder that set
    an edition of this name). Without one, only what the file itself tells is checked.
    Raises UserError for a file that is not a PDF.
    """
    try:
        pages = len(PdfReader(pdf).pages)
    except FileNotFoundError:
        known = (pdf.parent.parent / "solutions_latex" / f"{pdf.stem}.tex").exists()
        command = f"make pdf HW={pdf.stem}" if known else "make pdf"
        raise UserError(f"{pdf}: there is no such PDF; `{command}` builds one") from None
    except Exception as error:  # pypdf meets broken files with a dozen kinds
        raise UserError(f"{pdf} is not a PDF that can be read ({error})") from None
    print(f"{pdf}, {pages} pages")
    work = work or _build_folder(pdf)
    if work is None:
        _report(check_pdf(pdf, limit) | {"set by `make pdf` here": [_elsewhere(pdf)]})
        return 1
    edition = read_edition(work / f"{pdf.stem}.tex")
    failed = _report(
        _built(pdf, work) | check(work, edition, executed_notebooks(work, edition), limit)
    )
    _print_pages(work, edition)
    return min(failed, 1)


def _build_folder(pdf: Path) -> Path | None:
    logs = sorted(pdf.parent.glob(f"*/{pdf.stem}.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].parent if logs else None


def _elsewhere(pdf: Path) -> Finding:
    return Finding(
        f"no folder beside {pdf.name} holds {pdf.stem}.log: cells, glyphs and pages unseen"
    )


def _built(pdf: Path, work: Path) -> dict[str, list[Finding]]:
    """Whether the folder is the one that this very file comes from."""
    built = work / pdf.name
    same = built.exists() and built.read_bytes() == pdf.read_bytes()
    problem = Finding(f"{work} holds another {pdf.name}: run `make pdf` again")
    return {f"set in {work}": [] if same else [problem]}


def _report(checked: dict[str, list[Finding]]) -> int:
    for name, findings in checked.items():
        if not findings:
            print(f"[OK]   {name}")
        for finding in findings:
            print(f"[{'FAIL' if finding.fatal else 'WARN'}] {finding.text}")
    return sum(finding.fatal for findings in checked.values() for finding in findings)


def _print_pages(work: Path, edition: Edition) -> None:
    print("Pages, for Gradescope's question assignment:")
    for question in page_map(work, edition)["questions"]:
        first, last = question["first"], question["last"]
        pages = f"page {first}" if first == last else f"pages {first}–{last}"
        unit = "point" if question["points"] == "1" else "points"
        worth = f" ({question['points']} {unit})" if question["points"] else ""
        print(f"  Question {question['number']}: {pages:14} {question['title']}{worth}")
