"""Mathematics as MathJax reads it, as XeLaTeX reads it.

MathJax forgives what TeX does not: ``$$\\begin{align}…$$``, ``x_\\mathcal{D}``,
``\\text{d_model}``, a ``\\newcommand`` that holds from then on, in every later cell.
"""

import itertools
import re
import unicodedata

from .glyphs import MATH_FONT, coverage, find_tex_font
from .text import GROUP, characters

_DEFINITION = re.compile(
    r"\\(?:(?:re|provide)?newcommand\*?|DeclareMathOperator(?P<star>\*?)|def)\s*"
    r"(?:\{\s*\\(?P<braced>[A-Za-z]+)\s*\}|\\(?P<bare>[A-Za-z]+))\s*"
    rf"(?:\[(?P<count>\d)\])?(?P<default>\[[^]]*\])?(?P<hashes>(?:#\d)*)\s*(?P<body>{GROUP})"
)
_ONE_ARGUMENT = (
    r"\\(?:math\w+|sym\w+|bm|boldsymbol|text\w*|mbox|operatorname\*?|vec|hat|widehat|bar|tilde|"
    r"widetilde|dot|ddot|overline|underline|sqrt|[dt]?frac\s*" + GROUP + ")"
)
_LABEL = re.compile(r"(?:\\tag\{([^{}]*)\}\s*)?\\label\s*\{([^{}]*)\}(?:\s*\\tag\{([^{}]*)\})?")
_ALIGNED = dict.fromkeys(("align", "split", "flalign"), "aligned")
_ALIGNED |= dict.fromkeys(("gather", "multline"), "gathered")
_ALIGNED |= {"alignat": "alignedat", "eqnarray": "array}{rcl"}
_ALONE = ("equation", "displaymath", "math", *_ALIGNED)  # environments that begin mathematics
_BARE = ("aligned", "gathered", "alignedat", "array", "cases", "dcases", "subarray")
_BARE += tuple(f"{kind}matrix" for kind in ("", "p", "b", "B", "v", "V", "small"))
ENVIRONMENTS = frozenset([*_ALONE, *(f"{name}*" for name in _ALONE), *_BARE])
_LONG = 150  # letters of a formula that is perhaps wider than the line, and can't be broken
_SYMBOLS = {"bf": "symbf", "rm": "symup", "it": "symit", "sf": "symsf", "tt": "symtt"}


class Formulas:
    """The formulas of one notebook, in order: what one defines holds in those that follow.

    ``definitions`` collects the LaTeX that must stand before the next text. Names that a notebook
    defines are kept apart from the class's: ``\\norm`` becomes ``\\nbusernorm``.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.definitions: list[str] = []

    def inline(self, body: str) -> str | None:
        """A formula within a line, unless it is an ``align``; None if its braces do not match."""
        alone = re.search(rf"\\begin\{{(?:{'|'.join(_ALIGNED)})\*?\}}", body)
        return self._set(body, r"\nbdisplay" if alone else r"\nbm")

    def display(self, body: str) -> str | None:
        """A formula in a line of its own, or None if its braces do not match."""
        return self._set(body, r"\nbdisplay")

    def _set(self, body: str, macro: str) -> str | None:
        body = re.sub(r"(?<!\\)%.*", "", body)
        body = self._tidy(_DEFINITION.sub(self._define, body))
        if not _balanced(body):
            return None
        body = re.sub(r"(?<!\\)((?:\\\\)*\\)$", r"\1 ", _without_numbers(body))  # "\ " at its end
        if len(body) > _LONG and re.search(r"\\(?:begin|left)\b", body):  # what can't be broken
            style = r"\displaystyle " if macro == r"\nbdisplay" else ""
            body = rf"\adjustbox{{max width=\linewidth}}{{${style}{body}$}}"
        return f"{macro}{{{body}}}" if body else ""

    def _define(self, match: re.Match) -> str:
        """Note a definition, and leave nothing of it."""
        name, body = match["braced"] or match["bare"], match["body"][1:-1]
        if match["star"] is not None:
            body = rf"\operatorname{match['star']}{{{body}}}"
        self.names.add(name)
        count = match["count"] or str(len(match["hashes"]) // 2)
        arguments = f"[{count}]{match['default'] or ''}" if count != "0" else ""
        macro = f"\\nbuser{name}"
        body = self._tidy(body, hashes=True)
        if _balanced(body):
            lines = rf"\let{macro}\relax\newcommand{macro}{arguments}{{{body}}}"
            self.definitions.append(lines)
        return ""

    def _tidy(self, body: str, hashes: bool = False) -> str:
        for pattern, written in _REWRITTEN:
            body = re.sub(pattern, written, body)
        body = body if hashes else re.sub(r"(?<!\\)#", r"\\#", body)
        return _unicode(re.sub(r"\\([A-Za-z]+)", self._renamed, body.strip()))

    def _renamed(self, match: re.Match) -> str:
        return f"\\nbuser{match[1]}" if match[1] in self.names else match[0]


def with_numbers(sources: list[str]) -> list[str]:
    """Texts whose references to formulas, ``\\eqref{a}``, read as the ``\\tag`` of ``\\label{a}``.

    A formula that has no tag, and is referred to, gets a number.
    """
    wanted = set(re.findall(r"\\(?:eq)?ref\{([^{}]*)\}", "\n".join(sources)))
    numbers, free = {}, itertools.count(1)

    def tag(match: re.Match) -> str:
        if match[2] not in wanted:
            return match[0]
        numbers[match[2]] = match[1] or match[3] or str(next(free))
        return rf"\tag{{{numbers[match[2]]}}}"

    def reference(match: re.Match) -> str:
        number = numbers.get(match[2])
        return match[0] if number is None else f"({number})" if match[1] else number

    tagged = [_LABEL.sub(tag, source) for source in sources]
    return [re.sub(r"\\(eq)?ref\{([^{}]*)\}", reference, source) for source in tagged]


def _balanced(body: str) -> bool:
    """Whether TeX would find the end of a formula; other mistakes it finds itself."""
    depth = 0
    for brace in re.findall(r"\\.|([{}])", body):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            return False
    return depth == 0


def _without_numbers(body: str) -> str:
    """A display as a part of a formula, so that it can be measured and made to fit the line."""
    for name, inner in _ALIGNED.items():
        body = re.sub(rf"\\begin\{{{name}\*?\}}", rf"\\begin{{{inner}}}", body)
        body = re.sub(rf"\\end\{{{name}\*?\}}", rf"\\end{{{inner.split('}')[0]}}}", body)
    body = re.sub(r"\\(?:begin|end)\{(?:equation|displaymath|math)\*?\}", "", body)
    body = re.sub(r"\\tag\*\s*(\{[^{}]*\})", r"\\qquad\\text\1", body)
    body = re.sub(r"\\tag\s*\{([^{}]*)\}", r"\\qquad\\text{(\1)}", body).strip()
    outside = re.sub(r"(?s)\\begin\{(\w+\*?)\}.*\\end\{\1\}|" + GROUP, "", body)
    if re.search(r"(?<!\\)&", outside):
        return rf"\begin{{aligned}}{body}\end{{aligned}}"
    return rf"\begin{{gathered}}{body}\end{{gathered}}" if r"\\" in outside else body


def color_digits(name: str) -> str:
    """A color of CSS or LaTeX as six hexadecimal digits; empty if it is none that is seen."""
    from matplotlib.colors import is_color_like, to_hex  # takes long, and few notebooks need it

    known = is_color_like(name.lower()) and name.lower() not in ("none", "transparent")
    return to_hex(name.lower()).removeprefix("#").upper() if known else ""


def _color(match: re.Match) -> str:
    """A color of CSS or LaTeX by its value, of a group only that; one that nobody knows is none."""
    colored = re.sub(_COLOR, _color, match[3] or "")
    if not (color := color_digits(match[2])):
        return colored
    return rf"{{\color[HTML]{{{color}}}{colored}}}" if colored else rf"\color[HTML]{{{color}}}"


def _plain_text(match: re.Match) -> str:
    text = re.sub(r"(?<!\\)([_#&%])", r"\\\1", match[2])
    return rf"\{match[1]}{{{text.replace('^', _HAT)}}}"


def _symbols(match: re.Match) -> str:
    """A face of mathematics for letters that the face of the text lacks: ``\\alpha`` and so on."""
    lacking = re.search(r"\\[A-Za-z]|[Ͱ-Ͽ]", match[2])
    return rf"\{_SYMBOLS[match[1]]}{match[2]}" if lacking else match[0]


_COLOR = rf"\\(text)?color\s*\{{\s*(#?\w+)\s*\}}\s*({GROUP})?"
_HAT = r"\textasciicircum{}"
_REWRITTEN = (  # in this order
    (r"\\verb\*?([^\w\s])(.*?)\1", lambda match: rf"\text{{\texttt{{{characters(match[2])}}}}}"),
    (r"\\(?:require|label)\s*\{[^{}]*\}|\\(?:nonumber|notag)\b", ""),
    (r"\\(?:eq)?ref\s*\{([^{}]*)\}", r"\\text{(\1)}"),
    (rf"\\(?:style|class|cssId)\s*{GROUP}", ""),
    (_COLOR, _color),
    (r"\\unicode\s*\{x?([0-9a-fA-F]+)\}", lambda match: chr(int(match[1], 16))),
    (r"\n\s*\n", "\n"),
    (r"\\(text\w*|mbox|tag\*?)\s*\{([^{}$]*)\}", _plain_text),
    (rf"([_^])\s*({_ONE_ARGUMENT}\s*{GROUP})", r"\1{\2}"),
    (r"\{\s*\\(bf|rm|it|cal|sf|tt|frak)\b\s*([^{}]*)\}", r"\\math\1{\2}"),
    (r"\\math(bf|rm|it|sf|tt)\s*(\{[^{}]*\})", _symbols),
    (r"\\Bbb(?![A-Za-z])", r"\\mathbb"),
    (r"\\LaTeX\b", r"\\text{\\LaTeX}"),
)


def _unicode(body: str) -> str:
    """Raised and lowered letters as TeX writes them; letters of no formula as text."""
    body = body.replace("\u00a0", " ").replace("…", r"\ldots ").replace("’", "'")
    for kind, sign in (("<super>", "^"), ("<sub>", "_")):
        found = "".join({c for c in body if unicodedata.decomposition(c).startswith(kind)})
        for run in re.findall(f"[{found}]+", body) if found else ():
            letters = unicodedata.normalize("NFKC", run).replace("−", "-")
            body = body.replace(run, f"{sign}{{{letters}}}", 1)
    return re.sub(r"[^\W\d_]+|[^\x00-\x7f]", _as_text, body)


def _as_text(run: re.Match) -> str:
    """Letters and signs that the font of formulas lacks, and Latin ones with accents, as text."""
    for sign in filter(lambda character: not character.isascii(), run[0]):
        latin = unicodedata.name(sign, "").startswith("LATIN")
        if latin or ord(sign) not in coverage(find_tex_font(MATH_FONT)):
            return rf"\text{{{run[0]}}}"
    return run[0]
