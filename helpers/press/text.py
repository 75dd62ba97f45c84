"""Text on its way into LaTeX: terminal codes removed, special characters escaped."""

import re

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
_PROSE = {character: _SPECIAL[character] for character in "\\{}$&#%_^~<>|`"} | {'"': "''"}


def plain(text: str) -> str:
    """What a terminal would finally show: colours gone, overwritten progress bars gone.

    A carriage return starts the line anew, so the last thing written there stands.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    lines = (_last_written(line) for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def _last_written(line: str) -> str:
    """A later, shorter text covers the beginning of an earlier, longer one."""
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :] if part.strip() else shown
    return shown.rstrip()


def escape(text: str) -> str:
    """``text`` set character by character, quotes straight: code, output, names of files."""
    return "".join(_SPECIAL.get(character, character) for character in plain(text))


def prose(text: str) -> str:
    """``text`` as prose: captions and what a student typed; apostrophes and dashes as usual."""
    text = re.sub(r'"([^"]*)"', "“\\1”", plain(text).replace("\n", " "))
    return "".join(_PROSE.get(character, character) for character in text)
