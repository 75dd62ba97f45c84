"""What lets a notebook run alone in Colab: a badge under its title, and a cell that fetches us."""

import re
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .errors import UserError
from .notebook import ROOT, is_colab, notebook_text, read_notebook, write_atomically

# Colab has torch and most of the rest; --no-deps keeps pip from replacing any of it.
CELL = """\
try:  # in Colab, fetch the helpers and what Colab lacks; elsewhere there is nothing to do
    import google.colab  # noqa: F401
except ImportError:
    pass
else:
    import importlib.util
    import os
    import subprocess
    import sys

    if not os.path.exists("NAME"):
        source = "REPOSITORY"
        clone = ["git", "clone", "--quiet", "--depth=1", "--branch=TAG", source, "NAME"]
        subprocess.run(clone, check=True)
    sys.path.insert(0, os.path.abspath("NAME"))
    for package in PACKAGES:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", package]
            subprocess.run(install, check=True)"""
_BADGE = re.compile(r"^\[!\[Open in Colab\]\(.*\)\n*", re.M)


def colab_cell(root: Path = ROOT) -> str:
    """The cell's text, for the repository, version and packages that pyproject.toml names."""
    words = _project(root)
    return re.sub("|".join(words), lambda match: words[match[0]], CELL)


def badge(name: str, root: Path = ROOT) -> str:
    """The badge in Markdown that opens the notebook ``name`` in Colab."""
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({picture})]({_address(name, root)})"


def prepare(notebook: NotebookNode, name: str, root: Path = ROOT) -> NotebookNode:
    """``notebook`` with the badge after its title and the cell after its first one, renewed.

    Raises UserError where the notebook does not begin with a title.
    """
    notebook.cells = [cell for cell in notebook.cells if not is_colab(cell)]
    title = notebook.cells[0] if notebook.cells else None
    if title is None or title.cell_type != "markdown" or not title.source.startswith("# "):
        raise UserError(f"{name}: the first cell must be Markdown and start with '# ' and a title")
    heading, *rest = without_badge(title.source).split("\n", 1)
    title.source = "\n".join([heading, "", badge(name, root), *rest])
    cell = nbformat.v4.new_code_cell(colab_cell(root), id="colab", metadata={"tags": ["colab"]})
    notebook.cells.insert(1, cell)
    return notebook


def without_badge(source: str) -> str:
    """Markdown less the badge and the empty line after it: on paper there is nothing to click."""
    return _BADGE.sub("", source).rstrip("\n")


def renew_all(root: Path = ROOT) -> list[Path]:
    """Renew badges and cells of all notebooks, and the README's addresses; what changed."""
    texts = {path: notebook_text(prepare(read_notebook(path), path.stem, root))
             for path in (root / "notebooks").glob("*.ipynb")}  # fmt: skip
    readme = root / "README.md"
    if readme.exists():
        texts[readme] = readdressed(readme.read_text(encoding="utf-8"), root)
    changed = [path for path, text in texts.items() if path.read_bytes() != text.encode()]
    for path in changed:  # a file as it was is not newer than what it made
        write_atomically(path, texts[path])
    return changed


def readdressed(text: str, root: Path = ROOT) -> str:
    """``text`` with this repository's address in its clone line, badges and citation."""
    address, version = (_project(root)[word] for word in ("REPOSITORY", "TAG"))
    badges = r"https://colab\.research\.google\.com/github/\S+?/notebooks/(\w+)\.ipynb"
    text = re.sub(badges, lambda match: _address(match[1], root), text)
    text = re.sub(r"(git clone )\S+", rf"\g<1>{address}", text)
    text = re.sub(r"(version = \{)[^}]*", rf"\g<1>{version.removeprefix('v')}", text)
    return re.sub(r"(url     = \{)[^}]*", rf"\g<1>{address}", text)


def _address(name: str, root: Path) -> str:
    words = _project(root)
    repository = words["REPOSITORY"].removeprefix("https://github.com/")
    address = f"{repository}/blob/{words['TAG']}/notebooks/{name}.ipynb"
    return f"https://colab.research.google.com/github/{address}"


def _project(root: Path) -> dict[str, str]:
    """The words that ``CELL`` leaves open."""
    content = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    return {
        "NAME": project["name"],
        "TAG": f"v{project['version']}",
        "REPOSITORY": project["urls"]["Repository"],
        "PACKAGES": str(content["tool"]["homework"]["colab"]).replace("'", '"'),
    }
