"""XeLaTeX as the press runs it: no shell, a time limit, errors named where they were written."""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

from .check import place
from .errors import UserError
from .notebook import read_text, write_atomically

TEX_SECONDS = 300  # of processor time for one pass: what takes longer will not end


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
    run = subprocess.run(
        [*command, f"{name}.tex"],
        cwd=work,
        env=os.environ | settings,
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
            hint = f" `tlmgr install {missing[1]}` brings it"
            if shutil.which("apt-get"):  # where tlmgr does not serve
                hint = f" A texlive-… package has it: packages.debian.org finds {missing[1]}.sty"
        found.append(f"{where}{match[3]}{f' ({text})' if text else ''}{hint}")
    return list(dict.fromkeys(found))[:20]
