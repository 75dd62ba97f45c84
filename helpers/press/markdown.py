"""Markdown to LaTeX by pandoc, many pieces in one process."""

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
_FORMAT += "+autolink_bare_uris-citations-example_lists-auto_identifiers-implicit_figures"
_BOUNDARY = "PRESSxBOUNDARYx"


def to_latex(pieces: list[str], *, trusted: bool = True) -> list[str]:
    """LaTeX for each piece of Markdown; headings one level down.

    Where a piece is not trusted (the output of a run), no LaTeX passes but mathematics that
    ``harmless_math`` lets through. Raises UserError if pandoc can't be run or refuses.
    """
    if not pieces:
        return []
    if not trusted:
        pieces = [_disarm(piece) for piece in pieces]
    source_format = _FORMAT if trusted else f"{_FORMAT}-raw_tex-raw_html-raw_attribute"
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, piece in enumerate(pieces):  # a file each, so that no piece can spoil the next
            Path(folder, f"{i}.md").write_text(piece, encoding="utf-8")
            Path(folder, f"{i}b.md").write_text(f"{_BOUNDARY}{i}", encoding="utf-8")
            names += [f"{i}.md", f"{i}b.md"]
        command = [pandoc(), "--file-scope", "--from", source_format, "--to", "latex"]
        command += ["--shift-heading-level-by=1", "--wrap=preserve", "--syntax-highlighting=none"]
        filters = ["--lua-filter", str(files(__package__) / "templates" / "markdown.lua")]
        run = subprocess.run(
            [*command, *filters, *names], cwd=folder, capture_output=True, text=True
        )
    if run.returncode:
        raise UserError(f"pandoc refuses the Markdown: {run.stderr.strip().splitlines()[-1]}")
    parts = re.split(rf"\s*{_BOUNDARY}\d+\s*", run.stdout)
    return [part.strip() for part in parts[: len(pieces)]]


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
    return (
        commands <= _known_commands()
        and not re.search(r"[%#$~]|\^\^", formula)
        and _balanced(formula)
    )


def _disarm(markdown: str) -> str:
    """``markdown`` with formulas that are not harmless shown as code."""

    def check(match: re.Match) -> str:
        formula = match[1] or match[2]
        return match[0] if _is_harmless(formula) else f"`{formula}`"

    return re.sub(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", check, markdown, flags=re.S)


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


@cache
def _known_commands() -> set[str]:
    return set(_STRUCTURE.split()) | set("\\,;:! {}|_&%#$")
