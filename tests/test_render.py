"""An executed notebook as LaTeX: what Jupyter shows, or a line and a warning in its place."""

import base64
import io
import os
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from pdf_fixtures import write
from PIL import Image
from pypdf import PdfReader

from helpers.pdf.edition import read_course, read_student
from helpers.pdf.notebook import ROOT
from helpers.pdf.pictures import ORIENTATION
from helpers.pdf.render import progress_line, render
from helpers.pdf.typeset import typeset


def shows(data, **metadata):
    return new_output("display_data", data, metadata=metadata)


def rendered(tmp_path, *cells, name="a"):
    """LaTeX and warnings of a notebook; an output stands for a cell that shows it."""
    cells = [
        new_code_cell("x = 1", execution_count=i, outputs=[cell]) if "output_type" in cell else cell
        for i, cell in enumerate(cells, 2)
    ]
    path = write(new_notebook(cells=cells), tmp_path / "executed" / f"{name}.ipynb")
    warnings = render(path, tmp_path / "notebooks" / f"{name}.tex")
    return (tmp_path / "notebooks" / f"{name}.tex").read_text(encoding="utf-8"), warnings


def picture(kind="png", color="teal", size=(40, 30), **options):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><circle r="9"/></svg>'

MARKDOWN = {  # what somebody writes, and what of it must be in the LaTeX
    "As $x = \\text{a $b$ c}$ has.": [r"\nbm{x = \text{a $b$ c}} has"],
    "From $\\beta = $0.1 to $b$.": [r"\nbm{\beta =}0.1 to \nbm{b}."],
    "text\n## Heading": [r"\subsubsection{Heading}"],
    "Let $ x_1 < 2 $, \\\\(y\\\\) be, for $5 and $6.": [r"\nbm{x_1 < 2}", r"\nbm{y}", r"\$5 and"],
    "\\begin{align}a &= b \\tag{7}\\end{align}": [r"\nbdisplay{\begin{aligned}a &= b"],
    "- [x] done\n- [ ] open\n  - inner": [r"$\boxtimes$", r"$\square$", "inner"],
    "\\begin{theorem}x\\end{theorem}": [r"\begin{nboutput}"],
    "~~old~~ a<br>b H<sub>2</sub>O": [r"\st{old}", "a\\\\\nb", r"\textsubscript{2}"],
    "See [there](#The-End).\n# The End": [r"\hyperref[a:", r"\label{a:"],
    "[nowhere](#gone) C:\\Users 100% a_b": ["nowhere C:\\textbackslash Users 100\\% a\\_b"],
    "| a | b |\n|---|--:|\n| `x|y` | $|z|$ |": [r"{lr}", r"x\textbar{}\hwbr{}y", r"\vert z\vert"],
    "| a | b |\n|---|---|\n| \\$3 | \\$9 |\n\n```\nls | wc | cat\n```": [
        r"\$3 & \$9", r"ls \textbar{} wc \textbar{} cat"
    ],
    "one  \n\\*two": ["one\\\\\n{*}two"],
    "<table><tr><th>n</th></tr><tr><td>$n^2$</td></tr></table>": [
        "n \\\\\n\\midrule", r"\nbm{n^2}"
    ],
    "It's $f'(x) -- 1$ -- so ...\n\n$$w'$$": [
        "It's", r"\nbm{f'(x) -- 1} -- so \ldots", r"\nbdisplay{w'}"
    ],
    "```python\nif x < 1: pass\n```": [r"\hwA{if} x"],
    "As <cite data-cite='known'>Ng (2011)</cite> says[^1].\n\n[^1]: A note.": [
        r"\nbcite{known}{Ng (2011)}", "A note."
    ],
    "![of it](p.svg) <img src='p.png' width='50%'>": [".pdf}{}{of it}", r"{0.500\linewidth}"],
    "See \\eqref{a_b}, \\ref{c_d}. $$y \\label{a_b}$$\n\n$$z \\tag{Z} \\label{c_d}$$": [
        "See (1), Z.", r"\nbdisplay{y \qquad\text{(1)}}", r"z \qquad\text{(Z)}"
    ],
    "- a list\n\n  | x | y |\n  |---|---|\n  | 1 | 2 |\n": [r"\item", r"\begin{nbtable}"],
    "سلام Python `x`\n\nA سلام": [
        r"\nbrtlpar \nbrtl{سلام} \beginL Python\endL{} \beginL \texttt{x}\endL{}", r"A \nbrtl{سلام}"
    ],
    "![a](attachment:q.gif)": [".png}{30.0bp}{a}"],
}  # fmt: skip


def test_markdown_is_set_as_jupyter_shows_it(tmp_path):
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / "p.svg").write_text(SVG)
    (tmp_path / "executed" / "p.png").write_bytes(base64.b64decode(picture()))
    cells = [new_markdown_cell(source) for source in MARKDOWN]
    cells[-1].attachments = {"q.gif": {"image/gif": picture("gif")}}
    latex, warnings = rendered(tmp_path, *cells)
    for part, expected in zip(latex.split(r"\nbcell")[1:], MARKDOWN.values(), strict=True):
        for text in expected:
            assert text in part, part
    assert warnings == ["a: cell 7: the environment theorem stands as written"]


OUTPUTS = [  # an output, what of it is in the LaTeX, what in the warning
    (shows({"text/html": "<p>Before <b>it</b></p><table><tr><td>1</td></tr></table>"}),
     [r"Before \textbf{it}", r"\begin{nbtable}"], ""),
    (shows({"text/html": "<style>p{}</style><i>m</i>", "text/plain": "Model()"}), ["Model()"], ""),
    (shows({"text/latex": r"$\displaystyle x^{2}$", "image/png": picture()}),
     [r"\nbdisplay{x^{2}}"], ""),
    (shows({"text/latex": r"\begin{align}a&<b\end{align}"}), [r"{aligned}a&<b\end{aligned}"], ""),
    (shows({"text/latex": "\\begin{tabular}{l}\n1 \\\\\n\\end{tabular}"}, caption="It `x`"),
     [r"\captionof{table}{It \texttt{x}}\begin{adjustbox}"], ""),
    (shows({"image/svg+xml": SVG, "text/plain": "<Figure size 6x3>"}, alt="dot", caption="A `d`"),
     [r"\nbfigure{\nbpicture{notebooks/a.figures/figure-", r".pdf}{}{dot}}{A \texttt{d}}"], ""),
    (shows({"text/html": "<style>#T_a, #T_b {color: #fff}</style><table><tr><td id='T_b' "
            "style='background: teal'>1</td></tr></table>"}),
     [r"\cellcolor[HTML]{008080}\color[HTML]{FFFFFF}1"], ""),
    (shows({"text/html": f'<img id="a"><script>frames[0] = "data:image/png;base64,{picture()}"\n'
            f'frames[1] = "{"x" * 10**6}"</script>'}), [r"\nbpicture{"], ""),
    (shows({"text/latex": "A frame: \\begin{tabular}{l}1\\end{tabular}"}),
     [r"\captionof{table}{A frame:}"], ""),
    (shows({"text/markdown": "**bold**", "text/latex": r"\section{A}"}), [r"\textbf{bold}"], ""),
    (shows({"text/html": '<iframe src="https://a.b"></iframe>'}), ["https://a.b"], "web page"),
    (shows({"application/vnd.plotly.v1+json": {}}), ["[In the notebook only: "], "plotly"),
    (shows({"image/png": "iVBORw0KGgo="}), ["[In the notebook only: a picture"], "image/png"),
    (shows({"text/html": "<div id='v'></div><script>draw('#v')</script>",
            "text/plain": "alt.Chart(...)"}), ["[In the notebook only: what JavaScript"], "draws"),
    (shows({"text/html": "<style>p {}</style>", "text/plain": "<a.B object at 0x7f00aa>"}), [], ""),
    (shows({"text/html": "<video src='data:video/mp4;base64,AAAA'></video>"}),
     ["[video]"], "its video"),
    (new_code_cell(outputs=[new_output("stream", text=text) for text in (
        " 50%", "\r100%\n<C at 0x7f12345678>")]), ["100\\%", "{}C\\text"], ""),
    (new_output("stream", text="/tmp/ipykernel_7/41.py:3: UserWarning: x"),
     ["cell:3: UserWarning"], ""),
    (new_output("error", ename="E", evalue="x", traceback=["E: x"]), [r"\begin{nberror}"], ""),
]  # fmt: skip


def test_an_output_is_set_or_a_line_and_a_warning_stand_for_it(tmp_path):
    latex, warnings = rendered(tmp_path, *(output for output, *_ in OUTPUTS))
    parts = latex.split(r"\nbcell")[1:]
    for number, (part, (_, expected, warning)) in enumerate(zip(parts, OUTPUTS, strict=True), 1):
        for text in expected:
            assert text in part
        told = [line for line in warnings if line.startswith(f"a: cell {number}: ")]
        assert len(told) == bool(warning) and warning in "".join(told)
    assert not [text for text in ("0x7f", "Figure size", "50\\%") if text in latex]
    assert (tmp_path / "notebooks" / "a.warnings").read_text().splitlines() == warnings


def test_what_a_notebook_folds_away_is_not_printed(tmp_path):
    def cell(source, *tags, **metadata):
        output = new_output("stream", text=f"shown by {source}")
        return new_code_cell(source, outputs=[output], metadata={"tags": list(tags)} | metadata)

    latex, _ = rendered(
        tmp_path,
        cell("in1", "hide-input"),
        cell("in2", jupyter={"source_hidden": True}),
        cell("#@title A form\nin3", cellView="form"),
        cell("#| echo: false\nin4"),
        cell("out1", "remove-output"),
        cell("#| output: false\nout2"),
        cell("both", "remove-cell"),
        cell("#| include: false\nboth"),
        cell("n = 1  # of 5", "parameters"),
        cell("n = 2", "injected-parameters"),
    )
    code, output = (
        "".join(re.findall(rf"(?s)begin{{{kind}}}(.*?)\\end", latex))
        for kind in ("nbcode", "nboutput")
    )
    assert [name for name in ("in", "out1", "out2", "both", "n =", "false") if name in code] == [
        "out1", "out2"
    ]  # fmt: skip
    assert [i for i in range(1, 5) if f"in{i}" in output] == [1, 2, 3, 4]
    assert "out" not in output and "both" not in output
    assert r"\nbform{A form}" in latex
    assert re.findall(r"\\nbparameters\{\\texttt\{(.*)\}\}", latex.replace(r"\hwbr{}", "")) == [
        "n = 2"
    ]


def test_cells_of_a_part_stand_between_its_marks(tmp_path):
    cells = [new_markdown_cell(text) for text in ("all", "one", "two", "end")]
    for cell, tags in zip(cells, ([], ["part-a"], ["part-a"], ["part-b", "part-c"]), strict=True):
        cell.metadata.tags = tags
    latex, _ = rendered(tmp_path, *cells)
    words = re.findall(r"^(all|one|two|end|\\nbpart.*|\\fi)$", latex, re.M)
    assert words == ["all", r"\nbpart{a}\ifhwpart", "one", "two", r"\fi",
                     r"\nbpart{b,c}\ifhwpart", "end", r"\fi"]  # fmt: skip


def test_pictures_of_an_earlier_run_do_not_stay(tmp_path):
    outputs = [shows({"image/png": picture(color=color)}) for color in ("red", "blue")]
    for shown in (outputs, outputs[:1]):
        rendered(tmp_path, *shown)
        assert len(list((tmp_path / "notebooks" / "a.figures").iterdir())) == len(shown)


def test_a_progress_bar_is_the_line_it_ends_with():
    left, right = ({"state": {"value": text}} for text in ("train:&nbsp; 50%", " 15/30"))
    box = {"state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"]}}
    bar = {"state": {"max": 30, "value": 15}}
    states = {"box": box, "a": left, "b": bar, "c": right}
    assert progress_line("box", states) == f"train:  50%|{'█' * 10}{'░' * 10}| 15/30"
    assert progress_line("box", {}) == progress_line("b", states) == ""


# One document of many notebooks, each of a kind that is hard to set.

ROWS = "".join(f"| {i} | {i**7} |\n" for i in range(90))
LONG = [
    new_code_cell(f's = "{"a" * 3000}"', execution_count=1),
    new_output("stream", text=str(list(range(900)))),
    new_output("stream", text="ab" * 2500),
    new_markdown_cell(f"`{'module.' * 30}` https://a.org/{'path/' * 20}{'a-b-' * 40}"),
    new_markdown_cell(f"| a | b |\n|---|---|\n| {'Word' * 20} | {'some text ' * 30} |"),
    new_markdown_cell("$$ y = " + " + ".join(f"a_{{{i}}} x^{{{i}}}" for i in range(40)) + " $$"),
    new_markdown_cell(rf"$$ \left[ {'x' * 90} \right] $$"),
    new_markdown_cell(rf"$A = \begin{{matrix}} {' & '.join(['abcdef'] * 30)} \end{{matrix}}$"),
    new_markdown_cell(f"| a | b |\n|---|--:|\n{ROWS}"),
    shows({"text/html": f"<table>{'<tr>' + '<td>123456</td>' * 40 + '</tr>'}</table>"}),
]
WRONG = ["A $x^2^3$ here", "A $(\\left (x)$ here", "A $\\begin {array}{c}$ here"]
WRONG.append("A $\\begin {CD}A\\end {CD}$ here")
MATH = [
    new_markdown_cell(r"$\newcommand{\norm}[1]{\|#1\|} \newcommand{\R}{\mathbb{R}}$"),
    new_markdown_cell(r"$\norm{x} \in \R$, $\bm{x} \lt \boldsymbol{\beta}_\mathcal{D}$, $θᵢ²$"),
    new_markdown_cell(r"$\mathbf{\alpha} \color{Plum} x$ $\begin{align}a&=b\end{align}$"),
    new_markdown_cell(r"$\nosuchcommand{x}$ and 𝑥 = 𝛼, $\text{d_model} \iff \LaTeX$ $$\frac{a$$"),
    new_markdown_cell("Привет, γειά ✓ سلام عليكم שלום $größe$ ~~gone~~ [x] → ∀ 🚀"),
    new_markdown_cell(r"$\frac{1}$, $z$, $$\begin{array}{c} a & b \end{array}$$"),
    *map(new_markdown_cell, WRONG),
    new_raw_cell(r"\begin{center}raw\end{center}", metadata={"raw_mimetype": "text/latex"}),
    new_raw_cell("raw text & more"),
]


def typeset_all(tmp_path, **notebooks):
    """Text and warnings of a PDF of these notebooks, a question each."""
    sources, work = tmp_path / "solutions_latex", tmp_path / "work"
    (sources / "answers").mkdir(parents=True)
    (sources / "homework.cls").write_bytes((ROOT / "solutions_latex" / "homework.cls").read_bytes())
    part = {"parts": ", part={b, a}"}
    questions = "\n".join(
        rf"\question[notebook={name}{part.get(name, '')}]{{{name}}} Q" for name in notebooks
    )
    edition = sources / "e.tex"
    begin = r"\documentclass{homework}\edition{Kinds}\begin{document}\maketitle"
    edition.write_text(f"{begin}\n{questions}\n\\end{{document}}")
    warnings = []
    for name, cells in notebooks.items():
        warnings += rendered(work, *cells, name=name)[1]
        write(new_notebook(), tmp_path / "notebooks" / f"{name}.ipynb")
    student = read_student(Path(os.devnull), {"name": "Ada", "netid": "al1"})
    warnings += typeset(
        edition, work, tmp_path / "e.pdf", student=student, course=read_course(Path(os.devnull)),
        profile="quick", limit=9,
    )  # fmt: skip
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "e.pdf").pages)
    return text, warnings


def test_a_document_of_what_is_hard_to_set(tmp_path):
    parts = [new_markdown_cell(f"in part {p}", metadata={"tags": [f"part-{p}"]}) for p in "abc"]
    parts.append(new_markdown_cell("As <cite data-cite='nokey'>Nobody (2000)</cite> says"))
    parts.append(new_markdown_cell("\n".join(f"{'  ' * i}- level {i}" for i in range(6))))
    text, warnings = typeset_all(tmp_path, long=LONG, math=MATH, parts=parts)
    told = dict.fromkeys(w for w in warnings if w.startswith(("long", "math", "parts")))
    unreadable = "math: cell {}: a formula that TeX can't read stands as written: "
    assert list(told) == [
        r"math: cell 4: a formula that TeX can't read stands as written: \frac{a",
        r"math: cell 4: a formula has the unknown command \nosuchcommand",
        rf"{unreadable.format(6)}\frac {{1}}",
        rf"{unreadable.format(6)}\begin {{array}}{{c}} a & b \end {{array}}",
        *(f"{unreadable.format(i)}{WRONG[i - 7][3:-6]}" for i in range(7, 11)),
        "parts: cell 4: no .bib file has nokey",
    ]
    assert "in part b" in text and "in part c" not in text
    parts = [
        "899]",
        "Nobody (2000)",
        "123456",
        "89 44231334895529",
        "raw text & more",
        "Привет",
        "level 5",
    ]
    for part in [*parts, "nosuch", "[ROCKET]"]:
        assert part in text.replace("\n", ""), part


def test_a_picture_looks_as_in_a_browser(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # a quarter turn
    photograph = base64.b64decode(picture("jpeg", exif=exif))
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / "p.jpg").write_bytes(photograph)
    drawn = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 4' width='80' height='40'>"
    drawn += "<path d='M0 0h8v4z'/></svg>"  # without viewBox a tenth of the size
    rendered(tmp_path, new_markdown_cell("![](p.jpg)"), shows({"text/html": drawn}))
    jpeg, pdf = sorted((tmp_path / "notebooks" / "a.figures").iterdir())
    with Image.open(jpeg) as turned:
        assert turned.size == (30, 40)
    content = PdfReader(pdf).pages[0].get_contents().get_data()
    assert re.search(rb"(?m)\b7\.5 0 0 -?7\.5 ", content), content


@pytest.mark.parametrize(
    ("name", "asked"), [("my pic.png", "my%20pic.png"), ("ö.png", "%C3%B6.png")]
)
def test_an_address_is_asked_for_as_browsers_do(tmp_path, monkeypatch, name, asked):
    seen = []

    def answer(request, **_):
        seen.append(request.full_url)
        return io.BytesIO(base64.b64decode(picture()))

    monkeypatch.setattr("urllib.request.urlopen", answer)
    rendered(tmp_path, new_markdown_cell(f"<img src='https://a.b/{name}'>"))
    assert seen == [f"https://a.b/{asked}"]


def test_a_warning_about_many_cells_is_one_line(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", offline)
    badge = new_markdown_cell("![a](https://a.b/c.svg) ![d](https://a.b/d.svg)")
    latex, warnings = rendered(tmp_path, badge, new_markdown_cell("text"), badge.copy())
    assert warnings == ["a: cells 1, 3: a picture is left out: the network can't be reached"]
    assert latex.count("[d ") == 2


def test_pictures_of_a_notebook_in_a_subfolder_are_found_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.pdf.render.ROOT", tmp_path)
    for color in ("red", "blue"):
        folder = tmp_path / "notebooks" / f"week {color}"
        folder.mkdir(parents=True)
        (folder / "p.png").write_bytes(base64.b64decode(picture(color=color)))
    rendered(tmp_path, new_markdown_cell("![](p.png)"), name="week-blue-homework")
    (found,) = (tmp_path / "notebooks" / "week-blue-homework.figures").iterdir()
    assert found.read_bytes() == (folder / "p.png").read_bytes()
