"""An edition's LaTeX file is its manifest: questions, points and notebooks are read from it."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from .errors import UserError

KEYS = ("points", "notebook", "part", "asked")
# What Make reads, too, line by line: the beginning of a question, and its notebooks.
_BEGIN = re.compile(r"\\question(?:\[(?![^]]*(?:\s=|=\s))[^]\n]*\])?\s*\{")
_NOTEBOOKS = re.compile(r"[\w-]*|\{[\w ,-]*\}", re.A)


@dataclass(frozen=True)
class Question:
    """One ``\\question[points=…, notebook=…]{title}`` with the answers it inputs.

    Several notebooks stand in braces: ``notebook={vit_training, vit_sweep}``. ``part=a`` leaves
    out their cells that are tagged as other parts (``part-b``).
    """

    number: int
    title: str
    points: str = ""
    notebooks: tuple[str, ...] = ()
    part: str = ""
    asked: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edition:
    """The questions of one homework, in order."""

    name: str
    questions: list[Question] = field(default_factory=list)

    @property
    def notebooks(self) -> list[str]:
        """Names of the notebooks, each once, in the order of the questions."""
        return list(dict.fromkeys(name for q in self.questions for name in q.notebooks))

    @property
    def answers(self) -> list[str]:
        """Names of the answer files, each once."""
        return list(dict.fromkeys(name for q in self.questions for name in q.answers))


def read_edition(path: Path) -> Edition:
    """Read ``solutions_latex/<edition>.tex``.

    Raises UserError where the file is missing, has no question, or misspells a key.
    """
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.tex"))
        raise UserError(f"there is no edition {path.stem!r}; HW is one of {', '.join(known)}")
    source = without_comments(path.read_text(encoding="utf-8"))
    if re.search(r"\\question\b.*\\question\b", source):
        raise UserError(f"{path}: begin each \\question on a line of its own")
    questions = []
    starts = [match.start() for match in re.finditer(r"\\question\b", source)]
    for number, (start, end) in enumerate(pairwise([*starts, len(source)]), 1):
        questions.append(_question(number, source[start:end], path))
    if not questions:
        raise UserError(f"{path} has no \\question[points=…, notebook=…]{{title}}")
    return Edition(path.stem, questions)


def without_comments(source: str) -> str:
    """LaTeX ``source`` less its comments, line by line."""
    return re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", source)


def _question(number: int, source: str, path: Path) -> Question:
    match = re.match(r"\\question\s*(?:\[(.*?)\])?\s*(?=\{)", source, re.S)
    if match is None:
        raise UserError(f"{path}: question {number} needs a title in braces")
    title = _braced(source[match.end() :])
    if not _BEGIN.match(source):
        raise UserError(
            f"{path}: question {number}: write \\question[key=value, …] on one line, without a "
            "space before the [ or beside an ="
        )
    options = {}
    for item in _split(match[1] or ""):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in KEYS:
            raise UserError(
                f"{path}: question {number} has an unknown key {key!r} ({', '.join(KEYS)})"
            )
        if key == "notebook" and not _NOTEBOOKS.fullmatch(value):
            raise UserError(
                f"{path}: question {number}: {value!r} names no notebook (letters, digits, _ and -)"
            )
        options[key] = value.strip("{}")
    if not re.fullmatch(r"(?:[0-9]{1,4}(?:\.[0-9]{1,4})?)?", points := options.get("points", "")):
        raise UserError(f"{path}: question {number}: points={points} is not a number such as 2.5")
    notebooks = tuple(re.findall(r"[^\s,]+", options.pop("notebook", "")))
    answers = tuple(re.findall(r"\\answer\{([^{}]+)\}", source))
    return Question(number, title, notebooks=notebooks, answers=answers, **options)


def _braced(source: str) -> str:
    """What stands in the braces that ``source`` begins with."""
    depth = 0
    for i, character in enumerate(source):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return source[1:i]
    return source[1:]


def _split(options: str) -> list[str]:
    """``a=1, b={x, y}`` at the commas outside braces."""
    return [item for item in re.split(r",(?![^{]*\})", options) if item.strip()]
