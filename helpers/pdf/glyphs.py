"""Every character in a font that has it: the text font, the fallback, or one of the machine's."""

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

_PACKAGES = {"CJK": "fonts-noto-cjk", "HIRAGANA": "fonts-noto-cjk", "KATAKANA": "fonts-noto-cjk"}
_PACKAGES |= {"HANGUL": "fonts-noto-cjk", "EMOJI": "fonts-symbola"}


def glyph_macros(texts: dict[str, str]) -> str:
    """LaTeX that makes each character the text font lacks set itself in a font that has it.

    ``texts`` maps where a text comes from to the text. Raises UserError for a character
    that no font on this machine has, naming the place and a package that brings one.
    """
    text_font, math_font = coverage(find_tex_font(TEXT_FONT)), coverage(find_tex_font(MATH_FONT))
    mono, fallback = (coverage(FONT_FOLDER / f"DejaVuSans{m}.ttf") for m in ("Mono", ""))
    families: dict[str, str] = {}
    lines = []
    for character, place in sorted(_foreign(texts, text_font).items()):
        code = ord(character)
        kind = "m" if code in mono else "t"
        font = r"\fallbackfont"
        if unicodedata.category(character) in ("Cf", "Mn") and code not in fallback:
            kind, font = "z", ""  # joiners and variation selectors have no look of their own
        elif code not in fallback and code not in math_font:
            family = _system_family(character, place)
            if family not in families:
                families[family] = f"\\hwsystemfont{chr(ord('A') + len(families))}"
                lines.append(f"\\newfontfamily{families[family]}{{{family}}}")
            font = families[family]
        lines.append(f"\\hwglyph{{{code:X}}}{{{kind}}}{{{font}}}")
    return "\n".join(lines)


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


def _system_family(character: str, place: str) -> str:
    """A font family of this machine that has ``character``."""
    fc_list = shutil.which("fc-list")
    if fc_list:
        query = [fc_list, f":charset={ord(character):x}:color=false", "family"]
        run = subprocess.run(query, capture_output=True, text=True)
        if families := sorted(line.split(",")[0] for line in run.stdout.splitlines() if line):
            return families[0]
    name = unicodedata.name(character, "a character without a name")
    package = next((p for word, p in _PACKAGES.items() if name.startswith(word)), "fonts-noto-core")
    if ord(character) >= 0x1F000:
        package = "fonts-symbola"
    raise UserError(
        f"{place}: no font on this machine has {character!r} (U+{ord(character):04X}, "
        f"{name.lower()}); `apt-get install {package}` brings one"
    )
