"""``make docs``: what the README shows to someone who runs nothing, made from a finished build."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..report import commit
from .check import edition_runs
from .edition import read_edition
from .errors import UserError
from .notebook import Run, write_atomically

LIMIT_MB = 5  # all files together: they are committed
DOTS = 110  # per inch


def publish(pdf: Path, work: Path, target: Path, profile: str) -> list[Path]:
    """Put the PDF, a page of it, the sweep's heat map and a note on their origin into ``target``.

    ``work`` is the folder that the PDF was set in. Nothing is written where something is
    missing, the files are too large, or the working tree, now or when a notebook ran, has
    changes that no commit holds. Raises UserError.
    """
    origin = commit()
    if not _is_commit(origin):
        raise UserError(f"commit your changes first: {target}/ says which commit it comes from")
    edition = read_edition(pdf.parent.parent / "solutions_latex" / f"{pdf.stem}.tex")
    runs = edition_runs(work, edition)
    pages = json.loads(pdf.with_suffix(".pages.json").read_text(encoding="utf-8"))
    note = (
        f"Made by `make docs` at commit {origin}, profile {profile}; the notebooks ran at "
        f"{', '.join(_commits(runs))}: `{pdf.name}`, its page of question 1, and the heat map of "
        "`vit_sweep`.\n"
    )
    content = {
        pdf.name: pdf.read_bytes(),
        "page.png": picture(pdf, pages["questions"][0]["first"]),
        "heat_map.png": _heat_map(runs),
        "README.md": note.encode(),
    }
    size = sum(map(len, content.values())) / 1e6
    if size > LIMIT_MB:
        raise UserError(f"{target}/ would hold {size:.1f} MB; the limit is {LIMIT_MB} MB")
    for name, data in content.items():
        write_atomically(target / name, data)
    return [target / name for name in content]


def _commits(runs: list[Run]) -> list[str]:
    """The commits that notebooks ran at, by their stamps. Raises UserError where one has none."""
    found = {str(run.stamp.get("commit")): run.name for run in runs if run.stamp}
    for ran, name in found.items():
        if not _is_commit(ran):
            raise UserError(
                f"{name} ran at commit {ran}, which nobody can look up: remove its executed file, "
                "and `make docs` again with all changes committed"
            )
    return sorted(found)


def _is_commit(name: str) -> bool:
    """Not ``unknown``, and without the + of changes that no commit holds."""
    return re.fullmatch("[0-9a-f]{4,64}", name) is not None


def picture(pdf: Path, page: int) -> bytes:
    """A page as a PNG. Raises UserError where poppler is missing or refuses the file."""
    if not shutil.which("pdftoppm"):
        raise UserError("pdftoppm is missing: `apt-get install poppler-utils` brings it")
    number = str(page)
    command = ["pdftoppm", "-png", "-r", str(DOTS), "-f", number, "-l", number, "-singlefile"]
    run = subprocess.run([*command, str(pdf)], capture_output=True)
    if run.returncode:
        raise UserError(f"pdftoppm refuses {pdf}: {run.stderr.decode().strip()}")
    return run.stdout


def _heat_map(runs: list[Run]) -> bytes:
    """The figure of ``vit_sweep`` whose caption says that it is a heat map, as a PNG."""
    sweep = next((run for run in runs if run.name == "vit_sweep"), None)
    for cell in sweep.notebook.cells if sweep else []:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get("application/pdf")
            if figure and "heat map" in output.metadata.get("caption", ""):
                with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
                    file.write(base64.b64decode(figure))
                    file.flush()
                    return picture(Path(file.name), 1)
    raise UserError("no figure of vit_sweep has a caption that says 'heat map'")
