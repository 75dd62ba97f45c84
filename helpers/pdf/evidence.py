"""What the executed notebooks recorded and claimed, and what the answers rely on.

An output is data from a run: its names go into LaTeX, so they are checked here again.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .. import mime
from .edition import without_comments
from .errors import UserError
from .notebook import bundles, read_notebook

_NAME = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")  # as helpers.records makes them
_FIELDS = {  # of each kind of content, besides its name: what the press uses, and its type
    mime.RECORD: {"text": str},
    mime.CLAIM: {"holds": bool, "evidence": str},
}


@dataclass(frozen=True)
class Claim:
    """A statement that a notebook checked."""

    name: str
    holds: bool
    evidence: str
    notebook: str


@dataclass(frozen=True)
class Evidence:
    """All values (as they read in print) and all claims of a document, by name."""

    values: dict[str, str]
    claims: dict[str, Claim]


def gather(executed: list[Path]) -> Evidence:
    """Read the values and claims out of executed notebooks.

    Raises UserError for a claim that does not hold, and for a name used twice. The same value
    may be recorded again.
    """
    values: dict[str, str] = {}
    claims: dict[str, Claim] = {}
    owner: dict[str, str] = {}
    for path in executed:
        for data in bundles(read_notebook(path)):
            kind = next((kind for kind in _FIELDS if kind in data), None)
            if kind is None:
                continue
            content = checked(data, kind, path.stem)
            name = content["name"]
            if owner.setdefault(name, path.stem) != path.stem or (
                kind == mime.CLAIM and name in claims
            ):
                raise UserError(f"{path.stem} uses the name {name!r} that {owner[name]} uses, too")
            if kind == mime.RECORD:
                text = values.setdefault(name, content["text"])
                if text != content["text"]:
                    raise UserError(
                        f"{path.stem} records {name!r} as {text!r} and as {content['text']!r}"
                    )
            else:
                claims[name] = Claim(name, content["holds"], content["evidence"], path.stem)
    for claim in claims.values():
        if not claim.holds:
            raise UserError(
                f"the claim {claim.name!r} does not hold in this run: {claim.evidence}\n"
                f"See notebooks/{claim.notebook}.ipynb"
            )
    return Evidence(values, claims)


def checked(data: NotebookNode, kind: str, place: str) -> NotebookNode:
    """The record or claim in an output. Raises UserError if no helper of ours wrote it."""
    content = data[kind]
    good = isinstance(content, dict) and _NAME.fullmatch(str(content.get("name")))
    if not good or not all(isinstance(content.get(k), t) for k, t in _FIELDS[kind].items()):
        raise UserError(f"{place} shows a broken record or claim: write it with helpers.records")
    return content


def check_answers(answers: list[Path], evidence: Evidence, absent: Sequence[str] = ()) -> None:
    """Every value and claim that an answer names must come from a notebook of this build.

    ``absent`` are notebooks that the document names and lacks. Raises UserError with the file and
    line of the first that does not.
    """
    for path in answers:
        source = without_comments(path.read_text(encoding="utf-8"))
        for number, line in enumerate(source.splitlines(), 1):
            for kind, name in named(line):
                known = evidence.values if kind == "val" else evidence.claims
                if name not in known:
                    verb = "records" if kind == "val" else "proves"
                    raise UserError(
                        f"{path}:{number}: no notebook of this document {verb} {name!r}"
                        + _hint(name, known, absent)
                    )


def _hint(name: str, known: Iterable[str], absent: Sequence[str]) -> str:
    """What may be meant by a ``name`` that nothing stands for; empty if that can't be told."""
    if absent:
        return f"; is {absent[0]!r} the right name of a notebook?"
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def named(latex: str) -> list[tuple[str, str]]:
    """What a piece of LaTeX names: ``("verified", "rnn2d/parameters")`` and the like."""
    return [
        (kind, name.strip())
        for kind, names in re.findall(r"\\(val|verified)\{([^{}]*)\}", latex)
        for name in (names.split(",") if kind == "verified" else [names])
    ]
