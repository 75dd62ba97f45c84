"""Text, tables and Markdown on their way into LaTeX."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pdf.markdown import harmless_math, to_latex
from helpers.pdf.render import MAX_LINE, MAX_OUTPUT, listing, text_block
from helpers.pdf.tables import MAX_ROWS, html_tables
from helpers.pdf.text import claimed, escape, plain, prose, sentence, table_cell

SPECIAL = "\\{}$&#%_^~<>|\"`'"


def test_terminal_codes_and_overwritten_progress_are_gone():
    assert plain("\x1b[31mred\x1b[0m") == "red"
    assert plain("  0%|  |\r 50%|█ |\r100%|██|\ndone") == "100%|██|\ndone"
    assert plain("abc\rX") == "Xbc"
    assert plain("\x1b]8;;http://x\x07link\x1b]8;;\x07") == "link"
    assert plain("a\x00\x08b") == "ab"


@given(st.text(alphabet=SPECIAL + "aé β\n", max_size=40))
def test_no_special_character_is_left_bare(text):
    for convert in (escape, prose):
        set_text = convert(text)
        for macro in ("textbackslash", "textasciicircum", "textasciitilde", "textless"):
            set_text = set_text.replace(f"\\{macro}{{}}", "")
        for macro in (
            "textgreater",
            "textbar",
            "textquotedbl",
            "textasciigrave",
            "textquotesingle",
        ):
            set_text = set_text.replace(f"\\{macro}{{}}", "")
        for character in "{}$&#%_":
            set_text = set_text.replace(f"\\{character}", "")
        assert not set(set_text) & set("\\{}$&#%_^~")


@pytest.mark.parametrize(
    "text, latex",
    [
        ("off by 6.9e-09 at most", r"off by $6.9\cdot10^{-9}$ at most"),
        ("1e-12 and 5e+32", r"$10^{-12}$ and $5\cdot10^{32}$"),
        ("3.4e-02, 8.0e+00, 0e+00", "0.034, 8.0, 0"),
        ("at -0.51 (-1), [2, -3]", "at −0.51 (−1), [2, −3]"),
        ("2026-11-22, CIFAR-10, x-3", "2026-11-22, CIFAR-10, x-3"),
        ("commit 12e+ of 1e5b, v1e-3", "commit 12e+ of 1e5b, v1e-3"),
        ("`a_b` is 5 %, not 91.73%", r"\texttt{a\_b} is 5\,\%, not 91.73\,\%"),
    ],
)
def test_numbers_and_code_in_a_sentence(text, latex):
    assert sentence(text) == latex


def test_numbers_in_a_table_read_as_numbers():
    cells = ["-4.2e-01", "4.2e-04", "-1e-5", "a_b", "–"]
    expected = ["−0.42", r"$4.2\cdot10^{-4}$", "−$10^{-5}$", r"a\_b", "–"]
    assert [table_cell(cell) for cell in cells] == expected


def test_a_claim_begins_with_a_capital_unless_a_symbol_does():
    for text in ("the model holds", "a model holds"):
        assert claimed(text) == text.capitalize()
    for text in ("x is 3", "h_T is 3", "φ(x) > 0", "3 of 4", "`forward` calls"):
        assert claimed(text) == sentence(text)


@given(st.text(alphabet=SPECIAL + "e-+109.a ", max_size=40))
def test_no_special_character_is_left_bare_around_numbers(text):
    for convert in (sentence, table_cell):
        bare = re.sub(r"\$(?:[\d.]+\\cdot)?10\^\{-?\d+\}\$", "", convert(text))
        bare = re.sub(r"\\(?:text[a-z]+(?:\{\})?|.)", "", bare)
        assert not set(bare.replace("{", "").replace("}", "")) & set("\\$&#%_^~")


def test_code_is_highlighted_and_cannot_end_its_environment():
    code = listing("x = r'\\end{nbcode}'  # $5 & {braces}", "nbcode")
    assert code.startswith("\\hwlines{1}\\begin{nbcode}[breaklines=false]\n")
    assert code.count("\\end{nbcode}") == 1
    assert "\\PYZob{}" in code


def test_only_what_does_not_fit_is_broken_into_lines():
    for text, fits in [("x" * MAX_LINE, True), ("x" * (MAX_LINE + 1), False), ("字" * 60, False)]:
        for block in (listing(f"y = 1\n{text}", "nbcode"), text_block(f"1\n{text}")):
            assert ("[breaklines=false]" in block) == fits


@given(
    st.lists(st.sampled_from(["def", "f", "(", ")", "'a'", "# b", "1.5", " ", "\n", "@", "and"]))
)
def test_highlighting_leaves_every_character(parts):
    source = "".join(parts).strip()
    lines = listing(source, "nbcode").splitlines()[1:-1]
    shown = [re.sub(r"\\PY\{[^}]*\}", "", line) for line in lines]
    for escaped, character in {"\\PYZsq{}": "'", "\\PYZsh{}": "#", "\\PYZat{}": "@"}.items():
        shown = [line.replace(escaped, character) for line in shown]
    shown = [line.replace("{", "").replace("}", "").rstrip() for line in shown]
    assert shown == [line.rstrip() for line in source.split("\n")]


def test_output_cannot_end_its_environment_and_is_cut_at_a_page():
    block = text_block("\\end{nboutput}\\input{/etc/passwd}")
    assert block.count("\\end{nboutput}") == 1
    assert "\\input" not in block
    assert "1,000 more characters" in text_block("x" * (MAX_OUTPUT + 1000))
    assert text_block(" \n\x1b[0m") == ""
    assert text_block("ab\tc").splitlines()[1] == "ab      c"  # as a terminal has it


FRAME = """<table border="1" class="dataframe"><thead><tr><th></th><th>name</th><th>acc_%</th></tr>
</thead><tbody><tr><th>0</th><td>a & b</td><td>91.5</td></tr>
<tr><th>1</th><td>c</td><td>NaN</td></tr></tbody></table>"""


def test_a_data_frame_is_a_booktabs_table():
    (table,) = html_tables(FRAME)
    assert table.splitlines() == [
        r"\begin{nbtable}{rlr}",
        r" & name & acc\_\% \\",
        r"\midrule",
        r"0 & a \& b & 91.5 \\",
        r"1 & c & NaN \\",
        r"\end{nbtable}",
    ]


def test_spanning_cells_keep_the_columns_in_line():
    html = (
        '<table><tr><th colspan="2">a</th><th>b</th></tr>'
        '<tr><td rowspan="2">1</td><td>2</td><td>3</td></tr><tr><td>4</td><td>5</td></tr></table>'
    )
    (table,) = html_tables(html)
    assert "a &  & b" in table
    assert " & 4 & 5" in table


def test_a_table_in_a_cell_is_that_cells_text_and_no_rows_besides():
    inner = "<table><tbody><tr><td>Shape</td><td>(4, 2)</td></tr></tbody></table>"
    (table,) = html_tables(f"<table><tr><td>{inner}</td><td>b</td></tr></table>")
    assert table.splitlines()[1:-1] == [r"Shape (4, 2) & b \\"]


def test_wide_and_long_tables_are_split_with_their_labels():
    head = "".join(f"<th>column {i}</th>" for i in range(40))
    row = "<tr><th>label</th>" + "<td>123456</td>" * 40 + "</tr>"
    (table,) = html_tables(f"<table><tr><th></th>{head}</tr>{row * (MAX_ROWS + 1)}</table>")
    parts = table.split("\n\n")
    assert len(parts) > 4
    assert all("label" in part for part in parts)
    assert sum(part.count("column ") for part in parts) == 80  # each title twice: two lengths


def test_a_blank_row_of_titles_makes_no_title_of_the_first_row():
    (table,) = html_tables(
        "<table><tr><th></th></tr><tr><td>1</td></tr><tr><td>2</td></tr></table>"
    )
    assert table.splitlines()[1:] == [r"1 \\", r"2 \\", r"\end{nbtable}"]


def test_titles_of_a_wide_table_are_broken_before_its_columns_are_parted():
    titles = ["network", *(f"{task}: {key}" for task in ("context", "texture") for key in "abcd")]
    head = "".join(f"<th>{title}</th>" for title in titles)
    row = "<tr><td>convnet, 2 layers</td>" + "<td>12.3</td>" * 8 + "</tr>"
    (table,) = html_tables(f"<table><tr>{head}</tr>{row}</table>")
    assert [line.split(" & ")[:3] for line in table.splitlines()[1:3]] == [
        ["", "context:", "context:"],
        ["network", "a", "b"],
    ]
    assert table.count("convnet, 2 layers" + " & 12.3" * 8) == 1


def test_each_part_of_a_wide_table_begins_with_its_first_column():
    row = "<tr><td>label</td>" + f"<td>{'x' * 50}</td>" * 4 + "</tr>"
    (table,) = html_tables(f"<table>{row}{row}</table>")
    assert [part.count("label &") for part in table.split("\n\n")] == [2, 2, 2, 2]


def test_html_without_a_table_is_no_table():
    assert html_tables("<b>bold</b>") == []
    assert html_tables("") == []


def test_markdown_pieces_do_not_spoil_each_other():
    first, second, third = to_latex(["```\nopen fence", "# Title\n\ntext $x^2$", "[link][a]"])
    assert "open fence" in first
    assert second.startswith(r"\subsection{Title}")
    assert r"\(x^2\)" in second
    assert third


def test_parts_of_a_question_in_running_text_are_no_list():
    text = "(a) How many are there? (b) And how many\nmore?"
    item = f"* {text}".replace("\n", "\n  ")
    for latex in to_latex([text, item]):
        assert "(a) How many are there? (b) And how many" in latex
        assert "enumerate" not in latex


def test_markdown_tables_have_rules_and_alignment():
    (latex,) = to_latex(["| a | b |\n|---|--:|\n| x | 1 |"])
    assert r"\begin{nbtable}{lr}" in latex
    assert r"\midrule" in latex


def test_a_markdown_table_longer_than_a_page_goes_on_below_its_titles():
    (latex,) = to_latex(["| a | b |\n|---|--:|\n" + "\n".join(f"| x | {i} |" for i in range(81))])
    parts = latex.split("\n\n")
    assert [part.count(r"x &") for part in parts] == [40, 40, 1]
    assert all(r"a & b \\" in part for part in parts)
    assert latex.count(r"\begin{nbtable}") == latex.count(r"\end{nbtable}") == 3


@pytest.mark.parametrize("latex", [r"$\displaystyle \frac{\beta^{2}}{2}$", r"$$\sum_{i} x_i$$"])
def test_formulas_pass(latex):
    assert harmless_math(latex)


@pytest.mark.parametrize(
    "latex",
    [
        r"$\input{/etc/passwd}$",
        r"$\write18{ls}$",
        r"$^^5cinput{x}$",
        r"$x} \def\y{$",
        r"$\csname input\endcsname$",
        r"\section{x}",
        r"$a % b$",
    ],
)
def test_formulas_that_do_more_than_mathematics_do_not_pass(latex):
    assert harmless_math(latex) is None


def test_markdown_shown_by_a_run_cannot_bring_latex():
    (latex,) = to_latex([r"\input{/etc/passwd} $\input{x}$ **b** $\beta$"], trusted=False)
    assert r"\input" not in latex.replace(r"\textbackslash input", "")
    assert r"\textbf{b}" in latex
    assert r"\(\beta\)" in latex
