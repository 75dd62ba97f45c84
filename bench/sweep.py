"""``homework sweep`` against a shell loop over papermill, on a notebook that imports torch.

Both run in a copy of the project, so that no record of theirs stays.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from helpers.pdf.notebook import ROOT

from . import paired

RUNS = 10
SIZES = (2, 4, 8, 16, 32)  # runs
CELLS = [
    'profile = "quick"  # budget [quick | full]\nn = 1  # a number [1..]',
    "import torch\n\nfrom helpers.report import record",
    'record("trivial/square", n * n)',
]


def main(rounds: int = 1) -> None:
    """Runs per minute of both, and the seconds that it takes to find that 32 runs are done."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(ROOT / "helpers", project / "helpers")
        shutil.copy(ROOT / "requirements.lock", project)
        notebook = project / "trivial.ipynb"
        kernel = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
        cells = [new_code_cell(source) for source in CELLS]
        cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(new_notebook(cells=cells, metadata=kernel), notebook)
        contenders = {
            "homework sweep": lambda: _per_minute(project, _sweep, fresh=True),
            "papermill in a loop": lambda: _per_minute(project, _loop, fresh=True),
        }
        found = paired.in_turn(contenders, rounds)
        curve = [60 * n / _per_minute(project, _sweep, fresh=True, runs=n) for n in SIZES]
        again = 60 * SIZES[-1] / _per_minute(project, _sweep, fresh=False, runs=SIZES[-1])
    grows = paired.grows("runs", SIZES, curve)
    rows = [paired.row(f"{RUNS} runs of a trivial notebook", found, *found,
                       unit="runs/min", growth=grows, goal="≥ 3 ×")]  # fmt: skip
    paired.save("sweep", rows, seconds_to_find_all_done=round(again, 2))


def _sweep(project: Path, runs: int) -> None:
    command = [sys.executable, "-m", "helpers.cli", "sweep", "trivial.ipynb", "--jobs", "2"]
    subprocess.run([*command, "-g", f"n=1:{runs}"], cwd=project, check=True, capture_output=True)


def _loop(project: Path, runs: int) -> None:
    for n in range(1, runs + 1):
        command = [sys.executable, "-m", "papermill", "trivial.ipynb", f"out-{n}.ipynb"]
        subprocess.run([*command, "-p", "n", str(n)], cwd=project, check=True, capture_output=True)


def _per_minute(project: Path, way, *, fresh: bool, runs: int = RUNS) -> float:
    if fresh:
        for name in ("data", "build"):
            shutil.rmtree(project / name, ignore_errors=True)
    started = time.perf_counter()
    way(project, runs)
    return 60 * runs / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
