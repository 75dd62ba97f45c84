"""Code and output in monospaced type, line by line: broken here, so that TeX never has to."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby

from pygments import lex
from pygments.lexer import Lexer
from pygments.lexers import PythonLexer, get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound

from .text import characters, plain

COLUMNS = {"nbcode": 98, "nbsource": 98, "nboutput": 109, "nberror": 109}  # that fit on the page
MAX_OUTPUT, MAX_LINES = 6000, 120  # characters and lines that one output may print on paper
_KEEP = 3  # lines at either end of a listing that no page break parts from the rest

_FACES = {  # that stay readable on paper and in gray: face, color
    Keyword: (r"\bfseries", "0057A0"),
    Operator.Word: (r"\bfseries", "0057A0"),
    Name.Decorator: ("", "0057A0"),
    Name.Function: (r"\bfseries", "000000"),
    Name.Class: (r"\bfseries", "000000"),
    Number: ("", "7A4A00"),
    String: ("", "00654B"),
    Comment: (r"\itshape", "666666"),
}
_MACROS = {kind: f"\\hw{chr(ord('A') + i)}" for i, kind in enumerate(_FACES)}


def highlight_macros() -> str:
    """The definitions that ``listing``'s output uses, one for each kind of token."""
    macros = (
        rf"\newcommand{_MACROS[kind]}[1]{{{{{face}\color[HTML]{{{color}}}#1}}}}"
        for kind, (face, color) in _FACES.items()
    )
    return "\n".join(macros) + "\n"


def listing(source: str, kind: str = "nbcode", language: str = "python") -> str:
    """``source`` highlighted, in the environment ``kind`` of the class."""
    source = plain(source.strip("\n")).expandtabs(4)
    tokens = [(_macro(token), text) for token, text in lex(source, _lexer(language))]
    return _environment(_lines(tokens)[: source.count("\n") + 1], kind)


def text_block(text: str, kind: str = "nboutput") -> str:
    """Plain output, cleaned of terminal codes and cut at two pages or so."""
    text = plain(text).strip("\n")
    if not text.strip():
        return ""
    shown = "\n".join(text.split("\n", MAX_LINES)[:MAX_LINES])[:MAX_OUTPUT]
    if left_out := len(text) - len(shown):
        text = f"{shown}\n[… {left_out:,} more characters are in the notebook]"
    return _environment(_lines([("", text.expandtabs(8))]), kind)


def inline_code(text: str) -> str:
    """Code within a sentence, which may be broken after a sign, and anywhere if it must be."""
    pieces = re.findall(r"[^\W_]{1,18}[^\w\s]?|\s+|.", plain(text))
    latex = r"\hwbr{}".join(characters(piece) for piece in pieces)
    return rf"\texttt{{{_with_blanks(latex)}}}"


def _lexer(language: str) -> Lexer:
    try:
        return PythonLexer() if "python" in language else get_lexer_by_name(language)
    except ClassNotFound:
        return get_lexer_by_name("text")


def _macro(kind: _TokenType) -> str:
    """The macro of the most special kind that this token is of; empty for plain text."""
    return next((_MACROS[part] for part in reversed(kind.split()) if part in _MACROS), "")


def _lines(tokens: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The lines of a text as pairs of a character's macro and the character."""
    lines: list[list[tuple[str, str]]] = [[]]
    for macro, text in tokens:
        for i, part in enumerate(text.split("\n")):
            if i:
                lines.append([])
            lines[-1].extend((macro, character) for character in part)
    return lines


def _environment(lines: list[list[tuple[str, str]]], kind: str) -> str:
    """Lines of characters, with their macros, as lines of the class.

    ``\\nbl`` may be followed by the end of a page, ``\\nbk`` may not; it is best at ``\\nbe``, an
    empty line; ``\\nbv`` is one more.
    """
    pieces = [piece for line in lines for piece in _broken(line, COLUMNS[kind])]
    found = [rf"\begin{{{kind}}}"]
    for i, (mark, piece) in enumerate(pieces, 1):
        content = mark + _escaped(piece)
        above = i if content else i - 1  # the page ends before an empty line
        keep = min(above, len(pieces) - i) < _KEEP and i < len(pieces)
        if content or keep:
            found.append(rf"\nb{'lk'[keep]}{{{content}}}")
        else:
            found.append(r"\nbv" if found[-1].startswith((r"\nbe", r"\nbv")) else r"\nbe")
    return "\n".join([*found, rf"\end{{{kind}}}"])


def _broken(line: list[tuple[str, str]], width: int) -> list[tuple[str, list[tuple[str, str]]]]:
    """The pieces of a line that fit into ``width`` columns; all but the first with a mark."""
    pieces, mark = [], ""
    while line:
        end = _fitting(line, width)
        if end < len(line):  # best after a blank or a comma, in the last third
            ends = [i + 1 for i in range(2 * end // 3, end) if line[i][1] in " ,;(/"]
            end = ends[-1] if ends else end
        pieces.append((mark, line[:end]))
        blank = end < len(line) and line[end][1] == " "
        mark, line, width = r"\nbmore ", line[end + blank :], width - 2 * (not mark)
    return pieces or [("", [])]


def _fitting(line: list[tuple[str, str]], width: int) -> int:
    """How many of the characters fit into ``width`` columns, at least one."""
    for i, (_, character) in enumerate(line):
        if not character.isascii():
            wide = unicodedata.east_asian_width(character) in "WF"
            width -= wide - (unicodedata.category(character) in ("Mn", "Cf"))
        width -= 1
        if width < 0:
            return max(i, 1)
    return len(line)


def _escaped(piece: list[tuple[str, str]]) -> str:
    parts = []
    for macro, group in groupby(piece, key=lambda pair: pair[0]):
        text = characters("".join(character for _, character in group))
        parts.append(f"{macro}{{{text}}}" if macro else text)
    return _with_blanks("".join(parts).rstrip())


def _with_blanks(latex: str) -> str:
    """LaTeX in which every blank is as wide as a letter, those that TeX would join as well."""
    return re.sub(r"^ | {2,}|(?<=\{) ", lambda blanks: r"\ " * len(blanks[0]), latex)
