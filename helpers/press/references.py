"""The list of references: the works that a document cites by author and year."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .. import mime
from .errors import UserError
from .notebook import bundles, read_notebook
from .text import prose

_NAME = r"[A-ZŘÖ][\w’'-]*[a-zø]"
# Vaswani et al. 2017, Levy and Goldberg (2014), Elman, 1990: names and year.
_CITATION = re.compile(
    rf"\b({_NAME}(?:(?:, {_NAME})* (?:and|&) {_NAME}| et al\.)?),? \(?((?:18|19|20)\d\d)\b"
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


def citations(text: str) -> set[str]:
    """What a text cites, each in one form: ``Elman 1990``, with two names, or with et al."""
    found = _CITATION.findall(re.sub(r"[\s~]+", " ", text))
    short = lambda names: re.sub(r",.* (?:and|&) .*", " et al.", names).replace("&", "and")
    return {f"{short(names)} {year}" for names, year in found}


def reference_list(works: list[Work], answers: list[Path], executed: list[Path]) -> str:
    """LaTeX for the works cited in answers, in notebooks and in the source that these show."""
    texts = [path.read_text(encoding="utf-8") for path in answers]
    for notebook in map(read_notebook, executed):
        texts += [cell.source for cell in notebook.cells]
        texts += [data.get(mime.SOURCE, "") for data in bundles(notebook)]
    found = set().union(*map(citations, texts))
    entries = [work.latex() for work in works if work.cite in found]
    return "\\references{%\n" + "\n".join(entries) + "}\n" if entries else ""
