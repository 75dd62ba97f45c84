"""Runs on a Dask cluster, with no file system in common.

The notebook, the helpers and the lock travel with each run; the executed notebook comes
back, and its record is written here. A worker needs the packages of requirements.lock. It takes
the data from its own DATA_DIR, else from the folder that has them here if it sees that, too, else
from ``~/.cache/homework/data``, where a first run downloads them.

Clusters on SLURM and the like: start them with dask-jobqueue
(``SLURMCluster(...).scale(jobs=8)``) and pass its ``scheduler_address``.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from ..data import data_dir
from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, read_notebook, records, write_atomically
from .local import Outcome, Settings
from .runs import Job, Store

if TYPE_CHECKING:
    from distributed import Client, Future

Bundle = dict[str, bytes]  # path below the project's folder to content
CONNECT_SECONDS = 10  # for a scheduler to answer
JOIN_SECONDS = 60  # for a first worker to be there


def run_all(
    jobs: list[Job], store: Store, settings: Settings, scheduler: str | None
) -> Iterator[Outcome]:
    """Run the jobs on the cluster at ``scheduler``; yield each outcome as it comes.

    A run whose worker is lost is given to another one. Raises UserError if there is no
    scheduler, or no more, or if no worker comes to it.
    """
    if not scheduler:
        raise UserError("--engine dask needs --scheduler tcp://host:8786")
    try:
        from distributed import as_completed
    except ImportError:
        raise UserError(
            "--engine dask needs the package distributed: `pip install '.[cluster]'` brings it"
        ) from None

    with _connected(scheduler) as client:
        submit = _submitter(client, settings)
        running = {submit(job, 0): (job, 0) for job in jobs}
        ended = as_completed(list(running))
        for future in ended:
            job, tries = running.pop(future)
            if future.status == "cancelled":  # not by us: the client has lost the scheduler
                raise UserError(
                    f"the Dask scheduler at {scheduler} is gone; what was done is recorded: "
                    "run the sweep again for the rest"
                )
            outcome = _outcome(future, job, store)
            if outcome.problem and tries < settings.retries:
                again = submit(job, tries + 1)
                running[again] = (job, tries + 1)
                ended.add(again)
                continue
            if outcome.problem:
                store.fail(job, outcome.problem)
            yield outcome
            if outcome.problem and settings.fail_fast:
                client.cancel(list(running))
                return


def _submitter(client: "Client", settings: Settings) -> Callable[[Job, int], "Future"]:
    """A function that sends a job to the cluster for the first, second, … time."""
    import cloudpickle

    from . import remote

    cloudpickle.register_pickle_by_value(remote)  # a worker need not have this project installed
    bundle = pack(settings.notebook)  # sent with each run: what is scattered goes with its worker
    sweep = uuid.uuid4().hex[:8]  # so that a later sweep gets no earlier result

    def submit(job: Job, tries: int) -> "Future":
        return client.submit(
            remote.run,
            bundle,
            f"notebooks/{settings.notebook.name}",
            job.profile,
            job.values,
            settings.timeout,
            settings.threads,
            str(data_dir()),
            key=f"{job.name}-{sweep}-{tries}",
            pure=False,
        )

    return submit


@contextmanager
def _connected(scheduler: str) -> Iterator["Client"]:
    """A client of a scheduler that has a worker. Raises UserError without either."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler} ({error})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=JOIN_SECONDS)
        except TimeoutError:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no worker: `dask worker {scheduler}` "
                "starts one"
            ) from None
        yield client


def _outcome(future, job: Job, store: Store) -> Outcome:
    started = time.monotonic()
    if future.status != "finished":
        return Outcome(job, None, f"the cluster gave it up: {future.exception()}", 0.0)
    content, problem, seconds, facts = future.result()
    if problem:
        if content:
            write_atomically(store.failed(job), content)
            problem += f"\nWhat it did until then: {store.failed(job)}"
        return Outcome(job, None, problem, seconds)
    write_atomically(store.notebook(job), content)
    store.forget_failure(job)
    executed = nbformat.reads(content.decode(), as_version=4)
    record = store.save(job, executed, seconds, facts["machine"])
    return Outcome(job, record, "", seconds + time.monotonic() - started)


def pack(notebook: Path) -> Bundle:
    """What a run needs of this project: the notebook, helpers, lock, and the records it shows.

    The notebook goes to ``notebooks/`` there, wherever it lies here.
    """
    files = [path for path in (ROOT / "helpers").rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    files += records(read_notebook(notebook))
    bundle = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    bundle["requirements.lock"] = (ROOT / "requirements.lock").read_bytes()
    return bundle | {f"notebooks/{notebook.name}": notebook.read_bytes()}
