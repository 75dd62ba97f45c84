"""Text on its way into LaTeX: terminal codes removed, special characters escaped."""

import re
from collections.abc import Callable
from decimal import Decimal

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
}
_PROSE = _SPECIAL | {'"': "''", "'": "'"}

GROUP = r"\{(?:\\[\s\S]|[^{}\\])*\}"
for _ in range(3):  # braces, four deep
    GROUP = rf"\{{(?:\\[\s\S]|[^{{}}\\]|{GROUP})*\}}"
# A run of Hebrew, Arabic and the like, with what stands between its words.
_LETTER = "[\u0590-\u08ff\ufb1d-\ufefc]"
RIGHT_TO_LEFT = re.compile(f"{_LETTER}(?:[^A-Za-z]*{_LETTER})?")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,3})(?!\w)")
_MINUS = re.compile(r"(?<![\w)\]}.+-])-(?=\d)")


def plain(text: str) -> str:
    """What a terminal would finally show: colors gone, overwritten progress bars gone.

    A carriage return starts the line anew, so the last thing written there stands.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    lines = (_last_written(line) for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def _last_written(line: str) -> str:
    """A later, shorter text covers the beginning of an earlier, longer one."""
    shown = ""
    for part in reversed(line.split("\r")):
        if part.strip():
            shown += part[len(shown) :]
    return shown.rstrip()


def escape(text: str) -> str:
    """``text`` set character by character, quotes straight: code, output, names of files."""
    return characters(plain(text))


def prose(text: str) -> str:
    """``text`` as prose: captions and what a student typed; apostrophes and dashes as usual."""
    return _prose(plain(text))


def sentence(text: str) -> str:
    """``text`` of a run as prose, in which numbers, and code in backticks, are set as such."""
    parts = re.split(r"`([^`]+)`", plain(text))
    return "".join(
        rf"\texttt{{{characters(part)}}}" if i % 2 else _with_numbers(part, _prose)
        for i, part in enumerate(parts)
    )


def claimed(evidence: str) -> str:
    """A claim's evidence as a ``sentence``, which begins with a capital unless a symbol does."""
    begins = re.match(r"(?:a|[a-z]{2,})(?=[ ,])", evidence)
    return sentence(evidence[0].upper() + evidence[1:] if begins else evidence)


def table_cell(text: str) -> str:
    r"""``text`` character by character, its numbers as numbers; no option of ``\\`` before it."""
    return re.sub(r"^[\[*]", r"{\g<0>}", _with_numbers(plain(text), characters))


def characters(text: str) -> str:
    """``text`` as ``escape`` sets it, where nothing is to be cleaned."""
    return _set(text, _SPECIAL)


def _prose(text: str) -> str:
    text = re.sub(r'"([^"]*)"', "“\\1”", text.replace("\n", " "))
    return _set(text, _PROSE)


def _set(text: str, special: dict[str, str]) -> str:
    """``text`` with its special characters, and with its runs from right to left, as LaTeX."""
    parts = re.split(f"({RIGHT_TO_LEFT.pattern})", text)
    latex = ["".join(special.get(c, c) for c in part) for part in parts]
    return "".join(rf"\nbrtl{{{part}}}" if i % 2 else part for i, part in enumerate(latex))


def _with_numbers(text: str, convert: Callable[[str], str]) -> str:
    """``text`` by ``convert``, but 6.9e-09 as 6.9 · 10⁻⁹, and a number's minus and % set well."""
    parts = _SCIENTIFIC.split(_MINUS.sub("−", text))  # text, mantissa, exponent, text, …
    found = [convert(parts[0])]
    for mantissa, exponent, rest in zip(*(parts[i::3] for i in (1, 2, 3)), strict=True):
        found += [_power_of_ten(mantissa, int(exponent)), convert(rest)]
    return re.sub(r"(?<=\d)[ \u00a0]?\\%", r"\\,\\%", "".join(found))  # 5 % and 5% alike


def _power_of_ten(mantissa: str, exponent: int) -> str:
    number = Decimal(mantissa)
    if not number:
        return "0"
    if -4 < exponent < 4:
        return f"{number.scaleb(exponent):f}"
    factor = "" if number == 1 else rf"{mantissa}\cdot"
    return rf"${factor}10^{{{exponent}}}$"
