"""One edition to one PDF: values, claims and the student's details go in, latexmk sets it."""

import datetime
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

from .edition import Edition, read_edition
from .errors import UserError
from .evidence import Evidence, check_answers, gather
from .execute import MARK
from .foresee import STUDENT, answer_files
from .glyphs import BUNDLED_FONTS, glyph_macros
from .notebook import lacks_data, read_notebook, write_atomically
from .preflight import check, page_map
from .references import read_works, reference_list
from .render import highlight_macros, lock
from .text import claimed, escape, prose, sentence


def typeset(
    source: Path, work: Path, target: Path, *, student: dict[str, str], profile: str, limit: float
) -> list[str]:
    """Set the edition ``source`` in the folder ``work`` and publish it as ``target``.

    ``work`` holds ``executed/`` and ``notebooks/`` (the rendered bodies); ``limit`` is the
    largest PDF to accept, in MB. Beside ``target`` goes ``<name>.pages.json``. Returns the
    preflight's warnings. Raises UserError for whatever keeps the document from being right.
    """
    edition = read_edition(source)
    with lock(work / "notebooks"):
        _forget_removed(source.parent.parent / "notebooks", work, edition)
        executed = executed_notebooks(work, edition)
        _check_profiles(executed, profile)
        evidence = gather(executed)
        answers = answer_files(source, edition)
        absent = [name for name in edition.notebooks if name not in {p.stem for p in executed}]
        check_answers(answers, evidence, absent)
        _lay_out(source, work, answers)
        macros = _settings(student, profile, evidence, executed)
        macros += reference_list(read_works(source.with_name("references.toml")), answers, executed)
        texts = {str(p): p.read_text(encoding="utf-8") for p in [source, *answers]}
        bodies = [work / "notebooks" / f"{path.stem}.tex" for path in executed]
        texts |= {f"notebooks/{p.stem}.ipynb": p.read_text(encoding="utf-8") for p in bodies}
        texts = {STUDENT: " ".join(student.values())} | texts
        texts["a claim's evidence or a value"] = macros
        write_atomically(work / f"{edition.name}.settings.tex", glyph_macros(texts) + "\n" + macros)
        run_latex(work, edition.name, _epoch(executed))
        checked = check(work, edition, executed, limit)
        findings = [finding for found in checked.values() for finding in found]
        errors = [finding.text for finding in findings if finding.fatal]
        if errors:
            raise UserError("\n".join(["the PDF did not pass the preflight:", *errors]))
        _publish(work, target, edition)
        return [finding.text for finding in findings]


def executed_notebooks(work: Path, edition: Edition) -> list[Path]:
    """The edition's notebooks that were executed and rendered in ``work``, in order."""
    return [
        work / "executed" / f"{name}.ipynb"
        for name in edition.notebooks
        if (work / "executed" / f"{name}.ipynb").exists()
        and (work / "notebooks" / f"{name}.tex").exists()
    ]


def _forget_removed(notebooks: Path, work: Path, edition: Edition) -> None:
    """Remove the bodies of notebooks that are not there any more: TeX would read them."""
    for name in edition.notebooks:
        if not (notebooks / f"{name}.ipynb").exists():
            (work / "notebooks" / f"{name}.tex").unlink(missing_ok=True)


def _check_profiles(executed: list[Path], profile: str) -> None:
    """Raises UserError for a notebook of another profile: a document never mixes them."""
    for path in executed:
        ran = read_notebook(path).metadata.get(MARK, {}).get("profile", profile)
        if ran != profile:
            raise UserError(f"{path} is of profile {ran}, not {profile}: execute it again")


def _lay_out(source: Path, work: Path, answers: list[Path]) -> None:
    """Everything TeX may read, in one folder, so that it needs to look nowhere else."""
    for folder, files in (("answers", answers), ("fonts", BUNDLED_FONTS)):
        (work / folder).mkdir(parents=True, exist_ok=True)
        for path in files:
            shutil.copyfile(path, work / folder / path.name)
    for path in (source, source.with_name("homework.cls")):
        shutil.copyfile(path, work / path.name)
    write_atomically(work / "highlight.tex", highlight_macros())


def _settings(
    student: dict[str, str], profile: str, evidence: Evidence, executed: list[Path]
) -> str:
    """What the press knows, as macros of the class."""
    lacking = [path.stem for path in executed if lacks_data(read_notebook(path))]
    lines = [
        rf"\student{{{prose(student['name'])}}}",
        rf"\netid{{{prose(student['netid'])}}}",
        rf"\collaborators{{{prose(student['collaborators'])}}}",
        rf"\tools{{{prose(student['tools'])}}}",
        rf"\profile{{{profile}}}",
        rf"\standins{{{prose(', '.join(lacking))}}}",
    ]
    lines += [rf"\defvalue{{{name}}}{{{sentence(text)}}}" for name, text in evidence.values.items()]
    lines += [rf"\defclaim{{{name}}}" for name in evidence.claims]
    entries = []
    for path in executed:
        claims = [claim for claim in evidence.claims.values() if claim.notebook == path.stem]
        entries += [rf"\claimgroup{{{escape(path.stem)}}}"] if claims else []
        entries += [rf"\claimline{{{claim.name}}}{{{claimed(claim.evidence)}}}" for claim in claims]
    if entries:
        lines.append("\\claimsappendix{%\n" + "\n".join(entries) + "}")
    return "\n".join(lines) + "\n"


LATEX_SECONDS = 300  # of processor time that one pass of XeLaTeX may take


def run_latex(work: Path, name: str, epoch: int) -> None:
    """Set ``<name>.tex`` in ``work``: as many passes as it takes, no shell, no reading elsewhere.

    Raises UserError with all of TeX's errors, each with its notebook and cell. The limit of time
    is the system's, which holds even where nobody is left to watch.
    """
    if not shutil.which("latexmk") or not shutil.which("xelatex"):
        raise UserError("TeX is not installed: run `make tex`")
    settings = {
        "openin_any": "p",  # nothing outside this folder and TeX's own trees
        "openout_any": "p",
        "shell_escape": "f",
        "max_print_line": "10000",
        "SOURCE_DATE_EPOCH": str(epoch),
        "FORCE_SOURCE_DATE": "1",
        "TZ": "UTC",
        "LC_ALL": "C",
    }
    command = ["latexmk", "-norc", "-pdfxe", "-interaction=nonstopmode", "-quiet"]
    command += ["-latexoption=-no-shell-escape", "-latexoption=-file-line-error", f"{name}.tex"]
    limits = resource.getrlimit(resource.RLIMIT_CPU)
    seconds = min([LATEX_SECONDS, *(limit for limit in limits if limit > 0)])
    run = subprocess.run(
        command,
        cwd=work,
        env=os.environ | settings,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, limits[1])),
    )
    if run.returncode:
        for ending in ("aux", "map", "out"):  # read by the next run, and perhaps what stopped this
            (work / f"{name}.{ending}").unlink(missing_ok=True)
        log = work / f"{name}.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        detail = "\n".join(tex_errors(text, work)) or run.stderr.decode(errors="replace")[-400:]
        raise UserError(f"XeLaTeX stopped: {detail.strip()}\nThe whole log: {log}")


def tex_errors(log: str, work: Path) -> list[str]:
    """TeX's errors, each once: where, what, and the text there."""
    found = []
    lines = log.splitlines()
    for i, line in enumerate(lines):
        match = re.match(r"(?:! |\./)(?:([^\n:]+\.\w+):(\d+): )?(.*)", line)
        if match and (match[1] or line.startswith("!")) and "Emergency stop" not in line:
            near = next((text for text in lines[i + 1 : i + 12] if text.startswith("l.")), "")
            shown = f" ({near.strip()[:100]})" if near else ""
            place = _place(work / match[1], int(match[2])) if match[1] else ""
            found.append(f"{place}{match[3]}{shown}")
    return list(dict.fromkeys(found))[:20]


def _place(path: Path, number: int) -> str:
    """The notebook and the cell that line ``number`` of a body comes from; else file and line."""
    if path.parent.name == "notebooks" and path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()[:number]
        cells = re.findall(r"^\\nbcell\{(\d+)\}", "\n".join(lines), re.M)
        return f"notebooks/{path.stem}.ipynb: cell {cells[-1]}: " if cells else ""
    return f"{path.parent.name}/{path.name}:{number}: "


def _epoch(executed: list[Path]) -> int:
    """When the newest notebook ran, so that the same notebooks give the same bytes."""
    ends = [read_notebook(path).metadata.get("papermill", {}).get("end_time") for path in executed]
    times = [datetime.datetime.fromisoformat(end).timestamp() for end in ends if end]
    return int(max(times, default=315532800))


def _publish(work: Path, target: Path, edition: Edition) -> None:
    """Page map first, PDF last: who sees the PDF sees its page map, too."""
    pages = page_map(work, edition)
    write_atomically(target.with_suffix(".pages.json"), json.dumps(pages, indent=2) + "\n")
    write_atomically(target, (work / f"{edition.name}.pdf").read_bytes())
