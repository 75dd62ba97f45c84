"""Side by side: contenders run in turn, so that what slows the machine slows them all.

Each benchmark gives rows, ours against another, and its module writes them with their
provenance to ``data/results/bench/<topic>.json``, from where the README has them.
"""

import datetime
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from helpers.pdf.notebook import ROOT, write_atomically
from helpers.report import commit, versions
from helpers.sweep.runs import hardware

RECORDS = ROOT / "data" / "results" / "bench"


def in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each contender measures, once in every round, by name."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for name in [*contenders] * rounds:
        found[name].append(contenders[name]())
        print(f"{name}: {found[name][-1]:,.4g}", flush=True)
    return found


def row(
    what: str, found: Mapping[str, list[float]], ours: str, other: str, *, unit: str, growth: str
) -> dict:
    """Ours against another: medians, and the ratio round by round as median and range.

    ``unit`` is of the values in ``found``; of seconds and such, the ratio is theirs over ours,
    so that more is always better. ``growth`` is how our cost grows, as ``grows`` says it.
    """
    rate = unit.endswith(("/s", "/min"))
    pairs = zip(found[ours], found[other], strict=True)
    ratios = [a / b if rate else b / a for a, b in pairs]
    return {
        "what": what,
        "against": other,
        "ours": statistics.median(found[ours]),
        "theirs": statistics.median(found[other]),
        "unit": unit,
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "growth": growth,
    }


def grows(size: str, sizes: Sequence[float], seconds: Sequence[float]) -> str:
    """How seconds grow with a size: ``reviews^1.02``, a line fitted to the logarithms of all."""
    return f"{size}^{np.polyfit(np.log(sizes), np.log(seconds), 1)[0]:.2f}"


def seconds(call: Callable, *arguments) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def save(topic: str, rows: list[dict], **more: float) -> None:
    """Write a topic's rows, and what else was measured, with how they came about."""
    made = {"hardware": hardware(), "versions": versions(), "commit": commit()}
    content = {"rows": rows, **more, **made, "date": datetime.date.today().isoformat()}
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(RECORDS / f"{topic}.json", text)
