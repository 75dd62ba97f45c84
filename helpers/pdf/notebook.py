"""Reading and writing notebooks: what is not a notebook is refused in one line."""

import ast
import hashlib
import json
import os
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .. import mime
from .errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "data/results"  # where records lie, below the project's folder
DATA = "the data sets"  # the part of ``components`` that lists files a run need not have read


def read_notebook(path: Path) -> NotebookNode:
    """The notebook at ``path``, valid in nbformat 4.

    Raises UserError where there is no file, no JSON, no notebook, an old format or a notebook
    in another language.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such notebook") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a notebook") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or absurdly nested
        raise UserError(f"{path} is not a notebook: not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("nbformat") != 4:
        raise UserError(
            f"{path} is not a notebook of format 4: open it in JupyterLab and save it again"
        )
    _give_ids(content)
    try:
        text = json.dumps(content, ensure_ascii=False)
        text = text.encode(errors="replace").decode()  # half a surrogate pair is no character
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat and its back ends raise a dozen kinds
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is not a valid notebook: {first_line}") from None
    language = notebook.metadata.get("kernelspec", {}).get("language") or "python"
    if language != "python":
        raise UserError(f"{path} is a notebook in {language}; only Python is run here")
    return notebook


def _give_ids(content: dict) -> None:
    """Tell cells apart that were copied with their id, or have none, as Colab writes them."""
    seen: set[str] = set()
    cells = content.get("cells")
    for i, cell in enumerate(cells if isinstance(cells, list) else []):
        if not isinstance(cell, dict):
            continue
        if "id" not in cell:
            cell["id"] = f"cell-{i}"
            content["nbformat_minor"] = 5  # the first format in which cells have one
        if isinstance(cell["id"], str):
            if cell["id"] in seen:
                cell["id"] = f"copy-{i}"
            seen.add(cell["id"])


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write ``notebook`` to ``path`` whole or not at all."""
    write_atomically(path, notebook_text(notebook))


def notebook_text(notebook: NotebookNode) -> str:
    """The content of the notebook's file."""
    return nbformat.writes(notebook) + "\n"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, even if we are killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The notebook's own code cells, without the one that papermill injects and Colab's."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and not {"injected-parameters", "colab"} & set(tags(cell))
    ]


def is_colab(cell: NotebookNode) -> bool:
    """Whether this is the cell that fetches the helpers in Colab, and elsewhere does nothing.

    It is no part of a run's identity, so a new version or address makes no run outdated.
    """
    return "colab" in tags(cell)


def tags(cell: NotebookNode) -> list[str]:
    """A cell's tags."""
    return cell.metadata.get("tags", [])


def bundles(executed: NotebookNode) -> list[NotebookNode]:
    """The data of all outputs, by kind, in order."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    return [output.data for output in outputs if "data" in output]


def lacks_data(executed: NotebookNode) -> bool:
    """Whether a run computed on a stand-in, or without some of its data sets."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    warned = any("StandInWarning" in output.get("text", "") for output in outputs)
    stamps = [output.get("data", {}).get(mime.STAMP, {}) for output in outputs]
    return warned or "stand-in" in str(stamps)


def components(notebook: NotebookNode, root: Path = ROOT) -> dict[str, str]:
    """What a run's numbers depend on besides its parameters, each part as a hash.

    The notebook's code cells, the helper modules it uses, the locked packages and the data
    sets at hand count; prose does not.
    """
    from ..data import present

    code = [cell.source for cell in code_cells(notebook)]
    modules = {str(p.relative_to(root)): p.read_bytes() for p in helper_modules(notebook, root)}
    lock = root / "requirements.lock"
    parts = {
        "the notebook's code": json.dumps(code).encode(),
        **modules,
        "requirements.lock": lock.read_bytes() if lock.exists() else b"",
        DATA: json.dumps(present()).encode(),
    }
    return {name: digest(content) for name, content in parts.items()}


def digest(content: bytes) -> str:
    """Sixteen hexadecimal digits that stand for ``content`` in an identity."""
    return hashlib.sha256(content).hexdigest()[:16]


def dependencies(notebook: NotebookNode, root: Path = ROOT) -> dict[str, str]:
    """``components``, and the records that the notebook shows."""
    shown = {str(p.relative_to(root)): digest(p.read_bytes()) for p in records(notebook, root)}
    return components(notebook, root) | shown


def differing(
    before: dict[str, str], after: dict[str, str], but: tuple[str, ...] = ()
) -> list[str]:
    """The parts that differ, less those whose names begin with one of ``but``.

    The data sets are left out: a run may itself download them.
    """
    names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    return [name for name in names if not name.startswith((DATA, *but))]


def identity(
    notebook: NotebookNode,
    parameters: dict,
    root: Path = ROOT,
    *,
    parts: dict[str, str] | None = None,
) -> str:
    """Equal identity, equal outputs: a hash of parameters and ``dependencies``.

    And of the code cells' tags, of which some say how a cell is run, such as skip-execution, and
    of the number of threads, which changes a sum's last bits. ``parts`` are the dependencies
    where they have been read already.
    """
    parts = dependencies(notebook, root) if parts is None else parts
    tagged = [tags(cell) for cell in code_cells(notebook)]
    threads = os.environ.get("OMP_NUM_THREADS")
    content = [sorted(parameters.items()), sorted(parts.items()), tagged, threads]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def records(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """The records that a notebook shows: ``recorded("topic")``, or ``"data/results/x.json"``.

    They are no part of a run of its own that is recorded, or a notebook that shows its own
    records would never be done.
    """
    code = "\n".join(cell.source for cell in code_cells(notebook))
    topics = re.findall(r"\b(?:recorded|runs)\(\s*[\"'](\w+)[\"']", code)
    files = {root / name for name in re.findall(r"[\"'](data/results/[\w/-]+\.json)[\"']", code)}
    found = {path for name in topics for path in (root / RESULTS / name).glob("*.json")}
    return sorted(found | set(filter(Path.is_file, files)))


def helper_modules(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """The files of ``helpers`` that a notebook imports, directly or through one another."""
    found: set[Path] = set()
    waiting = [(cell.source, root) for cell in code_cells(notebook)]
    while waiting:
        source, package = waiting.pop()
        for path in _imported(source, package, root) - found:
            found.add(path)
            waiting.append((path.read_text(encoding="utf-8"), path.parent))
    return sorted(found)


def _imported(source: str, package: Path, root: Path) -> set[Path]:
    """Files of ``helpers`` named by the import statements of ``source``."""
    names: set[str] = set()
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.relative_to(root) if node.level else Path()
            for _ in range(node.level - 1):
                base = base.parent
            parts = [*base.parts, *filter(None, (node.module or "").split("."))]
            names.add(".".join(parts))
            names |= {".".join([*parts, alias.name]) for alias in node.names}
    candidates = [root / name.replace(".", "/") for name in names if name.startswith("helpers")]
    files = {path.with_suffix(".py") for path in candidates}
    files |= {path / "__init__.py" for path in candidates}
    return {path for path in files if path.is_file()}


def _parsed(source: str) -> ast.Module:
    """The syntax tree of a cell or module; what only IPython reads is translated by IPython."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return _translated(source)


def _translated(source: str) -> ast.Module:
    """The syntax tree of a cell with %magics, !commands or name?; of one with %% its body's."""
    from IPython.core.inputtransformer2 import TransformerManager  # slow, and seldom needed

    lines = ("" if line.lstrip().startswith("%%") else line for line in source.split("\n"))
    try:
        return ast.parse(TransformerManager().transform_cell("\n".join(lines)))
    except SyntaxError:  # the run itself shows where
        return ast.Module([], [])
