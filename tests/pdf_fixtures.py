"""Notebooks made on the spot, executed or not, for the tests of the press."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from helpers import mime
from helpers.pdf.notebook import write_notebook

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent  # the environment that runs the tests: .venv, or conda's


def like_a_clone(folder: Path, *links: str) -> None:
    """Fill ``folder`` so that make works there: our files and environment, ``links`` as links."""
    ready = BIN.parent / ".ready"
    if not ready.exists():
        pytest.skip("make would install an environment here: `make setup` has not made this one")
    for name in ("Makefile", "student.toml", "course.toml", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, ns=2 * (ready.stat().st_mtime_ns,))  # there is nothing to install
    for name in links:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(BIN.parent)


def claim(name="topic/claim", holds=True, evidence="checked"):
    content = {"name": name, "holds": holds, "evidence": evidence}
    return nbformat.v4.new_output("display_data", {mime.CLAIM: content, "text/plain": name})


def value(name="topic/value", text="1"):
    content = {"name": name, "value": 1, "text": text}
    return nbformat.v4.new_output("display_data", {mime.RECORD: content, "text/plain": name})


def stamp(**facts):
    facts = {"profile": "quick", "seed": 0, "data": "none", "stand_in": False} | facts
    return nbformat.v4.new_output("display_data", {mime.STAMP: facts, "text/plain": "stamp"})


def executed(*outputs, source="x = 1"):
    """A notebook with one executed cell that shows ``outputs``."""
    cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[cell])


def write(notebook, path: Path) -> Path:
    write_notebook(notebook, path)
    return path


def source_notebook(*cells: str, parameters='profile = "quick"  # [quick | full]\nn = 1  # [0..9]'):
    """A notebook to run: a title, the parameters cell, and code cells."""
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    body = [nbformat.v4.new_code_cell(cell) for cell in cells]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    title = nbformat.v4.new_markdown_cell("# Title")
    return nbformat.v4.new_notebook(cells=[title, first, *body], metadata=kernel)
