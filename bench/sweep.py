"""``homework sweep`` against a shell loop over papermill, on a notebook that imports torch.

Both run in a copy of the project, so that no record of theirs stays.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from helpers.pdf.notebook import ROOT

from . import paired

RUNS = 10
SIZES = (2, 4, 8, 16, 32)  # runs
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PARAMETERS = 'profile = "quick"  # budget [quick | full]\nn = 1  # a number [1..]'
CELLS = (
    "import torch\n\nfrom helpers.report import record",
    'record("trivial/square", n * n)',
)


def main(rounds: int = 1) -> None:
    """Runs per minute of both, and the seconds that it takes to find that 32 runs are done."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(ROOT / "helpers", project / "helpers")
        shutil.copy(ROOT / "requirements.lock", project)
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        cells += map(new_code_cell, CELLS)
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), project / "trivial.ipynb")
        ways = {"homework sweep": partial(_per_minute, _sweep, project),
                "papermill in a loop": partial(_per_minute, _loop, project)}  # fmt: skip
        found = paired.in_turn(ways, rounds)
        growth = paired.grows("runs", SIZES, [_afresh(_sweep, project, n) for n in SIZES])
        again = paired.seconds(_sweep, project, SIZES[-1])
    what = f"{RUNS} runs of a trivial notebook"
    rows = [paired.row(what, found, *ways, unit="runs/min", growth=growth)]
    paired.save("sweep", rows, seconds_to_find_all_done=again)


def _sweep(project: Path, runs: int) -> None:
    command = [sys.executable, "-m", "helpers.cli", "sweep", "trivial.ipynb", "--jobs", "2"]
    subprocess.run([*command, "-g", f"n=1:{runs}"], cwd=project, check=True, capture_output=True)


def _loop(project: Path, runs: int) -> None:
    for n in range(1, runs + 1):
        command = [sys.executable, "-m", "papermill", "trivial.ipynb", f"out-{n}.ipynb"]
        subprocess.run([*command, "-p", "n", str(n)], cwd=project, check=True, capture_output=True)


def _per_minute(way, project: Path) -> float:
    return 60 * RUNS / _afresh(way, project, RUNS)


def _afresh(way, project: Path, runs: int) -> float:
    """Wall-clock seconds of so many runs, none of which is done."""
    for name in ("data", "build"):
        shutil.rmtree(project / name, ignore_errors=True)
    return paired.seconds(way, project, runs)
