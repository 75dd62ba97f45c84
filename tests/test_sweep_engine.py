"""Sweeps that run: failing, late, stopped, killed and resumed, and on a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pdf_fixtures import source_notebook, write

from helpers import mime
from helpers.pdf.errors import UserError
from helpers.pdf.notebook import read_notebook
from helpers.sweep import engine
from helpers.sweep.plan import grid
from helpers.sweep.runs import Store, jobs, load

RECORD = f"""from IPython.display import display
record = lambda name, value: display(
    {{{mime.RECORD!r}: {{"name": name, "value": value, "text": ""}}}}, raw=True
)
"""  # as helpers.report does, and a second sooner
CODE = f"""import os, time
{RECORD}
with open("begun.txt", "a") as file: file.write(str(n))
if n == 6 and open("begun.txt").read().count("6") == 1: os.kill(os.getppid(), 9)
if n == 7: raise ValueError("seven")
if n == 8: os._exit(1)
if n == 9: time.sleep(600)
record("tiny/square", n * n)
record("tiny/threads", int(os.environ["OMP_NUM_THREADS"]))
record("tiny/device", os.environ.get("CUDA_VISIBLE_DEVICES", "any"))
record("tiny/text", "x" * 1_000_000)
"""


class Sweep:
    """A sweep of a tiny notebook: n = 6 kills its worker once, 7 fails, 8 dies, 9 hangs."""

    def __init__(self, folder, code=CODE):
        parameters = 'profile = "quick"  # [quick | full]\nn = 1  # [0..9999]'
        self.path = folder / "tiny.ipynb"
        if not self.path.exists():
            write(source_notebook(code, parameters=parameters), self.path)
        self.log = folder / "begun.txt"  # the n of each execution
        self.store = Store("tiny", records=folder / "records", work=folder / "work")

    def jobs(self, *axes):
        return jobs(grid(list(axes)), read_notebook(self.path), "quick", self.path)

    def start(self, *axes, **settings):
        settings = engine.Settings(notebook=self.path, **settings)
        self.store.look()
        waiting = [job for job in self.jobs(*axes) if self.store.why(job)]
        return engine.run_all(waiting, self.store, settings) if waiting else iter(())

    def run(self, *axes, **settings):
        """The problem of each run, by its n."""
        return {o.job.values["n"]: o.problem for o in self.start(*axes, **settings)}


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


def until(condition, process=None, seconds=300):
    """Wait until ``condition()`` holds, as long as ``process`` is there to bring it about."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def squares(store):
    return sorted(record["values"]["tiny/square"] for record in load(store.records))


def strays(folder):
    """Kernels of notebooks in ``folder`` that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if "ipykernel" in " ".join(process.cmdline()) and process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_what_fails_is_tried_again_what_dies_costs_no_other_and_all_is_done_once(tmp_path, sweep):
    problems = sweep.run("n=1,2,6:8", jobs=2, gpus=("3", "5"), retries=1)
    assert (problems[1], problems[2], problems[6]) == ("", "", "")
    assert "ValueError: seven" in problems[7]
    assert "kernel died" in problems[8]
    assert sorted(sweep.log.read_text()) == list("12667788")
    assert squares(sweep.store) == [1, 4, 36]
    values = [record["values"] for record in load(sweep.store.records)]
    assert {value["tiny/threads"] for value in values} == {1}
    assert {value["tiny/device"] for value in values} == {"3", "5"}
    seven, eight = sweep.jobs("n=7,8")
    assert sweep.store.failed(seven).exists()
    assert "kernel died" in sweep.store.note(eight).read_text()
    assert [sweep.store.why(job) for job in (seven, eight)] == ["failed before"] * 2
    assert sweep.run("n=1,2,6", jobs=2) == {}
    until(lambda: not strays(tmp_path), seconds=20)


def test_what_hangs_is_ended_in_time_and_a_failure_can_stop_the_sweep(tmp_path, sweep):
    failed = sweep.run("n=9,3,4", timeout=3, fail_fast=True)
    assert failed.keys() == {9}
    assert "took longer than 3 s" in failed[9]
    until(lambda: not strays(tmp_path), seconds=20)


def test_a_sweep_that_is_stopped_leaves_nothing_running_and_forgets_no_failure(tmp_path, sweep):
    one, nine = sweep.jobs("n=1,9")
    for job in (one, nine):
        sweep.store.fail(job, "its process died")
    outcomes = sweep.start("n=1,9", jobs=2)
    assert next(outcomes).job == one
    outcomes.close()
    assert [sweep.store.why(job) for job in (one, nine)] == ["", "failed before"]
    until(lambda: not strays(tmp_path), seconds=20)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_sweep_engine import Sweep
if __name__ == "__main__":
    sweep = Sweep(Path({folder!r}))
    with sweep.store.lock():
        for outcome in sweep.start("n={runs}", jobs={jobs}):
            assert not outcome.problem, outcome.problem
"""


def drive(sweep, runs, jobs=2, **environment):
    """A process of its own that runs the sweep."""
    folder, tests = str(sweep.path.parent), str(Path(__file__).parent)
    script = DRIVER.format(tests=tests, folder=folder, runs=runs, jobs=jobs)
    return subprocess.Popen([sys.executable, "-c", script], start_new_session=True,
                            env=os.environ | environment, stderr=subprocess.PIPE,
                            text=True)  # fmt: skip


def test_a_sweep_that_is_killed_loses_nothing_and_leaves_nothing_running(tmp_path, sweep):
    process = drive(sweep, "9,0:3")  # of which 9 would hang for ten minutes
    until(lambda: len(list(sweep.store.records.glob("*.json"))) > 1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not strays(tmp_path), seconds=20)
    before = {path.name: path.stat().st_mtime_ns for path in sweep.store.records.glob("*.json")}
    load(sweep.store.records)  # no record is half written
    assert not any(sweep.run("n=0:3", jobs=2).values())
    assert squares(sweep.store) == [0, 1, 4, 9]
    after = {path.name: path.stat().st_mtime_ns for path in sweep.store.records.glob("*.json")}
    assert before.items() <= after.items()  # what was done was not done again
    assert not list(sweep.store.work.glob(".*.part")) + list(sweep.store.records.glob(".*"))


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def end(process):
    """Kill a process and what it has started."""
    for member in [*psutil.Process(process.pid).children(recursive=True), process]:
        member.kill()
    process.wait()


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler without workers, and its process."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    command += ["--no-dashboard", "--scheduler-file", str(file)]
    process = subprocess.Popen(command, **QUIET)
    until(lambda: file.exists() and file.read_text().endswith("}"), process)
    yield json.loads(file.read_text())["address"], process
    if process.poll() is None:
        end(process)


@pytest.fixture
def worker(tmp_path, scheduler):
    """A function that starts a worker, a process of its own."""
    started = []

    def start(threads=1):
        folder = tmp_path / f"worker-{len(started)}"
        folder.mkdir()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler[0]]
        command += ["--nthreads", str(threads), "--no-dashboard", "--no-nanny"]
        command += ["--local-directory", str(folder)]
        started.append(subprocess.Popen(command, **QUIET, cwd=folder))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            end(process)


def test_a_cluster_runs_it_and_the_loss_of_its_only_worker_costs_no_run(sweep, scheduler, worker):
    problems, first = {}, worker()
    for outcome in sweep.start("n=1:2,7", scheduler=scheduler[0]):
        problems[outcome.job.values["n"]] = outcome.problem
        if len(problems) == 1:
            end(first)
            worker()
    assert "ValueError: seven" in problems.pop(7)
    assert problems == {1: "", 2: ""}
    assert squares(sweep.store) == [1, 4]
    (seven,) = sweep.jobs("n=7")
    assert sweep.store.failed(seven).exists()  # it has come back
    assert "seven" in sweep.store.note(seven).read_text()


def test_a_cluster_that_can_not_run_it_is_told_in_a_line(sweep, scheduler, worker, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "CONNECT_SECONDS", 0.1)
        with pytest.raises(UserError, match="no Dask scheduler answers at"):
            sweep.run("n=1", scheduler="tcp://127.0.0.1:9")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "JOIN_SECONDS", 0.1)
        with pytest.raises(UserError, match=r"no worker: `dask worker \S+ --nthreads 1` starts"):
            sweep.run("n=1", scheduler=scheduler[0])
    monkeypatch.setattr(engine, "JOIN_SECONDS", 60)
    worker(threads=2)
    with pytest.raises(UserError, match="a run needs a process of its own: start the workers"):
        sweep.run("n=1", scheduler=scheduler[0])
