"""Side by side: contenders run in turn, so that what slows the machine slows them all.

Each benchmark gives rows, ours against another, and its module writes them with their
provenance to ``data/results/bench/<topic>.json``, from where the README has them.
"""

import datetime
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from helpers.counting import growth_exponent
from helpers.pdf.notebook import ROOT, write_atomically
from helpers.report import commit, versions
from helpers.sweep.runs import hardware

RECORDS = ROOT / "data" / "results" / "bench"
Rates = dict[str, list[float]]


def in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int) -> Rates:
    """What each contender measures, once in every round, by name."""
    found: Rates = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            found[name].append(measure())
            print(f"round {number}: {name}: {found[name][-1]:,.4g}", flush=True)
    return found


def row(
    what: str, found: Rates, ours: str, other: str, *, unit: str, goal: str, growth: str
) -> dict:
    """Ours against another: medians, and the ratio round by round as median and range.

    ``unit`` is of the values in ``found``; of seconds and such, the ratio is theirs over ours,
    so that more is always better. ``growth`` is how our cost grows, as ``grows`` says it.
    """
    rate = unit.endswith("/s") or unit.endswith("/min")
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
        "goal": goal,
    }


def grows(size: str, sizes: Sequence[float], seconds: Sequence[float]) -> str:
    """How seconds grow with a size: ``reviews^1.02``, fitted to all the sizes."""
    return f"{size}^{growth_exponent(sizes, seconds):.2f}"


def save(topic: str, rows: list[dict], **more: object) -> None:
    """Write a topic's rows, and what else was measured, with how they came about."""
    content = {
        "rows": rows,
        **more,
        "hardware": hardware(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(RECORDS / f"{topic}.json", text)
    print(table(rows))


def table(rows: Iterable[dict]) -> str:
    """Rows as Markdown, a line each; the rest stands in the records."""
    lines = ["| what | ours | against | theirs | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        several = row["least"] < row["most"]
        spread = f" ({row['least']:.3g}–{row['most']:.3g})" if several else ""
        ours, theirs = (f"{_figures(row[key])} {row['unit']}" for key in ("ours", "theirs"))
        cells = [row["what"], ours, row["against"], theirs, f"**{row['ratio']:.3g} ×**{spread}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(value: float) -> str:
    """Three figures, and all digits of larger numbers: 0.00734, 12.3, 1,235."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
