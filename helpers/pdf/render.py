"""An executed notebook as the body of a LaTeX document, set by nbconvert with our template."""

import base64
import binascii
import io
import re
from itertools import groupby
from pathlib import Path

from filelock import FileLock
from nbconvert.exporters import LatexExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from PIL import Image
from pygments import format, lex
from pygments.formatters import LatexFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType
from pypdf import PdfReader

from .. import mime
from .colab import without_badge
from .errors import UserError
from .evidence import checked
from .markdown import harmless_math, pandoc, to_latex
from .notebook import is_colab, read_notebook, tags, write_atomically
from .tables import html_tables
from .text import claimed, escape, plain, prose, sentence
from .widgets import final_text

MAX_LINE = 95  # characters of a monospaced line that fit on the page
MAX_OUTPUT = 6000  # characters of text that one output may print on paper
_LOOKS = ("image/", "text/html", "application/vnd.plotly")  # of an object, beside its text
PICTURES = {"application/pdf": ".pdf", "image/png": ".png", "image/jpeg": ".jpg"}


class PrintStyle(Style):
    """Colours that stay readable on paper and in grey."""

    styles = {  # noqa: RUF012 (Pygments wants it so)
        Keyword: "bold #0057A0",
        Name.Decorator: "#0057A0",
        Name.Function: "bold",
        Name.Class: "bold",
        Operator.Word: "bold #0057A0",
        Number: "#7A4A00",
        String: "#00654B",
        Comment: "italic #666666",
    }


def render(executed: Path, target: Path) -> None:
    """Write the LaTeX body of ``executed`` to ``target``, X.tex, and pictures to X.figures.

    Raises UserError for another kind of target, and for an output that can be set neither as
    it is nor as text.
    """
    if target.suffix != ".tex":
        raise UserError(f"{target}: the LaTeX goes to a file whose name ends in .tex")
    notebook = read_notebook(executed)
    for number, cell in enumerate(notebook.cells, 1):
        cell.metadata.number = number  # by which an error names it
    notebook.cells = [cell for cell in notebook.cells if _is_shown(cell)]
    outputs = Outputs(folder=target.with_suffix(".figures"))
    exporter = LatexExporter(
        template_name="homework",
        extra_template_basedirs=[str(Path(__file__).parent / "templates")],
        default_preprocessors=[],  # nbconvert's own would want Inkscape, and stumble over bad data
        preprocessors=[Prose(), Code(), outputs],
    )
    for cells in _parted(notebook.cells):
        if parts := _parts(cells[0]):
            cells[0].metadata.begin = f"\n\\nbpart{{{parts}}}\\ifhwpart\n"
            cells[-1].metadata.end = "\n\\fi\n"
    body, _ = exporter.from_notebook_node(notebook)
    with lock(target.parent):
        for outdated in outputs.folder.glob("figure-*"):
            outdated.unlink()
        for path, data in outputs.pictures.items():
            write_atomically(path, data)
        write_atomically(target, body)


def lock(bodies: Path) -> FileLock:
    """Held while somebody writes LaTeX and pictures into the folder, or TeX reads them there."""
    bodies.mkdir(parents=True, exist_ok=True)
    return FileLock(bodies / ".lock")


def _is_shown(cell: NotebookNode) -> bool:
    """Whether a cell has a place on paper; its claims count all the same."""
    return not is_colab(cell) and not {"remove-cell", "hide-cell"} & set(tags(cell))


def _shows_input(cell: NotebookNode) -> bool:
    """Whether nobody folds the code: by a tag, in JupyterLab, or as a form in Colab."""
    folded = cell.metadata.get("jupyter", {}).get("source_hidden")
    form = cell.metadata.get("cellView") == "form"
    return not (folded or form or {"hide-input", "remove-input"} & set(tags(cell)))


def _shows_outputs(cell: NotebookNode) -> bool:
    return not {"hide-output", "remove-output"} & set(tags(cell))


def _parts(cell: NotebookNode) -> str:
    """``a,b`` of a cell tagged part-a and part-b: an edition may ask for some parts only."""
    return ",".join(tag.removeprefix("part-") for tag in tags(cell) if tag.startswith("part-"))


def _parted(cells: list[NotebookNode]) -> list[list[NotebookNode]]:
    """Runs of cells that belong to the same parts."""
    return [list(run) for _, run in groupby(cells, key=_parts)]


class Prose(Preprocessor):
    """Markdown cells to LaTeX, all of them in one run of pandoc."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        cells = [cell for cell in nb.cells if cell.cell_type == "markdown"]
        sources = [without_badge(cell.source) for cell in cells]
        pandoc()  # that it is missing is no cell's fault
        try:
            found = to_latex(sources)
        except UserError:
            _name_culprit(cells, sources)
            raise
        for cell, latex in zip(cells, found, strict=True):
            cell.metadata.latex = latex
        return nb, resources


def _name_culprit(cells: list[NotebookNode], sources: list[str]) -> None:
    """Raise the UserError of the first cell whose Markdown pandoc can't turn to LaTeX by itself."""
    for cell, source in zip(cells, sources, strict=True):
        try:
            to_latex([source], seconds=10)
        except UserError as error:
            raise UserError(f"cell {cell.metadata.number}: {error}") from None


class Code(Preprocessor):
    """Code cells to highlighted, wrapped listings."""

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "code":
            cell.metadata.latex = listing(cell.source, "nbcode") if _shows_input(cell) else ""
        return cell, resources


class Outputs(Preprocessor):
    """Each output to LaTeX by the best of its representations; ``pictures`` go to ``folder``."""

    def __init__(self, folder: Path, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.folder, self.pictures = folder, {}

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        self.widgets = nb.metadata.get("widgets", {})
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "code":
            self.cell = f"cell {cell.metadata.number}"
            shown = [self._output(output) for output in _joined(cell.outputs)]
            cell.metadata.shown = shown if _shows_outputs(cell) else []
        return cell, resources

    def _output(self, output: NotebookNode) -> str:
        if output.output_type == "stream":
            return text_block(output.text)
        if output.output_type == "error":
            return text_block("\n".join(output.traceback), "nberror")
        data, metadata = output.data, output.metadata
        caption, alt = (str(metadata.get(key) or "") for key in ("caption", "alt"))
        if mime.CLAIM in data:
            claim = checked(data, mime.CLAIM, self.cell)
            mark = "holds" if claim["holds"] else "fails"
            return rf"\nbclaim{{{claim['name']}}}{{{mark}}}{{{claimed(claim['evidence'])}}}"
        if mime.RECORD in data:
            return ""
        if mime.STAMP in data:
            return rf"\nbstamp{{{prose(str(data.get('text/plain', '')))}}}"
        if mime.SOURCE in data:
            return listing(data[mime.SOURCE], "nbsource")
        for kind in PICTURES:
            if kind in data:
                return self._picture(data[kind], kind, caption, alt)
        return self._text(data, caption)

    def _text(self, data: NotebookNode, caption: str) -> str:
        """Tables, mathematics, Markdown and plain text, in this order."""
        if "application/vnd.jupyter.widget-view+json" in data:
            shown = final_text(data, self.widgets) or str(data.get("text/plain", ""))
            return text_block(shown) if shown else ""
        if tables := html_tables(str(data.get("text/html", ""))):
            title = rf"\nbcaption{{table}}{{{sentence(caption)}}}" if caption else ""
            first = rf"\begin{{nbtogether}}{title}{tables[0]}\end{{nbtogether}}"
            return "\n".join([r"\begin{nbtables}", first, *tables[1:], r"\end{nbtables}"])
        if "text/latex" in data and (latex := harmless_math(data["text/latex"])):
            return latex
        if "text/markdown" in data and len(data["text/markdown"]) <= MAX_OUTPUT:
            return to_latex([data["text/markdown"]], trusted=False)[0]
        looks = [kind for kind in data if kind.startswith(_LOOKS)]
        for kind in ("text/plain", "text/markdown"):
            if kind in data and not (looks and _is_bare_name(data[kind])):
                return text_block(data[kind])
        if not data:
            return ""
        raise UserError(
            f"{self.cell} shows {', '.join(looks or data)}, which can't be printed: "
            "display it as text, a table, or a Matplotlib figure"
        )

    def _picture(self, content: str, kind: str, caption: str, alt: str) -> str:
        try:
            data = base64.b64decode(content, validate=False)
            _check_picture(data, kind)
        except binascii.Error:
            raise UserError(f"{self.cell} shows a picture that is not valid base64") from None
        except Exception as error:  # whatever the readers of pictures raise
            raise UserError(f"{self.cell} shows a broken picture, {kind}: {error}") from None
        path = self.folder / f"figure-{len(self.pictures) + 1}{PICTURES[kind]}"
        self.pictures[path] = data
        name = f"{self.folder.parent.name}/{self.folder.name}/{path.name}"
        return rf"\nbfigure{{{name}}}{{{sentence(caption)}}}{{{prose(alt or caption)}}}"


def _is_bare_name(text: str) -> bool:
    """Whether the text says no more than what kind of object this is: <…SVG object>."""
    return text.startswith("<") and " object" in text and text.endswith(">") and "\n" not in text


def _check_picture(data: bytes, kind: str) -> None:
    """Raise the reader's exception if ``data`` is not a whole picture of this ``kind``."""
    if kind == "application/pdf":
        PdfReader(io.BytesIO(data)).pages[0].get_contents()
        return
    with Image.open(io.BytesIO(data), formats=[kind.removeprefix("image/")]) as picture:
        picture.load()


def listing(source: str, environment: str) -> str:
    """Python ``source``, highlighted, in a fancyvrb environment that wraps long lines."""
    source = plain(source.strip("\n")).expandtabs(4)
    tokens = lex(source, PythonLexer())
    alike = groupby(tokens, key=lambda token: _look(token[0]))  # TeX takes its time over each
    merged = ((look, "".join(text for _, text in group)) for look, group in alike)
    formatter = LatexFormatter(style=PrintStyle, envname=environment)
    lines = format(merged, formatter).splitlines()
    return _verbatim(lines[1:-1], environment, source)


def _look(kind: _TokenType) -> _TokenType:
    """The most general kind of token that is printed like this one."""
    styled = PrintStyle.style_for_token
    while kind.parent is not None and styled(kind) == styled(kind.parent):
        kind = kind.parent
    return kind


def highlight_macros() -> str:
    """The definitions that ``listing``'s output uses."""
    return LatexFormatter(style=PrintStyle).get_style_defs()


def text_block(text: str, environment: str = "nboutput") -> str:
    """Plain output, cleaned of terminal codes and cut at a page or so."""
    text = plain(text).strip("\n")
    if not text.strip():
        return ""
    if len(text) > MAX_OUTPUT:
        left_out = len(text) - MAX_OUTPUT
        text = f"{text[:MAX_OUTPUT]}\n[… {left_out:,} more characters are in the notebook]"
    text = text.expandtabs(8)
    return _verbatim([_escape_line(line) for line in text.split("\n")], environment, text)


def _verbatim(lines: list[str], environment: str, text: str) -> str:
    """The lines of ``text`` as they are, in LaTeX.

    The class is told how many, so that it can break pages well, and not to look for places to
    break in lines that fit, which would take it long.
    """
    widths = (sum(1 + (c >= "\u2500") for c in line) for line in text.split("\n"))
    fits = max(widths) <= MAX_LINE
    begin = rf"\hwlines{{{len(lines)}}}\begin{{{environment}}}" + "[breaklines=false]" * fits
    return "\n".join([begin, *lines, rf"\end{{{environment}}}"])


def _escape_line(line: str) -> str:
    return re.sub(r"[\\{}]", lambda match: escape(match[0]), line)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with consecutive pieces of one stream put together, so that \\r still works."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        stream = output.output_type == "stream"
        if stream and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined
