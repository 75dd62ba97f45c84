"""The list of references: the works that a document cites by author and year."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import mime
from .errors import UserError
from .notebook import bundles, read_notebook
from .text import prose

_NAME = r"[A-ZŘÖ][\w’'-]*[a-zø]"
# Vaswani et al. 2017, Levy and Goldberg (2014), Elman, 1990: names and year. A letter or a title
# says which of two: Wang et al. 2020a, or Wang et al. 2020, "Linformer".
_CITATION = re.compile(
    rf"\b({_NAME}(?:(?:, {_NAME})* (?:and|&) {_NAME}| et al\.)?),? \(?((?:18|19|20)\d\d[a-z]?)\b"
    r"(?:, [\"“](\w+))?"
)
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Work:
    """A work as it is cited, ``Vaswani et al. 2017``, by whom it is, its title, and where it is."""

    cite: str
    by: str
    title: str
    at: str

    def latex(self) -> str:
        """An entry of the list."""
        where = _ARXIV.sub(r"\\href{https://arxiv.org/abs/\1}{arXiv:\1}", prose(self.at))
        where = _ADDRESS.sub(r"\\url{\g<0>}", where) if "\\href" not in where else where
        mark = "" if self.title.endswith("?") else "."
        year = self.cite.rpartition(" ")[2]
        return rf"\work{{{prose(self.by)} ({year}). \emph{{{prose(self.title)}{mark}}} {where}.}}"


def read_works(path: Path) -> list[Work]:
    """The works in a file of references, sorted as they are cited. Raises UserError."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["work"] if path.exists() else []
        works = [Work(**entry) for entry in entries]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: {error}; each [[work]] has cite, by, title and at") from None
    return sorted(works, key=lambda work: work.cite.replace("Ř", "R"))


def citations(text: str, works: Iterable[Work] = ()) -> set[str]:
    """What a text cites, each in one form: ``Elman 1990``, with two names, or with et al.

    Works of one year and the same names have letters. ``Wang et al. 2020, "Linformer"`` cites
    the one of ``works`` whose title begins so, as if its letter were there.
    """
    lettered = {(w.cite[:-1], w.title.split(":")[0]): w.cite for w in works if w.cite[-1].isalpha()}
    found = _CITATION.findall(re.sub(r"(?:\\?[\s~])+", " ", text))
    short = lambda names: re.sub(r",.* (?:and|&) .*", " et al.", names).replace("&", "and")
    keys = ((f"{short(names)} {year}", title) for names, year, title in found)
    return {lettered.get((key, title), key) for key, title in keys}


def reference_list(works: list[Work], answers: list[Path], executed: list[Path]) -> str:
    """LaTeX for the works cited in answers, in notebooks and in the source that these show."""
    texts = [path.read_text(encoding="utf-8") for path in answers]
    for notebook in map(read_notebook, executed):
        texts += [cell.source for cell in notebook.cells]
        texts += [data.get(mime.SOURCE, "") for data in bundles(notebook)]
    found = set().union(*(citations(text, works) for text in texts))
    entries = [work.latex() for work in works if work.cite in found]
    return "\\references{%\n" + "\n".join(entries) + "}\n" if entries else ""
