"""Every character in a font that has it: the text font, the fallback, or one of the machine's.

XeTeX changes the font where runs of such characters begin and end, so that Arabic and Devanagari
are shaped as they should be.
"""

import os
import shutil
import subprocess
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont

from .errors import UserError

TEXT_FONT = "texgyrepagella-regular.otf"
MATH_FONT = "texgyrepagella-math.otf"
# Matplotlib ships the DejaVu fonts, so they are here on every machine, in one version.
FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
BUNDLED_FONTS = [
    FONT_FOLDER / f"DejaVuSans{m}{style}.ttf" for m in ("", "Mono") for style in _STYLES
]

_PACKAGES = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), "fonts-noto-cjk")
_SHAPED = "Arabic Hebrew Syriac Devanagari Bengali Gujarati Gurmukhi Tamil Telugu Kannada Malayalam"
_SHAPED += " Sinhala Thai Lao Khmer Myanmar Tibetan"
_JOINING, _UNSEEN = 4096, 9  # a class without effect on runs; the catcode of what is ignored


def glyph_macros(texts: dict[str, str]) -> str:
    """LaTeX that sets each character the text font lacks in a font that has it.

    ``texts`` maps where a text comes from to the text. Raises one UserError for all characters
    that no font on this machine has: their scripts, a place, and the packages that bring them;
    with DRAFT=1 in the environment these characters are left out.
    """
    text, math = coverage(find_tex_font(TEXT_FONT)), coverage(find_tex_font(MATH_FONT))
    mono, fallback = (coverage(FONT_FOLDER / f"DejaVuSans{m}.ttf") for m in ("Mono", ""))
    runs: dict[str, list[int]] = {}  # what begins a run in a font, and its characters
    missing: dict[str, str] = {}
    lines = []
    for character, place in sorted(_foreign(texts, text).items()):
        code = ord(character)
        if unicodedata.category(character) in ("Cf", "Mn", "Mc", "Me"):
            seen = code in fallback or _family(character)
            lines.append(rf'\XeTeXcharclass"{code:X}={_JOINING} ' if seen else _ignored(code))
        elif code in fallback and (shaped := _shaped(character)):
            runs.setdefault(rf"\hw@shaped{{{shaped}}}", []).append(code)
        elif code in fallback:
            kept = r"\ifhw@mono\else" if code in mono else ""  # the monospaced font has it, too
            runs.setdefault(kept + r"\fallbackfont" + r"\fi" * bool(kept), []).append(code)
        elif code in math:
            runs.setdefault(r"\hw@mathletters", []).append(code)
        elif family := _family(character):
            shaping = f"[Script={_shaped(character)}]" if _shaped(character) else ""
            runs.setdefault(rf"\fontspec{{{family}}}{shaping}", []).append(code)
        else:
            missing.setdefault(_script(character), place)
            lines.append(_ignored(code))
    if missing and not os.environ.get("DRAFT"):
        packages = " ".join(sorted({_package(script) for script in missing}))
        raise UserError(
            f"no font on this machine has {', '.join(missing)} ({next(iter(missing.values()))}): "
            f"`apt-get install {packages}` brings it; DRAFT=1 builds a PDF without"
        )
    return "\n".join([*lines, *_classes(runs)])


def _classes(runs: dict[str, list[int]]) -> list[str]:
    """What XeTeX inserts where a run of each kind begins and ends."""
    lines, names = [r"\XeTeXinterchartokenstate=1 "], {}
    for i, (begin, codes) in enumerate(runs.items()):
        name = rf"\hwclass{chr(ord('A') + i)}"
        lines.append(rf"\newXeTeXintercharclass{name}")
        lines += [rf'\XeTeXcharclass"{code:X}={name}' for code in codes]
        for other in ("0 ", "4095 "):
            lines.append(rf"\XeTeXinterchartoks {other}{name}={{\begingroup{begin}}}")
            lines.append(rf"\XeTeXinterchartoks {name}{other}={{\endgroup}}")
        for other, its_begin in names.items():
            for first, second, inner in ((other, name, begin), (name, other, its_begin)):
                between = rf"\endgroup\begingroup{inner}"
                lines.append(rf"\XeTeXinterchartoks {first}{second}={{{between}}}")
        names[name] = begin
    if any(0x2E80 <= code <= 0xFFEF for codes in runs.values() for code in codes):
        lines.append('\\XeTeXlinebreaklocale "zh" \\XeTeXlinebreakskip=0pt plus 1pt ')
    return lines


def _ignored(code: int) -> str:
    return rf'\catcode"{code:X}={_UNSEEN} '


@cache
def coverage(font: Path) -> frozenset[int]:
    """Code points that a font file has glyphs for."""
    with TTFont(font, lazy=True, fontNumber=0) as opened:
        return frozenset(opened.getBestCmap())


@cache
def find_tex_font(name: str) -> Path:
    """A font of the TeX installation. Raises UserError if it is missing."""
    kpsewhich = shutil.which("kpsewhich")
    run = kpsewhich and subprocess.run([kpsewhich, name], capture_output=True, text=True)
    if not run or not run.stdout.strip():
        raise UserError(f"TeX has no font {name}: run `make tex`")
    return Path(run.stdout.strip())


def _foreign(texts: dict[str, str], text_font: frozenset[int]) -> dict[str, str]:
    """Characters beyond the text font, each with the first place it was seen in."""
    found: dict[str, str] = {}
    for place, text in texts.items():
        for character in set(text):
            if ord(character) > 0x7F and ord(character) not in text_font:
                found.setdefault(character, place)
    return found


@cache
def _family(character: str) -> str:
    """A font family of this machine that has ``character``; empty if there is none."""
    if not (fc_list := shutil.which("fc-list")):
        return ""
    query = [fc_list, f":charset={ord(character):x}:color=false", "family"]
    found = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    return min((line.split(",")[0] for line in found if line), default="")


def _shaped(character: str) -> str:
    """The script, as fontspec names it, whose letters change with their neighbors."""
    script = _script(character).title()
    return script if script in _SHAPED.split() else ""


def _script(character: str) -> str:
    """What a reader calls the script: the first word of the character's name, or emoji."""
    if ord(character) >= 0x1F000:
        return "EMOJI" if ord(character) < 0x20000 else "CJK"
    name = unicodedata.name(character, "UNNAMED")
    return name.split()[0].split("-")[0]


def _package(script: str) -> str:
    return _PACKAGES.get(script, "fonts-symbola" if script == "EMOJI" else "fonts-noto-core")
