"""Sweeps under torture: killed at random moments, on full disks, beside one another.

``make test-torture`` runs it; RUNS, JOBS and KILLS say how much of it, SEED which moments.
Figures are printed at the end.
"""

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_sweep_engine import RECORD, Sweep, drive, end, scheduler, squares, strays, until, worker

from helpers.pdf.errors import UserError
from helpers.pdf.notebook import ROOT
from helpers.sweep.runs import load

__all__ = ["scheduler", "worker"]  # fixtures

RUNS, JOBS, KILLS, SEED = (
    int(os.environ.get(name, default))
    for name, default in (("RUNS", 200), ("JOBS", 8), ("KILLS", 20), ("SEED", 0))
)
PATIENCE = 600  # seconds for what takes one on an idle machine

CODE = f"""import os, time
{RECORD}
with open("begun.txt", "a") as file:
    file.write(f"{{n}} {{os.getpid()}}\\n")
time.sleep(0.5)
record("tiny/square", n * n)
"""


@pytest.fixture(scope="module")
def figures():
    """Counts, printed when all is over."""
    counts = collections.Counter()
    yield counts
    print("\n\nSweep torture")
    for name, count in counts.items():
        print(f"  {count:6}  {name}")


def snapshot(store):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes())
            for path in store.records.glob("*.json")}  # fmt: skip


def victim(process, folder, draw):
    """The sweep itself, or one of its workers."""
    kernels = strays(folder)
    if kernels and draw.random() < 0.5:
        return draw.choice(kernels).parent() or process
    return process


def test_runs_killed_at_random_moments_are_each_done_once(tmp_path, figures):
    draw, sweep = random.Random(SEED), Sweep(tmp_path, CODE)
    store, every = sweep.store, f"0:{RUNS - 1}"
    seen, lost, kills = {}, 0, collections.Counter()
    while sum(kills.values()) < KILLS and len(seen) < RUNS:
        process = drive(sweep, every, JOBS)
        more = len(seen) + draw.randint(0, 2 * RUNS // (KILLS + 1))
        until(
            lambda: process.poll() is not None or len(list(store.records.glob("*.json"))) >= more,  # noqa: B023
            seconds=PATIENCE,
        )
        time.sleep(draw.uniform(0, 3))  # anywhere between two records
        if process.poll() is None and (other := victim(process, tmp_path, draw)) is not process:
            other.kill()
            kills["workers"] += 1
            time.sleep(draw.uniform(0, 6))
        kills["engines"] += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = snapshot(store)
        lost += len(seen.items() - now.items())  # gone, or done again
        load(store.records)  # nothing half written
        seen = now
        if draw.random() < 0.5:  # else the next sweep meets what dies of this one
            until(lambda: not strays(tmp_path))
    process = drive(sweep, every, JOBS)
    _, errors = process.communicate(timeout=PATIENCE * 6)
    assert process.returncode == 0, errors
    lost += len(seen.items() - snapshot(store).items())
    doubled = len(squares(store)) - len(set(squares(store)))
    until(lambda: not strays(tmp_path))
    left = [*store.work.glob("*.failed.*"), *store.work.glob(".*.part"), *store.records.glob(".*")]
    begun = (tmp_path / "begun.txt").read_text().splitlines()
    figures["runs of the sweep"] += RUNS
    figures["kills of the engine while at work"] += kills["engines"]
    figures["kills of a worker while at work"] += kills["workers"]
    figures["runs cut short and begun again"] += len(begun) - RUNS
    figures["records lost or doubled"] += lost + doubled
    figures["temporary files left"] += len(left)
    assert squares(store) == sorted(n * n for n in range(RUNS))
    assert (lost, left) == (0, [])


def heed_ctrl_c():
    """What a shell's background job would ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("seconds", [0.7, 1, 1.3, 1.6, 2, 3, 4])
def test_ctrl_c_ends_a_sweep_in_a_word_whenever_it_comes(tmp_path, figures, seconds):
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers")  # which keep their records beside
    (tmp_path / "notebooks").mkdir()
    Sweep(tmp_path / "notebooks", CODE)
    command = [sys.executable, "-m", "helpers.cli", "sweep", "notebooks/tiny.ipynb", "-g", "n=0:99"]
    sweep = subprocess.Popen([*command, "--jobs", "2"], cwd=tmp_path, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True, preexec_fn=heed_ctrl_c)  # fmt: skip
    time.sleep(seconds)
    os.killpg(sweep.pid, signal.SIGINT)
    shown = sweep.communicate(timeout=60)[0]  # when the last process has gone
    assert sweep.returncode in (130, -signal.SIGINT), shown  # a shell says 130 of both
    assert "Traceback" not in shown
    figures["sweeps stopped by Ctrl-C"] += 1


def test_two_sweeps_on_one_folder(tmp_path, figures):
    sweep = Sweep(tmp_path, CODE)
    store = sweep.store
    first = drive(sweep, "0:3", 1)
    until(lambda: list(store.records.glob("*.json")), first)
    second = drive(sweep, "0:3", 1)
    _, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert f"another sweep (process {first.pid}) is at work in {store.work}" in errors
    first.communicate(timeout=PATIENCE)
    assert first.returncode == 0
    assert squares(store) == [0, 1, 4, 9]
    figures["second sweeps turned away"] += 1


FAULTS = {
    "dies of want of memory": ("import os; os.kill(os.getpid(), 9)", "kernel died"),
    "eats its memory": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, -1))\n"
        "x = b'x' * 10**10",
        "MemoryError",
    ),
    "hangs and heeds no signal": (
        "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
        "while True: time.sleep(1)",
        "longer than",
    ),
    "prints 100 MB": ("for _ in range(1000): print('x' * 10**5)", "printed more than 20 MB"),
    "raises 10 MB": ("raise ValueError('x' * 10**7)", "ValueError"),
    "closes its channels": ("import os; os.closerange(3, 100)", "longer than|kernel died|closed"),
    "kills its worker": (
        "import os\nif not os.path.exists('x'):\n    open('x', 'w'); os.kill(os.getppid(), 9)",
        "",
    ),
    "leaves threads and children": (
        "import subprocess, threading, time\nsubprocess.Popen(['sleep', '86399'])\n"
        "threading.Thread(target=time.sleep, args=(10**6,)).start()",
        "",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_kernel_that(tmp_path, figures, name):
    code, message = FAULTS[name]
    sweep = Sweep(tmp_path, f"if n == 1:\n    {code.replace(chr(10), chr(10) + '    ')}")
    problems = sweep.run("n=1,2", jobs=2, timeout=120.0)
    assert problems.pop(2) == ""
    (problem,) = problems.values()
    assert re.search(message, problem) if message else not problem, problem[:2000]
    assert len(problem) < 10_000
    until(lambda: not strays(tmp_path))
    figures["faults of kernels told and survived"] += 1
    assert psutil.Process().memory_info().rss < 2e9


def test_a_disk_that_fills_loses_nothing(tmp_path, tmpfs, figures):
    with tmpfs(tmp_path / "small", "size=2m") as small:
        code = "from helpers.report import record\nprint('x' * 600_000)\n"
        sweep = Sweep(small, code + "record('tiny/square', n * n)")
        problems = sweep.run("n=1:4", jobs=2).values()
        full = [problem for problem in problems if problem]
        assert full
        assert all("No space left on device" in problem for problem in full)
        before = snapshot(sweep.store)
        assert len(before) == len(problems) - len(full)
        load(sweep.store.records)
        subprocess.run(["mount", "-o", "remount,size=50m", small], check=True)
        assert list(sweep.run("n=1:4", jobs=2).values()) == [""] * len(full)
        assert squares(sweep.store) == [1, 4, 9, 16]
        assert before.items() <= snapshot(sweep.store).items()
        assert not list(small.rglob(".*.part"))
        figures["runs refused by a full disk, done when there was room"] += len(full)


def test_a_scheduler_that_is_killed_is_said_in_a_line(tmp_path, figures, scheduler, worker):
    address, process = scheduler
    worker()
    sweep, done = Sweep(tmp_path, CODE), []
    with pytest.raises(UserError, match=r"scheduler .* is gone") as caught:
        for outcome in sweep.start("n=1:9", scheduler=address):
            assert not outcome.problem
            done.append(outcome)
            if len(done) == 2:
                end(process)
    assert "\n" not in str(caught.value)
    figures["schedulers killed"] += 1
    figures["records lost with a scheduler"] += len(done) - len(squares(sweep.store))
    assert len(squares(sweep.store)) == len(done) < 9
    assert len(sweep.run("n=1:9", jobs=2)) == 9 - len(done)
    assert squares(sweep.store) == [n * n for n in range(1, 10)]


CLOCK = """
import os, time
now = time.time
time.time = lambda: now() + (10**8 if os.path.exists({sign!r}) else 0)
"""
JUMPING = """import time
from helpers.report import record
with open("jump", "a") as file: file.write(str(n))
time.sleep(9)
record("tiny/square", n * n)
"""


def test_a_clock_that_jumps_ends_no_run(tmp_path):
    """It jumps in every process of the sweep, and Dask looks every two seconds who is silent."""
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(sign=str(tmp_path / "jump")))
    sweep = Sweep(tmp_path, JUMPING)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    options = {"PYTHONPATH": paths, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}
    process = drive(sweep, "0", **options)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert squares(sweep.store) == [0]
    assert (tmp_path / "jump").read_text() == "0"  # begun once
