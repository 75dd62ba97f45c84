"""`make pdf` against doing the same by hand: nbconvert for each notebook, then a merge.

Both start from nothing executed, with environment and TeX in place, and in folders of their own:
what was built here stays. By hand leaves the LaTeX answers, the contents and the page map out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
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
from .paired import seconds

CELLS = (25, 50, 100, 200, 400)


def by_hand(notebooks: list[Path], folder: Path) -> None:
    """What a student does: one PDF from each notebook, put together."""
    pandoc = Path(pypandoc.get_pandoc_path()).parent
    environment = os.environ | {"PATH": f"{pandoc}:{os.environ['PATH']}"}
    environment["HOMEWORK_PRESS"] = "1"  # figures as PDF: for SVG nbconvert needs Inkscape
    merged = PdfWriter()
    for notebook in notebooks:
        copy = folder / notebook.name  # without the badge, a picture that nbconvert can't set
        change_first_cell(notebook, copy, without_badge)
        command = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "pdf", copy]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        merged.append(copy.with_suffix(".pdf"))
    merged.write(folder / "merged.pdf")


def change_first_cell(notebook: Path, target: Path, change) -> None:
    """Write a notebook with another text in its first cell."""
    content = nbformat.read(notebook, as_version=4)
    content.cells[0].source = change(content.cells[0].source)
    nbformat.write(content, target)


def press(project: Path, hw: str) -> None:
    """The same notebooks, and the LaTeX answers besides."""
    shutil.rmtree(project / "build" / "quick", ignore_errors=True)
    make(project, "pdf", f"HW={hw}")


def make(project: Path, *arguments: str) -> None:
    """Run make in the copy of the project."""
    command = [os.environ.get("MAKE", "make"), *arguments]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def rendering(count: int) -> float:
    """Seconds to render a notebook of so many executed cells, a quarter of them prose."""
    cells = []
    for n in range(count):
        if n % 4 == 0:
            cells.append(new_markdown_cell(f"Now $n = {n}$, and *why* is said here."))
        else:
            outputs = [new_output("stream", text=f"{n} squared is {n * n}\n")]
            cells.append(new_code_cell(f"print({n}, 'squared is', {n}**2)", outputs=outputs))
            cells[-1].execution_count = n + 1
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "cells.ipynb"
        nbformat.write(new_notebook(cells=cells), executed)
        return seconds(render, executed, executed.with_suffix(".tex"))


def main(hw: str = "all", rounds: int = 1) -> None:
    """Seconds of both, of doing it again, and of doing it again after a change of prose."""
    names = read_edition(ROOT / "solutions_latex" / f"{hw}.tex").notebooks
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")  # environment and data linked, nothing built
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns("build", ".*", "cache"))
        for name in (".venv", "data/cache"):
            (project / name).symlink_to(ROOT / name)
        notebooks = [project / "notebooks" / f"{name}.ipynb" for name in names]
        make(project, "setup")
        contenders = {
            "make pdf": partial(seconds, press, project, hw),
            "nbconvert and a merge": partial(seconds, by_hand, notebooks, Path(folder)),
        }
        found = paired.in_turn(contenders, rounds)
        unchanged = seconds(make, project, "pdf", f"HW={hw}")
        change_first_cell(notebooks[0], notebooks[0], lambda source: f"{source} Changed.")
        prose = seconds(make, project, "pdf", f"HW={hw}")
    growth = "rendering: " + paired.grows("cells", CELLS, [rendering(count) for count in CELLS])
    what = f"{len(names)} notebooks to one PDF"
    rows = [paired.row(what, found, *found, unit="s", growth=growth)]
    paired.save("pdf", rows, seconds_again=unchanged, seconds_after_prose_changed=prose)
