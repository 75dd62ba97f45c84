"""`make pdf` against doing the same by hand: nbconvert for each notebook, then a merge.

Both start from nothing executed, with environment and TeX in place. By hand leaves the LaTeX
answers, the contents and the page map out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nbformat
import pypandoc
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfWriter

from helpers.press.colab import without_badge
from helpers.press.edition import read_edition
from helpers.press.notebook import ROOT
from helpers.press.render import render

from . import paired

CELLS = (25, 50, 100, 200, 400)


def by_hand(notebooks: list[Path], folder: Path) -> None:
    """What a student does: one PDF from each notebook, put together."""
    pandoc = Path(pypandoc.get_pandoc_path()).parent
    environment = os.environ | {"PATH": f"{pandoc}:{os.environ['PATH']}"}
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


def press(hw: str) -> None:
    """The same notebooks, and the LaTeX answers besides."""
    shutil.rmtree(ROOT / "build" / "quick", ignore_errors=True)
    subprocess.run(["make", "pdf", f"HW={hw}"], cwd=ROOT, check=True, capture_output=True)


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
    notebooks = [ROOT / "notebooks" / f"{name}.ipynb" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "make pdf": lambda: seconds(press, hw),
            "nbconvert and a merge": lambda: seconds(by_hand, notebooks, Path(folder)),
        }
        found = paired.in_turn(contenders, rounds)
    again = ["make", "pdf", f"HW={hw}"]
    made = partial(subprocess.run, again, check=True)
    unchanged = seconds(made)
    with changed_prose(notebooks[0]):
        prose = seconds(made)
    made()
    growth = paired.grows("cells", CELLS, [rendering(count) for count in CELLS])
    what, goal = f"{len(names)} notebooks to one PDF", "≥ 2 ×; again ≤ 1 s; after prose ≤ 10 s"
    rows = [paired.row(what, found, *found, unit="s", growth=f"rendering: {growth}", goal=goal)]
    paired.save("press", rows, seconds_again=unchanged, seconds_after_prose_changed=prose)


@contextmanager
def changed_prose(notebook: Path):
    """A notebook with one more word in its first cell, put back afterwards."""
    before = notebook.read_text(encoding="utf-8")
    content = json.loads(before)
    content["cells"][0]["source"].append(" Changed.")
    try:
        notebook.write_text(json.dumps(content), encoding="utf-8")
        yield
    finally:
        notebook.write_text(before, encoding="utf-8")


if __name__ == "__main__":
    main()
