"""Markdown and HTML to LaTeX: what Jupyter shows is HTML, so that is what pandoc reads."""

import html as entities
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

import pypandoc
from bs4 import BeautifulSoup, NavigableString, Tag
from mistune import import_plugin
from mistune.plugins.table import table_in_list
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath, MathInlineParser

from .errors import UserError
from .formulas import ENVIRONMENTS, Formulas, color_digits
from .listing import inline_code, listing, text_block
from .pictures import NoPicture, Pictures
from .text import GROUP, RIGHT_TO_LEFT, escape, prose

MAX_ROWS = 200  # of one table on paper
_BAR = "\ue000"  # stands for a bar in code in a table, until the table is read
_GUARDED = str.maketrans(
    "'\"-.", "\ufdd0\ufdd1\ufdd2\ufdd3"
)  # from "smart", for templates/html.lua
_PIECE = "<pre class='latex'>%% piece</pre>"
_MATH = re.compile(
    r"(?s)\$\$(?P<block>.+?)\$\$|\\\[(?P<bracket>.+?)\\\]|\\\((?P<round>.+?)\\\)"
    r"|(?<![\\$\w])\$(?P<inline>(?=[^$]*[\\^_={])[^$]+|[A-Za-z])\$(?!\d)"
    r"|(?P<whole>\\begin\{(?P<name>\w+\*?)\}.*?\\end\{(?P=name)\})"
)
_IN_TEXT = "center flushleft quote quotation itemize enumerate description tabular table figure"
_IN_TEXT = f"{_IN_TEXT} minipage verbatim abstract tikzpicture longtable".split()
_NOT_SHOWN = ["script", "style", "link", "meta", "noscript", "button", "form"]
_UNSEEN = {"iframe": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}


@dataclass
class Page:
    """What the text of one notebook needs: its formulas and pictures; what it warns of."""

    name: str
    pictures: Pictures
    warn: Callable[[str], None]
    formulas: Formulas = field(default_factory=Formulas)

    def markdown(self, source: str, attachments: Mapping[str, Mapping[str, str]]) -> BeautifulSoup:
        """Markdown as Jupyter shows it, ready for ``to_latex``."""
        inline = _Inline(hard_wrap=False)
        plugins = [import_plugin(n) for n in (*MarkdownWithMath.DEFAULT_PLUGINS, "footnotes")]
        plugins.append(table_in_list)
        markdown = MarkdownWithMath(_Renderer(self), inline=inline, plugins=plugins)
        return self._prepared(markdown.render(_bars_hidden(source)), attachments)

    def html(self, source: str) -> BeautifulSoup:
        """HTML as Jupyter shows it, with its mathematics, ready for ``to_latex``."""
        return self._prepared(self.with_formulas(source), {})

    def with_formulas(self, html: str) -> str:
        """HTML whose mathematics is LaTeX that passes pandoc as it is."""
        if not re.search(r"\$|\\[\[(]|\\begin", html):
            return html
        soup = BeautifulSoup(html, "html.parser")
        for text in soup.find_all(string=_MATH):
            if type(text) is NavigableString and not text.find_parent(["code", "pre", "style"]):
                shown = _MATH.sub(self._formula, entities.escape(text, quote=False))
                text.replace_with(BeautifulSoup(shown, "html.parser"))
        return str(soup)

    def _formula(self, match: re.Match) -> str:
        body = {name: entities.unescape(found) for name, found in match.groupdict("").items()}
        if body["inline"] or body["round"]:
            return self.inline_math(body["inline"] or body["round"])
        if body["whole"]:
            return self.environment(body["name"], body["whole"])
        return self.display_math(body["block"] or body["bracket"])

    def environment(self, name: str, whole: str) -> str:
        """Mathematics, or a list or table of LaTeX; what is neither stands as it was written."""
        if name in ENVIRONMENTS:
            return self.display_math(whole)
        if name.rstrip("*") in _IN_TEXT:
            whole = re.sub(r"\\tag\{[^{}]*\}", "", whole)
            return raw(whole.replace(f"{{{name}}}", f"{{{name.rstrip('*')}}}"))
        self.warn(f"the environment {name} stands as written")
        return raw(text_block(whole), block=True)

    def inline_math(self, body: str) -> str:
        return self._shown_math(body, self.formulas.inline(body))

    def display_math(self, body: str) -> str:
        return self._shown_math(body, self.formulas.display(body))

    def _shown_math(self, body: str, latex: str | None) -> str:
        if latex is None:
            shown = " ".join(body.split())[:60]
            self.warn(f"a formula that TeX can't read stands as written: {shown}")
            latex = inline_code(body)
        return raw(latex)

    def _prepared(self, html: str, attachments: Mapping[str, Mapping[str, str]]) -> BeautifulSoup:
        """HTML in which what pandoc would lose or garble is LaTeX already."""
        soup = BeautifulSoup(html, "html.parser")
        _color_cells(soup)
        found = re.search(r'frames\[0\] = "([^"]*)"', html)  # of Matplotlib's animation
        frame = found[1].replace("\\\n", "") if found else ""
        for tag in soup.find_all(_NOT_SHOWN):
            tag.decompose()
        for tag in soup.find_all([*_UNSEEN, "canvas"]):
            _put(tag, escape(self._unseen(tag)))
        drawn = [tag for tag in soup.find_all("svg") if not tag.find_parent("svg")]
        written = re.findall(r"(?is)<svg\b.*?</svg\s*>", html)  # with the capitals of viewBox
        for tag, text in zip(drawn, written if len(written) == len(drawn) else drawn, strict=True):
            self._picture(tag, str(text).encode, tag.get("width", ""))
        for tag in soup.find_all("img"):
            address = str(tag.get("src") or frame)
            if "colab-badge" in address:  # on paper there is nothing to click
                (tag.find_parent("a") or tag).decompose()
                continue
            styled = re.search(r"(?<![\w-])width\s*:\s*([\d.]+(?:px|%))", str(tag.get("style", "")))
            width = str(tag.get("width") or (styled[1] if styled else ""))
            self._picture(tag, lambda a=address: self.pictures.find(a, attachments), width)
        for tag in soup.find_all(attrs={"data-cite": True}):
            _put(tag, rf"\nbcite{{{tag['data-cite']}}}{{{prose(tag.get_text())}}}")
        for tag in soup.find_all(["pre", "code", "kbd", "samp"]):
            if "latex" not in tag.get("class", ()) and not tag.find_parent("pre"):
                block = tag.name == "pre"
                _put(tag, (text_block if block else inline_code)(tag.get_text()), block)
        _shorten_tables(soup)
        _turn(soup)
        return soup

    def _unseen(self, tag: Tag) -> str:
        """One line in the place of what moves, sounds or loads another page."""
        inner = tag.find("source")
        address = str(tag.get(_UNSEEN.get(tag.name, ""), "") or (inner and inner.get("src")) or "")
        address = "" if address.startswith("data:") else address
        kind = {"iframe": "web page", "object": "embedded object"}.get(tag.name, tag.name)
        self.warn(f"paper cannot show its {kind} {address[:80]}".rstrip())
        return f"[{kind}: {address}]" if address else f"[{kind}]"

    def _picture(self, tag: Tag, find: Callable[[], bytes], width: str) -> None:
        alt, address = str(tag.get("alt") or ""), str(tag.get("src") or "")
        address = "" if address.startswith("data:") else address
        try:
            _put(tag, self.pictures.latex(find(), width, alt))
        except NoPicture as why:
            named = "a picture" if self.pictures.offline else f"the picture {address or alt}"
            self.warn(f"{named} is left out: {why}")
            shown = f"{prose(alt)} " if alt else ""
            _put(tag, rf"[{shown}{inline_code(address)}]" if address else f"[{shown or 'picture'}]")


class _Inline(MathInlineParser):
    """With no formula between two prices, $5 and $6, or in code, `$HOME` and `$PATH`."""

    SPECIFICATION = MathInlineParser.SPECIFICATION | {
        "inline_math_tex": (
            r"(?<![$\\])\$(?=[^$]*[\\^_={][^$]*\$|[^$]*\$(?!\d))"
            rf"(?P<math_inline_tex>(?:\\[^`]|{GROUP}|[^$\\`{{}}])+?)\$"
        )
    }


class _Renderer(IPythonRenderer):
    """Jupyter's renderer, with mathematics and code as LaTeX."""

    def __init__(self, page: Page) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self.page = page

    def inline_math(self, body: str) -> str:
        return self.page.inline_math(body)

    def block_math(self, body: str) -> str:
        return self.page.display_math(body)

    def latex_environment(self, name: str, body: str) -> str:
        return self.page.environment(name, rf"\begin{{{name}}}{body}\end{{{name}}}")

    def block_code(self, code: str, info: str | None = None) -> str:
        language = (info or "").split(maxsplit=1)
        return raw(listing(code, "nboutput", language[0] if language else "text"), block=True)

    def codespan(self, text: str) -> str:
        return raw(inline_code(text.replace(_BAR, "|")))

    def block_html(self, html: str) -> str:
        return self.page.with_formulas(html)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f'<img src="{entities.escape(url)}" alt="{entities.escape(text)}">'


def shows_anything(html: str) -> bool:
    """Whether HTML has text or pictures of its own, that no script would have to draw."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(_NOT_SHOWN):
        tag.decompose()
    return bool(soup.get_text(strip=True) or soup.find(["img", "svg", *_UNSEEN]))


def raw(latex: str, block: bool = False) -> str:
    """LaTeX in HTML, on which the filter of pandoc hands it on as it is."""
    tag = "pre" if block else "code"
    return f'<{tag} class="latex">{entities.escape(latex.translate(_GUARDED))}</{tag}>'


def to_latex(pieces: Iterable[BeautifulSoup], name: str) -> list[str]:
    """LaTeX for each piece of HTML, in one run of pandoc; headings one level down.

    ``name`` keeps the headings of one notebook apart from those of another.
    """
    pieces = list(pieces)
    _link(pieces, name)
    command = [pypandoc.get_pandoc_path(), "--from=html+smart-auto_identifiers", "--to=latex"]
    command += ["--wrap=preserve", "--shift-heading-level-by=1"]
    command += ["--lua-filter", str(files(__package__) / "templates" / "html.lua")]
    content = _PIECE.join(map(str, pieces))
    run = subprocess.run(command, input=content, capture_output=True, encoding="utf-8")
    if run.returncode:
        raise UserError(f"{name}: pandoc refuses its Markdown: {run.stderr.strip()[-300:]}")
    return [part.strip() for part in run.stdout.split("%% piece")]


def _link(pieces: list[BeautifulSoup], name: str) -> None:
    """Make links to headings lead there, as in Jupyter; links to nothing become plain text."""
    known: dict[str, str] = {}
    links = [tag for piece in pieces for tag in piece.find_all("a", href=re.compile("^#"))]
    wanted = {_anchor(tag["href"][1:]) for tag in links} - {""}
    for piece in pieces:
        for tag in piece.find_all(["h1", "h2", "h3", "h4", "h5", "h6"]):
            tag["id"] = tag.get("id") or "-".join(tag.get_text().split())
        for tag in piece.find_all("a", attrs={"name": True}):
            tag["id"] = tag["name"]
        for tag in piece.find_all(id=True):
            target = _anchor(tag["id"])
            del tag["id"]
            if target in wanted - known.keys():
                known[target] = f"{name}:{len(known) + 1}"
                if tag.name in ("li", "sup", "p", "td", "th"):  # whose names pandoc forgets
                    tag.insert(0, piece.new_tag("span"))
                    tag = tag.contents[0]
                tag["id"] = known[target]
        for tag in piece.find_all("a", href=re.compile("^(javascript|attachment|data):")):
            tag.unwrap()
    for tag in links:
        if target := known.get(_anchor(tag["href"][1:])):
            tag["href"] = f"#{target}"
        else:
            tag.unwrap()


def _anchor(text: str) -> str:
    """What is the same in a heading and in the links to it that people write."""
    return re.sub(r"\W+", "-", entities.unescape(text)).strip("-").lower()


def _color_cells(soup: BeautifulSoup) -> None:
    """Note the colors of cells for the filter: HTML's own, and those of a pandas Styler."""
    sheet = " ".join(tag.get_text() for tag in soup.find_all("style"))
    rules: dict[str, str] = {}
    for names, rule in re.findall(r"((?:#[\w-]+[,\s]*)+)\{([^}]*)\}", sheet):
        for name in re.findall(r"#([\w-]+)", names):
            rules[name] = f"{rules.get(name, '')};{rule}"
    for tag in soup.find_all(["td", "th"]):
        style = f"{rules.get(tag.get('id', ''), '')};{tag.get('style', '')}"
        found = {"fill": re.search(r"background(?:-color)?\s*:\s*([#\w]+)", style)}
        found["ink"] = re.search(r"(?<![\w-])color\s*:\s*([#\w]+)", style)
        given = {"fill": tag.get("bgcolor")} | {k: match[1] for k, match in found.items() if match}
        for name, color in given.items():
            if color and (digits := color_digits(color)):
                tag[f"data-{name}"] = digits


def _shorten_tables(soup: BeautifulSoup) -> None:
    for table in soup.find_all("table"):
        rows = table.find_all("tr")
        for row in rows[MAX_ROWS:]:
            row.decompose()
        if len(rows) > MAX_ROWS:
            note = soup.new_tag("p")
            note.string = f"[… {len(rows) - MAX_ROWS:,} more rows are in the notebook]"
            table.insert_after(note)


def _bars_hidden(source: str) -> str:
    """Markdown whose tables are not torn by a bar in a formula or in code."""
    if not re.search(r"(?m)^[\s|:-]*-[\s|:-]*\|[\s|:-]*$", source):
        return source
    lines, fenced = [], False
    for line in source.split("\n"):
        fenced ^= bool(re.match(r"\s*(?:```|~~~)", line))
        if line.count("|") > 1 and not fenced:
            bars = lambda math: math[0].replace(r"\|", r"\Vert ").replace("|", r"\vert ")
            line = re.sub(r"(?<!\\)\$(?:\\.|[^$\\])+\$", bars, line)
            line = re.sub(r"`[^`]+`", lambda code: code[0].replace("|", _BAR), line)
        lines.append(line)
    return "\n".join(lines)


def _turn(soup: BeautifulSoup) -> None:
    """Runs from right to left; and paragraphs that begin so, with the Latin words in them."""
    begins = re.compile(rf"[\W\d_]*{RIGHT_TO_LEFT.pattern}")
    paragraphs = [tag for tag in soup.find_all("p") if not tag.find_parent("td")]
    turned = [tag for tag in paragraphs if begins.match(tag.get_text())]
    for tag in turned:
        for code in tag.find_all("code", class_="latex"):
            code.string = rf"\beginL {code.get_text()}\endL{{}}"
    for text in soup.find_all(string=True):
        if type(text) is not NavigableString or text.find_parent(class_="latex"):
            continue
        within = text.find_parent("p") in turned
        if within or RIGHT_TO_LEFT.search(text):
            parts = [
                raw(prose(part)) if i % 2 else _latin(part, within)
                for i, part in enumerate(re.split(f"({RIGHT_TO_LEFT.pattern})", text))
            ]
            text.replace_with(BeautifulSoup("".join(parts), "html.parser"))
    for tag in turned:
        tag.insert(0, BeautifulSoup(raw(r"\nbrtlpar "), "html.parser"))


def _latin(text: str, within: bool) -> str:
    """HTML for text from left to right, perhaps within a paragraph from right to left."""
    found = re.fullmatch(r"(?s)(\W*)(.*?)(\s*)", text)
    if not within or not found[2]:
        return entities.escape(text, quote=False)
    before, words, after = (entities.escape(part, quote=False) for part in found.groups())
    return f"{before}{raw(chr(92) + 'beginL ')}{words}{raw(chr(92) + 'endL{}')}{after}"


def _put(tag: Tag, latex: str, block: bool = False) -> None:
    """LaTeX in the place of an element."""
    tag.replace_with(BeautifulSoup(raw(latex, block), "html.parser"))
