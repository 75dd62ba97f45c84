"""What can be told of a PDF before its notebooks run: whose it is, and what it lacks."""

import tomllib
from pathlib import Path

from .edition import Edition, read_edition
from .errors import UserError

STUDENT_KEYS = ("name", "netid", "collaborators", "tools")
STUDENT = "student.toml, or NAME=… on the command line"  # where details come from, in a message


def foresee(source: Path, student: dict[str, str]) -> None:
    """Look for what would keep an edition from being set, whatever its notebooks say.

    A build does so before it runs them. Raises UserError for an edition that can't be read, an
    answer that is missing, or a student's detail that no font can show.
    """
    answer_files(source, read_edition(source))
    details = " ".join(student.values())
    if not details.isascii():
        from .glyphs import glyph_macros  # slow, and needed for few names

        glyph_macros({STUDENT: details})


def answer_files(source: Path, edition: Edition) -> list[Path]:
    """The answers of an edition, in order. Raises UserError for the first that is missing."""
    answers = [source.parent / "answers" / f"{name}.tex" for name in edition.answers]
    for path in answers:
        if not path.is_file():
            raise UserError(f"{path} is missing: \\answer{{{path.stem}}} wants it")
    return answers


def read_student(path: Path, given: dict[str, str]) -> dict[str, str]:
    """The student's details: ``student.toml``, overridden by what was ``given``.

    Raises UserError for a file that is missing, is not TOML or has an unknown key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(
            f"there is no {str(path)!r}, which says whose this is: bring it back, or say STUDENT= "
            "to do without"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: {error}; write a line as name = "Ada Lovelace"') from None
    for key in content:
        if key not in STUDENT_KEYS:
            raise UserError(f"{path}: unknown key {key!r}; it has {', '.join(STUDENT_KEYS)}")
    student = {}
    for key in STUDENT_KEYS:
        value = given.get(key) or content.get(key, "")
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = ", ".join(value)
        if not isinstance(value, str):
            raise UserError(f'{path}: {key} must be text in quotes, such as "none"')
        student[key] = value.strip()
    return student
