"""Text, code and formulas on their way into LaTeX."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pdf.errors import UserError
from helpers.pdf.formulas import Formulas
from helpers.pdf.glyphs import glyph_macros
from helpers.pdf.listing import COLUMNS, MAX_OUTPUT, inline_code, listing, text_block
from helpers.pdf.text import claimed, escape, plain, prose, sentence, table_cell

SPECIAL = "\\{}$&#%_^~<>|\"`'"


def test_terminal_codes_and_overwritten_progress_are_gone():
    assert plain("\x1b[31mred\x1b[0m") == "red"
    assert plain("  0%|  |\r 50%|█ |\r100%|██|\ndone") == "100%|██|\ndone"
    assert plain("abc\rX") == "Xbc"
    assert plain("a\x00\x08b\udc80") == "ab"


def bare(latex):
    """What is left of LaTeX without its macros and numbers: nothing that TeX would act on."""
    rest = re.sub(r"\$(?:[\d.]+\\cdot)?10\^\{-?\d+\}\$", "", latex)
    rest = re.sub(r"\\(?:[a-z]+(?:\{\})?|.)", "", rest)
    return set(rest) & set("\\$&#%_^~")


@given(st.text(alphabet=SPECIAL + "e-+109.aé β\n", max_size=40))
def test_no_special_character_is_left_bare(text):
    for convert in (escape, prose, sentence, table_cell, inline_code):
        assert not bare(convert(text))


@pytest.mark.parametrize(
    "text, latex",
    [
        ("off by 6.9e-09 at most", r"off by $6.9\cdot10^{-9}$ at most"),
        ("3.4e-02, 8.0e+00, 0e+00", "0.034, 8.0, 0"),
        ("at -0.51 (-1), [2, -3]", "at −0.51 (−1), [2, −3]"),
        ("2026-11-22, CIFAR-10, v1e-3", "2026-11-22, CIFAR-10, v1e-3"),
        ("`a_b` is 5 %, not 91.73%", r"\texttt{a\_b} is 5\,\%, not 91.73\,\%"),
    ],
)
def test_numbers_and_code_in_a_sentence(text, latex):
    assert sentence(text) == latex


def test_a_cell_of_a_table_is_no_option_of_the_line_before():
    cells = ["[CLS]", "*", "a[0] * 2"]
    assert [table_cell(cell) for cell in cells] == ["{[}CLS]", "{*}", "a[0] * 2"]


def test_a_claim_begins_with_a_capital_unless_a_symbol_does():
    assert claimed("the model holds") == "The model holds"
    for text in ("x is 3", "h_T is 3", "φ(x) > 0", "`forward` calls"):
        assert claimed(text) == sentence(text)


def shown(block):
    """The characters that a listing shows, line by line."""
    lines = re.findall(r"^\\nb(?:e|v|[lk]\{(.*)\})$", block, re.M)
    for macro, character in {"textquotesingle": "'", "textquotedbl": '"'}.items():
        lines = [line.replace(rf"\{macro}{{}}", character) for line in lines]
    lines = [re.sub(r"\\hw[A-H]\{", "", line.replace("\\ ", " ")) for line in lines]
    return [re.sub(r"\\(.)", r"\1", line.replace("}", "")).rstrip() for line in lines]


@given(st.lists(st.sampled_from(["def", "f", "(", "'a'", "# b", "1.5", " ", "\n", "@", "and"])))
def test_highlighting_leaves_every_character(parts):
    source = "".join(parts).strip()
    assert shown(listing(source)) == [line.rstrip() for line in source.split("\n")]


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_line_of_any_length_is_broken_with_a_mark(kind):
    for text in ("x" * 3000, "12, " * 700, "字" * 500):
        lines = re.findall(r"^\\nb[lk]\{(.*)\}$", text_block(text, kind), re.M)
        pieces = [line.removeprefix(r"\nbmore ") for line in lines]
        assert all(line.startswith(r"\nbmore ") for line in lines[1:])
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "").strip()
        widest = max(len(piece) * (1 + (text[0] == "字")) for piece in pieces)
        assert COLUMNS[kind] // 2 < widest <= COLUMNS[kind]


def test_a_page_ends_at_no_end_of_a_listing():
    block = listing("\n".join(["a", "b", "", "d", "", "", "f", "", "h", "i"]))
    assert re.findall(r"^\\nb([lkev])", block, re.M) == list("kkklevlkkl")


def test_output_cannot_end_its_environment_and_is_cut_at_a_page():
    block = text_block("\\end{nboutput}\\input{/etc/passwd}")
    assert block.count("\\end{nboutput}") == 1
    assert "\\input" not in block
    assert "1,000 more characters" in text_block("x" * (MAX_OUTPUT + 1000))
    assert text_block(" \n\x1b[0m") == ""
    assert shown(text_block("ab\tc")) == ["ab      c"]  # as a terminal has it


@pytest.mark.parametrize(
    "written, latex",
    [
        (r" \text{d_model} \lt 5 % five", r"\text{d\_model} \lt 5"),
        (r"x_\mathcal{D} + y^\frac{1}{2}", r"x_{\mathcal{D}} + y^{\frac{1}{2}}"),
        ("θᵢ² + 10⁻³", r"θ_{i}^{2} + 10^{-3}"),
        (r"{\bf w} \in größe", r"\mathbf{w} \in \text{größe}"),
        (r"a &= b \\ c &= d", r"\begin{aligned}a &= b \\ c &= d\end{aligned}"),
        (r"\begin{gather}a\tag{3}\end{gather}", r"\begin{gathered}a\qquad\text{(3)}\end{gathered}"),
        (r"\begin{eqnarray}a&=&b\end{eqnarray}", r"\begin{array}{rcl}a&=&b\end{array}"),
        (r"\require{cancel} x \label{a}", "x"),
        ("x\\ ", "x\\ "),
        (r"\verb|a_b|", r"\text{\texttt{a\_b}}"),
        (r"\mathbf{\alpha} + \Bbb R", r"\symbf{\alpha} + \mathbb R"),
        (r"\color{Plum} x \color{nosuch}{y}", r"\color[HTML]{DDA0DD}x {y}"),
        (r"\color{red}{a\textcolor{#0f0}{b}}_j",
         r"{\color[HTML]{FF0000}{a{\color[HTML]{00FF00}{b}}}}_j"),
    ],
)  # fmt: skip
def test_what_mathjax_forgives_is_written_as_tex_wants_it(written, latex):
    assert Formulas().display(written) == rf"\nbdisplay{{{latex}}}"


def test_a_command_that_a_formula_defines_holds_from_then_on_under_a_name_of_its_own():
    formulas = Formulas()
    assert formulas.inline(r"\newcommand{\norm}[1]{\|#1\|}") == ""
    assert formulas.definitions == [r"\let\nbusernorm\relax\newcommand\nbusernorm[1]{\|#1\|}"]
    assert formulas.inline(r"\norm{x} + \normal") == r"\nbm{\nbusernorm{x} + \normal}"
    formulas.inline(r"\def\half{\frac12} \DeclareMathOperator*{\best}{best}")
    assert formulas.definitions[1].endswith(r"\nbuserhalf{\frac12}")
    assert formulas.definitions[2].endswith(r"\nbuserbest{\operatorname*{best}}")


@pytest.mark.parametrize("formula", ["{", "}{", r"\{ } \}", r"\left\{ a}"])
def test_a_formula_that_would_run_on_is_none(formula):
    assert Formulas().inline(formula) is None


def test_all_scripts_that_no_font_has_are_named_in_one_line(monkeypatch):
    monkeypatch.setattr("helpers.pdf.glyphs._family", lambda character: "")
    texts = {"here": "é Привет 🎉", "there": "字 ✓ नमस्ते"}
    with pytest.raises(UserError) as caught:
        glyph_macros(texts)
    assert "DEVANAGARI, CJK (there)" in str(caught.value)
    assert "apt-get install fonts-noto-cjk fonts-noto-core`" in str(caught.value)
    macros = glyph_macros(texts, draft=True)
    assert rf'\XeTeXcharclass"{ord("П"):X}=' in macros
    assert rf'\catcode"{ord("字"):X}=9' in macros
    assert "[PARTY POPPER]" in macros and "here: no font has PARTY POPPER" in macros
