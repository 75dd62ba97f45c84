"""The press against notebooks that are broken or mean harm: set right, or refused in a line."""

import base64
import io
import itertools
import os
import random
import re
import time
from pathlib import Path

import nbformat
import pytest
from pdf_fixtures import claim, executed, value, write
from PIL import Image
from pypdf import PdfReader

from helpers import mime
from helpers.pdf.edition import read_student
from helpers.pdf.errors import UserError
from helpers.pdf.execute import _cut
from helpers.pdf.markdown import harmless_math, pandoc, to_latex
from helpers.pdf.notebook import ROOT, read_notebook, write_notebook
from helpers.pdf.render import render
from helpers.pdf.tables import MAX_CELLS, html_tables
from helpers.pdf.text import plain
from helpers.pdf.typeset import typeset

NOTEBOOK = '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": %s}'
ALLOWED = set(
    "texttt textbackslash textasciicircum textasciitilde textless textgreater textbar textquotedbl"
    " textasciigrave textquotesingle textbf emph href url footnote subsection subsubsection"
    " paragraph texorpdfstring par item itemize begin end midrule nbtable quote hypertarget label"
    " enumerate def labelenumi arabic enumi tightlist pandocbounded strut ldots textit hfill break"
    " beta newline hyperref alpha textsuperscript textsubscript rule linewidth hwlines".split()
)
TEX = [  # each would read canary.tex or write pwned, were it to reach TeX as it is
    r"\input{canary}",
    r"\immediate\write18{touch pwned}",
    r"^^5cinput{canary}",
    r"\end{nboutput}\input{canary}\begin{nboutput}",
    r"\begin{input}{canary}\end{input}",
    r"\csname input\endcsname{canary}",
    r"\immediate\openout15=pwned\immediate\write15{x}",
    r"\special{pdf:docinfo << /Title (pwned) >>}",
    r"\includegraphics{canary.png}",
    "%\n\\input{canary}",
    r"} \input{canary} {",
    r"\catcode`\|=0 |input{canary}",
    "#1 & _ $ ~ \\",
]


def commands(latex):
    return set(re.findall(r"\\([A-Za-z]+)", latex))


R_KERNEL = '{"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"nbformat": %s}' % (b"1" * 5000), "not JSON"),
        ("{}", "of format 4"),
        ("[]", "of format 4"),
        ('{"nbformat": 3, "worksheets": []}', "of format 4"),
        (NOTEBOOK % 5, "not a valid"),
        (NOTEBOOK % "[{}]", "not a valid"),
        (NOTEBOOK % '[{"id": [1], "cell_type": "code"}]', "not a valid"),
        (NOTEBOOK % '[{"cell_type": "video", "metadata": {}, "source": ""}]', "not a valid"),
        (NOTEBOOK.replace("5,", '"x",') % "[]", "not a valid"),
        (NOTEBOOK.replace('"metadata": {}', '"metadata": null') % "[]", "not a valid"),
        (NOTEBOOK.replace("{}", R_KERNEL, 1) % "[]", "is a notebook in R"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_notebook_is_refused_in_a_line(tmp_path, content, message):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        read_notebook(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such notebook"):
        read_notebook(tmp_path / "absent.ipynb")


def test_half_a_character_is_replaced(tmp_path):
    path = tmp_path / "x.ipynb"
    cell = (
        '[{"id": "a", "cell_type": "markdown", "metadata": {}, "source": "\\ud800 \\ud83d\\ude00"}]'
    )
    path.write_text(NOTEBOOK % cell)
    notebook = read_notebook(path)
    assert notebook.cells[0].source == "? 😀"
    write_notebook(notebook, path)
    assert plain("a\udc80b") == "ab"


WRAPPED = ["{}", "${}$", "$${}$$", r"\({}\)", r"\[{}\]", "`{}`{{=latex}}", "# {}", "[a]({})"]
WRAPPED += ["![{0}]({0})", "| a |\n|--|\n| \\({}\\) |", "x[^1]\n\n[^1]: \\({}\\)", "<{}>"]
WRAPPED += [
    "```{{=latex}}\n{}\n```",
    "---\ntitle: \\({}\\)\n---",
    "\\newcommand{{\\alpha}}{{{}}} $\\alpha$",
]
WRAPPED += [
    "```\n{}\n```",
    "- \\({}\\)",
    "> $\n{}\n$",
    "[a]: {}\n[a]",
    "[\\({0}\\)](<{0}>)",
    "<!--{}-->",
]


def test_markdown_of_a_run_brings_no_latex():
    pieces = [wrapper.format(tex) for tex in TEX for wrapper in WRAPPED]
    assert to_latex([r"\(\beta\) $\alpha$"], trusted=False) == [r"\(\beta\) \(\alpha\)"]
    for piece, latex in zip(pieces, to_latex(pieces, trusted=False), strict=True):
        assert commands(latex) <= ALLOWED, (piece, latex)


def test_scrambled_markdown_of_a_run_brings_no_latex():
    tokens = [
        "$",
        "$$",
        r"\(",
        r"\)",
        r"\[",
        r"\]",
        "`",
        "```",
        "[",
        "](",
        ")",
        "![",
        "{",
        "}",
        "\n",
    ]
    tokens += ["\n\n", "\\", "^^5c", "|", "---", "{=latex}", "<!--", "-->", "*", "a", "    ", *TEX]
    draw = random.Random(7)
    pieces = ["".join(draw.choices(tokens, k=draw.randint(2, 14))) for _ in range(400)]
    for piece, latex in zip(pieces, to_latex(pieces, trusted=False), strict=True):
        assert commands(latex) <= ALLOWED, (piece, latex)


@pytest.mark.parametrize("name", ["input", "write", "def", "verbatim", "document", "nboutput"])
def test_an_environment_that_is_no_mathematics_does_not_pass(name):
    assert harmless_math(rf"$\begin{{{name}}}{{canary}}\end{{{name}}}$") is None
    assert harmless_math(rf"$\begin {name}$") is None
    assert harmless_math(r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$")


@pytest.mark.parametrize(
    "html",
    ["<table></table>", "<table><tr></tr></table>", "<table>" * 300, "<TABLE><tr><td></table>"],
)
def test_an_empty_table_is_no_table(html):
    assert html_tables(html) == []


def test_tables_that_would_fill_the_document_are_left_to_their_text():
    wide = "<table><tr>" + "<td>1</td>" * 10_000 + "</tr></table>"
    bomb = "<table>" + ("<tr>" + "<td colspan=1000 rowspan=1000>x</td>" * 100 + "</tr>") * 1000
    sparse = "<table><tr><td colspan=1000>x</td></tr>" + "<tr></tr>" * 1000 + "</table>"
    for html in (wide, bomb, sparse, "<table>" + " " * 2_000_000):
        assert html_tables(html) == []
    fits = "<table>" + "<tr><td>1</td></tr>" * (MAX_CELLS // 2) + "</table>"
    assert len(html_tables(fits)) == 1
    deep = "<div>" * 3000 + "<table><tr><td>x"
    assert "x" in html_tables(deep)[0]


@pytest.mark.parametrize(
    "convert",
    [
        lambda: html_tables(f"<table><tr><td>{'1' * 30_000}x</td></tr></table>"),
        lambda: html_tables(f"<table><tr><td>{'1 ' * 30_000}x</td></tr></table>"),
        lambda: plain("x" * 1_000_000 + "\rab" * 200_000),
        lambda: plain("".join(f"\r{'x' * n}" for n in range(2000, 0, -1))),
    ],
    ids=itertools.count(),
)
def test_one_long_cell_or_line_is_done_in_a_moment(convert):
    started = time.process_time()
    assert convert()
    assert time.process_time() - started < 5


def rendered(tmp_path, *outputs):
    path = write(executed(*outputs), tmp_path / "executed" / "a.ipynb")
    target = tmp_path / "notebooks" / "a.tex"
    render(path, target)
    return target.read_text(encoding="utf-8")


def shows(data, **metadata):
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def forged(**content):
    good = {"name": "a/b", "holds": True, "evidence": "e"}
    return shows({mime.CLAIM: good | content})


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (shows({"image/svg+xml": "<svg"}), "can't be printed"),
        (shows({"text/html": "<b>only</b>"}), "can't be printed"),
        (shows({"text/html": "<b>", "text/plain": "<x.HTML object>"}), "text/html, which can't be"),
        (shows({"application/vnd.plotly.v1+json": {}, "text/plain": "<p object at 1>"}), "plotly"),
        (shows({"video/mp4": "AAAA"}), "can't be printed"),
        (shows({"image/png": "%%%"}), "broken picture"),
        (shows({"image/png": "A"}), "not valid base64"),
        (shows({"image/png": PNG}), "broken picture"),
        (shows({"image/jpeg": PNG}), "broken picture"),
        (shows({"application/pdf": PNG}), "broken picture"),
        (forged(name=r"x}\input{canary"), "broken record or claim"),
        (forged(evidence=5), "broken record or claim"),
        (shows({mime.CLAIM: "text"}), "broken record or claim"),
        (shows({mime.CLAIM: {}}), "broken record or claim"),
    ],
)
def test_what_cannot_be_set_is_refused_with_its_cell(tmp_path, output, message):
    with pytest.raises(UserError, match=f"cell 1 shows .*{message}|cell 1 shows a {message}") as e:
        rendered(tmp_path, output)
    assert "\n" not in str(e.value)


def test_pieces_of_a_stream_are_joined_and_two_streams_are_not(tmp_path):
    pieces = [("stdout", " 50%"), ("stdout", "\r100%"), ("stderr", "warned"), ("stdout", "\rend")]
    streams = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    latex = rendered(tmp_path, *streams)
    assert re.findall(r"^(?: *\d+%|warned|end)$", latex, re.M) == ["100%", "warned", "end"]
    assert latex.count(r"\begin{nboutput}") == 3


def test_each_picture_has_its_file_and_none_of_an_earlier_run_stays(tmp_path):
    def dot(grey):
        file = io.BytesIO()
        Image.new("L", (1, 1), grey).save(file, "png")
        return file.getvalue()

    outputs = [shows({"image/png": base64.b64encode(dot(grey)).decode()}) for grey in (10, 20)]
    for shown in (outputs, outputs[:1]):
        latex = rendered(tmp_path, *shown)
        names = re.findall(r"\\nbfigure\{notebooks/(a\.figures/[\w.-]+)\}", latex)
        found = [(tmp_path / "notebooks" / name).read_bytes() for name in names]
        assert found == [dot(10), dot(20)][: len(shown)]
        assert len(list((tmp_path / "notebooks" / "a.figures").iterdir())) == len(shown)


def test_a_cell_is_named_by_its_place_in_the_notebook(tmp_path):
    notebook = executed(shows({"video/mp4": "AAAA"}))
    notebook.cells.insert(0, nbformat.v4.new_code_cell("", metadata={"tags": ["colab"]}))
    with pytest.raises(UserError, match="cell 2 shows"):
        render(write(notebook, tmp_path / "x.ipynb"), tmp_path / "x.tex")


def test_markdown_that_takes_for_ever_is_refused_with_its_cell(tmp_path, monkeypatch):
    notebook = executed()
    sources = ["fine", "[" * 2000, "fine, too"]
    notebook.cells += [nbformat.v4.new_markdown_cell(source) for source in sources]
    hurried = lambda pieces, **options: to_latex(pieces, **options | {"seconds": 1})
    monkeypatch.setattr("helpers.pdf.render.to_latex", hurried)
    with pytest.raises(UserError, match="cell 3: pandoc is not done with the Markdown after 1 s"):
        render(write(notebook, tmp_path / "x.ipynb"), tmp_path / "x.tex")


@pytest.mark.parametrize("name", ["notebooks", "helpers.py"])
def test_latex_goes_to_no_place_where_it_could_cost_a_file(tmp_path, name):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "figure-1.txt").touch()
    with pytest.raises(UserError, match=r"ends in \.tex"):
        render(write(executed(), tmp_path / "x.ipynb"), tmp_path / name)
    render(tmp_path / "x.ipynb", tmp_path / "helpers.tex")
    assert (tmp_path / "helpers" / "figure-1.txt").exists()


def test_a_missing_pandoc_is_no_cells_fault(tmp_path, monkeypatch):
    def missing():
        raise OSError

    notebook = executed()
    notebook.cells.append(nbformat.v4.new_markdown_cell("fine"))
    pandoc.cache_clear()
    monkeypatch.setattr("helpers.pdf.markdown.pypandoc.get_pandoc_path", missing)
    with pytest.raises(UserError, match=r"^pandoc is missing"):
        render(write(notebook, tmp_path / "x.ipynb"), tmp_path / "x.tex")


def test_what_can_be_set_is_cut_to_a_page_or_so(tmp_path):
    html = "<table><tr>" + "<td>1</td>" * 10_000 + "</tr></table>"
    latex = rendered(
        tmp_path,
        nbformat.v4.new_output("stream", text="x" * 5_000_000),
        nbformat.v4.new_output("stream", name="stderr", text="\x00\x01\xff" * 1000),
        shows({"text/markdown": "[" * 100_000}),
        shows({"text/html": html, "text/plain": "wide"}),
        shows({"text/plain": "x"}, caption=["not", "text"], alt=5),
        nbformat.v4.new_output("error", ename="E", evalue="x", traceback=["y" * 100_000]),
    )
    assert len(latex) < 50_000
    assert "wide" in latex
    assert len(_cut("x" * 10**7)) < 4000


EDITION = r"""\documentclass{homework}
\edition{Canary}
\begin{document}
\maketitle
\question[points=1, notebook=hostile]{Hostile}
\answer{hostile}
\end{document}
"""


def hostile_outputs():
    """Every payload in every kind of output."""
    dot = io.BytesIO()
    Image.new("L", (1, 1)).save(dot, "png")
    dot = base64.b64encode(dot.getvalue()).decode()
    for i, tex in enumerate(TEX):
        yield nbformat.v4.new_output("stream", text=tex)
        yield nbformat.v4.new_output("error", ename="E", evalue=tex, traceback=[tex])
        yield shows({"text/plain": tex})
        for formula in (f"${tex}$", f"$${tex}$$", rf"\[{tex}\]", tex):
            yield shows({"text/latex": formula, "text/plain": tex})
        yield shows({"text/markdown": "\n\n".join(w.format(tex) for w in WRAPPED)})
        yield shows({"text/html": f"<table><tr><td>{tex}</td></tr></table>"}, caption=tex)
        yield shows({"image/png": dot}, caption=tex, alt=tex)
        yield shows({mime.SOURCE: f"x = r'{tex}'"})
        yield value(f"hostile/v{i}", tex)
        yield claim(f"hostile/c{i}", evidence=tex)


def test_no_output_reads_a_file_or_runs_a_command_through_tex(tmp_path):
    sources, work = tmp_path / "solutions_latex", tmp_path / "work"
    (sources / "answers").mkdir(parents=True)
    (sources / "homework.cls").write_bytes((ROOT / "solutions_latex" / "homework.cls").read_bytes())
    edition = sources / "submission.tex"
    edition.write_text(EDITION)
    values = "\n\n".join(rf"\val{{hostile/v{i}}}" for i in range(len(TEX)))
    (sources / "answers" / "hostile.tex").write_text(values)
    notebook = executed(*hostile_outputs())
    notebook.cells[0].metadata["tags"] = ["raises-exception"]
    path = write(notebook, work / "executed" / "hostile.ipynb")
    write(notebook, tmp_path / "notebooks" / "hostile.ipynb")
    render(path, work / "notebooks" / "hostile.tex")
    (work / "canary.tex").write_text(r"\message{CANARYWASREAD}")
    student = read_student(Path(os.devnull), {"name": TEX[0], "netid": TEX[1], "tools": TEX[-1]})
    target = tmp_path / "out.pdf"
    typeset(edition, work, target, student=student, profile="quick", limit=100)
    reader = PdfReader(target)
    text = "".join(page.extract_text() for page in reader.pages)
    assert "CANARYWASREAD" not in (work / "submission.log").read_text(errors="replace")
    assert text.count("input{canary}") > len(TEX)
    assert reader.metadata.title == "Canary"
    assert not list(tmp_path.rglob("pwned*"))


def test_a_notebook_that_proves_nothing_and_shows_a_long_table_is_set(tmp_path):
    sources, work = tmp_path / "solutions_latex", tmp_path / "work"
    (sources / "answers").mkdir(parents=True)
    (sources / "homework.cls").write_bytes((ROOT / "solutions_latex" / "homework.cls").read_bytes())
    (sources / "long.tex").write_text(EDITION.replace(r"\answer{hostile}", ""))
    notebook = executed()
    table = "| a | b |\n|---|---|\n" + "| x | y |\n" * 100
    notebook.cells.append(nbformat.v4.new_markdown_cell(table))
    path = write(notebook, work / "executed" / "hostile.ipynb")
    write(notebook, tmp_path / "notebooks" / "hostile.ipynb")
    render(path, work / "notebooks" / "hostile.tex")
    student = read_student(Path(os.devnull), {"name": "Ada", "netid": "al1"})
    (warning,) = typeset(
        sources / "long.tex", work, tmp_path / "x.pdf", student=student, profile="quick", limit=1
    )
    assert "names no collaborators" in warning
