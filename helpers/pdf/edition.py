"""An edition's LaTeX file is its manifest: questions, points and notebooks are read from it."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .errors import UserError
from .notebook import read_notebook, read_text
from .text import GROUP

KEYS = ("points", "notebook", "part", "as-is", "checks", "asked")
STUDENT_KEYS = ("name", "netid", "collaborators", "tools")
END = r"\end{document}"
COURSE = {  # what course.toml may say, and what stands where it says nothing
    "course": "ECE-GY 7123/9123 Deep Learning",
    "university": "New York University",
    "paper": "letter",
    "accent": "0072B2",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One ``\\question[points=…, notebook=…]{title}`` with the answers it inputs.

    Several notebooks stand in braces: ``notebook={vit_training, vit_sweep}``. ``part=a`` leaves
    out their cells that are tagged as other parts (``part-b``); ``as-is`` sets them with the
    outputs that they were saved with. Those of ``checks`` are run, and not printed.
    """

    number: int
    title: str
    points: str = ""
    notebooks: tuple[str, ...] = ()
    as_is: bool = False
    checks: tuple[str, ...] = ()
    asked: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edition:
    """The questions of one homework, in order, and its LaTeX, as TeX is to read it."""

    name: str
    questions: tuple[Question, ...]
    latex: str

    @property
    def notebooks(self) -> list[str]:
        """Names of the notebooks to print, each once, in the order of the questions."""
        return _once(name for q in self.questions for name in q.notebooks)

    @property
    def all_notebooks(self) -> list[str]:
        """Those, and the ones that only check."""
        return _once([*self.notebooks, *(name for q in self.questions for name in q.checks)])


def editions(folder: Path) -> list[str]:
    """Names of the documents in ``solutions_latex``: what is no document is input by one."""
    return sorted(
        path.stem
        for path in folder.glob("*.tex")
        if "\\documentclass" in without_comments(read_text(path))
    )


def read_edition(path: Path, question: int = 0) -> Edition:
    """Read ``solutions_latex/<edition>.tex``, or only one question of it.

    Raises UserError where the file is missing, has no such question, or misspells a key.
    """
    known = editions(path.parent)
    if path.stem not in known:
        raise UserError(f"there is no edition {path.stem!r}; HW is one of {', '.join(known)}")
    source, _, after = without_comments(path.read_text(encoding="utf-8")).partition(END)
    starts = [match.start() for match in re.finditer(r"\\question(?![a-zA-Z@])", source)]
    if not starts:
        raise UserError(f"{path} has no \\question[points=…, notebook=…]{{title}}")
    if not 0 <= question <= len(starts):
        raise UserError(f"{path} has questions 1 to {len(starts)}, and no question {question}")
    questions, latex = [], source[: starts[0]]
    for number, (start, stop) in enumerate(pairwise([*starts, len(source)]), 1):
        where = f"{path}:{source.count(chr(10), 0, start) + 1}: question {number}"
        found, body = _question(number, source[start:stop], where)
        if question in (0, number):
            questions.append(found)
            latex += (rf"\setcounter{{section}}{{{number - 1}}}" if question else "") + body
        else:
            latex += "\n" * body.count("\n")  # so that an error names the right line
    name = f"{path.stem}-q{question}" if question else path.stem
    edition, taken = Edition(name, tuple(questions), latex + END + after), {}
    for notebook in edition.all_notebooks:
        if (other := taken.setdefault(file_name(notebook), notebook)) != notebook:
            raise UserError(f"{path}: {other!r} and {notebook!r} are too alike: rename one")
    return edition


def without_comments(source: str) -> str:
    """LaTeX ``source`` less the words of its comments: lines and spaces stay as they are."""
    keep = r"(\\(?:url|path|href|nolinkurl)\{[^{}\n]*\}|\\verb\*?([^\w\s*]).*?\2)"
    return re.sub(rf"{keep}|(?<!\\)((?:\\\\)*)%.*", lambda m: m[1] or f"{m[3]}%", source)


def file_name(notebook: str) -> str:
    """A notebook's name in the build: Make and TeX take letters, digits, - and _ only."""
    return re.sub(r"[^\w-]", "-", notebook)


def answer_files(source: Path, edition: Edition) -> list[Path]:
    """The answers of an edition, in order. Raises UserError for one that is missing or empty."""
    names = _once(name for q in edition.questions for name in q.answers)
    answers = [source.parent / "answers" / f"{name}.tex" for name in names]
    for path in answers:
        if not path.is_file():
            raise UserError(f"{path} is missing: \\answer{{{path.stem}}} wants it")
        if not read_text(path).strip():
            raise UserError(f"{path} is empty: write a word, or take \\answer{{{path.stem}}} out")
    return answers


def read_student(path: Path, given: dict[str, str | None]) -> dict[str, str]:
    """The student's details: ``student.toml``, overridden by what was ``given``.

    Raises UserError for a file that is missing, is not TOML or has an unknown key.
    """
    if not path.exists():
        raise UserError(
            f"there is no {str(path)!r}, which says whose this is: STUDENT= does without"
        )
    content = _toml(path, STUDENT_KEYS)
    return {key: (given.get(key) or content.get(key, "")).strip() for key in STUDENT_KEYS}


def read_course(path: Path) -> dict[str, str]:
    """Course, university, paper and accent color: ``course.toml``. Raises UserError."""
    course = COURSE | (_toml(path, tuple(COURSE)) if path.exists() else {})
    course["accent"] = course["accent"].lstrip("#").upper()
    if not re.fullmatch("(?:letter|a4) [0-9A-F]{6}", "{paper} {accent}".format_map(course)):
        what = "paper is letter or a4, and accent six hexadecimal digits such as 0072B2"
        raise UserError(f"{path}: {what}")
    return course


def _toml(path: Path, keys: tuple[str, ...]) -> dict[str, str]:
    """The texts in a file of these keys. Raises UserError."""
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: {error}; write a line as name = "Ada Lovelace"') from None
    for key, value in content.items():
        if key not in keys:
            raise UserError(f"{path}: unknown key {key!r}; it has {', '.join(keys)}")
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            content[key] = value = ", ".join(value)
        if not isinstance(value, str):
            raise UserError(f'{path}: {key} must be text in quotes, such as "none"')
    return content


def _question(number: int, source: str, where: str) -> tuple[Question, str]:
    """One question, and its LaTeX with the options that the class knows."""
    match = re.match(rf"\\question\s*(?:\[(.*?)\])?\s*({GROUP})", source, re.S)
    if not match:
        raise UserError(f"{where} needs a title in braces, and a percent sign in it is \\%")
    given = dict.fromkeys(KEYS, "")
    for item in re.split(r",(?![^{]*\})", match[1] or ""):
        key, equals, value = (part.strip(" \t\n{}%") for part in item.partition("="))
        if key and key not in KEYS:
            known = f"({', '.join(KEYS)}); what holds a comma stands in braces: notebook={{a, b}}"
            raise UserError(f"{where} has an unknown key {key!r} {known}")
        value = value or ("" if equals else "yes")
        given[key] = ",".join(filter(None, [given.get(key), value]))
    if not re.fullmatch(r"\d*\.?\d*", given["points"]):
        raise UserError(f"{where}: points={given['points']} is not a number such as 2.5")
    notebooks, checks = (
        _once(name.strip().removesuffix(".ipynb") for name in given[key].split(",") if name.strip())
        for key in ("notebook", "checks")
    )
    question = Question(
        number=number,
        title=match[2][1:-1],
        points=given["points"],
        notebooks=tuple(notebooks),
        as_is=bool(given["as-is"]),
        checks=tuple(checks),
        asked=given["asked"],
        answers=tuple(re.findall(r"\\answer\{([^{}]+)\}", source)),
    )
    options = given | {"notebook": ",".join(map(file_name, notebooks)), "checks": "", "": ""}
    shown = ",".join(f"{key}={{{value}}}" for key, value in options.items() if value)
    lines = "%\n" * source.count("\n", 0, match.start(2))  # so that an error names the right line
    return question, rf"\question[{shown}]{lines}{source[match.start(2) :]}"


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def typed(source: Path, edition: Edition, cover: dict[str, str]) -> dict[str, str]:
    """All that people typed for a document, by where: fonts must have its characters."""
    texts = {"student.toml, course.toml, or NAME=…": " ".join(cover.values())}
    for path in [source, *answer_files(source, edition)]:
        texts[str(path)] = read_text(path)
    for name in edition.notebooks:
        path = source.parent.parent / "notebooks" / f"{name}.ipynb"
        if path.exists():
            texts[f"notebooks/{path.name}"] = "\n".join(c.source for c in read_notebook(path).cells)
    return texts
