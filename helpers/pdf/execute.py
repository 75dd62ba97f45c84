"""Run a notebook in a fresh kernel, with parameters, once."""

import copy
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock
from nbformat import NotebookNode

from .errors import UserError
from .notebook import (
    MARK,
    ROOT,
    Run,
    as_run,
    code_cells,
    is_colab,
    read_notebook,
    read_text,
    records,
    tags,
    write_notebook,
)
from .parameters import Value, choose, read_parameters
from .text import plain

_IMPORT = re.compile(r"(?:^|;)[ \t]*(?:from[ \t].*)?import[ \t]+(?:\([^)]*\)|.*)", re.M)
_MAX_MESSAGE = 3000  # characters of a cell, and of its traceback, in an error message


def execute(source: Path, target: Path, *, profile: str = "quick", timeout: int | None = 600,
            given: dict[str, str | Value] | None = None, as_is: bool = False, kernel: bool = True,
            fork: bool = False) -> tuple[Run, bool] | None:  # fmt: skip
    """Run ``source`` into ``target``; return the run, and whether a kernel was needed.

    New prose is put around outputs that are there. ``as_is`` takes those that ``source`` was
    saved with. Without a ``kernel``, where one is needed, nothing is done, and None returned.
    ``timeout`` bounds the notebook, in seconds. A run that fails leaves ``<name>.failed.ipynb``
    and no ``target``. Whoever wants the same target meanwhile waits. ``fork`` lets a kernel be
    forked from this process (see ``kernels``).

    Raises UserError for a broken notebook, a wrong parameter, or a run that fails.
    """
    if target.exists() and f'"{MARK}"' not in read_text(target):
        raise UserError(f"{target} was made by no run of ours: name another file")
    with FileLock(target.with_name(f".{target.name}.lock")):
        notebook = read_notebook(source)  # only now: who waited runs what is there after the wait
        values = choose(read_parameters(notebook, source), given or {}, profile, source)
        own = "notebooks" in source.resolve().parts[-3:-1]  # elsewhere nobody knows what it reads
        files = lambda: inputs(notebook, source.parent) if own else []
        before = digests(files(), source.parent)
        earlier = own and _earlier(target, cache_key(notebook, values, before))
        ran = not (as_is or earlier)
        if ran and not kernel:
            return None
        if as_is:
            executed = notebook
            executed.metadata[MARK] = {"as-is": before}  # the pictures beside it count, too
        elif earlier:
            executed = _under_present_prose(notebook, values, earlier)
        else:
            target.unlink(missing_ok=True)
            fresh = _with_parameters(copy.deepcopy(notebook), values)
            _run(fresh, source, target.with_suffix(".failed.ipynb"), timeout, fork)
            executed = _under_present_prose(notebook, values, fresh)  # and nothing but outputs
            after = digests(files(), source.parent)  # what is new was written by the run itself
            unchanged = before.items() <= after.items()
            key = cache_key(notebook, values, after) if unchanged else ""
            executed.metadata[MARK] = {"key": key}
        run = as_run(executed, target.stem)
        if run.on_stand_in and ran:
            executed.metadata[MARK]["data"] = data_at_hand()[1]
        write_notebook(executed, target)
    return run, ran


def refuse_failed_claims(run: Run, target: Path) -> None:
    """Raises UserError for a claim of ``run`` that does not hold, and puts ``target`` aside."""
    for claim in run.claims.values():
        if not claim["holds"]:
            failed = target.with_suffix(".failed.ipynb")
            os.replace(target, failed)
            on = " on a stand-in for missing data" if run.on_stand_in else ""
            raise UserError(
                f"{run.name}: the claim {claim['name']!r} does not hold in this run{on}: "
                f"{claim['evidence']}\nThe whole run: {failed}"
            )


def _earlier(target: Path, key: str) -> NotebookNode | None:
    """The run in ``target`` if it has this key, and is not on stand-ins for data now at hand."""
    try:
        earlier = read_notebook(target)
    except UserError:  # there is none, or it is broken: a new one takes its place
        return None
    mark = earlier.metadata.get(MARK, {})
    same = mark.get("key") == key and ("data" not in mark or mark["data"] == data_at_hand()[1])
    return earlier if same else None


def _under_present_prose(notebook: NotebookNode, values: dict, earlier: NotebookNode):
    """``notebook`` with the outputs of an earlier run of the same code."""
    executed = _with_parameters(notebook, values)
    ran = [[cell for cell in nb.cells if cell.cell_type == "code" and not is_colab(cell)]
           for nb in (executed, earlier)]  # fmt: skip
    for cell, done in zip(*ran, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    kept = (MARK, "widgets")
    executed.metadata |= {name: earlier.metadata[name] for name in kept if name in earlier.metadata}
    return executed


def _with_parameters(notebook: NotebookNode, values: dict[str, Value]) -> NotebookNode:
    """The notebook with papermill's cell that sets ``values``, after its own or at the top.

    One that an earlier run of papermill left is replaced.
    """
    notebook.metadata.setdefault("papermill", NotebookNode())
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])  # papermill takes them for granted
    if not values:
        return notebook
    from papermill.parameterize import parameterize_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)  # no parameters cell is no mistake
    notebook = parameterize_notebook(notebook, values, kernel_name="python3", language="python")
    for cell in notebook.cells:
        if "injected-parameters" in tags(cell):
            cell.id = "injected"
            lines = (f"{name} = {value!r}" for name, value in values.items())
            cell.source = "\n".join(["# Parameters", *lines])  # papermill makes a tuple a text
    return notebook


def _run(
    notebook: NotebookNode, source: Path, failed: Path, timeout: int | None, fork: bool
) -> None:
    """Run ``notebook`` in place. Raises UserError if it fails, and leaves it in ``failed``."""
    failed.unlink(missing_ok=True)
    language = notebook.metadata.get("kernelspec", {}).get("language") or "python"
    if language.lower() != "python":
        raise UserError(
            f"{source} is a notebook in {language}, and only Python is run here: "
            "\\question[notebook=…, as-is] sets it with the outputs it was saved with"
        )
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    if problem := _attempt(notebook, source.parent, timeout, fork):
        notebook.metadata[MARK] = {"key": ""}
        write_notebook(notebook, failed)
        raise UserError(f"{source} failed: {problem}\nWhat it did until then: {failed}")


def _attempt(notebook: NotebookNode, folder: Path, timeout: int | None, fork: bool) -> str:
    """Run ``notebook`` in ``folder``, in place; return what went wrong, or nothing.

    Kernels talk over Unix sockets in a folder of their own: no ports to collide, nothing listens
    on the network. Such a path may have about 100 characters, hence /tmp.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    from .kernels import Engine, manager

    short = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None
    end = time.monotonic() + (timeout or 0)
    with tempfile.TemporaryDirectory(prefix="homework-", dir=short) as private:
        sockets = {"transport": "ipc", "ip": f"{private}/k", "connection_file": f"{private}/k.json"}
        try:
            Engine.execute_notebook(
                notebook,
                "python3",
                progress_bar=False,
                environment=_environment(private),
                timeout_func=lambda cell: max(0.1, end - time.monotonic()) if timeout else None,
                startup_timeout=60,
                record_timing=False,
                kernel_manager_class=manager(notebook, fork),
                shutdown_kernel="immediate",
                resources={"metadata": {"path": str(folder)}},
                config=Config({"KernelManager": sockets}),
            )
        except CellTimeoutError:
            return f"it took longer than {timeout:g} s (make TIMEOUT=… or --timeout allows more)"
        except DeadKernelError:
            died = "its kernel died (out of memory? a smaller batch or limit helps)"
            return Engine.client.refusal or died
        except RuntimeError as error:  # the kernel did not start
            return str(error)
    return _failure(notebook)


def _environment(private: str) -> dict[str, str]:
    """What a kernel sees: programs of this environment first, nobody's IPython start-up files."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {
        "PATH": path,
        "IPYTHONDIR": f"{private}/ipython",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "HOMEWORK_PRESS": "1",  # helpers.report draws for paper, where no screen looks
    }


def _failure(notebook: NotebookNode) -> str:
    """The cell that failed and may not: its number, source and traceback; or nothing."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                return _describe(number, cell.source, output)
    return ""


def _describe(number: int, source: str, error: NotebookNode) -> str:
    rule = "─" * 72
    source = "\n".join(f"    {line}" for line in source.strip().splitlines())
    name = f"{error.ename}: {error.evalue}"
    if error.ename == "ModuleNotFoundError" and (quoted := error.evalue.split("'")[1:2]):
        name += f" (`%pip install {quoted[0].split('.')[0]}` in a cell brings it)"
    name, source, traceback = map(_cut, (name, source, plain("\n".join(error.traceback))))
    return f"cell {number}: {name}\n{rule}\n{source}\n{rule}\n{traceback}"


def _cut(text: str) -> str:
    """``text`` without its middle if it is long: a traceback's ends say most."""
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]}\n[…]\n{text[-half:]}"


# What a run depends on


def inputs(notebook: NotebookNode, folder: Path, root: Path = ROOT) -> list[Path]:
    """The files that a notebook in ``folder`` may read: what it imports of ``helpers``, whatever
    lies beside it (modules, data, pictures) or is named in it, the recorded runs it shows, and the
    locked packages.
    """
    hidden = lambda path: any(part.startswith(".") for part in path.relative_to(folder).parts)
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not hidden(path))
    beside = [path for path in found if path.suffix not in (".ipynb", ".pyc")]
    code = "\n".join(cell.source for cell in code_cells(notebook))
    texts = sorted(set(re.findall(r"""["']([^"'\n]{1,200})["']""", code)))
    texts += re.findall(r"(?m)^[ \t]*%run[ \t]+(?:-\w+[ \t]+)*([^\s\"']+)", code)
    paths = (os.path.normpath(folder / text) for text in texts)
    named = [Path(path) for path in paths if os.path.isfile(path)]  # a long text is no error here
    lock = [path for path in [root / "requirements.lock"] if path.is_file()]
    return [*helper_modules(notebook, root), *beside, *named, *records(notebook, root), *lock]


def digests(paths: list[Path], base: Path = ROOT) -> dict[str, str]:
    """Each file's content as a few hexadecimal digits; of a large one, its size and date.

    Names are as seen from ``base`` or the project's folder, so that these may be moved.
    """
    found = {}
    for path in paths:
        facts = path.stat()
        large = facts.st_size > 20_000_000
        content = f"{facts.st_size} {facts.st_mtime_ns}".encode() if large else path.read_bytes()
        top = next((top for top in (base, ROOT) if path.is_relative_to(top)), None)
        name = str(path.relative_to(top) if top else path)
        found[name] = hashlib.sha256(content).hexdigest()[:16]
    return found


def cache_key(notebook: NotebookNode, values: dict, files: dict[str, str]) -> str:
    """Equal key, equal outputs: code cells and their tags, parameters, threads and files."""
    code = [(cell.source, tags(cell)) for cell in code_cells(notebook)]
    threads = os.environ.get("OMP_NUM_THREADS")
    content = json.dumps([code, sorted(values.items()), threads, sorted(files.items())])
    return hashlib.sha256(content.encode()).hexdigest()


def data_at_hand(root: Path = ROOT) -> tuple[list[Path], str]:
    """The folders of the data sets, and a digest of what lies there: stand-ins give way to it."""
    top = root / Path(os.environ.get("DATA_DIR") or "data/cache").expanduser()  # as helpers.data
    if not top.is_dir():
        return [next(path for path in top.parents if path.is_dir())], ""
    sets = [p for p in sorted(top.iterdir()) if p.name not in ("features", "checkpoints")
            and not p.name.startswith(".")]  # fmt: skip
    names = [str(path.relative_to(top)) for entry in sets for path in [entry, *entry.rglob("*")]]
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    return [top, *filter(Path.is_dir, sets)], digest


def helper_modules(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """The files of ``helpers`` that a notebook imports, directly or through one another.

    A module counts by its last name: ``from torch.utils.data import …`` names helpers/data.py, too.
    """
    files = (root / "helpers").rglob("*.py")
    names = {path: (path.parent if path.stem == "__init__" else path).stem for path in files}
    found: set[Path] = set()
    texts = [cell.source for cell in code_cells(notebook)]
    for text in texts:  # which grows
        words = set(re.findall(r"\w+", " ".join(_IMPORT.findall(text))))
        new = {path for path, name in names.items() if name in words} - found
        found |= new
        texts += [path.read_text(encoding="utf-8") for path in new]
    return sorted(found)
