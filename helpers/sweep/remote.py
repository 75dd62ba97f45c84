"""What runs on a worker of a cluster: sent there by value, so it imports nothing of ours."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(
    bundle: dict[str, bytes],
    notebook: str,
    values: dict,
    timeout: float | None,
    threads: int,
    data_dir: str,
) -> tuple[bytes, str, float]:
    """Unpack the project, execute one notebook, and clean up.

    ``data_dir`` is where the data lie if the worker has no DATA_DIR of its own. Returns the
    executed notebook, or what there is of it and the problem; and the seconds.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="homework-") as folder:
        for name, content in bundle.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        target = Path(folder, "executed.ipynb")
        command = [sys.executable, "-m", "helpers.cli", "execute", notebook, str(target)]
        command += ["--profile", values["profile"], "--timeout", "0"]
        for name, value in values.items():
            if name != "profile":
                command += ["-p", name, value if isinstance(value, str) else repr(value)]
        settings = {"PYTHONPATH": folder, "OMP_NUM_THREADS": str(threads)}
        settings["DATA_DIR"] = os.environ.get("DATA_DIR") or data_dir
        problem = _execute(command, folder, timeout, settings)
        failed = target.with_suffix(".failed.ipynb")
        path = failed if problem else target
        content = path.read_bytes() if path.exists() else b""
    return content, problem, time.monotonic() - started


def _execute(command: list[str], folder: str, timeout: float | None, settings: dict) -> str:
    """Run ``command`` in ``folder``; return what went wrong."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_die_with_parent,
    )
    try:
        _, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # its kernel ends with it
        process.wait()
        return f"took longer than {timeout:g} s"
    if process.returncode == 0:
        return ""
    return errors.removeprefix("homework: ").strip() or "its process died"


def _die_with_parent() -> None:
    """A run ends with the worker that started it (Linux; elsewhere it runs to its end)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
