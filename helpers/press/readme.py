"""The parts of README.md that follow from elsewhere: address, version, questions, notebooks.

They stand between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import re
import tomllib
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
