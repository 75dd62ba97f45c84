"""What runs on a worker of a cluster: sent there by value, so it imports nothing of ours."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(
    bundle: dict[str, bytes],
    notebook: str,
    profile: str,
    values: dict,
    timeout: float | None,
    threads: int,
    data_dir: str,
) -> tuple[bytes, str, float, dict]:
    """Unpack the project, execute one notebook, and clean up.

    ``data_dir`` is where the data lie on the machine that asks. Returns the executed notebook,
    or what there is of it and the problem; the seconds; and the facts that
    ``helpers.sweep.worker`` leaves.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="homework-") as folder:
        for name, content in bundle.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        target, order = Path(folder, "executed.ipynb"), Path(folder, "order.json")
        asked = {"notebook": notebook, "target": str(target), "profile": profile, "values": values}
        asked["parent"] = os.getpid()
        order.write_text(json.dumps(asked))
        settings = {"PYTHONPATH": folder, "DATA_DIR": find_data(data_dir)}
        settings |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "helpers.sweep.worker", str(order)]
        problem = _execute(command, folder, timeout, settings)
        facts = {} if problem else json.loads(target.with_name("facts.json").read_text())
        # A run that was stopped could not rename what it had done until then.
        left = (".failed.ipynb", ".running.ipynb") if problem else (".ipynb",)
        found = filter(Path.exists, map(target.with_suffix, left))
        content = next((path.read_bytes() for path in found), b"")
    return content, problem, time.monotonic() - started, facts


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


def _execute(command: list[str], folder: str, timeout: float | None, settings: dict) -> str:
    """Run ``command`` in ``folder``; return what went wrong."""
    said = Path(folder, "errors.txt")  # a pipe would stay open with what a notebook leaves running
    with said.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"took longer than {timeout:g} s"
    if process.returncode == 0:
        return ""
    text = said.read_text(errors="replace").partition("\nWhat it did until then: ")[0]
    return text.strip()[-20_000:] or "its process died"


def _kill(process: subprocess.Popen) -> None:
    """End a process and everything it started: a kernel may heed no other signal."""
    import psutil

    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.kill()
    process.wait()
