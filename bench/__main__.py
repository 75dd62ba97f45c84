"""``python -m bench [topic …]``: measure topics (``all`` for all), renew README's table."""

import importlib
import json
import re
import sys
from pathlib import Path

from helpers.pdf.notebook import ROOT

from .paired import RECORDS, table

TOPICS = ("rnn2d", "attention", "sweep", "vit", "sentiment", "pdf")


def recorded(folder: Path = RECORDS) -> str:
    """The table of all recorded benchmarks, and what they ran on."""
    paths = [folder / f"{topic}.json" for topic in TOPICS]
    topics = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    machines = {f"{topic['hardware']}, torch {topic['versions']['torch']}" for topic in topics}
    rows = table(row for topic in topics for row in topic["rows"])
    return f"{rows}\n\nMeasured on: {'; '.join(sorted(machines))}."


def in_readme(text: str, content: str) -> str:
    """README's text with the table between its marks."""
    marked = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.S)
    return marked.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


if __name__ == "__main__":
    wanted = TOPICS if sys.argv[1:] == ["all"] else sys.argv[1:]
    if unknown := set(wanted) - set(TOPICS):
        sys.exit(f"bench: there is no {unknown.pop()!r}; there are {', '.join(TOPICS)}")
    for name in wanted:
        importlib.import_module(f"bench.{name}").main()
    print(recorded())
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text(encoding="utf-8"), recorded()), encoding="utf-8")
