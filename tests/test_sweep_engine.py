"""Sweeps that run: interrupted, resumed, failing, late, and on a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from pdf_fixtures import source_notebook, write

from helpers.pdf.errors import UserError
from helpers.pdf.notebook import read_notebook
from helpers.sweep import engine, task
from helpers.sweep.plan import grid
from helpers.sweep.runs import Store, jobs, load

CODE = """import os, time
from helpers.report import record, stamp
with open({log!r}, "a") as file: file.write(str(n))
stamp(profile=profile, seed=0)
if n == 7: raise ValueError("seven")
if n == 8: os._exit(1)
if n == 9: time.sleep(600)
time.sleep({pause})
record("tiny/square", n * n)
record("tiny/threads", int(os.environ["OMP_NUM_THREADS"]))
record("tiny/device", os.environ.get("CUDA_VISIBLE_DEVICES", "any"))
record("tiny/text", "x" * 1_000_000)
"""


class Sweep:
    def __init__(self, folder, pause=0.0, code=CODE):
        self.log = folder / "begun.txt"  # the n of each execution
        code = code.format(pause=pause, log=str(self.log))
        self.path = write(source_notebook(code), folder / "tiny.ipynb")
        self.store = Store("tiny", records=folder / "records", work=folder / "work")

    def jobs(self, *axes):
        return jobs(grid(list(axes)), read_notebook(self.path), "quick", self.path)

    def start(self, *axes, **settings):
        settings = engine.Settings(notebook=self.path, **settings)
        self.store.look()
        waiting = [job for job in self.jobs(*axes) if self.store.why(job)]
        return engine.run_all(waiting, self.store, settings) if waiting else iter(())

    def run(self, *axes, **settings):
        return list(self.start(*axes, **settings))


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


def test_runs_are_done_once_each_with_one_thread_and_its_device(sweep):
    outcomes = sweep.run("n=1:4", jobs=2, gpus=("3", "5"))
    assert [outcome.problem for outcome in outcomes] == [""] * 4
    assert squares(sweep.store) == [1, 4, 9, 16]
    values = [record["values"] for record in load(sweep.store.records)]
    assert {value["tiny/threads"] for value in values} == {1}
    assert {value["tiny/device"] for value in values} == {"3", "5"}
    assert sweep.run("n=1:4", jobs=2) == []


def test_what_fails_dies_or_hangs_is_told_apart_and_the_rest_goes_on(tmp_path, sweep):
    problems = {o.job.values["n"]: o.problem for o in sweep.run("n=6:9", jobs=2, timeout=60)}
    assert problems[6] == ""
    assert "ValueError: seven" in problems[7]
    assert "kernel died" in problems[8]
    assert problems[9] == "took longer than 60 s"
    assert squares(sweep.store) == [36]
    (seven,) = sweep.jobs("n=7")
    assert sweep.store.failed(seven).exists()
    assert [sweep.store.why(job) for job in sweep.jobs("n=6:9")] == ["", *["failed before"] * 3]
    assert "longer than 60 s" in sweep.store.note(sweep.jobs("n=9")[0]).read_text()
    until(lambda: not strays(tmp_path), seconds=20)


def test_a_failure_can_stop_the_sweep_or_be_tried_again(sweep):
    outcomes = sweep.run("n=7,1,2", retries=1)
    assert [bool(o.problem) for o in sorted(outcomes, key=lambda o: o.job.values["n"])] == [0, 0, 1]
    assert sorted(sweep.log.read_text()) == ["1", "2", "7", "7"]
    assert len(sweep.run("n=7,3,4", fail_fast=True)) == 1
    assert sorted(sweep.log.read_text()) == ["1", "2", "7", "7", "7"]


def test_a_sweep_that_is_stopped_leaves_nothing_running_and_forgets_no_failure(tmp_path, sweep):
    one, nine = sweep.jobs("n=1,9")
    for job in (one, nine):
        sweep.store.fail(job, "its process died")
    outcomes = sweep.start("n=1,9", jobs=2)
    assert next(outcomes).job == one
    outcomes.close()
    assert [sweep.store.has_failed(job) for job in (one, nine)] == [False, True]
    until(lambda: not strays(tmp_path), seconds=20)


def test_a_worker_that_is_killed_costs_no_run(tmp_path):
    sweep = Sweep(tmp_path, pause=2)

    def kill_first():
        until(sweep.log.exists)
        strays(tmp_path)[0].parent().kill()

    killer = threading.Thread(target=kill_first)
    killer.start()
    outcomes = sweep.run("n=1,2")
    killer.join()
    assert [outcome.problem for outcome in outcomes] == ["", ""]
    assert squares(sweep.store) == [1, 4]
    assert sorted(sweep.log.read_text()) == ["1", "1", "2"]


def test_a_notebook_without_profiles_is_swept_beside_its_own_files(tmp_path):
    (tmp_path / "own.py").write_text("square = lambda n: n * n")
    code = "from helpers.report import record\nfrom own import square\n"
    sweep = Sweep(tmp_path, code=code + "record('tiny/square', square(n))")
    notebook = read_notebook(sweep.path)
    notebook.cells[1].source = "n = 1  # [0..9]"
    write(notebook, sweep.path)
    assert [outcome.problem for outcome in sweep.run("n=3")] == [""]
    assert squares(sweep.store) == [9]


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_sweep_engine import CODE, Sweep
if __name__ == "__main__":
    sweep = Sweep(Path({folder!r}), pause=0.3, code={code} or CODE)
    with sweep.store.lock():
        for outcome in sweep.run("n=0:{last}", jobs=2):
            assert not outcome.problem, outcome.problem
"""


def drive(folder, last, code="None", **environment):
    script = folder / "driver.py"
    tests = str(Path(__file__).parent)
    script.write_text(DRIVER.format(tests=tests, folder=str(folder), last=last, code=code))
    return subprocess.Popen(
        [sys.executable, script], start_new_session=True, env=os.environ | environment
    )


def test_a_sweep_killed_at_any_moment_loses_nothing_and_leaves_nothing_running(tmp_path):
    store = Store("tiny", records=tmp_path / "records", work=tmp_path / "work")
    for moment in ((tmp_path / "begun.txt").exists, lambda: list(store.records.glob("*.json"))):
        process = drive(tmp_path, 5)
        until(moment, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not strays(tmp_path), seconds=20)
    before = {path.name: path.stat().st_mtime_ns for path in store.records.glob("*.json")}
    load(store.records)  # no record is half written
    assert drive(tmp_path, 5).wait() == 0
    assert squares(store) == [n * n for n in range(6)]
    after = {path.name: path.stat().st_mtime_ns for path in store.records.glob("*.json")}
    assert before.items() <= after.items()  # what was done was not done again
    assert not list(store.work.glob("*.part")) + list(store.records.glob(".*.part"))


CLOCK = """
import os, time
now = time.time
time.time = lambda: now() + (10**8 if os.path.exists({sign!r}) else 0)
"""
JUMPING = """import time
from helpers.report import record
with open({sign!r}, "a") as file: file.write(str(n))
time.sleep(9)
record("tiny/square", n * n)
"""


def test_a_clock_that_jumps_ends_no_run(tmp_path):
    """It jumps in every process of the sweep, and Dask looks every two seconds who is silent."""
    sign = str(tmp_path / "jump")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(sign=sign))
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    options = {"PYTHONPATH": paths, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}
    assert drive(tmp_path, 0, repr(JUMPING.format(sign=sign)), **options).wait() == 0
    assert squares(Store("tiny", records=tmp_path / "records")) == [0]
    assert Path(sign).read_text() == "0"  # begun once


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


def test_a_cluster_runs_it_and_the_loss_of_its_only_worker_costs_no_run(
    tmp_path, scheduler, worker
):
    sweep, outcomes, first = Sweep(tmp_path, pause=1.0), [], worker()
    for outcome in sweep.start("n=1:3,7", retries=1, scheduler=scheduler[0]):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            end(first)
            worker()
    problems = {outcome.job.values["n"]: outcome.problem for outcome in outcomes}
    assert "ValueError: seven" in problems.pop(7)
    assert problems == {1: "", 2: "", 3: ""}
    assert squares(sweep.store) == [1, 4, 9]
    assert sweep.log.read_text().count("7") == 2
    (seven,) = sweep.jobs("n=7")
    assert sweep.store.failed(seven).exists()  # it has come back
    assert "seven" in sweep.store.note(seven).read_text()


def test_a_cluster_that_can_not_run_it_is_told_in_a_line(sweep, scheduler, worker, monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(engine, "JOIN_SECONDS", 1)
    with pytest.raises(UserError, match="no Dask scheduler answers at"):
        sweep.run("n=1", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match=r"no worker: `dask worker \S+ --nthreads 1` starts one$"):
        sweep.run("n=1", scheduler=scheduler[0])
    monkeypatch.setattr(engine, "JOIN_SECONDS", 60)
    worker(threads=2)
    with pytest.raises(UserError, match="a run needs a process of its own: start the workers"):
        sweep.run("n=1", scheduler=scheduler[0])


def test_a_worker_keeps_its_data_where_they_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert task.find_data(str(tmp_path)) == str(tmp_path)  # a file system in common
    assert task.find_data("/not/here") == str(tmp_path / "cache" / "homework" / "data")
    monkeypatch.setenv("DATA_DIR", "own")
    monkeypatch.chdir(tmp_path)
    assert task.find_data("/not/here") == str(tmp_path / "own")
