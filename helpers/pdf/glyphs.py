"""Every character in a font that has it: the text font, the fallback, or one of the machine's.

XeTeX changes the font where runs of such characters begin and end, so that Arabic and Devanagari
are shaped as they should be.
"""

import shutil
import subprocess
import unicodedata
from functools import cache
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

from fontTools.ttLib import TTFont

from .errors import UserError

TEXT_FONT = "texgyrepagella-regular.otf"
MATH_FONT = "texgyrepagella-math.otf"
# Matplotlib ships the DejaVu fonts, so they are here on every machine, in one version. It is not
# imported for that: this takes as long as all other modules of the press together.
FONT_FOLDER = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
BUNDLED_FONTS = [
    FONT_FOLDER / f"DejaVuSans{mono}{style}.ttf"
    for mono in ("", "Mono") for style in ("", "-Bold", "-Oblique", "-BoldOblique")
]  # fmt: skip
_PACKAGES = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), "fonts-noto-cjk")
_SHAPED = "Arabic Hebrew Syriac Devanagari Bengali Gujarati Gurmukhi Tamil Telugu Kannada Malayalam"
_SHAPED += " Sinhala Thai Lao Khmer Myanmar Tibetan"
_FALLBACK = r"\fallbackfont"
_FALLBACK_UNLESS_MONO = r"\ifhw@mono\else\fallbackfont\fi"
_MATH = r"\hw@mathletters"
_SKIN = range(0x1F3FB, 0x1F400)  # its colors, of the emoji before
_JOINING, _UNSEEN = 4096, 9  # a class without effect on runs; the catcode of what is ignored


def glyph_macros(texts: dict[str, str], *, draft: bool = False) -> str:
    """LaTeX that sets each character the text font lacks in a font that has it.

    ``texts`` maps where a text comes from to the text. Raises one UserError for all characters
    that no font on this machine has: their scripts, a place, and the packages that bring them;
    in a ``draft`` these characters are left out. The name of an emoji stands for it, and TeX warns.
    """
    runs: dict[str, list[int]] = {}  # the characters of each font
    missing: dict[str, str] = {}
    signs: dict[str, str] = {}
    lines = []
    known = coverage(find_tex_font(TEXT_FONT))
    places = {c: place for place, text in reversed(texts.items()) for c in set(text)}  # the first
    for character, place in sorted(places.items()):
        code = ord(character)
        if code < 0x80 or code in known:
            continue
        font = _font(character)
        if unicodedata.category(character) in ("Cf", "Mn", "Mc", "Me") or code in _SKIN:
            seen = font and not 0xFE00 <= code <= 0xFE0F  # which choose among looks of an emoji
            lines.append(rf'\XeTeXcharclass"{code:X}={_JOINING} ' if seen else _ignored(code))
        elif font:
            runs.setdefault(font, []).append(code)
        elif unicodedata.category(character).startswith("S"):
            signs[character] = place
        else:
            missing.setdefault(_script(character), place)
            lines.append(_ignored(code))
    if missing and not draft:
        packages = " ".join(sorted({_PACKAGES.get(name, "fonts-noto-core") for name in missing}))
        raise UserError(
            f"no font on this machine has {', '.join(missing)} ({next(iter(missing.values()))}): "
            f"`apt-get install {packages}` brings it; DRAFT=1 builds a PDF without"
        )
    return "\n".join([*lines, *_named(signs), *_classes(runs)])


def _font(character: str) -> str:
    """What selects a font that has it, or ``{family}[options]`` of one; empty if there is none."""
    code, script = ord(character), _script(character).title()
    script = script if script in _SHAPED.split() else ""  # whose letters follow their neighbors
    if code in coverage(FONT_FOLDER / "DejaVuSans.ttf"):
        if script:
            return f"{{DejaVuSans}}[Path=fonts/, Extension=.ttf, Scale=0.88, Script={script}]"
        mono = code in coverage(FONT_FOLDER / "DejaVuSansMono.ttf")
        return _FALLBACK_UNLESS_MONO if mono else _FALLBACK
    if code in coverage(find_tex_font(MATH_FONT)):
        return _MATH
    family = _family(character)
    return f"{{{family}}}[{f'Script={script}' if script else ''}]" if family else ""


def _classes(runs: dict[str, list[int]]) -> list[str]:
    """What XeTeX inserts where a run in each font begins and ends."""
    lines, begins = [r"\XeTeXinterchartokenstate=1 "], {"0 ": "", "4095 ": ""}
    for i, (font, codes) in enumerate(runs.items()):
        name, begin = rf"\hwclass{chr(ord('A') + i)}", font
        if font.startswith("{"):
            begin = rf"\hwfamily{chr(ord('A') + i)}"
            lines.append(rf"\newfontfamily{begin}{font}")
        lines.append(rf"\newXeTeXintercharclass{name}")
        lines += [rf'\XeTeXcharclass"{code:X}={name}' for code in codes]
        begins[name] = rf"\begingroup{begin}"
    for one, other in permutations(begins, 2):
        between = r"\endgroup" * bool(begins[one]) + begins[other]
        lines.append(rf"\XeTeXinterchartoks {one}{other}={{{between}}}")
    if any(0x2E80 <= code <= 0xFFEF for codes in runs.values() for code in codes):
        lines.append('\\XeTeXlinebreaklocale "zh" \\XeTeXlinebreakskip=0pt plus 1pt ')
    return lines


def _named(signs: dict[str, str]) -> list[str]:
    """[PARTY POPPER] where the font is missing: a sign is a word, and a script is not."""
    lines, names = [], {sign: unicodedata.name(sign, "A SIGN") for sign in signs}
    for sign, name in names.items():
        code = f'"{ord(sign):X}'
        lines.append(rf"\catcode{code}=13 \begingroup\lccode`\~={code} \lowercase{{\endgroup")
        lines[-1] += rf"\protected\def~}}{{{{\ttfamily\scriptsize[{name}]}}}}"
    if signs:
        told = f"{next(iter(signs.values()))}: no font has {', '.join(names.values())}: names "
        told += "stand there; `apt-get install fonts-symbola` brings it"
        lines.append(rf"\ClassWarning{{homework}}{{{told}}}")
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


@cache
def _family(character: str) -> str:
    """A font family of this machine that has ``character``; empty if there is none."""
    if not (fc_list := shutil.which("fc-list")):
        return ""
    query = [fc_list, f":charset={ord(character):x}:color=false", "family"]
    found = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    return min((line.split(",")[0] for line in found if line), default="")


def _script(character: str) -> str:
    """What a reader calls the script: the first word of the character's name."""
    name = unicodedata.name(character, "UNNAMED")
    return name.split()[0].split("-")[0]
