"""An executed notebook as the body of a LaTeX document: what Jupyter shows, cell by cell."""

import ast
import html as entities
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from bs4 import BeautifulSoup
from nbformat import NotebookNode

from .. import mime
from .edition import file_name
from .formulas import with_numbers
from .listing import inline_code, listing, text_block
from .markdown import Page, shows_anything, to_latex
from .notebook import ROOT, is_colab, lock, read_notebook, tags, write_atomically
from .pictures import NoPicture, Pictures, decoded
from .text import claimed, escape, prose, sentence

_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATES = "application/vnd.jupyter.widget-state+json"
_PICTURES = ("application/pdf", "image/svg+xml", "image/png", "image/jpeg", "image/gif")
_PICTURES += ("image/webp", "image/bmp")  # the best first
_PAGE = 40  # rows of a table that fit under one another
_MAX_HTML = 1_000_000  # characters, beyond which the plain text is set
_OBJECT = re.compile(r"<[\w.]+(?: object)?(?: at 0x[0-9a-f]+)?>|<Figure size .*>|<VegaLite .*")
_UNSEEN = re.compile(  # later frames of Matplotlib's animations, settings of MathJax
    r'frames\[[1-9]\d*\] = "[^"]*"|<script[^>]*>\s*MathJax\.Hub\.Config\([^<]*</script>'
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
_CELL = re.compile(r"\S*/ipykernel_\d+/\d+\.py")  # in a warning, where others name a file
_QUARTO = {"echo": "input", "output": "output", "include": "cell"}  # what is off where it is false


def render(executed: Path, target: Path) -> list[str]:
    """Write the LaTeX body of ``executed`` to ``target``, X.tex, and pictures to X.figures.

    Returns warnings, ``notebook: cell 3: …``, of what paper can't show; they also go to
    X.warnings.
    """
    body = Body(read_notebook(executed), target, _places(executed))
    latex, warnings, pictures = body.latex(), body.warnings, body.page.pictures
    with lock(target.parent):
        for outdated in pictures.folder.glob("figure-*"):
            outdated.unlink()
        for path, data in pictures.files.items():
            write_atomically(path, data)
        write_atomically(target.with_suffix(".warnings"), "".join(f"{w}\n" for w in warnings))
        write_atomically(target, latex)
    return warnings


def _places(executed: Path) -> list[Path]:
    """Where pictures of a notebook are looked for: beside it, which in the build is gone."""
    top = ROOT / "notebooks"
    folders = {path: file_name(f"{path.relative_to(top)}/") for path in top.glob("**/")}
    own = [path for path, name in folders.items() if executed.stem.startswith(name)]
    return [executed.parent, *own, top, Path()]


class Body:
    """A notebook on its way to LaTeX: its parts are LaTeX, or HTML that pandoc turns at once."""

    def __init__(self, notebook: NotebookNode, target: Path, places: list[Path]) -> None:
        self.name, self.number = target.stem, 0
        self.told: dict[str, list[int]] = {}  # warnings, with the cells they are about
        self.page = Page(self.name, Pictures(target.with_suffix(".figures"), places), self.warn)
        self.widgets = notebook.metadata.get("widgets", {}).get(_STATES, {}).get("state", {})
        info = notebook.metadata.get("language_info", {})
        self.language = str(info.get("pygments_lexer") or info.get("name") or "python")
        self.parameters = parameters_line(notebook.cells)
        for number, cell in enumerate(notebook.cells, 1):
            cell.metadata.number = number  # by which a warning names it
        self.cells = [c for c in notebook.cells if not is_colab(c) and "cell" not in _folded(c)]

        texts = [cell for cell in self.cells if cell.cell_type == "markdown"]
        for cell, source in zip(texts, with_numbers([c.source for c in texts]), strict=True):
            cell.source = source

    def warn(self, text: str) -> None:
        self.told.setdefault(text, []).append(self.number)

    @property
    def warnings(self) -> list[str]:
        """A line for each thing to know, however many cells it is about."""
        lines = []
        for text, cells in self.told.items():
            numbers = ", ".join(map(str, dict.fromkeys(cells)))
            lines.append(f"{self.name}: cell{'s' * (',' in numbers)} {numbers}: {text}")
        return lines

    def latex(self) -> str:
        parts: list[str | BeautifulSoup] = []
        for named, cells in groupby(self.cells, key=_parts):
            parts += [rf"\nbpart{{{named}}}\ifhwpart"] * bool(named)
            for cell in cells:
                self.number = cell.metadata.number
                shown = list(self._cell(cell))
                parts += [rf"\nbcell{{{self.number}}}", *self.page.formulas.definitions, *shown]
                self.page.formulas.definitions.clear()
            parts += [r"\fi"] * bool(named)
        found = iter(to_latex([p for p in parts if isinstance(p, BeautifulSoup)], self.name))
        latex = [next(found) if isinstance(part, BeautifulSoup) else part for part in parts]
        return "\n\n".join(latex) + "\n"

    def _cell(self, cell: NotebookNode) -> Iterator[str | BeautifulSoup]:
        if cell.cell_type == "markdown":
            yield self.page.markdown(cell.source, cell.get("attachments", {}))
        elif cell.cell_type == "raw":
            kind = cell.metadata.get("raw_mimetype") or cell.metadata.get("format") or ""
            yield cell.source if "latex" in kind else text_block(cell.source)
        else:
            yield from self._code(cell)
            for output in _joined(cell.outputs) if "output" not in _folded(cell) else ():
                yield self._output(output)

    def _code(self, cell: NotebookNode) -> Iterator[str]:
        """The input, unless somebody folded it."""
        if self.parameters and {"parameters", "injected-parameters"} & set(tags(cell)):
            yield self.parameters.pop()
            return
        title = re.match(r"#\s*@title\s+([^{\n]+)", cell.source)
        if title and cell.metadata.get("cellView") == "form":
            yield rf"\nbform{{{prose(title[1].strip())}}}"
        if "input" not in _folded(cell):
            source = re.sub(r"(?m)^#\| .*\n?", "", cell.source)
            if source.strip():
                yield listing(source, "nbcode", self.language)

    def _output(self, output: NotebookNode) -> str | BeautifulSoup:
        if output.output_type == "stream":
            return text_block(_CELL.sub("cell", _ADDRESS.sub("", output.text)))
        if output.output_type == "error":
            return text_block("\n".join(output.traceback), "nberror")
        return self._ours(output.data) or self._bundle(output.data, output.get("metadata", {}))

    def _ours(self, data: NotebookNode) -> str:
        """What ``helpers.report`` shows; empty for another output."""
        if mime.CLAIM in data:
            claim = data[mime.CLAIM]
            mark = "holds" if claim["holds"] else "fails"
            return rf"\nbclaim{{{claim['name']}}}{{{mark}}}{{{claimed(claim['evidence'])}}}"
        if mime.RECORD in data:
            return "%"
        if mime.STAMP in data:
            return rf"\nbstamp{{{prose(str(data.get('text/plain', '')))}}}"
        return listing(data[mime.SOURCE], "nbsource") if mime.SOURCE in data else ""

    def _bundle(self, data: NotebookNode, metadata: NotebookNode) -> str | BeautifulSoup:
        """The best of what an output offers."""
        plain, html, latex = (data.get(f"text/{kind}", "") for kind in ("plain", "html", "latex"))
        if latex and "text/markdown" not in data:  # else LaTeX may be a whole document: R, Julia
            return self._latex(latex, sentence(str(metadata.get("caption") or "")))
        if _WIDGET in data:
            shown = progress_line(data[_WIDGET]["model_id"], self.widgets) or plain
            return text_block(_ADDRESS.sub("", shown)) or self._unknown("a widget")
        kinds = [kind for kind in _PICTURES if data.get(kind)]
        if kinds:
            return self._picture(data[kinds[0]], kinds[0], metadata)
        if markdown := data.get("text/markdown"):
            return self.page.markdown(markdown, {})
        named = bool(_OBJECT.fullmatch(plain.split("\n")[0].strip()))
        html = _UNSEEN.sub("", html)
        if html and not shows_anything(html):
            if "<script" in html:
                return self._unknown("what JavaScript draws")
            data = {kind: data[kind] for kind in data if kind != "text/html"}  # a style sheet
        elif html and len(html) < _MAX_HTML and (named or not plain or not _is_styled(html)):
            return self.page.html(html)
        if plain and not (named and (html or len(data) > 1)):
            return "" if plain.startswith("<Figure") else text_block(_ADDRESS.sub("", plain))
        kinds = [kind for kind in data if kind != "text/plain"]
        return self._unknown(", ".join(kinds)) if kinds else "%"

    def _latex(self, latex: str, caption: str) -> str | BeautifulSoup:
        """A table or mathematics; any other text with its mathematics."""
        if found := re.search(r"(?s)^(.*?)(\\begin\{tabular\}.*\\end\{tabular\})", latex):
            latex, before = found[2], re.sub(r"\\\w+(?:\{[^{}]*\}|\[\w*!]*\])*", "", found[1])
            caption = caption or sentence(before.strip("{}% \n"))
            title = rf"\captionof{{table}}{{{caption}}}" if caption else ""
            if latex.count("\\\\\n") > _PAGE:
                latex = latex.replace("{tabular}", "{longtable}")
                return rf"\begin{{nbtables}}{title}{latex}\end{{nbtables}}"
            fitted = rf"\begin{{adjustbox}}{{max width=\linewidth}}{latex}\end{{adjustbox}}"
            together = rf"\begin{{minipage}}{{\linewidth}}\centering{title}{fitted}\end{{minipage}}"
            return rf"\begin{{nbtables}}{together}\par\end{{nbtables}}"
        text = re.sub(r"^\$\\displaystyle|^\$(?!\$)", "$$", latex.strip())
        text = re.sub(r"(?<!\$)\$$", "$$", text) if text.startswith("$$") else text
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        return self.page.html(text.replace("\n\n", "<p>"))

    def _picture(self, content: str, kind: str, metadata: NotebookNode) -> str:
        caption, alt = (str(metadata.get(key) or "") for key in ("caption", "alt"))
        size = metadata.get(kind, {})
        width = str(size.get("width", "")) if isinstance(size, dict) else ""
        try:
            picture = self.page.pictures.latex(decoded(content), width, alt or caption)
        except NoPicture as why:
            return self._unknown(f"a picture, {kind}, but {why}")
        return rf"\nbfigure{{{picture}}}{{{sentence(caption)}}}"

    def _unknown(self, what: str) -> str:
        """One line in the place of what paper can't show, and a warning."""
        self.warn(f"shows {what}, which is not on paper: display it as a picture, text or table")
        return rf"\nbstamp{{[In the notebook only: {escape(what)}]}}"


def progress_line(name: str, widgets: dict) -> str:
    """``train: 100%|████████████████████| 30/30 [00:03<00:00]`` for tqdm's widget of this name.

    Empty where it is no progress bar, or the states of the widgets are not in the notebook.
    """
    line = ""
    for child in widgets.get(name, {}).get("state", {}).get("children", ()):
        state = widgets.get(child.removeprefix("IPY_MODEL_"), {}).get("state", {})
        value, most = state.get("value"), state.get("max")
        if isinstance(value, str):
            line += entities.unescape(re.sub(r"<[^<>]*>|&nbsp;", " ", value))
        elif isinstance(value, int | float) and isinstance(most, int | float):
            filled = round(20 * min(value / (most or 1), 1.0))
            line += f"|{'█' * filled}{'░' * (20 - filled)}|"
    return line.strip()


def parameters_line(cells: list[NotebookNode]) -> list[str]:
    """The parameters a run had, in a line, then nothing for each further cell that sets them.

    Empty where a cell does more than give names to plain values: then it is shown as it is.
    """
    chosen = [c for c in cells if {"parameters", "injected-parameters"} & set(tags(c))]
    values: dict[str, str] = {}
    try:
        for node in (node for cell in chosen for node in ast.parse(cell.source).body):
            (name,) = node.targets if isinstance(node, ast.Assign) else (node.target,)
            ast.literal_eval(node.value)
            values[name.id] = ast.unparse(node.value)
    except (SyntaxError, ValueError, AttributeError, TypeError):
        return []
    shown = ", ".join(inline_code(f"{name} = {value}") for name, value in values.items())
    return ["%"] * (len(chosen) - 1) + [rf"\nbparameters{{{shown}}}"] if shown else []


def _parts(cell: NotebookNode) -> str:
    """``a,b`` of a cell tagged part-a and part-b: an edition may ask for some parts only."""
    return ",".join(tag.removeprefix("part-") for tag in tags(cell) if tag.startswith("part-"))


def _folded(cell: NotebookNode) -> set[str]:
    """What is not shown, ``cell``, ``input`` or ``output``: by a tag, in Lab, Colab or Quarto."""
    folds = [re.fullmatch(r"(?:hide|remove)-(cell|input|output)", tag) for tag in tags(cell)]
    found = {fold[1] for fold in folds if fold}
    if cell.cell_type == "code":
        options = r"(?m)^#\|\s*(echo|output|include)\s*:\s*false\b"
        found |= {_QUARTO[option] for option in re.findall(options, cell.source)}
    facts = cell.metadata
    if facts.get("cellView") == "form" or facts.get("jupyter", {}).get("source_hidden"):
        found.add("input")
    return found


def _is_styled(html: str) -> bool:
    """Whether HTML is a small web page, of which paper shows less than the plain text does."""
    page = re.search(r"<style|<script", html, re.I)
    return bool(page) and not re.search(r"<table|<img", html, re.I)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with consecutive pieces of one stream put together, so that \\r still works."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if output.get("name") and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined
