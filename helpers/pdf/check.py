"""The last look before a PDF is handed out, and ``homework check``, which looks again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypdf import PdfReader

from .edition import STUDENT_KEYS, Edition, file_name, read_edition
from .errors import UserError, did_you_mean
from .notebook import Run, is_colab, read_run, read_text, tags

MAX_OVERFULL = 5.0  # points that a line or a page may stand out into the margin
DRAFT = "; `make pdf DRAFT=1` makes a PDF all the same"
STAND_INS = "stand-ins for missing data were used in {}: see data/README.md, then `make pdf` again"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a document; a fatal one stops the build."""

    text: str
    fatal: bool = True


def check(
    work: Path, edition: Edition, runs: Sequence[Run], limit: float, *, draft: bool = False
) -> dict[str, list[Finding]]:
    """What was looked at, and the findings: the edition that was set in ``work``; ``limit`` in MB.

    In a ``draft``, glyphs and widths stop nothing.
    """
    log, settings = (read_text(work / f"{edition.name}.{end}") for end in ("log", "settings.tex"))
    lacking = ", ".join(run.name for run in runs if run.on_stand_in)
    unpaged = [q for q in page_map(work, edition)["questions"] if not q["first"]]
    size = (work / f"{edition.name}.pdf").stat().st_size / 1e6
    return {
        "glyphs, line widths and references": check_log(log, work, draft),
        "pages for every question": [
            Finding(f"question {q['number']} ({q['title']}) has no pages") for q in unpaged
        ],
        "a notebook for every question": [
            Finding(f"{text}; its page is empty", False) for text in absent(work, edition, runs)
        ],
        f"cells of {len(runs)} notebooks run, in order, without failure": [
            finding for run in runs for finding in check_cells(run)
        ],
        "the real data": [Finding(STAND_INS.format(lacking), False)] * bool(lacking),
        "size": [Finding(f"the PDF has {size:.1f} MB; the limit is {limit:g} MB")] * (size > limit),
        "a name, collaborators and tools": check_details(settings, edition.name),
    }


def absent(work: Path, edition: Edition, runs: Sequence[Run]) -> list[str]:
    """Of each notebook that the edition names and that is not there: that, and the nearest name."""
    known = [path.stem for path in (work.parent.parent / "notebooks").glob("*.ipynb")]
    ran = {run.name for run in runs}
    hint = "is its name right?"
    return [
        f"there is no notebooks/{name}.ipynb ({did_you_mean(name, known, hint)})"
        for name in edition.all_notebooks
        if file_name(name) not in ran
    ]


def check_log(log: str, work: Path, draft: bool = False) -> list[Finding]:
    """Missing glyphs, boxes that stand out, and references to nothing.

    In a notebook, which may be anybody's, glyphs and boxes stop nothing.
    """
    seen: list[str] = []
    pattern = r"Missing character: There is no (.+?) (?:\(U\+\w+\) )?in font ([^!]*)"
    for match in {m[1]: m for m in re.finditer(pattern, log)}.values():
        seen.append(f"{_near(log, match, work)}: the font {match[2]} has no {match[1]}")
    pattern = r"Overfull \\(h|v)box \(([\d.]+)pt too (?:wide|high)\)(?:.*?lines? (\d+))?"
    for box in re.finditer(pattern, log):
        if float(box[2]) > MAX_OVERFULL:
            wide = f"a line is {float(box[2]):.0f} pt too wide: break or shorten it"
            wide += r"; of a picture, say [width=\linewidth]" * (float(box[2]) > 100)
            what = wide if box[1] == "h" else f"a page is {box[2]} pt too full: part it"
            seen.append(f"{_near(log, box, work, box[3])}: {what}")
    found = []
    for text in dict.fromkeys(seen):
        fatal = not draft and not text.startswith("notebooks/")
        found.append(Finding(text + DRAFT if fatal else text, fatal))
    pattern = r"(?:Reference|Hyper reference|(Citation)) [`']([^']*)' .*undefined.*?(\d+)?\.$"
    for match in {m[2]: m for m in re.finditer(pattern, log, re.M)}.values():
        hint = "no .bib file in solutions_latex has it" if match[1] else "is the name right?"
        what = f"a reference to {match[2]!r} leads nowhere: {hint}"
        found.append(Finding(f"{_near(log, match, work, match[3])}: {what}"))
    told = re.findall(r"Class homework Warning: (.*?) on input line", log)
    found += [Finding(text, fatal=False) for text in dict.fromkeys(told)]
    if "\\end occurred inside a group" in log:  # TeX knows the line, but not in which file
        lines = re.findall(r"^### .* entered at line (\d+)", log, re.M)
        where = f": it is in line {', '.join(lines)} of the edition or an answer" if lines else ""
        found.append(Finding(f"a {{ or a \\begin is never closed{where}"))
    return found


def check_cells(run: Run) -> list[Finding]:
    """Cells that failed, were not run, or were run out of order, which is a matter of taste.

    Where outputs came without a single count, somebody took the counts away.
    """
    findings, counts = [], []
    code = [cell for cell in run.notebook.cells if cell.cell_type == "code"]
    uncounted = any(c.outputs for c in code) and not any(c.execution_count for c in code)
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
        findings.append(Finding(f"{run.name}: cells were run out of order", fatal=False))
    return findings


def check_details(settings: str, edition: str) -> list[Finding]:
    """Details that the cover lacks: the handouts ask for them, but they stop nothing."""
    asked = ("collaborators", "tools") if edition == "all" else STUDENT_KEYS
    missing = [key for key in asked if rf"\def\hw@{key}{{}}" in settings]
    text = f"student.toml has no {' and no '.join(missing)}: the handouts ask for them"
    return [Finding(f'{text} ("none" will do); or say NAME=… NETID=…', False)] * bool(missing)


def page_map(work: Path, edition: Edition) -> dict:
    """First and last page of each question, read from LaTeX's .aux file; 0 where it has none."""
    labels = re.findall(
        r"\\newlabel\{([^{}]+)\}\{\{[^{}]*\}\{(\d+)\}", read_text(work / f"{edition.name}.aux")
    )
    pages = {name: int(page) for name, page in labels}
    questions = [
        {"number": q.number, "title": q.title, "points": q.points}
        | {end: pages.get(f"q{q.number}.{end}", 0) for end in ("first", "last")}
        for q in edition.questions
    ]
    return {"edition": edition.name, "questions": questions}


# Places in what the user wrote, for places in what TeX read


def place(path: str, line: int, work: Path) -> str:
    """What a person wrote for a file that TeX was reading: a notebook's cell, an answer's line.

    ``path`` is as in TeX's log. The press writes ``\\nbcell{7}`` before each cell of a body.
    """
    file = work / path
    if match := re.search(r"notebooks/([^/]+)\.tex$", path):
        before = read_text(file).splitlines()[:line] if line and file.exists() else []
        cells = [found[1] for text in before if (found := re.match(r"\\nbcell\{(\d+)\}", text))]
        return f"notebooks/{match[1]}.ipynb" + (f", cell {cells[-1]}" if cells else "")
    if match := re.search(r"(answers/|figures/)?[^/]+\.(?:tex|cls|sty)$", path):
        return f"solutions_latex/{match[0]}" + (f":{line}" if line else "")
    return path


def _near(log: str, match: re.Match, work: Path, line: str | None = None) -> str:
    """The place that TeX was reading where ``match`` begins in its log.

    The class logs where a question begins, in the edition's own file.
    """
    before = log[: match.start()]
    files = r"\(((?:\./|\.\./)*[\w./-]*(?:answers|notebooks)/[\w.-]+\.tex)|^homework: a question"
    *_, file = ["", *re.findall(files, before, re.M)]
    if not file:
        return f"line {line} of the edition" if line else "the document"
    closed = before.rfind(file)
    inside = before.count("(", closed) >= before.count(")", closed) - 1
    return place(file, int(line or 0) if inside else 0, work)


# homework check


def inspect(pdf: Path, limit: float) -> int:
    """Print a line for each check of ``pdf`` and its page map; 1 if a check failed.

    What TeX said of it lies in the newest folder beside it that set an edition of this name.
    Raises UserError where there is none.
    """
    latex = pdf.parent.parent / "solutions_latex"
    name, number = re.fullmatch(r"(.+?)(?:-q(\d+))?", pdf.stem).groups("0")
    logs = sorted(pdf.parent.glob(f"*/{pdf.stem}.log"), key=lambda path: path.stat().st_mtime)
    if not logs or not pdf.exists():
        raise UserError(f"{pdf}: `make pdf` has set no such PDF here")
    work, edition = logs[-1].parent, read_edition(latex / f"{name}.tex", int(number))
    built = work / pdf.name
    same = built.exists() and built.read_bytes() == pdf.read_bytes()
    other = Finding(f"{work} holds another {pdf.name}: run `make pdf` again")
    print(f"{pdf}, {len(PdfReader(pdf).pages)} pages")
    checked = {f"set in {work}": [] if same else [other]}
    checked |= check(work, edition, edition_runs(work, edition), limit)
    for what, findings in checked.items():
        if not findings:
            print(f"[OK]   {what}")
        for finding in findings:
            print(f"[{'FAIL' if finding.fatal else 'WARN'}] {finding.text}")
    print("Pages, for Gradescope's question assignment:")
    for question in page_map(work, edition)["questions"]:
        first, last = question["first"], question["last"]
        pages = f"page {first}" if first == last else f"pages {first}–{last}"
        unit = "point" if question["points"] == "1" else "points"
        worth = f" ({question['points']} {unit})" if question["points"] else ""
        print(f"  Question {question['number']}: {pages:14} {question['title']}{worth}")
    return int(any(finding.fatal for findings in checked.values() for finding in findings))


def edition_runs(work: Path, edition: Edition) -> list[Run]:
    """The edition's notebooks that were executed in ``work``, in order, each read once."""
    paths = [work / "executed" / f"{file_name(name)}.ipynb" for name in edition.all_notebooks]
    return [read_run(path) for path in paths if path.exists()]
