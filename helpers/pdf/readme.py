"""The parts of README.md that follow from elsewhere: address, questions, editions and so on.

They stand between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import json
import re
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path

from .colab import badge
from .edition import read_edition
from .errors import UserError
from .notebook import ROOT

START = """\
```sh
git clone {address} homework && cd homework
make pdf     # build/all.pdf: every question once, executed and set
make test    # the tests
```"""
CITATION = """\
```bibtex
@software{{homework,
  author  = {{The authors of this repository}},
  title   = {{Deep-learning homework, solved and checked}},
  version = {{{version}}},
  url     = {{{address}}}
}}
```"""


def renewed(text: str, root: Path = ROOT) -> str:
    """README.md's ``text`` with its generated parts as they should be now.

    Raises UserError for a part that has lost its marks.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    words = {"address": project["urls"]["Repository"], "version": project["version"]}
    parts = {
        "start": START.format(**words),
        "questions": questions(root),
        "editions": editions(root),
        "bench": bench(root),
        "citation": CITATION.format(**words),
    }
    for name, content in parts.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.S)
        if not marked.search(text):
            raise UserError(f"README.md lacks <!-- {name} --> and <!-- /{name} -->")
        text = marked.sub(lambda match, content=content: match[1] + content + match[2], text)
    return text


def questions(root: Path = ROOT) -> str:
    """A row for each question of all.tex: where it was asked, notebook, answer, Colab badge."""
    rows = ["| question | asked in | notebook | answer | |", "|---|---|---|---|---|"]
    for question in read_edition(root / "solutions_latex" / "all.tex").questions:
        names = [n for n in question.notebooks if (root / "notebooks" / f"{n}.ipynb").exists()]
        links = [f"[`{name}`](notebooks/{name}.ipynb)" for name in names] or ["not finished"]
        files = [f"[LaTeX](solutions_latex/answers/{answer}.tex)" for answer in question.answers]
        files = files or ["in the notebook"]
        badges = " ".join(badge(name, root) for name in names)
        cells = [question.title, question.asked, ", ".join(links), ", ".join(files), badges]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def editions(root: Path = ROOT) -> str:
    """The names that HW can have: a file of ``solutions_latex`` each, ``all`` last."""
    names = {path.stem for path in (root / "solutions_latex").glob("*.tex")} - {"all"}
    line = f"Editions: {', '.join(f'`{name}`' for name in sorted(names))}, and `all`."
    return textwrap.fill(line, 100, break_on_hyphens=False, break_long_words=False)


def bench(root: Path = ROOT) -> str:
    """The recorded benchmarks, ``data/results/bench/*.json``: a table, and what they ran on."""
    files = sorted((root / "data" / "results" / "bench").glob("*.json"))
    topics = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    machines = {f"{topic['hardware']}, torch {topic['versions']['torch']}" for topic in topics}
    rows = bench_table(row for topic in topics for row in topic["rows"])
    return f"{rows}\n\nMeasured on: {'; '.join(sorted(machines))}."


def bench_table(rows: Iterable[dict]) -> str:
    """Rows as ``bench.paired.row`` makes them, as Markdown."""
    columns = ["what", "ours", "against", "theirs", "ratio", "our time grows as", "goal"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        several = row["least"] < row["most"]
        spread = f"{row['least']:.3g}–{row['most']:.3g}" if several else "one round"
        ratio = f"**{row['ratio']:.3g} ×** ({spread})"
        ours, theirs = (f"{_figures(row[key])} {row['unit']}" for key in ("ours", "theirs"))
        cells = [row["what"], ours, row["against"], theirs, ratio, row["growth"], row["goal"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(value: float) -> str:
    """Three figures, and all digits of larger numbers: 0.00734, 12.3, 1,235."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
