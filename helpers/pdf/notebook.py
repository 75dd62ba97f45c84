"""Notebooks as files and as runs: reading any of them."""

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock
from nbformat import NotebookNode
from nbformat.v4.rwbase import rejoin_lines

from .. import mime
from .errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "data/results"  # where recorded runs lie, below the project's folder
MARK = "homework"  # the key of our metadata in an executed notebook

# What a cell and an output have, and what stands where it is missing.
_TEXT = {"id": None, "metadata": {}, "source": ""}
_CODE = _TEXT | {"outputs": [], "execution_count": None}
_CELLS = {"code": _CODE, "markdown": _TEXT, "raw": _TEXT}
_OUTPUTS = {
    "stream": {"name": "stdout", "text": ""},
    "display_data": {"data": {}, "metadata": {}},
    "execute_result": {"data": {}, "metadata": {}, "execution_count": None},
    "error": {"ename": "", "evalue": "", "traceback": []},
}


# Reading and writing


def read_notebook(path: Path) -> NotebookNode:
    """The notebook at ``path`` in nbformat 4.5, of whatever format, language and tidiness it is.

    Raises UserError where there is no file, no JSON, or no notebook in it.
    """
    try:
        content = nbformat.from_dict(json.loads(path.read_text(encoding="utf-8-sig")))
        if content.nbformat < 4:
            content = nbformat.convert(nbformat.reader.reads(json.dumps(content)), 4)
        rejoin_lines(content)
        cells = [_cell(cell) for cell in content.cells]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such notebook") from None
    except Exception as error:  # not UTF-8, not JSON, absurdly nested, or whatever it raises
        raise UserError(f"{path} is not a notebook: {type(error).__name__} {error}") from None
    _give_ids(cells)
    metadata = content.get("metadata") or {}
    if kernel := metadata.get("kernelspec"):
        metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"} | kernel
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    )


def _cell(cell: dict) -> dict:
    """A cell with all that belongs to its kind and nothing else; what is no kind is raw text."""
    kind = cell["cell_type"] if cell["cell_type"] in _CELLS else "raw"
    found = {"cell_type": kind} | _only(cell, _CELLS[kind])
    if kind != "code" and cell.get("attachments"):
        found["attachments"] = cell["attachments"]
    if kind == "code":
        found["outputs"] = [_output(output) for output in found["outputs"]]
    return found


def _output(output: dict) -> dict:
    kind = output["output_type"]
    if kind not in _OUTPUTS:
        unknown = f"[an output of the unknown type {kind!r}]\n"
        return {"output_type": "stream", "name": "stderr", "text": unknown}
    return {"output_type": kind} | _only(output, _OUTPUTS[kind])


def _only(given: dict, defaults: dict) -> dict:
    """The fields that ``defaults`` names; a missing one as it stands there."""
    found = {name: value for name, value in given.items() if name in defaults and value is not None}
    return copy.deepcopy(defaults) | found


def _give_ids(cells: list[dict]) -> None:
    """Tell cells apart that were copied with their id, or have none, as Colab writes them."""
    seen: set[str] = set()
    for i, cell in enumerate(cells):
        name = cell["id"] if re.fullmatch(r"[\w-]{1,64}", str(cell["id"]), re.A) else f"cell-{i}"
        cell["id"] = f"copy-{i}" if cell["id"] is None or name in seen else name
        seen.add(cell["id"])


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write ``notebook`` to ``path`` whole or not at all; a file as it was keeps its date."""
    text = notebook_text(notebook)
    if not path.exists() or read_text(path) != text:
        write_atomically(path, text)


def notebook_text(notebook: NotebookNode) -> str:
    """The content of the notebook's file."""
    return nbformat.writes(notebook) + "\n"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, even if we are killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def lock(bodies: Path) -> FileLock:
    """Held while somebody writes LaTeX and pictures into the folder, or TeX reads them there."""
    return FileLock(bodies / ".lock")


def for_make(path: Path) -> str:
    """A path as Make reads it, from the project's folder where it lies there."""
    text = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    text = re.sub(r"([# :])", r"\\\1", text).replace("$", "$$")
    return text.replace("=", "$(EQUALS)")  # or Make would read an assignment


def make_rule(target: Path, read: Iterable[Path]) -> str:
    """What Make has to know: ``target`` depends on what was read, also on what is gone now."""
    names = [for_make(path) for path in sorted(read)]
    return "\n".join([f"{for_make(target)}: {' '.join(names)}", *(f"{n}:" for n in names), ""])


def read_text(path: Path) -> str:
    """A file of text, whatever bytes are in it."""
    return path.read_text(encoding="utf-8", errors="replace")


# Cells


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The notebook's own code cells, without the one that is injected and Colab's."""
    foreign = {"injected-parameters", "colab"}
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [cell for cell in cells if not foreign & set(tags(cell))]


def is_colab(cell: NotebookNode) -> bool:
    """Whether this is the cell that fetches the helpers in Colab, and elsewhere does nothing."""
    return "colab" in tags(cell)


def tags(cell: NotebookNode) -> list[str]:
    """A cell's tags."""
    return cell.metadata.get("tags", [])


def bundles(executed: NotebookNode) -> list[NotebookNode]:
    """The data of all outputs, by kind, in order."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    return [output.data for output in outputs if "data" in output]


def records(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """The recorded runs that a notebook shows: ``runs("vit_training")``."""
    code = "\n".join(cell.source for cell in code_cells(notebook))
    names = re.findall(r"\bruns\(\s*[\"']([^\"'/]+)[\"']", code)
    return sorted({path for name in names for path in (root / RESULTS / name).glob("*.json")})


# Runs


@dataclass(frozen=True)
class Run:
    """An executed notebook, read once: what the rest of the press asks of it."""

    name: str
    notebook: NotebookNode
    values: dict[str, str]  # as they read in print
    claims: dict[str, dict]  # as notebooks file them: name, holds, evidence
    stamp: dict[str, Any]

    @property
    def on_stand_in(self) -> bool:
        """Whether it computed on data that stand in for those its text is about."""
        return bool(self.stamp.get("stand_in"))


def read_run(path: Path) -> Run:
    """The executed notebook at ``path`` as a run. Raises UserError."""
    return as_run(read_notebook(path), path.stem)


def as_run(notebook: NotebookNode, name: str) -> Run:
    """An executed notebook as a run.

    Raises UserError for a name that stands for two values or two claims.
    """
    values: dict[str, str] = {}
    claims: dict[str, dict] = {}
    stamp: dict[str, Any] = {}
    for data in bundles(notebook):
        if isinstance(data.get(mime.STAMP), dict):
            stand_in = stamp.get("stand_in") or data[mime.STAMP].get("stand_in")
            stamp = data[mime.STAMP] | {"stand_in": bool(stand_in)}
        if mime.RECORD in data:
            content = data[mime.RECORD]
            key, text = content["name"], content["text"]
            if values.setdefault(key, text) != text:
                raise UserError(f"{name} records {key!r} as {values[key]!r} and as {text!r}")
        if mime.CLAIM in data:
            content = data[mime.CLAIM]
            if content["name"] in claims:
                raise UserError(f"{name} files the claim {content['name']!r} twice")
            claims[content["name"]] = content
    return Run(name, notebook, values, claims, stamp)


def commit() -> str:
    """Short commit of the helpers' repository, ``+`` if it has changes, or ``unknown``.

    A repository that this project's folder merely lies in knows nothing of it.
    """
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    limits = os.environ | {"GIT_CEILING_DIRECTORIES": str(ROOT.parent)}
    try:
        return subprocess.check_output(
            command, cwd=ROOT, env=limits, stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
