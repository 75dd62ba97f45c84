"""Recorded runs, for the notebooks that show them beside a run of their own.

``homework sweep`` leaves a JSON file for each run in ``data/results/<notebook>``: parameters,
metrics, stamp, hardware, and a hash of every module it was made with.
"""

import json
from collections import Counter
from pathlib import Path

from .press.notebook import ROOT, digest
from .sweep.results import frame
from .sweep.store import load

__all__ = ["alike", "frame", "provenance", "recorded"]

RESULTS = ROOT / "data" / "results"


def recorded(notebook: str, *, profile: str = "full", folder: Path = RESULTS) -> list[dict]:
    """The recorded runs of ``notebook`` in a profile, oldest first; none is an empty list.

    Raises UserError naming a file that is not a record.
    """
    runs = [
        run
        for run in load(folder / notebook)
        if run["parameters"].get("profile", profile) == profile
    ]
    return sorted(runs, key=lambda run: run["finished"])


def alike(runs: list[dict], *varied: str) -> list[dict]:
    """The largest set of runs that differ in nothing but the parameters ``varied``.

    Of sets of equal size, the one that was begun first.
    """

    def rest(run: dict) -> str:
        kept = {name: v for name, v in run["parameters"].items() if name not in varied}
        return json.dumps(kept, sort_keys=True)

    if not runs:
        return []
    (common, _), *_ = Counter(map(rest, runs)).most_common(1)
    return [run for run in runs if rest(run) == common]


def provenance(runs: list[dict], *modules: str, root: Path = ROOT) -> str:
    """How recorded runs were made, and whether the code in ``modules`` is still the same.

    ``modules`` are paths such as ``"helpers/vit.py"``.
    """
    stamps = [run["stamp"] for run in runs]
    distinct = lambda values: ", ".join(dict.fromkeys(values))
    changed = [
        name
        for name in modules
        if any(run["identity"].get(name) != digest((root / name).read_bytes()) for run in runs)
    ]
    parts = [
        f"{len(runs)} run{'s' * (len(runs) > 1)} on {distinct(s['data'] for s in stamps)}",
        distinct(s["device"] for s in stamps),
        distinct(run["hardware"] for run in runs),
        "torch " + distinct(s["torch"] for s in stamps),
        f"{min(run['finished'] for run in runs)[:10]}",
        f"older code: {', '.join(changed)} changed since"
        if changed
        else f"{', '.join(modules)} unchanged since",
    ]
    return "; ".join(parts)
