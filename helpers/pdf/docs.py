"""``make docs``: what the README shows to someone who runs nothing, made from a finished build."""

import base64
import json
import subprocess
from pathlib import Path

from .check import edition_runs
from .edition import read_edition
from .errors import UserError
from .notebook import Run, commit, write_atomically

DOTS = 110  # per inch


def publish(pdf: Path, work: Path, target: Path, profile: str) -> list[Path]:
    """Put the PDF, a page of it, the sweep's heat map and a note on their origin into ``target``.

    ``work`` is the folder that the PDF was set in. Raises UserError where something is missing,
    or where now, or when a notebook ran, there were changes that no commit holds.
    """
    edition = read_edition(pdf.parent.parent / "solutions_latex" / f"{pdf.stem}.tex")
    runs = edition_runs(work, edition)
    ran = {run.name: str(run.stamp.get("commit")) for run in runs if run.stamp}
    origins = {"what is here": commit()} | ran
    for name, origin in origins.items():
        if not origin.isalnum() or origin == "unknown":  # 1234abc+ has changes
            raise UserError(
                f"{name} is of commit {origin}, which nobody can look up: commit all changes, "
                "remove the executed files that are older, and `make docs` again"
            )
    pages = json.loads(pdf.with_suffix(".pages.json").read_text(encoding="utf-8"))
    note = (
        f"Made by `make docs` at commit {origins['what is here']}, profile {profile}; notebooks "
        f"ran at {', '.join(sorted(set(ran.values())))}: `{pdf.name}`, its page of question 1, and "
        "the heat map of `vit_sweep`.\n"
    )
    content = {
        pdf.name: pdf.read_bytes(),
        "page.png": picture(pdf.read_bytes(), pages["questions"][0]["first"]),
        "heat_map.png": _heat_map(runs),
        "README.md": note.encode(),
    }
    for name, data in content.items():
        write_atomically(target / name, data)
    return [target / name for name in content]


def picture(pdf: bytes, page: int) -> bytes:
    """A page as a PNG, by poppler."""
    command = ["pdftoppm", "-png", "-r", str(DOTS), "-f", str(page), "-singlefile", "-"]
    return subprocess.run(command, input=pdf, capture_output=True, check=True).stdout


def _heat_map(runs: list[Run]) -> bytes:
    """The figure of ``vit_sweep`` whose caption says that it is a heat map, as a PNG."""
    for cell in (cell for run in runs if run.name == "vit_sweep" for cell in run.notebook.cells):
        for output in cell.get("outputs", []):
            if "heat map" in output.get("metadata", {}).get("caption", ""):
                return picture(base64.b64decode(output.data["application/pdf"]), 1)
    raise UserError("no figure of vit_sweep has a caption that says 'heat map'")
