"""Starting: the command ``homework`` against ``papermill`` and ``jupyter nbconvert``.

What a command takes before it does anything, counted in processor time so that a busy machine
does not matter, and what a kernel takes until it answers.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client import KernelManager

from . import paired

COMMANDS = {
    "homework": ["homework", "--help"],
    "papermill": ["papermill", "--help"],
    "jupyter nbconvert": ["jupyter", "nbconvert", "--help"],
}


def started(command: list[str]) -> float:
    """Processor seconds of a command that prints its help."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [Path(sys.executable).with_name(command[0]), *command[1:]]
    subprocess.run(program, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def kernel() -> float:
    """Seconds until a fresh kernel answers."""
    manager = KernelManager(transport="ipc")
    begun = time.perf_counter()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    taken = time.perf_counter() - begun
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return taken


def main(rounds: int = 5) -> None:
    """Every command in turn; and a kernel's start, which all of them share."""
    names = list(COMMANDS)
    found = paired.in_turn(
        {name: lambda name=name: started(COMMANDS[name]) for name in names}, rounds
    )
    rows = [
        paired.row("start of the command", found, names[0], other, unit="s", growth="–", goal="–")
        for other in names[1:]
    ]
    paired.save("startup", rows, kernel_start_seconds=[round(kernel(), 3) for _ in range(rounds)])


if __name__ == "__main__":
    main()
