"""Run a notebook: papermill, a fresh kernel, one process."""

import contextlib
import json
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

from filelock import FileLock, Timeout
from nbformat import NotebookNode

from .errors import UserError
from .notebook import (
    RESULTS,
    ROOT,
    code_cells,
    dependencies,
    differing,
    helper_modules,
    identity,
    lacks_data,
    read_notebook,
    records,
    tags,
    write_atomically,
    write_notebook,
)
from .parameters import Value, choose, read_parameters
from .text import plain

MARK = "homework"  # the key of our metadata in an executed notebook
_MAX_MESSAGE = 3000  # characters of a cell, and of its traceback, in an error message


def execute(
    source: Path,
    target: Path,
    *,
    profile: str = "quick",
    given: dict[str, str | Value] | None = None,
    timeout: int | None = 600,
) -> bool:
    """Run ``source`` into ``target``; return whether a kernel was needed.

    Where only prose has changed since ``target`` was made, the new prose is put around the
    outputs that are there. ``timeout`` bounds the notebook, in seconds.
    A run that fails leaves ``<name>.failed.ipynb`` beside ``target``, and no ``target``.

    Whoever wants the same target at the same time waits. The target's date is the beginning of
    the run, so that Make sees a change to the notebook or its helpers while it ran; and such a
    run is not taken for one of either version, even where the change is taken back.

    Raises UserError for a broken notebook, a wrong parameter, a run that fails, or a target that
    no run of ours made.
    """
    _refuse(target, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        begun = time.time()
        notebook = read_notebook(source)  # only now: who waited runs what is there after the wait
        values = choose(read_parameters(notebook, source), given or {}, profile, source)
        parts = dependencies(notebook)
        key = identity(notebook, values, parts=parts)
        ran = not _reuse(notebook, target, key)
        if ran:
            target.unlink(missing_ok=True)
            executed = _run(notebook, source, target, values, timeout)
            known = "" if _changed(source, parts) else key
            executed.metadata[MARK] = {"identity": known, "profile": profile}
            write_notebook(executed, target)
        _write_dependencies(notebook, target)
        os.utime(target, (begun, begun))  # for Make: what has changed since counts as newer
    return ran


def _refuse(target: Path, source: Path) -> None:
    """Raises UserError for a target that a run of ``source`` may not go to."""
    if target.suffix != ".ipynb":
        raise UserError(f"{target}: a notebook goes to a file whose name ends in .ipynb")
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target} is the notebook itself: name another file")
    if _is_foreign(target):
        raise UserError(f"{target} is a notebook that no run of ours made: name another file")


def _is_foreign(target: Path) -> bool:
    """Whether somebody's notebook, of any format or language, lies at ``target``.

    What is no JSON is a file of ours cut short, and may be replaced.
    """
    try:
        content = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    metadata = content.get("metadata") if isinstance(content, dict) else None
    return not isinstance(metadata, dict) or MARK not in metadata


def _reuse(notebook: NotebookNode, target: Path, key: str) -> bool:
    """Put the outputs of an earlier run with the same identity under the present prose."""
    try:
        earlier = read_notebook(target)
    except UserError:  # there is none, or it is broken: a new one takes its place
        return False
    mark = earlier.metadata.get(MARK, {})
    if mark.get("identity") != key:
        return False
    done = iter(code_cells(earlier))
    own = {cell.id for cell in code_cells(notebook)}
    cells = [next(done) if cell.id in own else cell for cell in notebook.cells]
    injected = [cell for cell in earlier.cells if "injected-parameters" in tags(cell)]
    place = next(i for i, cell in enumerate(cells) if "parameters" in tags(cell))
    earlier.cells = [*cells[: place + 1], *injected, *cells[place + 1 :]]
    write_notebook(earlier, target)
    return True


def _run(
    notebook: NotebookNode,
    source: Path,
    target: Path,
    values: dict[str, Value],
    timeout: int | None,
) -> NotebookNode:
    """The executed notebook. Raises UserError if it failed."""
    failed = target.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    running = target.with_suffix(".running.ipynb")
    if problem := _attempt(notebook, running, source.parent, values, timeout):
        if running.exists():
            os.replace(running, failed)
        raise UserError(f"{source} failed: {problem}\nWhat it did until then: {failed}")
    executed = read_notebook(running)
    running.unlink()
    return executed


def _changed(source: Path, parts: dict[str, str]) -> bool:
    """Whether what a run of ``source`` depends on is not as in ``parts`` any more."""
    try:
        return bool(differing(parts, dependencies(read_notebook(source))))
    except UserError:  # moved away, or half written
        return True


def _attempt(
    notebook: NotebookNode,
    running: Path,
    folder: Path,
    values: dict[str, Value],
    timeout: int | None,
) -> str:
    """Run ``notebook`` in ``folder`` into ``running``; return what went wrong, or nothing."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from . import kernel

    with _private_folders() as private:
        try:
            write_notebook(notebook, running)  # papermill reads files, and ours may have changed
            papermill.execute_notebook(
                running,
                running,
                parameters=values or None,
                cwd=folder,
                kernel_name="python3",
                language="python",
                engine_name=kernel.NAME,
                progress_bar=False,
                timeout_func=_remaining(timeout),
                config=_kernel_config(private),
            )
        except PapermillExecutionError as error:
            problem = _describe(error)
        except CellTimeoutError:
            problem = f"it took longer than {timeout} s (make … TIMEOUT=seconds allows more)"
        except DeadKernelError:
            problem = "its kernel died (out of memory? a smaller batch or limit helps)"
        except kernel.TooMuchOutput:
            problem = f"it put out more than {kernel.MAX_OUTPUT / 1e6:g} MB: print less of it"
        except OSError:  # no space left, say: half a notebook is of no use
            running.unlink(missing_ok=True)
            raise
        except RuntimeError as error:  # the kernel did not start
            problem = str(error)
        else:
            problem = ""
    return problem


def _remaining(timeout: int | None):
    """For each cell, what is left of the notebook's time; None for no bound."""
    end = time.monotonic() + (timeout or 0)
    return lambda cell: max(0.1, end - time.monotonic()) if timeout else None


def _kernel_config(folder: str):
    """Kernels over Unix sockets: no ports to collide, nothing listens on the network.

    Without ``ip``, Jupyter puts the sockets of all kernels at the same place.
    """
    from traitlets.config import Config

    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def _short(folder: str = "/tmp") -> str | None:
    """``folder`` if files can go there; None for what Python takes else."""
    return folder if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK) else None


_SHORT = _short()


_PRIVATE, _LOCK = "homework-kernel-", "owner.lock"


def remove_stale_folders() -> None:
    """Remove the private folders of processes that were killed: nobody holds their lock.

    That holds between containers that share a folder but not their process numbers, too.
    """
    for folder in Path(_SHORT or tempfile.gettempdir()).glob(f"{_PRIVATE}*"):
        if (folder / _LOCK).is_file():
            with contextlib.suppress(Timeout, OSError), FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


class _private_folders:
    """Kernel files in a short-lived folder, and nobody's IPython start-up files.

    A Unix socket's path may have about 100 characters, hence the folder under /tmp.
    """

    def __enter__(self) -> str:
        remove_stale_folders()
        new = tempfile.mkdtemp(prefix=f"new-{_PRIVATE}{os.getpid()}-", dir=_SHORT)
        self.lock = FileLock(os.path.join(new, _LOCK))
        self.lock.acquire()
        self.folder = new.replace("new-", "", 1)
        os.rename(new, self.folder)  # stale ones are looked for by this name: it is locked
        self.before = {name: os.environ.get(name) for name in self._settings()}
        os.environ.update(self._settings())
        return self.folder

    def _settings(self) -> dict[str, str]:
        return {
            "JUPYTER_RUNTIME_DIR": self.folder,
            "IPYTHONDIR": f"{self.folder}/ipython",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": "315532800",  # 1980: figures carry no date of their own
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }

    def __exit__(self, *exception: object) -> None:
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release()


def _describe(error) -> str:
    """The failing cell's source and its traceback, as papermill reports them."""
    rule = "─" * 72
    source = "\n".join(f"    {line}" for line in error.source.strip().splitlines())
    traceback = plain("\n".join(error.traceback))
    name, source, traceback = map(_cut, (f"{error.ename}: {error.evalue}", source, traceback))
    return f"{name}\n{rule}\n{source}\n{rule}\n{traceback}"


def _cut(text: str) -> str:
    """``text`` without its middle if it is long: a traceback's ends say most."""
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]}\n[…]\n{text[-half:]}"


def _write_dependencies(notebook: NotebookNode, target: Path) -> None:
    """A Make rule that names what this run depends on: helper modules and recorded runs.

    Of those, the folder: it changes when a record comes, goes or is replaced. A run on
    stand-ins depends on Make's list of the data at hand, so that real data make it outdated.
    """
    shown = records(notebook)
    folders = {path if path.parent == ROOT / RESULTS else path.parent for path in shown}
    files = [*helper_modules(notebook), *sorted(folders)]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    if (at_hand := target.parent.parent / ".data").exists() and lacks_data(read_notebook(target)):
        names.append(at_hand.as_posix())
    lines = [f"{target.as_posix()}: {' '.join(names)}", *(f"{name}:" for name in names)]
    write_atomically(target.with_suffix(".d"), "\n".join(lines) + "\n")
