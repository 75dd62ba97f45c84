"""The last look before a PDF is handed out, and ``homework check``, which looks again."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypdf import PdfReader
from pypdf.generic import IndirectObject

from .edition import Edition, file_name, read_edition
from .errors import UserError
from .notebook import Run, is_colab, read_run, tags

MAX_OVERFULL = 5.0  # points that a line or a page may stand out into the margin
DRAFT = "; `make pdf DRAFT=1` makes a PDF all the same"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a document; a fatal one stops the build."""

    text: str
    fatal: bool = True


def check(
    work: Path, edition: Edition, runs: Sequence[Run], limit: float, *, draft: bool = False
) -> dict[str, list[Finding]]:
    """What was looked at, and the findings: the edition that was set in ``work``; ``limit`` in MB.

    In a ``draft``, glyphs and widths stop nothing. The acknowledgement comes last, as what is
    missing most often.
    """
    log = _text(work / f"{edition.name}.log")
    settings = _text(work / f"{edition.name}.settings.tex")
    as_is = {file_name(name) for q in edition.questions if q.as_is for name in q.notebooks}
    cells = [f for run in runs for f in check_cells(run, as_is=run.name in as_is)]
    return {
        "glyphs, line widths and references": check_log(log, work, draft),
        "pages for every question": check_pages(page_map(work, edition)),
        "a notebook for every question": check_there(edition, {run.name for run in runs}),
        f"cells of {len(runs)} notebooks run, in order, without failure": cells,
        "the real data": check_data([run.name for run in runs if run.on_stand_in]),
        **check_pdf(work / f"{edition.name}.pdf", limit),
        "a name": [] if edition.name == "all" else check_name(settings),
        "collaborators and tools": check_acknowledgement(settings),
    }


def check_log(log: str, work: Path, draft: bool = False) -> list[Finding]:
    """Missing glyphs, boxes that stand out, and references to nothing.

    In a notebook, which may be anybody's, glyphs and boxes stop nothing.
    """
    findings = []
    pattern = r"Missing character: There is no (.+?) (?:\(U\+\w+\) )?in font ([^!]*)"
    for match in {m[1]: m for m in re.finditer(pattern, log)}.values():
        place = _near(log[: match.start()], work, 0)
        findings.append(f"{place}: the font {match[2]} has no {match[1]}")
    for wide in re.finditer(r"Overfull \\hbox \(([\d.]+)pt too wide\)(?:.*?lines? (\d+))?", log):
        if float(wide[1]) > MAX_OVERFULL:
            place = _near(log[: wide.start()], work, int(wide[2] or 0))
            width = f"{float(wide[1]):.0f} pt too wide"
            findings.append(f"{place}: a line is {width}: break or shorten it")
    for high in re.finditer(r"Overfull \\vbox \(([\d.]+)pt too high\)", log):
        if float(high[1]) > MAX_OVERFULL:
            place = _near(log[: high.start()], work, 0)
            findings.append(f"{place}: a page is {high[1]} pt too full: part it")
    found = []
    for text in dict.fromkeys(findings):
        fatal = not draft and not text.startswith("notebooks/")
        found.append(Finding(text + DRAFT if fatal else text, fatal))
    pattern = r"(?:Reference|Hyper reference|(Citation)) [`']([^']*)' .*undefined.*?(\d+)?\.$"
    for match in {m[2]: m for m in re.finditer(pattern, log, re.M)}.values():
        place = _near(log[: match.start()], work, int(match[3] or 0))
        hint = "no .bib file in solutions_latex has it" if match[1] else "is the name right?"
        found.append(Finding(f"{place}: a reference to {match[2]!r} leads nowhere: {hint}"))
    told = re.findall(r"Class homework Warning: (.*?) on input line", log)
    found += [Finding(text, fatal=False) for text in dict.fromkeys(told)]
    if "\\end occurred inside a group" in log:
        found.append(Finding("a { or a \\begin is never closed"))
    return found


def check_cells(run: Run, *, as_is: bool = False) -> list[Finding]:
    """Cells that failed, were not run, or were run out of order.

    Of a notebook that is set as it was saved, the order is a matter of taste, and where outputs
    came without a single count, somebody took the counts away.
    """
    findings, counts = [], []
    code = [cell for cell in run.notebook.cells if cell.cell_type == "code"]
    uncounted = as_is and any(c.outputs for c in code) and not any(c.execution_count for c in code)
    for i, cell in enumerate(run.notebook.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip() or is_colab(cell):
            continue
        skipped = "skip-execution" in tags(cell) or uncounted
        if cell.execution_count is None and not skipped:
            findings.append(Finding(f"{run.name}: cell {i} was not run"))
        elif cell.execution_count is not None:
            counts.append(cell.execution_count)
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in tags(cell):
            findings.append(Finding(f"{run.name}: cell {i} failed"))
    if counts != sorted(set(counts)):
        findings.append(Finding(f"{run.name}: cells were run out of order", fatal=not as_is))
    return findings


def check_pages(pages: dict) -> list[Finding]:
    """A question without pages."""
    return [
        Finding(f"question {question['number']} ({question['title']}) has no pages")
        for question in pages["questions"]
        if not question["first"]
    ]


def check_there(edition: Edition, ran: set[str]) -> list[Finding]:
    """Notebooks that the edition names and this build did not run: perhaps not written yet."""
    return [
        Finding(f"{name}.ipynb was not executed: is its name right? Its page is empty", fatal=False)
        for name in edition.all_notebooks
        if file_name(name) not in ran
    ]


def check_data(lacking: list[str]) -> list[Finding]:
    """Notebooks whose numbers are not those of the data sets that their text is about."""
    if not lacking:
        return []
    text = f"stand-ins for missing data were used in {', '.join(lacking)}: see data/README.md, then"
    return [Finding(f"{text} `make pdf` again", fatal=False)]


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
    text = f"student.toml names no {' and no '.join(missing)}, and the handouts ask for both"
    return [Finding(f'{text}; write "none" if it is so', fatal=False)] if missing else []


def page_map(work: Path, edition: Edition) -> dict:
    """First and last page of each question, read from LaTeX's .aux file."""
    aux = _text(work / f"{edition.name}.aux")
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
            if isinstance(reference, IndirectObject):
                if reference.idnum in seen:
                    continue
                seen.add(reference.idnum)
            visit(_resolve(reference).get("/Resources"))

    for page in reader.pages:
        visit(page.get("/Resources"))
    return missing


def _resolve(item):
    return item.get_object() if isinstance(item, IndirectObject) else item


# Places in what the user wrote, for places in what TeX read


def place(path: str, line: int, work: Path) -> str:
    """What a person wrote for a file that TeX was reading: a notebook's cell, an answer's line.

    ``path`` is as in TeX's log. The press writes ``\\nbcell{7}`` before each cell of a body.
    """
    file = work / path
    if match := re.search(r"notebooks/([^/]+)\.tex$", path):
        before = _text(file).splitlines()[:line] if line and file.exists() else []
        cells = [found[1] for text in before if (found := re.match(r"\\nbcell\{(\d+)\}", text))]
        return f"notebooks/{match[1]}.ipynb" + (f", cell {cells[-1]}" if cells else "")
    if match := re.search(r"(answers/|figures/)?[^/]+\.(?:tex|cls|sty)$", path):
        return f"solutions_latex/{match[0]}" + (f":{line}" if line else "")
    return path


def _near(before: str, work: Path, line: int) -> str:
    """The place that TeX was reading at the end of ``before``, a part of its log."""
    files = re.findall(r"\(((?:\./|\.\./)*[\w./-]*(?:answers|notebooks)/[\w.-]+\.tex)", before)
    closed = before.rfind(files[-1]) if files else -1
    inside = files and before.count("(", closed) >= before.count(")", closed) - 1
    return place(files[-1], line if inside else 0, work) if files else "the document"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


# homework check


def inspect(pdf: Path, work: Path | None, limit: float) -> int:
    """Print a line for each check of ``pdf`` and its page map; 1 if a check failed.

    ``work`` is the folder it was set in (default: the newest below the PDF's folder that set
    an edition of this name). Without one, only what the file itself tells is checked.
    Raises UserError for a file that is not a PDF.
    """
    latex = pdf.parent.parent / "solutions_latex"
    name, _, number = pdf.stem.rpartition("-q")
    if not number.isdecimal() or (latex / f"{pdf.stem}.tex").exists():
        name, number = pdf.stem, "0"
    try:
        pages = len(PdfReader(pdf).pages)
    except FileNotFoundError:
        known = (latex / f"{name}.tex").exists()
        command = f"make pdf HW={name}" if known else "make pdf"
        raise UserError(f"{pdf}: there is no such PDF; `{command}` builds one") from None
    except Exception as error:  # pypdf meets broken files with a dozen kinds
        raise UserError(f"{pdf} is not a PDF that can be read ({error})") from None
    print(f"{pdf}, {pages} pages")
    logs = sorted(pdf.parent.glob(f"*/{pdf.stem}.log"), key=lambda path: path.stat().st_mtime)
    if work is None and not logs:
        unseen = f"no folder beside {pdf.name} holds {pdf.stem}.log: cells, glyphs, pages unseen"
        _report(check_pdf(pdf, limit) | {"set by `make pdf` here": [Finding(unseen)]})
        return 1
    work = work or logs[-1].parent
    edition = read_edition(latex / f"{name}.tex", int(number))
    built = work / pdf.name
    same = built.exists() and built.read_bytes() == pdf.read_bytes()
    other = Finding(f"{work} holds another {pdf.name}: run `make pdf` again")
    found = {f"set in {work}": [] if same else [other]}
    failed = _report(found | check(work, edition, edition_runs(work, edition), limit))
    print("Pages, for Gradescope's question assignment:")
    for question in page_map(work, edition)["questions"]:
        first, last = question["first"], question["last"]
        pages = f"page {first}" if first == last else f"pages {first}–{last}"
        unit = "point" if question["points"] == "1" else "points"
        worth = f" ({question['points']} {unit})" if question["points"] else ""
        print(f"  Question {question['number']}: {pages:14} {question['title']}{worth}")
    return min(failed, 1)


def edition_runs(work: Path, edition: Edition) -> list[Run]:
    """The edition's notebooks that were executed in ``work``, in order, each read once."""
    names: Iterable[str] = map(file_name, edition.all_notebooks)
    paths = [work / "executed" / f"{name}.ipynb" for name in names]
    return [read_run(path) for path in paths if path.exists()]


def _report(checked: dict[str, list[Finding]]) -> int:
    for name, findings in checked.items():
        if not findings:
            print(f"[OK]   {name}")
        for finding in findings:
            print(f"[{'FAIL' if finding.fatal else 'WARN'}] {finding.text}")
    return sum(finding.fatal for findings in checked.values() for finding in findings)
