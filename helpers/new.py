"""``homework new``: the files that a new question or a new edition begins with."""

import re
from pathlib import Path

from .pdf.colab import prepare
from .pdf.edition import editions
from .pdf.errors import UserError
from .pdf.notebook import write_notebook

PARAMETERS = """\
profile = "quick"  # budget of this run [quick | full]
seed = 0  # seed of every random number [0..]
n = 3  # how many odd numbers [1..100] (full: 30)"""
STAMP = "stamp(profile=profile, seed=seed)"
WORK = "total = sum(range(1, 2 * n, 2))\nsquare = total == n**2"
CLAIM = """\
record("{topic}/total", total)
claim("{topic}/square", square, f"the first {{n}} odd numbers sum to {{total}}")"""
ANSWER = r"""\begin{result}
The first $n$ odd numbers sum to $n^2$. \verified{TOPIC/square}
\end{result}
In this run the sum is \val{TOPIC/total}.
"""
EDITION = r"""\documentclass{homework}
\edition{TITLE}
\begin{document}
\maketitle

QUESTION\end{document}
"""
QUESTION = r"""\question[points=1, notebook=NAME]{TITLE}
What is the sum of the first $n$ odd numbers?
\answer{NAME}
"""


def question(root: Path, name: str) -> list[Path]:
    """A notebook and an answer called ``name``, which run as they are.

    Raises UserError for a name that is taken, or is none that Python and LaTeX take.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"{name!r}: name it in a–z, 0–9 and _, such as odd_sums")
    paths = [root / "notebooks" / f"{name}.ipynb", root / f"solutions_latex/answers/{name}.tex"]
    _refuse_taken(paths)
    topic = name.replace("_", "-")
    write_notebook(_notebook(name, topic), paths[0])
    paths[1].parent.mkdir(parents=True, exist_ok=True)
    paths[1].write_text(ANSWER.replace("TOPIC", topic), encoding="utf-8")
    print(f"Put into an edition:\n\n{_filled(QUESTION, name)}")
    return paths


def edition(root: Path, name: str) -> list[Path]:
    """An edition that asks every question of the folder ``answers`` that no edition asks yet.

    Raises UserError for a name that is taken, or holds more than letters, digits, - and _.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(f"{name!r}: name it in letters, digits, - and _, such as 2026-hw1")
    latex = root / "solutions_latex"
    path = latex / f"{name}.tex"
    _refuse_taken([path])
    others = "".join((latex / f"{other}.tex").read_text() for other in editions(latex))
    answers = sorted(p.stem for p in (latex / "answers").glob("*.tex"))
    waiting = [answer for answer in answers if rf"\answer{{{answer}}}" not in others]
    questions = "\n".join(_filled(QUESTION, answer) for answer in waiting)
    for answer in waiting:
        if not (root / "notebooks" / f"{answer}.ipynb").exists():
            questions = questions.replace(f", notebook={answer}]", "]")
    text = EDITION.replace("TITLE", name).replace("QUESTION", f"{questions}\n" * bool(waiting))
    path.write_text(text, encoding="utf-8")
    return [path]


def _notebook(name: str, topic: str):
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell

    folded = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}, "cellView": "form"}
    cells = [
        new_markdown_cell(f"# {_title(name)}\n\nWhat is the sum of the first $n$ odd numbers?"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell("from helpers.report import claim, record, stamp", metadata=folded),
        new_code_cell(STAMP, metadata=folded),
        new_markdown_cell("## Adding them up"),
        new_code_cell(WORK),
        new_code_cell(CLAIM.format(topic=topic), metadata=folded),
        new_markdown_cell("**What it showed.** Odd numbers sum to squares."),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"{name[:40]}-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return prepare(notebook, name)


def _filled(text: str, name: str) -> str:
    return text.replace("NAME", name).replace("TITLE", _title(name))


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _refuse_taken(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise UserError(f"{path} is there already: choose another name")
