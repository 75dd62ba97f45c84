"""Markdown to LaTeX by pandoc, many pieces in one process."""

import json
import re
import subprocess
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import pypandoc

from .errors import UserError

# Jupyter's Markdown: GitHub's, with TeX mathematics and, where we trust it, LaTeX environments.
_FORMAT = "markdown+tex_math_dollars+tex_math_single_backslash+lists_without_preceding_blankline"
_FORMAT += "+autolink_bare_uris-citations-fancy_lists-example_lists-auto_identifiers"
_FORMAT += "-implicit_figures"
_UNTRUSTED = f"{_FORMAT}-raw_tex-raw_html-raw_attribute-latex_macros-yaml_metadata_block"
_BOUNDARY = "PRESSxBOUNDARYx"


def to_latex(pieces: list[str], *, trusted: bool = True, seconds: float = 120) -> list[str]:
    """LaTeX for each piece of Markdown; headings one level down.

    Where a piece is not trusted (the output of a run), no LaTeX passes but mathematics that
    ``harmless_math`` lets through, and no picture, which TeX would read from a file. Raises
    UserError if pandoc can't be run, refuses, or is not done after so many ``seconds``: nested
    enough, Markdown takes exponential time.
    """
    if not pieces:
        return []
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, piece in enumerate(pieces):  # a file each, so that no piece can spoil the next
            Path(folder, f"{i}.md").write_text(piece, encoding="utf-8")
            Path(folder, f"{i}b.md").write_text(f"{_BOUNDARY}{i}", encoding="utf-8")
            names += [f"{i}.md", f"{i}b.md"]
        to = ["--to", "latex", "--shift-heading-level-by=1", "--wrap=preserve"]
        to += ["--syntax-highlighting=none"]
        to += ["--lua-filter", str(files(__package__) / "templates" / "markdown.lua")]
        scope = ["--file-scope", *names]
        if trusted:
            latex = _run(["--from", _FORMAT, *to, *scope], folder, seconds)
        else:
            read = _run(["--from", _UNTRUSTED, "--to", "json", *scope], folder, seconds)
            latex = _run(["--from", "json", *to], folder, seconds, _disarmed_json(read))
    parts = re.split(rf"\s*{_BOUNDARY}\d+\s*", latex)
    return [part.strip() for part in parts[: len(pieces)]]


def _run(arguments: list[str], folder: str, seconds: float, content: str = "") -> str:
    """What pandoc prints, run in ``folder`` on the files named in ``arguments``, or ``content``."""
    command = [pandoc(), *arguments]
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",  # pandoc's, whatever the locale
            input=content,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"pandoc is not done with the Markdown after {seconds:g} s") from None
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
        raise UserError(f"pandoc refuses the Markdown: {lines[-1]}")
    return run.stdout


def _disarmed_json(document: str) -> str:
    """``document``, as pandoc has read it, without what could reach out of its page."""
    try:
        return json.dumps(_disarmed(json.loads(document)))
    except RecursionError:
        raise UserError("the Markdown of an output is nested too deeply") from None


def _disarmed(node):
    """A part of pandoc's document: risky formulas and raw LaTeX as code, pictures as their text.

    So are links within the document, whose targets the PDF may not have. This looks at what
    pandoc has understood, not at the Markdown, which can be written in more ways than one
    would think of.
    """
    if isinstance(node, list):
        return [_disarmed(part) for part in node]
    if not isinstance(node, dict):
        return node
    kind, content = node.get("t"), node.get("c")
    risky = kind == "RawInline" or (kind == "Math" and not _is_harmless(content[1]))
    if risky or kind == "RawBlock":
        code = {"t": "Code", "c": [["", [], []], content[1]]}
        return {"t": "Para", "c": [code]} if kind == "RawBlock" else code
    if kind == "Image" or (kind == "Link" and content[2][0].startswith("#")):
        return {"t": "Span", "c": [["", [], []], _disarmed(content[1])]}
    return {name: _disarmed(part) for name, part in node.items()}


@cache
def pandoc() -> str:
    """Path of the pandoc that comes with the wheel ``pypandoc_binary``."""
    try:
        return pypandoc.get_pandoc_path()
    except OSError:
        raise UserError("pandoc is missing: run `make setup`") from None


def harmless_math(latex: str) -> str | None:
    """``latex`` if it is one formula made of known mathematical commands, else None.

    A run's output is data: it may be typeset, but must not read files or define anything.
    """
    text = latex.strip()
    match = re.fullmatch(r"\$\$(.+)\$\$|\$(?:\\displaystyle)?(.+)\$|\\\[(.+)\\\]", text, re.S)
    if match is None:
        return None
    formula = next(group for group in match.groups() if group).strip()
    if _is_harmless(formula):
        return f"\\[{formula}\\]"
    return None


def _is_harmless(formula: str) -> bool:
    commands = set(re.findall(r"\\([A-Za-z]+|.)", formula, re.S))
    # \begin{input} would call \input: TeX looks up whatever stands in the braces.
    ends = re.findall(r"\\(?:begin|end)(\{[a-zA-Z]*\*?\})?", formula)
    return (
        commands <= _known_commands()
        and all(end.strip("{}") in _ENVIRONMENTS for end in ends)
        and not re.search(r"[%#$~]|\^\^|\n\s*\n", formula)
        and _balanced(formula)
    )


def _balanced(formula: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", formula):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


_STRUCTURE = """
frac dfrac tfrac cfrac sqrt left right middle big Big bigg Bigg bigl bigr Bigl Bigr text mathrm
mathbf mathit mathcal mathbb mathsf operatorname begin end overline underline hat bar tilde vec
dot ddot quad qquad limits nolimits binom sum prod int iint iiint oint lim max min sup inf log
ln exp sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh coth det gcd arg deg dim hom
ker Pr to le ge ne displaystyle textstyle substack stackrel overset underset overbrace
underbrace cdots ldots dots vdots ddots lvert rvert lVert rVert langle rangle lfloor rfloor
lceil rceil not mid pmod bmod pm mp times boldsymbol symbf mathop hfill phantom backslash land
lor lnot iff implies gets forall exists prime rightarrow leftarrow Rightarrow Leftarrow infty
partial nabla cdot ast star circ bullet approx equiv alpha beta gamma delta epsilon varepsilon
zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho sigma varsigma tau
upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega in
notin subset subseteq cup cap setminus emptyset leq geq neq ll gg sim simeq propto perp parallel
top bot ell hbar Re Im aleph colon
"""


_ENVIRONMENTS = set(
    "matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array cases aligned gathered "
    "split".split()
)


@cache
def _known_commands() -> set[str]:
    return set(_STRUCTURE.split()) | set("\\,;:! {}|_&%#$")
