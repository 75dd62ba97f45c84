"""`make pdf` against doing the same by hand: nbconvert for each notebook, then a merge.

``python -m bench.press [--hw all] [--runs 3]`` runs the two in turn and prints seconds and
their ratio. Both start from nothing executed, with environment and TeX in place.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pypdf import PdfWriter

from helpers.press.edition import read_edition
from helpers.press.notebook import ROOT


def by_hand(notebooks: list[Path], folder: Path) -> None:
    """What a student does: one PDF from each notebook, put together."""
    for notebook in notebooks:
        command = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "pdf"]
        command += ["--output-dir", str(folder), str(notebook)]
        subprocess.run(command, check=True, capture_output=True)
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


def main() -> None:
    """Print one line per pair of runs, then the median ratio and its range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hw", default="all")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    names = read_edition(ROOT / "solutions_latex" / f"{options.hw}.tex").notebooks
    notebooks = [ROOT / "notebooks" / f"{name}.ipynb" for name in names]
    notebooks = [path for path in notebooks if path.exists()]
    ratios = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            theirs = seconds(by_hand, notebooks, Path(folder))
        ours = seconds(press, options.hw)
        ratios.append(ours / theirs)
        print(f"make pdf {ours:6.1f} s · by hand {theirs:6.1f} s · ratio {ratios[-1]:.2f}")
    again = seconds(subprocess.run, ["make", "pdf", f"HW={options.hw}"])
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{len(notebooks)} notebooks: median ratio {statistics.median(ratios):.2f} ({spread})")
    print(f"make pdf again, nothing changed: {again:.2f} s")


if __name__ == "__main__":
    main()
