"""``python -m bench [topic …]``: measure these or all topics, renew README's table."""

import importlib
import json
import re
import sys

from helpers.pdf.notebook import ROOT

from .paired import RECORDS

TOPICS = ("rnn2d", "attention", "sweep", "vit", "sentiment", "pdf")


def recorded() -> str:
    """The table of all recorded benchmarks, each against its strongest rival, and the machine."""
    paths = [RECORDS / f"{topic}.json" for topic in TOPICS]
    topics = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    machines = {f"{topic['hardware']}, torch {topic['versions']['torch']}" for topic in topics}
    rows = [row for topic in topics for row in topic["rows"]]
    falling = sorted(rows, key=lambda row: -row["ratio"])
    strongest = dict.fromkeys(row["what"] for row in rows) | {row["what"]: row for row in falling}
    lines = ["| what | ours | against | theirs | ratio |", "|---|---|---|---|---|"]
    for what, row in strongest.items():
        several = row["least"] < row["most"]
        spread = f" ({row['least']:.3g}–{row['most']:.3g})" if several else ""
        ours, theirs = (f"{_figures(row[key])} {row['unit']}" for key in ("ours", "theirs"))
        cells = [what, ours, row["against"], theirs, f"**{row['ratio']:.3g} ×**{spread}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Measured on: {'; '.join(sorted(machines))}."])


def _figures(value: float) -> str:
    """Three figures, and all digits of larger numbers: 0.00734, 12.3, 1,235."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def in_readme(text: str, content: str) -> str:
    """README's text with the table between its marks."""
    marked = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.S)
    return marked.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


if __name__ == "__main__":
    wanted = sys.argv[1:] or TOPICS
    if unknown := set(wanted) - set(TOPICS):
        sys.exit(f"bench: there is no {unknown.pop()!r}; there are {', '.join(TOPICS)}")
    for name in wanted:
        importlib.import_module(f"bench.{name}").main()
    print(recorded())
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text(encoding="utf-8"), recorded()), encoding="utf-8")
