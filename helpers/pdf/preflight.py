"""The last look before a PDF is handed out."""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode
from pypdf import PdfReader
from pypdf.generic import IndirectObject

from .edition import Edition
from .notebook import is_colab, lacks_data, read_notebook, tags

MAX_OVERFULL = 5.0  # points that a line or a page may stand out into the margin


@dataclass(frozen=True)
class Finding:
    """Something wrong with a document; a fatal one stops the build."""

    text: str
    fatal: bool = True


def check(
    work: Path, edition: Edition, executed: list[Path], limit: float
) -> dict[str, list[Finding]]:
    """What was looked at, and the findings: the edition that was set in ``work``; ``limit`` in MB.

    The acknowledgement comes last, as what is missing most often.
    """
    log = _text(work / f"{edition.name}.log")
    notebooks = {path.stem: read_notebook(path) for path in executed}
    cells = [f for name, notebook in notebooks.items() for f in check_notebook(notebook, name)]
    lacking = [name for name, notebook in notebooks.items() if lacks_data(notebook)]
    settings = _text(work / f"{edition.name}.settings.tex")
    return {
        "glyphs, line widths and references": check_log(log),
        "pages for every question": check_pages(page_map(work, edition)),
        "a notebook for every question": check_executed(edition, set(notebooks)),
        f"cells of {len(executed)} notebooks run, in order, without failure": cells,
        "the real data": check_data(lacking),
        **check_pdf(work / f"{edition.name}.pdf", limit),
        "a name": [] if edition.name == "all" else check_name(settings),
        "collaborators and tools": check_acknowledgement(settings),
    }


def check_log(log: str) -> list[Finding]:
    """Missing glyphs, boxes that stand out, and references to nothing."""
    findings = []
    missing = re.findall(
        r"Missing character: There is no (.+?) (?:\(U\+\w+\) )?in font ([^!]*)", log
    )
    for character, font in dict.fromkeys(missing):
        findings.append(Finding(f"glyph {character} is missing in the font {font}"))
    for wide in re.finditer(r"Overfull \\hbox \(([\d.]+)pt too wide\)(.*)", log):
        if float(wide[1]) > MAX_OVERFULL:
            near = _near(log[: wide.start()])
            findings.append(Finding(f"a line is {wide[1]} pt too wide{wide[2]} ({near})"))
    for high in re.finditer(r"Overfull \\vbox \(([\d.]+)pt too high\)", log):
        if float(high[1]) > MAX_OVERFULL:
            near = _near(log[: high.start()])
            findings.append(Finding(f"a page is {high[1]} pt too full ({near}): part it"))
    for name in re.findall(r"(?:Reference|Hyper reference|Citation) [`']([^']*)' .*undefined", log):
        findings.append(Finding(f"a reference to {name!r} leads nowhere"))
    if "\\end occurred inside a group" in log:
        findings.append(Finding("a { or a \\begin is never closed"))
    return findings


def check_notebook(notebook: NotebookNode, name: str) -> list[Finding]:
    """Cells that failed, were not run, or were run out of order."""
    findings = []
    counts = []
    for i, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip() or is_colab(cell):
            continue
        if cell.execution_count is None:
            findings.append(Finding(f"{name}: cell {i} was not run"))
        else:
            counts.append(cell.execution_count)
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in tags(cell):
            findings.append(Finding(f"{name}: cell {i} failed"))
    if counts != sorted(set(counts)):
        findings.append(Finding(f"{name}: cells were run out of order"))
    return findings


def check_pages(pages: dict) -> list[Finding]:
    """A question without pages."""
    return [
        Finding(f"question {question['number']} ({question['title']}) has no pages")
        for question in pages["questions"]
        if not question["first"]
    ]


def check_executed(edition: Edition, executed: set[str]) -> list[Finding]:
    """Notebooks that the edition names and this build did not run: perhaps not written yet."""
    return [
        Finding(f"{name}.ipynb was not executed: is its name right? Its page is empty", fatal=False)
        for name in edition.notebooks
        if name not in executed
    ]


def check_data(lacking: list[str]) -> list[Finding]:
    """Notebooks whose numbers are not those of the data sets that their text is about."""
    if not lacking:
        return []
    return [
        Finding(
            f"stand-ins for missing data were used in {', '.join(lacking)}: see data/README.md, "
            "then `make pdf` again",
            fatal=False,
        )
    ]


def check_pdf(path: Path, limit: float) -> dict[str, list[Finding]]:
    """What can be told from the file alone: its size, its fonts, and what readers are told."""
    size = path.stat().st_size / 1e6
    large = [Finding(f"{path.name} has {size:.1f} MB; the limit is {limit:g} MB")]
    try:
        reader = PdfReader(path)
        fonts = [f"the font {font} is not embedded" for font in sorted(unembedded_fonts(reader))]
        facts = {
            "title": reader.metadata and reader.metadata.title,
            "language": reader.root_object.get("/Lang"),
            "outline": reader.outline,
            "pages": len(reader.pages),
        }
    except Exception as error:  # pypdf meets broken files with a dozen kinds
        return {"a whole PDF": [Finding(f"{path.name} is not a whole PDF ({error})")]}
    absent = [Finding(f"{path.name} has no {name}") for name, fact in facts.items() if not fact]
    return {
        f"size {size:.1f} MB": large if size > limit else [],
        "fonts embedded": [Finding(text) for text in fonts],
        "title, language and outline": absent,
    }


def check_name(settings: str) -> list[Finding]:
    """Whose homework it is."""
    missing = re.findall(r"^\\(student|netid)\{\}", settings, re.M)
    names = " and no ".join({"student": "name", "netid": "NetID"}[macro] for macro in missing)
    text = f"the cover has no {names}: fill in student.toml, or say NAME='…' NETID=…"
    return [Finding(text, fatal=False)] if missing else []


def check_acknowledgement(settings: str) -> list[Finding]:
    """Collaborators and tools, which the handouts want named; missing ones stop no build."""
    missing = re.findall(r"^\\(collaborators|tools)\{\}", settings, re.M)
    if not missing:
        return []
    return [
        Finding(
            f"student.toml names no {' and no '.join(missing)}, and the handouts ask for both; "
            'write "none" if it is so',
            fatal=False,
        )
    ]


def page_map(work: Path, edition: Edition) -> dict:
    """First and last page of each question, read from LaTeX's .aux file."""
    aux = (work / f"{edition.name}.aux").read_text(encoding="utf-8", errors="replace")
    pages = {name: int(page) for name, page in re.findall(
        r"\\newlabel\{([^{}]+)\}\{\{[^{}]*\}\{(\d+)\}", aux)}  # fmt: skip
    questions = [
        {
            "number": question.number,
            "title": question.title,
            "points": question.points,
            "first": pages.get(f"q{question.number}.first", 0),
            "last": pages.get(f"q{question.number}.last", 0),
        }
        for question in edition.questions
    ]
    return {"edition": edition.name, "questions": questions}


def unembedded_fonts(reader: PdfReader) -> set[str]:
    """Names of the fonts whose outlines the file does not hold, in pages and in figures."""
    missing: set[str] = set()
    seen: set[int] = set()

    def visit(resources) -> None:
        resources = _resolve(resources) or {}
        for reference in (_resolve(resources.get("/Font")) or {}).values():
            font = _resolve(reference)
            for part in [*(_resolve(font.get("/DescendantFonts")) or []), font]:
                part = _resolve(part)
                descriptor = _resolve(part.get("/FontDescriptor"))
                if part.get("/Subtype") in ("/Type0", "/Type3"):
                    continue
                if not descriptor or not any(f"/FontFile{n}" in descriptor for n in ("", 2, 3)):
                    missing.add(str(part.get("/BaseFont", "without a name")))
        for reference in (_resolve(resources.get("/XObject")) or {}).values():
            if isinstance(reference, IndirectObject) and reference.idnum in seen:
                continue
            if isinstance(reference, IndirectObject):
                seen.add(reference.idnum)
            visit(_resolve(reference).get("/Resources"))

    for page in reader.pages:
        visit(page.get("/Resources"))
    return missing


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _resolve(item):
    return item.get_object() if isinstance(item, IndirectObject) else item


def _near(before: str) -> str:
    """The file that TeX was reading at the end of ``before``, a part of its log."""
    files = re.findall(r"\((?:\./)?((?:answers|notebooks)/[\w.-]+\.tex)", before)
    return files[-1] if files else "in the document"
