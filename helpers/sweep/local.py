"""Runs on this machine: a process and a kernel for each, GPUs divided among them."""

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil

from ..pdf.errors import UserError
from ..pdf.notebook import read_notebook
from .runs import Job, Store

LONGEST_WAIT = 86_400  # seconds at a time: the system takes no more than 24 days
ENDING_SECONDS = 10  # for a process to end once it has sent its result


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a sweep is run."""

    notebook: Path
    jobs: int = 1
    threads: int = 1  # of one run, whatever jobs is: sums differ in their last bits with it
    timeout: float | None = None  # seconds that one run may take
    retries: int = 0
    fail_fast: bool = False
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How one job ended: its record, or the problem."""

    job: Job
    record: dict | None
    problem: str
    seconds: float


@dataclass
class _Running:
    job: Job
    tries: int
    slot: int
    process: multiprocessing.Process
    result: Connection  # where the child sends its record, or its problem
    started: float


def run_all(jobs: list[Job], store: Store, settings: Settings) -> Iterator[Outcome]:
    """Run the jobs, ``settings.jobs`` at a time; yield each outcome as it comes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["papermill", "helpers.sweep.local"])
    waiting = deque((job, 0) for job in jobs)
    running: list[_Running] = []
    slots = list(range(settings.jobs))
    stopped = False
    try:
        while waiting or running:
            while waiting and slots:
                running.append(_start(*waiting.popleft(), slots.pop(0), context, store, settings))
            for one in _finished(running, settings.timeout):
                running.remove(one)
                slots.append(one.slot)
                outcome = _outcome(one, settings.timeout, store)
                if outcome.problem and one.tries < settings.retries and not stopped:
                    waiting.append((one.job, one.tries + 1))
                    continue
                if outcome.problem:
                    store.fail(one.job, outcome.problem)
                else:
                    store.forget_failure(one.job)
                yield outcome
                if outcome.problem and settings.fail_fast:
                    stopped = True
                    waiting.clear()
    finally:
        for one in running:
            kill(one.process.pid)


def _start(
    job: Job,
    tries: int,
    slot: int,
    context,
    store: Store,
    settings: Settings,
) -> _Running:
    receiver, sender = context.Pipe(duplex=False)
    threads = str(settings.threads)
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if settings.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = settings.gpus[slot % len(settings.gpus)]
    store.failed(job).unlink(missing_ok=True)  # the note stays until the job has not failed
    arguments = (job, store, settings.notebook, environment, sender)
    process = context.Process(target=_child, args=arguments)
    process.start()
    sender.close()
    return _Running(job, tries, slot, process, receiver, time.monotonic())


def _child(job: Job, store: Store, notebook: Path, environment: dict, sender) -> None:
    """Execute one job in this process and write its record."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(environment)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until this process ends)
    from ..pdf.execute import execute

    started = time.monotonic()
    try:
        target = store.notebook(job)
        target.unlink(missing_ok=True)
        execute(notebook, target, profile=job.profile, given=job.values, timeout=None)
        record = store.save(job, read_notebook(target), time.monotonic() - started)
        sender.send((record, ""))
    except UserError as error:
        sender.send((None, str(error)))
    except Exception as error:  # whatever it is, it must reach the person at the terminal
        sender.send((None, f"{type(error).__name__}: {error}"))


def _die_with_parent() -> None:
    """A sweep that is killed takes its runs with it: none goes on unseen."""
    wait([multiprocessing.parent_process().sentinel])
    kill(os.getpid())


def kill(pid: int) -> None:
    """End a process and everything it started, the process itself last."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def _finished(running: list[_Running], timeout: float | None) -> list[_Running]:
    """Wait until a run ends or its time is up, and return those of which one is true."""
    now = time.monotonic()
    patience = None
    if timeout is not None:
        patience = max(0.0, min(one.started for one in running) + timeout - now)
        patience = min(patience, LONGEST_WAIT)
    # The result, too: one that is larger than a pipe is sent only as it is read.
    ready = set(
        wait([end for one in running for end in (one.process.sentinel, one.result)], patience)
    )
    late = time.monotonic() - (timeout or float("inf"))
    over = []
    for one in running:
        ended = not ready.isdisjoint((one.process.sentinel, one.result))
        if not ended and one.started <= late:
            kill(one.process.pid)
        if ended or one.started <= late:
            over.append(one)
    return over


def _outcome(one: _Running, timeout: float | None, store: Store) -> Outcome:
    seconds = time.monotonic() - one.started
    late = timeout is not None and seconds >= timeout
    record, problem = None, f"took longer than {timeout:g} s" if late else "its process died"
    # A process that died, or was killed, may have sent nothing, or a part.
    with contextlib.suppress(EOFError, OSError):
        if one.result.poll():
            record, problem = one.result.recv()
    one.result.close()
    one.process.join(ENDING_SECONDS)
    if one.process.is_alive():
        kill(one.process.pid)
        one.process.join()
    cut_off = store.running(one.job)
    if cut_off.exists():  # its process could not put it away
        os.replace(cut_off, store.failed(one.job))
        problem += f"\nWhat it did until then: {store.failed(one.job)}"
    return Outcome(one.job, record, problem, seconds)
