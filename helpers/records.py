"""Numbers and claims that a notebook hands to the LaTeX answers.

A notebook calls ``record`` for a number that the prose quotes and ``claim`` for a
statement that the prose makes. Both store a custom MIME bundle in the cell's output, so
the executed notebook itself carries the evidence; the press reads it from there and
defines ``\\val{name}`` and ``\\verified{name}`` for LaTeX.
"""

import math
import os
import platform
import re
import subprocess
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path

from IPython.display import display

from . import mime

_NAME = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


def record(name: str, value: float | int | str, text: str | None = None) -> None:
    """Record a number for the answers: ``record("rnn2d/parameters", 2_304)``.

    ``text`` is how it reads in print; by default integers get thousands separators and
    other numbers four significant digits.

    Raises ValueError for a name that is not ``topic/slug`` or a value that is not finite.
    """
    _check_name(name)
    value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"record {name!r}: {value} is not a finite number")
    text = text if text is not None else format_value(value)
    _emit(mime.RECORD, {"name": name, "value": value, "text": text}, f"{name} = {text}")


def claim(name: str, holds: bool, evidence: str) -> None:
    """State whether a claim of the answers holds, and on what evidence.

    The press refuses to build a document in which a claim does not hold.
    """
    _check_name(name)
    if not evidence.strip():
        raise ValueError(f"claim {name!r}: say what was checked in `evidence`")
    holds = bool(holds)
    mark = "✓" if holds else "✗ DOES NOT HOLD"
    content = {"name": name, "holds": holds, "evidence": evidence}
    _emit(mime.CLAIM, content, f"{mark} {name}: {evidence}")


def stamp(*, profile: str, seed: int, data: str = "none", device: str = "cpu") -> None:
    """Show how this run was made, so that a quick number can't pass for a real one.

    ``data`` is the ``source`` of the data set that was loaded (see ``helpers.datasets``).
    """
    content = {"profile": profile, "seed": seed, "data": data, "device": device}
    content |= versions() | {"commit": commit()}
    line = " · ".join(f"{key} {value}" for key, value in content.items())
    _emit(mime.STAMP, content, line)


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the numerical libraries in use."""
    packages = {name: version(name) for name in ("numpy", "torch")}
    return {"python": platform.python_version()} | packages


def commit() -> str:
    """Short commit of the helpers' repository, ``+`` if it has changes, or ``unknown``.

    A repository that this project's folder merely lies in knows nothing of it.
    """
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    here = Path(__file__).resolve().parent
    limits = os.environ | {"GIT_CEILING_DIRECTORIES": str(here.parent.parent)}
    try:
        run = subprocess.run(
            command, cwd=here, env=limits, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def format_value(value: float | int | str | bool) -> str:
    """A number as it reads in print: ``12,345`` or ``0.1235``."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"


def _plain(value):
    """NumPy and torch scalars as plain Python numbers."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise ValueError(f"cannot record a {type(value).__name__}: give a number or a string")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not of the form topic/slug (a–z, 0–9, hyphens)")


def _emit(mime_type: str, content: dict, plain: str) -> None:
    display({mime_type: content, "text/plain": plain}, raw=True)
