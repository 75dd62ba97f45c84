"""What the executed notebooks recorded and claimed, and what the answers rely on."""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .. import mime
from .edition import without_comments
from .errors import UserError
from .notebook import read_notebook


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

    Raises UserError for a claim that does not hold, and for a name used twice.
    """
    values: dict[str, str] = {}
    claims: dict[str, Claim] = {}
    owner: dict[str, str] = {}
    for path in executed:
        for data in _bundles(read_notebook(path)):
            content = data.get(mime.RECORD) or data.get(mime.CLAIM)
            if content is None:
                continue
            name = content["name"]
            if owner.setdefault(name, path.stem) != path.stem or (
                mime.CLAIM in data and name in claims
            ):
                raise UserError(f"{path.stem} uses the name {name!r} that {owner[name]} uses, too")
            if mime.RECORD in data:
                values[name] = content["text"]
            else:
                claims[name] = Claim(name, content["holds"], content["evidence"], path.stem)
    for claim in claims.values():
        if not claim.holds:
            raise UserError(
                f"the claim {claim.name!r} does not hold in this run: {claim.evidence}\n"
                f"See notebooks/{claim.notebook}.ipynb"
            )
    return Evidence(values, claims)


def check_answers(answers: list[Path], evidence: Evidence) -> None:
    """Every value and claim that an answer names must come from a notebook of this build.

    Raises UserError with the file and line of the first that does not.
    """
    for path in answers:
        if not path.is_file():
            raise UserError(f"{path} is missing: \\answer{{{path.stem}}} wants it")
        source = without_comments(path.read_text(encoding="utf-8"))
        for number, line in enumerate(source.splitlines(), 1):
            for kind, name in re.findall(r"\\(val|verified)\{([^{}]*)\}", line):
                known = evidence.values if kind == "val" else evidence.claims
                if name not in known:
                    verb = "records" if kind == "val" else "proves"
                    raise UserError(
                        f"{path}:{number}: no notebook of this document {verb} {name!r}"
                    )


def _bundles(notebook: NotebookNode) -> list[NotebookNode]:
    return [
        output.data
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
