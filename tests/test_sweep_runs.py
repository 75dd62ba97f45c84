"""Sweeps that run: interrupted, resumed, failing, late, and on a Dask cluster."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from pdf_fixtures import source_notebook, write

from helpers.pdf.errors import UserError
from helpers.pdf.notebook import read_notebook
from helpers.sweep import cluster, local, remote
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
"""


class Sweep:
    def __init__(self, folder, pause=0.0):
        self.log = folder / "begun.txt"  # the n of each execution
        code = CODE.format(pause=pause, log=str(self.log))
        self.path = write(source_notebook(code), folder / "tiny.ipynb")
        self.store = Store("tiny", records=folder / "records", work=folder / "work")

    def jobs(self, *axes):
        return jobs(grid(list(axes)), read_notebook(self.path), "quick", self.path)

    def run(self, *axes, **settings):
        settings = local.Settings(notebook=self.path, **settings)
        waiting = [job for job in self.jobs(*axes) if self.store.why(job)]
        return list(local.run_all(waiting, self.store, settings))


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


def until(condition, process, seconds=300):
    """Wait until ``condition()`` holds, as long as ``process`` is there to bring it about."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def squares(store):
    return sorted(record["values"]["tiny/square"] for record in load(store.records))


def test_runs_are_done_once_with_one_thread_each(sweep):
    outcomes = sweep.run("n=1:3", jobs=2)
    assert [outcome.problem for outcome in outcomes] == ["", "", ""]
    assert squares(sweep.store) == [1, 4, 9]
    threads = {record["values"]["tiny/threads"] for record in load(sweep.store.records)}
    assert threads == {1}
    assert sweep.run("n=1:3", jobs=2) == []


def test_what_fails_dies_or_hangs_is_told_apart_and_the_rest_goes_on(sweep):
    outcomes = [*sweep.run("n=6:8", jobs=2), *sweep.run("n=9", timeout=10)]
    problems = {outcome.job.values["n"]: outcome.problem for outcome in outcomes}
    assert problems[6] == ""
    assert "ValueError: seven" in problems[7]
    assert "kernel died" in problems[8]
    assert "longer than 10 s" in problems[9]
    assert squares(sweep.store) == [36]
    (seven,) = sweep.jobs("n=7")
    assert sweep.store.failed(seven).exists()
    assert sweep.store.why(seven) == "failed before"
    assert [sweep.store.has_failed(job) for job in sweep.jobs("n=6:9")] == [False, True, True, True]
    assert "longer than 10 s" in sweep.store.note(sweep.jobs("n=9")[0]).read_text()
    assert not [p for p in psutil.process_iter(["cmdline"]) if is_kernel_of(p, sweep.store)]


def test_a_failure_can_stop_the_sweep_or_be_tried_again(sweep):
    assert len(sweep.run("n=7,1,2", fail_fast=True)) == 1
    assert sweep.log.read_text() == "7"
    (outcome,) = sweep.run("n=7", retries=1)
    assert "seven" in outcome.problem
    assert sweep.log.read_text() == "777"


LAST = """import time
from pathlib import Path
if n == 9:
    while not list(Path({work!r}).glob("*.failed.txt")): time.sleep(0.1)
    time.sleep(1)
with open({log!r}, "a") as file: file.write(str(n))
raise ValueError(n)
"""


def test_once_a_failure_has_stopped_the_sweep_nothing_is_tried_again(sweep):
    """The 9 fails a second after the 7 is given up: it has been tried once."""
    code = LAST.format(work=str(sweep.store.work), log=str(sweep.log))
    write(source_notebook(code), sweep.path)
    outcomes = sweep.run("n=7,9", jobs=2, retries=1, fail_fast=True)
    assert [outcome.job.values["n"] for outcome in outcomes] == [7, 9]
    assert sorted(sweep.log.read_text()) == ["7", "7", "9"]


def test_devices_are_shared_out(sweep):
    sweep.run("n=1:4", jobs=2, gpus=("3", "5"))
    seen = [record["values"]["tiny/device"] for record in load(sweep.store.records)]
    assert sorted(set(seen)) == ["3", "5"]


def test_a_failure_is_forgotten_when_the_run_succeeds_and_not_before(sweep):
    one, two = sweep.jobs("n=1,9")
    for job in (one, two):
        sweep.store.fail(job, "its process died")
    settings = local.Settings(notebook=sweep.path, jobs=2)
    outcomes = local.run_all([one, two], sweep.store, settings)
    assert next(outcomes).job == one
    outcomes.close()  # as when the sweep is stopped, in the middle of the second
    assert [sweep.store.has_failed(job) for job in (one, two)] == [False, True]


def test_a_notebook_without_profiles_is_swept(tmp_path):
    sweep = Sweep(tmp_path)
    code = "from helpers.report import record\nrecord('tiny/square', n * n)"
    write(source_notebook(code, parameters="n = 1  # [0..9]"), sweep.path)
    assert [outcome.problem for outcome in sweep.run("n=3", timeout=120)] == [""]
    assert squares(sweep.store) == [9]


def test_a_record_larger_than_a_pipe_arrives(tmp_path):
    sweep = Sweep(tmp_path)
    code = "from helpers.report import record\nrecord('tiny/text', 'x' * 1_000_000)"
    write(source_notebook(code), sweep.path)
    (outcome,) = sweep.run("n=1", timeout=1e8)  # longer than the system waits at a time
    assert outcome.problem == ""
    assert len(outcome.record["values"]["tiny/text"]) == 1_000_000


def test_a_result_that_was_cut_short_is_a_dead_process(sweep):
    """As when a run is killed while it sends."""
    (job,) = sweep.jobs("n=1")
    receiver, sender = multiprocessing.Pipe(duplex=False)
    os.write(sender.fileno(), (1000).to_bytes(4, "big") + b"begun")
    sender.close()
    process = multiprocessing.get_context("forkserver").Process(target=int)
    process.start()
    one = local._Running(job, 0, 0, process, receiver, time.monotonic())
    assert local._outcome(one, None, sweep.store).problem == "its process died"


def is_kernel_of(process, store):
    try:
        return str(store.work) in " ".join(process.cmdline()) or str(store.work) in process.cwd()
    except psutil.Error:
        return False


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_sweep_runs import Sweep
if __name__ == "__main__":
    sweep = Sweep.__new__(Sweep)
    Sweep.__init__(sweep, Path({folder!r}), pause=0.3)
    with sweep.store.lock():
        for outcome in sweep.run("n=0:5", jobs=2):
            assert not outcome.problem, outcome.problem
"""


def test_a_sweep_killed_at_any_moment_loses_nothing_and_leaves_nothing_running(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    store = Store("tiny", records=tmp_path / "records", work=tmp_path / "work")
    for moment in ((tmp_path / "begun.txt").exists, lambda: list(store.records.glob("*.json"))):
        process = subprocess.Popen([sys.executable, script], start_new_session=True)
        until(moment, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in store.records.glob("*.json")}
    load(store.records)  # no record is half written
    subprocess.run([sys.executable, script], check=True)
    assert squares(store) == [n * n for n in range(6)]
    after = {path.name: path.stat().st_mtime_ns for path in store.records.glob("*.json")}
    assert before.items() <= after.items()  # what was done was not done again
    assert not list(store.work.glob("*.part")) + list(store.records.glob(".*.part"))


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler without workers, and its process."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    command += ["--no-dashboard", "--scheduler-file", str(file)]
    process = subprocess.Popen(command, **QUIET)
    until(lambda: file.exists() and file.read_text().endswith("}"), process)
    yield json.loads(file.read_text())["address"], process
    local.kill(process.pid)
    process.wait()


@pytest.fixture
def dask(tmp_path, scheduler):
    """A scheduler and two workers, each a process of its own."""
    address, first = scheduler
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    command += ["--no-dashboard", "--no-nanny", "--local-directory"]
    workers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        workers.append(subprocess.Popen([*command, folder], **QUIET, cwd=folder))
    yield address, [first, *workers]
    for worker in workers:
        local.kill(worker.pid)
        worker.wait()


def test_a_dask_cluster_runs_it_and_survives_the_loss_of_a_worker(tmp_path, dask):
    address, (_, one, _) = dask
    sweep = Sweep(tmp_path, pause=1.0)
    settings = local.Settings(notebook=sweep.path, jobs=2)
    outcomes = []
    for outcome in cluster.run_all(sweep.jobs("n=1:5"), sweep.store, settings, address):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            local.kill(one.pid)
    assert [outcome.problem for outcome in outcomes] == [""] * 5
    assert squares(sweep.store) == [1, 4, 9, 16, 25]


def test_a_run_that_fails_on_a_cluster_is_tried_again(tmp_path, dask):
    sweep = Sweep(tmp_path)
    settings = local.Settings(notebook=sweep.path, retries=1)
    run = cluster.run_all(sweep.jobs("n=7,2"), sweep.store, settings, dask[0])
    problems = {outcome.job.values["n"]: outcome.problem for outcome in run}
    assert problems[2] == ""
    assert "ValueError: seven" in problems[7]
    assert problems[7].count("What it did until then") == 1
    assert sorted(sweep.log.read_text()) == ["2", "7", "7"]
    (seven,) = sweep.jobs("n=7")
    assert sweep.store.failed(seven).exists()
    assert "seven" in sweep.store.note(seven).read_text()


def test_what_a_run_on_a_worker_did_until_its_time_was_up_comes_back(sweep):
    (job,) = sweep.jobs("n=9")
    bundle, name = cluster.pack(sweep.path), f"notebooks/{sweep.path.name}"
    content, problem, seconds, facts = remote.run(bundle, name, "quick", job.values, 25.0, 1, "")
    assert problem == "took longer than 25 s"
    assert b'"n = 9' in content
    assert (facts, seconds < 100) == ({}, True)


WORKER = """
from pathlib import Path
from helpers.sweep import cluster, remote
bundle = cluster.pack(Path({path!r}))
remote.run(bundle, "notebooks/tiny.ipynb", "quick", {{"n": 9}}, None, 1, "")
"""


def test_a_run_ends_with_the_worker_that_was_given_it(sweep):
    worker = subprocess.Popen([sys.executable, "-c", WORKER.format(path=str(sweep.path))])
    until(sweep.log.exists, worker)
    family = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()
    assert len(family) >= 2  # the run and its kernel
    assert psutil.wait_procs(family, timeout=60)[1] == []


class Done:
    """A future as the cluster gives it back."""

    status = "finished"

    def __init__(self, facts):
        content = nbformat.writes(source_notebook("1")).encode()
        self.result = lambda: (content, "", 1.5, facts)


def test_a_record_tells_of_the_machine_of_the_worker(sweep):
    (job,) = sweep.jobs("n=1")
    future = Done({"machine": "abacus, 3 cores"})
    record = cluster._outcome(future, job, sweep.store).record
    assert record["hardware"] == "abacus, 3 cores"


def test_a_worker_keeps_its_data_where_they_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert remote.find_data(str(tmp_path)) == str(tmp_path)  # a file system in common
    assert remote.find_data("/not/here") == str(tmp_path / "cache" / "homework" / "data")
    monkeypatch.setenv("DATA_DIR", "own")
    monkeypatch.chdir(tmp_path)
    assert remote.find_data("/not/here") == str(tmp_path / "own")


def test_a_cluster_that_is_not_there_is_said_in_a_line(sweep, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    settings = local.Settings(notebook=sweep.path)
    for address in (None, "tcp://127.0.0.1:9"):
        with pytest.raises(UserError, match="scheduler"):
            list(cluster.run_all(sweep.jobs("n=1"), sweep.store, settings, address))


def test_a_missing_dask_is_said_in_a_line_that_names_the_extra(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    settings = local.Settings(notebook=sweep.path)
    with pytest.raises(UserError, match=r"needs the package distributed: `pip .*\[cluster\]'`"):
        list(cluster.run_all([], sweep.store, settings, "tcp://127.0.0.1:9"))


def test_a_scheduler_without_workers_is_said_in_a_line(sweep, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "JOIN_SECONDS", 1)
    settings = local.Settings(notebook=sweep.path)
    with pytest.raises(UserError, match=r"has no worker: `dask worker tcp://\S+` starts one$"):
        list(cluster.run_all(sweep.jobs("n=1"), sweep.store, settings, scheduler[0]))
