"""One run, on a Dask worker: a process of its own here, or on a machine of a cluster.

Sent to a cluster by value, so it imports nothing of ours before the project is unpacked there.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

Files = dict[str, bytes]  # path below the project's folder to content
Bundle = tuple[str, str, Files]  # digest, where the data lie on the machine that asks, files


def run(
    notebook: str,
    target: str | None,
    profile: str,
    values: dict,
    timeout: float | None,
    threads: int,
    gpus: tuple[str, ...],
    bundle: Bundle | None,
) -> tuple[bytes, str, float, str]:
    """Execute ``notebook`` with ``values``, into ``target`` if that is on this machine.

    A ``bundle`` is for a worker elsewhere, where the project is not. Returns the executed notebook,
    or what there is of it, unless it went to ``target``; the problem, if it failed; the seconds;
    and the hardware.
    """
    started = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if gpus:
        from distributed import get_worker

        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(get_worker().name) % len(gpus)]
    project = _unpacked(*bundle) if bundle else Path()
    from helpers.pdf.errors import UserError
    from helpers.pdf.execute import execute
    from helpers.sweep.runs import hardware

    with tempfile.TemporaryDirectory(prefix="homework-") as folder:
        made, problem = Path(target or f"{folder}/executed.ipynb"), ""
        made.unlink(missing_ok=True)  # its outputs are not taken for this run's
        try:
            execute(project / notebook, made, profile=profile, given=values, timeout=timeout)
        except (UserError, OSError) as error:
            problem = str(error).partition("\nWhat it did until then: ")[0]
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
    if not os.path.isdir(data):  # never a folder of the run's own, which has to download anew
        data = os.path.expanduser("~/.cache/homework/data")
    os.environ.setdefault("DATA_DIR", data)
    return folder
