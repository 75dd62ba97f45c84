"""Runs by Dask: on processes of this machine, or on a cluster with no file system in common.

Here each run has a process, GPUs divided among them. To a cluster the notebook and the helpers
travel with the sweep; the executed notebook comes back, and its record is written here. A worker
needs the packages of requirements.lock. It takes the data from its own DATA_DIR, else from the
folder that has them here if it sees that, too, else from ``~/.cache/homework/data``, where a first
run downloads them.

Clusters on SLURM and the like: start them with dask-jobqueue
(``SLURMCluster(cores=1, …).scale(jobs=8)``) and pass its ``scheduler_address``.
"""

import hashlib
import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, read_notebook, records, write_atomically
from . import task
from .runs import Job, Store

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10  # for a scheduler to answer
JOIN_SECONDS = 60  # for a first worker to be there
TICK_SECONDS = 2  # after which workers that have come since are given work


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
    scheduler: str | None = None  # of a cluster; None: processes of this machine


@dataclass(frozen=True)
class Outcome:
    """How one job ended: its record, or the problem."""

    job: Job
    record: dict | None
    problem: str
    seconds: float


def run_all(jobs: list[Job], store: Store, settings: Settings) -> Iterator[Outcome]:
    """Run the jobs, as many at a time as there are workers; yield each outcome as it comes.

    A run whose worker is lost is given to another one. Raises UserError if there is no
    scheduler, or no more, or if no worker comes to it.
    """
    waiting, running = deque((job, 0) for job in jobs), {}
    retries, address = settings.retries, settings.scheduler
    with _elsewhere(address) if address else _here(min(settings.jobs, len(jobs))) as client:
        from distributed import CancelledError, wait

        bundle, notebook = None, str(settings.notebook)
        if address:
            bundle, notebook = pack(settings.notebook), f"notebooks/{settings.notebook.name}"
        how = settings.timeout, settings.threads, settings.gpus, bundle
        while waiting or running:
            try:
                slots = len(client.nthreads())  # now: on a cluster, workers come and go
                while waiting and len(running) < slots:
                    job, tries = waiting.popleft()
                    target = None if address else str(store.notebook(job))
                    what = notebook, target, job.profile, job.values
                    # Not pure: no earlier result is taken for this one.
                    running[client.submit(task.run, *what, *how, pure=False)] = job, tries
                ended = wait(list(running), TICK_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            except (CancelledError, OSError):
                raise UserError(
                    f"the Dask scheduler at {address} is gone; what was done is recorded: "
                    "run the sweep again for the rest"
                ) from None
            for future in ended:
                job, tries = running.pop(future)
                outcome = _outcome(future, job, store)
                future.release()  # else it would be computed anew where its worker ends later
                if outcome.problem and tries < retries:
                    waiting.append((job, tries + 1))
                    continue
                if outcome.problem:
                    store.fail(job, outcome.problem)
                yield outcome
                if outcome.problem and settings.fail_fast:
                    retries, waiting = 0, deque()


@contextmanager
def _here(workers: int) -> Iterator["Client"]:
    """A client of processes of this machine, which end with it."""
    # Workers fork from one process that has imported what each needs; it imports while we do.
    # Ours come first: they spare papermill a second of jsonschema (see ``helpers``).
    modules = ["helpers.pdf.execute", "helpers.sweep.runs", "papermill", "distributed.nanny"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for us alone
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, heeded)
    import dask
    from distributed import Client, LocalCluster, utils

    utils._forkserver_preload_set = True  # by us: Dask would import pandas here to name it, too
    options = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.scheduler.worker-ttl": None,  # else a clock that jumps ends runs
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    ctrl_c = {signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ctrl_c)  # Dask can't end what is not there yet
    with (
        dask.config.set(options),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            security=True,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ctrl_c)
            yield client
        except BaseException:  # what runs is of no use to anyone
            for nanny in cluster.workers.values():
                nanny.auto_restart = False
            for server in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # by now
                    ours = "forkserver" in " ".join(server.cmdline())
                    for process in [server, *server.children(recursive=True)] if ours else ():
                        with suppress(psutil.NoSuchProcess):
                            process.kill()
            raise


@contextmanager
def _elsewhere(scheduler: str) -> Iterator["Client"]:
    """A client of a scheduler that has workers. Raises UserError without either."""
    import cloudpickle
    from distributed import Client

    cloudpickle.register_pickle_by_value(task)  # a worker need not have this project installed
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler} ({error})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=JOIN_SECONDS)
        except TimeoutError:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no worker: "
                f"`dask worker {scheduler} --nthreads 1` starts one"
            ) from None
        if max(client.nthreads().values()) > 1:
            raise UserError(
                f"a run needs a process of its own: start the workers of {scheduler} with "
                "`--nthreads 1`, and `--nworkers N` for several of them"
            )
        yield client


def _outcome(future: "Future", job: Job, store: Store) -> Outcome:
    """What became of a run; its record is written, or what it did until it failed."""
    if future.status != "finished":
        died = f"its process died again and again ({future.exception()})"
        return Outcome(job, None, died, 0.0)
    content, problem, seconds, machine = future.result()
    try:
        if content:
            write_atomically(store.failed(job) if problem else store.notebook(job), content)
        if not problem:
            record = store.save(job, read_notebook(store.notebook(job)), seconds, machine)
            return Outcome(job, record, "", seconds)
    except (UserError, OSError) as error:  # a full disk, say
        problem = problem or str(error)
    return Outcome(job, None, problem, seconds)


def pack(notebook: Path) -> task.Bundle:
    """What a run elsewhere needs: the notebook, helpers, and the records that it shows.

    The notebook goes to ``notebooks/`` there, wherever it lies here.
    """
    from ..data import data_dir  # and torch

    files = [*(ROOT / "helpers").rglob("*.py"), *records(read_notebook(notebook))]
    content = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    content |= {f"notebooks/{notebook.name}": notebook.read_bytes()}
    digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:16]
    return digest, str(data_dir()), content
