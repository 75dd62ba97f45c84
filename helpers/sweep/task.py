"""One run, on a Dask worker: a process of its own here, or on a machine of a cluster.

Sent to a cluster by value, so it imports nothing of ours before the project is unpacked there.
"""

import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

Files = dict[str, bytes]  # path below the project's folder to content
Bundle = tuple[str, str, Files]  # digest, where the data lie on the machine that asks, files


def run(
    notebook: str,
    target: str | None,
    profile: str,
    values: dict,
    timeout: float | None,
    environment: dict[str, str],
    gpus: tuple[str, ...],
    bundle: Bundle | None,
) -> tuple[bytes, str, float, str]:
    """Execute ``notebook`` with ``values``, into ``target`` if that is on this machine.

    A ``bundle`` is for a worker elsewhere, where the project is not. Returns the executed notebook,
    or what there is of it, unless it went to ``target``; the problem, if it failed; the seconds;
    and the hardware.
    """
    started = time.monotonic()
    os.environ.update(environment)
    if gpus:
        from distributed import get_worker

        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(get_worker().name) % len(gpus)]
    project = _unpacked(*bundle) if bundle else Path()
    if not bundle:
        _end_with_parent()
    from helpers.pdf.errors import UserError
    from helpers.pdf.execute import execute
    from helpers.sweep.runs import hardware

    with tempfile.TemporaryDirectory(prefix="homework-") as folder:
        made, problem = Path(target or f"{folder}/executed.ipynb"), ""
        made.unlink(missing_ok=True)  # its outputs are not taken for this run's
        late = threading.Timer(timeout or threading.TIMEOUT_MAX, kill, [os.getpid(), False])
        late.daemon = True
        late.start()
        try:
            execute(project / notebook, made, profile=profile, given=values, timeout=None)
        except (UserError, OSError) as error:
            problem = str(error).partition("\nWhat it did until then: ")[0]
        late.cancel()
        if problem and timeout and time.monotonic() - started >= timeout:
            problem = f"took longer than {timeout:g} s"
        found = made.with_suffix(".failed.ipynb") if problem else made
        content = found.read_bytes() if found.exists() and not target else b""
    return content, problem, time.monotonic() - started, hardware()


def _unpacked(digest: str, data: str, files: Files) -> Path:
    """The project's folder on a worker of a cluster, importable from here and in kernels."""
    from distributed import get_worker

    worker = get_worker()
    folder = Path(worker.local_directory, f"homework-{digest}")
    if not folder.exists():
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if sys.path[0] != str(folder):  # an earlier sweep may have brought other code
        sys.path.insert(0, str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "helpers"]:
            del sys.modules[name]
    os.environ["PYTHONPATH"] = str(folder)
    os.environ["DATA_DIR"] = find_data(data)
    return folder


def find_data(asked: str) -> str:
    """The worker's DATA_DIR, else ``asked`` if that is here, too, else a cache that lasts.

    Never a folder of the run's own: each run would download the data anew.
    """
    if own := os.environ.get("DATA_DIR"):
        return os.path.abspath(os.path.expanduser(own))  # the run starts in another folder
    if os.path.isdir(asked) and os.access(asked, os.R_OK | os.X_OK):
        return asked
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.path.join(cache, "homework", "data"))


def _end_with_parent() -> None:
    """What this process runs ends when its parent is gone, as after SIGKILL of the sweep."""
    name = "homework-parent"
    if any(thread.name == name for thread in threading.enumerate()):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        kill(os.getpid())

    threading.Thread(target=watch, name=name, daemon=True).start()


def kill(pid: int, itself: bool = True) -> None:
    """End everything that a process has started, since a kernel may heed no signal; and it."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [*process.children(recursive=True), *[process] * itself]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
