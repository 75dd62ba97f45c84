"""`make pdf` against doing the same by hand: nbconvert for each notebook, then a merge.

Both start from nothing executed, with environment and TeX in place, and in folders of their own:
what was built here stays. By hand leaves the LaTeX answers, the contents and the page map out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pypandoc
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfWriter

from helpers.pdf.colab import without_badge
from helpers.pdf.edition import read_edition
from helpers.pdf.notebook import ROOT
from helpers.pdf.render import render

from . import paired

CELLS = (25, 50, 100, 200, 400)


def by_hand(notebooks: list[Path], folder: Path) -> None:
    """What a student does: one PDF from each notebook, put together."""
    pandoc = Path(pypandoc.get_pandoc_path()).parent
    environment = os.environ | {"PATH": f"{pandoc}:{os.environ['PATH']}"}
    environment["HOMEWORK_PRESS"] = "1"  # figures as PDF: for SVG nbconvert needs Inkscape
    for notebook in notebooks:
        copy = folder / notebook.name  # without the badge, a picture that nbconvert can't set
        content = nbformat.read(notebook, as_version=4)
        content.cells[0].source = without_badge(content.cells[0].source)
        nbformat.write(content, copy)
        command = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "pdf"]
        command += ["--output-dir", str(folder), str(copy)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    merged = PdfWriter()
    for notebook in notebooks:
        merged.append(folder / f"{notebook.stem}.pdf")
    merged.write(folder / "merged.pdf")


def press(project: Path, hw: str) -> None:
    """The same notebooks, and the LaTeX answers besides."""
    shutil.rmtree(project / "build" / "quick", ignore_errors=True)
    make(project, "pdf", f"HW={hw}")


def make(project: Path, *arguments: str) -> None:
    """Run make in the copy of the project, with the data sets that are at hand here."""
    command = [os.environ.get("MAKE", "make"), *arguments]
    data = ROOT / Path(os.environ.get("DATA_DIR") or "data/cache").expanduser()
    environment = os.environ | {"DATA_DIR": str(data)}
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what a build reads; the helpers, the records and the environment are links."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("notebooks", "solutions_latex"):
            shutil.copytree(ROOT / name, project / name)
        for name in (
            "Makefile",
            "student.toml",
            "course.toml",
            "requirements.lock",
            "pyproject.toml",
        ):
            shutil.copy2(ROOT / name, project)  # with its date: the environment is as new as here
        for name in ("helpers", "data", ".venv"):
            if (ROOT / name).exists():  # no .venv beside conda's
                (project / name).symlink_to(ROOT / name)
        yield project


def seconds(call, *arguments) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def rendering(count: int) -> float:
    """Seconds to render a notebook of so many executed cells, a quarter of them prose."""
    cells = []
    for n in range(count):
        stream = new_output("stream", text=f"{n} squared is {n * n}\n")
        cells.append(new_code_cell(f"print({n}, 'squared is', {n}**2)", outputs=[stream]))
        cells[-1].execution_count = n + 1
        if n % 4 == 0:
            cells[-1] = new_markdown_cell(f"Now $n = {n}$, and *why* is said here.")
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "cells.ipynb"
        nbformat.write(new_notebook(cells=cells), executed)
        return seconds(render, executed, Path(folder) / "cells.tex")


def main(hw: str = "all", rounds: int = 1) -> None:
    """Seconds of both, of doing it again, and of doing it again after a change of prose."""
    names = read_edition(ROOT / "solutions_latex" / f"{hw}.tex").notebooks
    with copied() as project, tempfile.TemporaryDirectory() as folder:
        notebooks = [project / "notebooks" / f"{name}.ipynb" for name in names]
        make(project, "setup")
        contenders = {
            "make pdf": lambda: seconds(press, project, hw),
            "nbconvert and a merge": lambda: seconds(by_hand, notebooks, Path(folder)),
        }
        found = paired.in_turn(contenders, rounds)
        unchanged = seconds(make, project, "pdf", f"HW={hw}")
        change_prose(notebooks[0])
        prose = seconds(make, project, "pdf", f"HW={hw}")
    growth = paired.grows("cells", CELLS, [rendering(count) for count in CELLS])
    what, goal = f"{len(names)} notebooks to one PDF", "≥ 2 ×; again ≤ 1 s; after prose ≤ 10 s"
    rows = [paired.row(what, found, *found, unit="s", growth=f"rendering: {growth}", goal=goal)]
    paired.save("pdf", rows, seconds_again=unchanged, seconds_after_prose_changed=prose)


def change_prose(notebook: Path) -> None:
    """Give a notebook one more word in its first cell."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["cells"][0]["source"].append(" Changed.")
    notebook.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
