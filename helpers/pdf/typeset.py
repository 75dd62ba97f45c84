"""One edition to one PDF: values, claims and the student's details go in, latexmk sets it."""

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from .check import absent, check, edition_runs, page_map, place
from .edition import Edition, answer_files, file_name, read_edition, typed, without_comments
from .errors import UserError, did_you_mean
from .glyphs import BUNDLED_FONTS, glyph_macros
from .listing import highlight_macros
from .notebook import Run, lock, make_rule, read_text, write_atomically
from .text import escape, prose, sentence

TEX_SECONDS = 300  # of processor time for one pass: what takes longer will not end
ALONE = "with Q=… only that question's notebooks run: name another in checks=…"


def typeset(source: Path, work: Path, target: Path, *, student: dict[str, str],
            course: dict[str, str], profile: str, limit: float, question: int = 0,
            draft: bool = False) -> list[str]:  # fmt: skip
    """Set the edition ``source`` in the folder ``work`` and publish it as ``target``.

    ``work`` holds ``executed/`` and ``notebooks/`` (the rendered bodies); ``limit`` is the
    largest PDF to accept, in MB; ``question`` sets that one only. Beside ``target`` go its page
    map and, for Make, the files that TeX read. Returns warnings. Raises UserError for whatever
    keeps the document from being right.
    """
    edition = read_edition(source, question)
    answers = answer_files(source, edition)
    with lock(work / "notebooks"):
        runs = edition_runs(work, edition)
        hints = [*absent(work, edition, runs), ALONE if question else ""]
        check_answers([source, *answers], owners(runs), hints[0])
        paths = (work / "notebooks" / f"{file_name(name)}.tex" for name in edition.notebooks)
        bodies = [path for path in paths if path.exists()]
        macros = _settings(student | {"profile": profile}, runs, edition.notebooks)
        cited = citations([source, *answers, *bodies])
        works = sorted(source.parent.glob("*.bib")) if cited else []
        names = ",".join(path.stem for path in works)
        macros += rf"\works{{{names}}}" + "\n" if works else ""
        texts = typed(source, edition, student | course) | {"a claim's evidence or a value": macros}
        texts |= {f"notebooks/{path.stem}.ipynb": read_text(path) for path in bodies}
        texts |= {str(path): read_text(path) for path in works}
        glyphs = glyph_macros(texts, draft=draft)
        _lay_out(work, edition, course, f"{glyphs}\n{macros}")
        _foretell(work / f"{edition.name}.aux", cited, names)
        told = percent_signs([source, *answers])
        try:
            set_latex(source.parent, work, edition.name)
        except UserError as error:
            raise UserError("\n".join([*told, str(error)])) from None
        checked = check(work, edition, runs, limit, draft=draft)
        findings = [finding for found in checked.values() for finding in found]
        if errors := [finding.text for finding in findings if finding.fatal]:
            raise UserError("\n".join(["the PDF did not pass the preflight:", *errors]))
        _publish(source.parent, work, target, edition)
    notes = filter(Path.exists, (path.with_suffix(".warnings") for path in bodies))
    told += [line for path in notes for line in read_text(path).splitlines()]
    return [*filter(None, told), *(finding.text for finding in findings)]


def owners(runs: Sequence[Run]) -> dict[str, str]:
    """Of each value and claim the notebook that it comes from. Raises UserError where two do."""
    owner: dict[str, str] = {}
    for run in runs:
        for name in [*run.values, *run.claims]:
            if owner.setdefault(name, run.name) != run.name:
                raise UserError(f"{run.name} uses the name {name!r} that {owner[name]} uses, too")
    return owner


def check_answers(answers: list[Path], known: Iterable[str], otherwise: str = "") -> None:
    """Every value and claim that an answer names must come from a notebook of this build.

    Raises UserError with the file and line of the first that does not, and what helps: the
    nearest name, or ``otherwise``.
    """
    for path in answers:
        for number, line in enumerate(without_comments(read_text(path)).splitlines(), 1):
            for kind, names in re.findall(r"\\(val|verified)\{([^{}]*)\}", line):
                for name in map(str.strip, names.split(",")):
                    if name not in known:
                        verb = "records" if kind == "val" else "proves"
                        what = f"no notebook of this document {verb} {name!r}"
                        hint = did_you_mean(name, known, otherwise)
                        raise UserError(f"{path}:{number}: {what}; {hint}".rstrip("; "))


def percent_signs(answers: list[Path]) -> list[str]:
    """Lines that TeX reads only as far as ``50%``, where a percent sign was meant."""
    return [
        f"{path}:{number}: TeX skips what follows {match[1]}: a percent sign is \\%"
        for path in answers
        for number, line in enumerate(read_text(path).splitlines(), 1)
        if (match := re.search(r"^[^%]*\b(\d+ ?%) *\w", line))
    ]


def _settings(facts: dict[str, str], runs: Sequence[Run], notebooks: list[str]) -> str:
    """What the press knows, as macros of the class; one's own ``macros.tex`` comes last."""
    stand_ins = ", ".join(run.name for run in runs if run.on_stand_in)
    told = facts | {"standins": stand_ins}
    lines = [rf"\def\hw@{name}{{{prose(text)}}}" for name, text in told.items()]
    lines += [r"\hw@giventrue"] * any(text for name, text in facts.items() if name != "profile")
    lines += [rf"\@namedef{{hw@path@{file_name(n)}}}{{{escape(n)}}}" for n in notebooks]
    for run in runs:
        lines += [rf"\defvalue{{{name}}}{{{sentence(text)}}}" for name, text in run.values.items()]
        lines += [rf"\defclaim{{{name}}}" for name in run.claims]
    proved = [run for run in runs if run.claims]
    if proved:
        lines.append(r"\claimsappendix{%")
        for run in proved:
            lines.append(rf"\claimgroup{{{escape(run.name)}}}")
            lines += [rf"\claimline{{{name}}}" for name in run.claims]
        lines.append("}")
    return "\n".join([*lines, r"\InputIfFileExists{macros}{}{}"]) + "\n"


def citations(sources: list[Path]) -> list[str]:
    """What is cited, each key once, in order."""
    pattern = r"\\(?:nb|no)?cite[a-z]*\*?\s*(?:\[[^\]]*\]\s*)*\{([^{}]*)\}"
    names = (name for path in sources for name in re.findall(pattern, read_text(path)))
    return list(dict.fromkeys(key.strip() for name in names for key in name.split(",")))


def _lay_out(work: Path, edition: Edition, course: dict[str, str], settings: str) -> None:
    """What is written for TeX; the rest it finds in ``solutions_latex``."""
    facts = {"course": prose(course["course"]), "university": prose(course["university"]),
             "paper": f"{course['paper']}paper", "accent": course["accent"]}  # fmt: skip
    macros = "\n".join(rf"\def\hw{name}{{{text}}}" for name, text in facts.items())
    write_atomically(work / "hwcourse.tex", macros + "\n")
    write_atomically(work / "highlight.tex", highlight_macros())
    write_atomically(work / f"{edition.name}.settings.tex", settings)
    write_atomically(work / f"{edition.name}.tex", edition.latex)
    (work / "fonts").mkdir(exist_ok=True)
    for path in BUNDLED_FONTS:
        if not (work / "fonts" / path.name).exists():
            shutil.copyfile(path, work / "fonts" / path.name)


def _foretell(aux: Path, cited: list[str], works: str) -> None:
    """Tell BibTeX what the first pass will cite, which saves the last of three passes."""
    if works and not aux.exists():
        lines = [rf"\citation{{{key}}}" for key in cited]
        lines += [r"\bibstyle{plainnat}", rf"\bibdata{{{works}}}", ""]
        write_atomically(aux, "\n".join(lines))


def _publish(latex: Path, work: Path, target: Path, edition: Edition) -> None:
    """Page map first, PDF last: who sees the PDF sees its page map, too."""
    read = re.findall(r"^INPUT (.*)", read_text(work / f"{edition.name}.fls"), re.M)
    paths = {Path(os.path.normpath(work / name)) for name in read}
    own = {path for path in paths if path.is_relative_to(latex)} | set(latex.glob("*.bib"))
    write_atomically(target.with_suffix(".d"), make_rule(target, own))
    pages = page_map(work, edition)
    write_atomically(target.with_suffix(".pages.json"), json.dumps(pages, indent=2) + "\n")
    write_atomically(target, (work / f"{edition.name}.pdf").read_bytes())


# XeLaTeX: no shell, a time limit, errors named where they were written


def set_latex(latex: Path, work: Path, name: str) -> None:
    """Set ``<name>.tex`` in ``work``; formulas of notebooks that TeX can't read stand as written.

    Raises UserError with all of TeX's other errors, each where the user wrote it.
    """
    before: dict[Path, str] = {}
    for _ in range(5):  # of a hundred errors each
        try:
            return _latexmk(latex, work, name)
        except UserError as error:
            stopped, log = error, work / f"{name}.log"
        marked = _put_aside(read_text(log), work) if log.exists() else {}
        for path, text in marked.items():
            before.setdefault(path, read_text(path))
            write_atomically(path, text)
        if not marked:
            break
    for path, text in before.items():  # something else is wrong
        write_atomically(path, text)
    raise stopped


def _put_aside(log: str, work: Path) -> dict[Path, str]:
    """The LaTeX of notebooks in whose formulas TeX stopped, with a mark at these."""
    errors = r"^\./(notebooks/[^:\n]*\.tex):(\d+): (?:.*\n)*?l\.\d+ (?:\.\.\.)?(.*)"
    found: dict[Path, set] = {}
    for file, number, context in re.findall(errors, log, re.M):
        line = read_text(work / file).split("\n")[int(number) - 1]
        end = line.index(context) + len(context) if context in line else 0
        for match in list(re.finditer(r"\\nb(?:m|display)(?=\{)", line[:end]))[-1:]:
            found.setdefault(work / file, set()).add((int(number) - 1, *match.span()))
    marked = {}
    for path, formulas in found.items():
        lines = read_text(path).split("\n")
        for i, start, end in sorted(formulas, reverse=True):
            lines[i] = rf"{lines[i][:start]}\nbwritten{lines[i][end:]}"
        marked[path] = "\n".join(lines)
    return marked


def _latexmk(latex: Path, work: Path, name: str) -> None:
    """As many passes as it takes. Raises UserError with all of TeX's errors."""
    if not shutil.which("latexmk") or not shutil.which("xelatex"):
        raise UserError("TeX is not installed: run `make tex`")
    here = os.path.relpath(latex, work)  # short in the log, and no space in it
    settings = {
        "TEXINPUTS": f".:{here}:{here}/answers:{here}/figures:",
        "BIBINPUTS": f"{here}:",
        "openin_any": "p",  # by no path that leads out of these folders and TeX's own trees
        "openout_any": "p",
        "shell_escape": "f",
        "max_print_line": "10000",
        "LC_ALL": "C",
    }
    # -g: latexmk does not see that a file is there now which \IfFileExists did not find.
    command = ["latexmk", "-norc", "-g", "-pdfxe", "-interaction=nonstopmode", "-quiet"]
    command += ["-latexoption=-no-shell-escape", "-latexoption=-file-line-error"]
    limits = (TEX_SECONDS, TEX_SECONDS)  # the system ends it even when nobody else is left to
    log = work / f"{name}.log"
    for path in (log, work / f"{name}.blg"):  # what went wrong in an earlier run is past
        path.unlink(missing_ok=True)
    environment = os.environ | settings
    if (work / f"{name}.aux").exists() and not (work / f"{name}.bbl").exists():
        subprocess.run(["bibtex", name], cwd=work, env=environment, capture_output=True)
    run = subprocess.run(
        [*command, f"{name}.tex"],
        cwd=work,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, limits),
    )
    if run.returncode:
        for ending in ("aux", "map", "out", "bbl", "fdb_latexmk"):  # read by the next run, and
            (work / f"{name}.{ending}").unlink(missing_ok=True)  # perhaps the cause
        told = "".join(read_text(p) for p in (work / f"{name}.blg", log) if p.exists())
        detail = (
            "\n".join(tex_errors(told, work)) or run.stderr.decode(errors="replace")[-400:].strip()
        )
        raise UserError(f"XeLaTeX stopped: {detail}\nThe whole log: {log}")


def tex_errors(log: str, work: Path) -> list[str]:
    """TeX's errors, each once: the notebook's cell or the answer's line, what, the text there."""
    bibtex = re.findall(r"^(.*)---line (\d+) of file (?:.*/)?(.*)$", log, re.M)
    found = [f"solutions_latex/{file}:{number}: {what}" for what, number, file in bibtex]
    lines = log.splitlines()
    for i, line in enumerate(lines):
        match = re.match(r"(?:! |(\.[^\n:]*\.\w+):(\d+): )(.*)", line)
        if not match or "Emergency stop" in line:
            continue
        near = next((text for text in lines[i + 1 : i + 12] if text.startswith("l.")), "")
        text = near.partition(" ")[2].strip()[-60:]
        where = f"{place(match[1], int(match[2]), work)}: " if match[1] else ""
        missing = re.search(r"File [`'](?:([^']*)\.sty|[^']*)' not found", match[3])
        hint = " Put it into solutions_latex/figures/" if missing else ""
        if missing and missing[1]:
            hint = f" `tlmgr install {missing[1]}` brings it, or a texlive-… package of Debian's"
        found.append(f"{where}{match[3]}{f' ({text})' if text else ''}{hint}")
    return list(dict.fromkeys(found))[:20]
