"""``homework sweep`` and ``homework results``: the command line of the sweep."""

import argparse
import math
import os
import reprlib
import sys
import threading
import time
from pathlib import Path

from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, read_notebook
from ..pdf.parameters import read_parameters
from . import local
from .plan import cross, grid, table
from .runs import Job, Store, cores, jobs

FORMATS = ("text", "csv", "markdown", "latex")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``sweep`` and ``results`` to the command line."""
    sweep = commands.add_parser("sweep", help="run a notebook with many parameters")
    sweep.add_argument("notebook", help="its name or path")
    sweep.add_argument("-g", "--grid", action="append", default=[], metavar="NAME=VALUES",
                       help="layers=4:8, heads=2,3,4, file='\"a,b.csv\"'; repeat it for every "
                            "combination")  # fmt: skip
    sweep.add_argument("-p", type=_not_for_sweeps, help=argparse.SUPPRESS)
    sweep.add_argument("--zip", action="store_true", help="take the -g lists side by side")
    sweep.add_argument("--runs", type=Path, metavar="CSV", help="runs from a table")
    sweep.add_argument("--profile", default="quick", choices=["quick", "full"])
    sweep.add_argument("--jobs", type=_processes, help="runs at the same time (default: 1)")
    sweep.add_argument("--threads", type=_processes, default=1, help="of one run (1: as recorded)")
    sweep.add_argument("--dry-run", action="store_true", help="say what would run, and why")
    sweep.add_argument("--limit", type=_positive, help="run at most this many")
    sweep.add_argument("--only-failed", action="store_true", help="run only what failed before")
    sweep.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="for one run")
    sweep.add_argument("--retries", type=_tries, default=0, help="further tries for a failed run")
    sweep.add_argument("--fail-fast", action="store_true", help="start nothing after a failure")
    sweep.add_argument(
        "--gpus", type=_devices, default=(), metavar="0,1", help="devices to share out"
    )
    sweep.add_argument("--engine", default="local", choices=["local", "dask"])
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="tcp://… of a Dask scheduler")
    sweep.set_defaults(run=run_sweep)

    results = commands.add_parser("results", help="the records of a sweep as a table")
    results.add_argument("notebook", help="its name")
    results.add_argument("--metric", help="mean and spread over seeds of this one")
    results.add_argument("--by", help="parameters to group by, a,b (default: those that vary)")
    results.add_argument("--format", default="text", choices=FORMATS)
    results.set_defaults(run=run_results)


def run_sweep(options: argparse.Namespace) -> int:
    """Plan the sweep, run what is not done yet; exit status 1 if a run failed."""
    _check_engine(options)
    path = _notebook(options.notebook)
    notebook = read_notebook(path)
    plan = grid(options.grid, zipped=options.zip) if options.grid else [{}]
    if options.runs:
        plan = cross(table(options.runs), plan)
    wanted = jobs(plan, notebook, options.profile, path)
    store = Store(path.stem)
    reasons = {job.digest: store.why(job) for job in wanted}
    waiting = [job for job in wanted if reasons[job.digest]]
    if options.only_failed:
        waiting = [job for job in waiting if store.has_failed(job)]
    waiting = waiting[: options.limit]
    done = sum(not reason for reason in reasons.values())
    print(f"{len(wanted)} run{'s' * (len(wanted) != 1)}: {done} done, {len(waiting)} to run")
    if options.dry_run:
        for job in wanted:
            state = "run" if job in waiting else "skip" if reasons[job.digest] else "done"
            print(f"  {state:4}  {job.label}  {reasons[job.digest]}".rstrip())
        return 0
    if not waiting:
        return 0
    _check_gpus(options.gpus)
    with store.lock():  # what another sweep has done in the meantime is done
        waiting = [job for job in waiting if store.why(job)]
        return _run(waiting, store, path, options)


def _check_engine(options: argparse.Namespace) -> None:
    """Raises UserError for an option that the engine would not heed."""
    if options.engine == "local" and options.scheduler:
        raise UserError("--scheduler needs --engine dask: without it the runs would stay here")
    if options.engine == "dask" and options.jobs:
        raise UserError(
            "--jobs is for --engine local: on a cluster, the number of workers and their "
            "--nthreads say how many runs there are at the same time"
        )
    if options.engine == "dask" and options.gpus:
        raise UserError(
            "--gpus is for --engine local: start each worker with the CUDA_VISIBLE_DEVICES "
            "that it may use"
        )


def _check_gpus(gpus: tuple[str, ...]) -> None:
    """Raises UserError for devices that are not there: runs would quietly take the processor."""
    if not gpus:
        return
    import torch

    wanted = f"--gpus {','.join(gpus)}"
    if not torch.cuda.is_available():
        raise UserError(
            f"{wanted}: PyTorch finds no GPU here: see `make doctor`, or leave --gpus out to run "
            "on the processor"
        )
    # Where some are hidden, PyTorch counts the others only, and --gpus can name any.
    if "CUDA_VISIBLE_DEVICES" in os.environ or not all(gpu.isdecimal() for gpu in gpus):
        return
    count = torch.cuda.device_count()
    if absent := [gpu for gpu in gpus if int(gpu) >= count]:
        there = "the only GPU is 0" if count == 1 else f"the GPUs are 0 to {count - 1}"
        raise UserError(f"{wanted}: there is no GPU {absent[0]}; {there}")


def _run(waiting: list[Job], store: Store, path: Path, options) -> int:
    if not waiting:
        return 0
    for leftover in store.work.glob("*.running.ipynb"):
        leftover.unlink()
    settings = local.Settings(
        notebook=path,
        jobs=options.jobs or max(1, len(options.gpus)),
        threads=options.threads,
        timeout=options.timeout,
        retries=options.retries,
        fail_fast=options.fail_fast,
        gpus=options.gpus,
    )
    if options.engine == "dask":
        from .cluster import run_all

        outcomes = run_all(waiting, store, settings, options.scheduler)
    else:
        outcomes = local.run_all(waiting, store, settings)
    failed, spent, started = 0, 0.0, time.monotonic()
    for count, outcome in enumerate(outcomes, 1):
        failed += bool(outcome.problem)
        spent += outcome.seconds
        if outcome.problem:
            print(f"{outcome.job.label}: {outcome.problem}", file=sys.stderr, flush=True)
        at_once = max(settings.jobs, spent / (time.monotonic() - started))
        left = spent / count * (len(waiting) - count) / at_once
        facts = [_last_metric(outcome), f"{outcome.seconds:.1f} s", f"{failed} failed"]
        facts = " · ".join([*filter(None, facts), f"{_duration(left)} left"])
        print(f"[{count}/{len(waiting)}] {outcome.job.label}: {facts}", flush=True)
    print(f"records: {store.records}")
    return 1 if failed else 0


def run_results(options: argparse.Namespace) -> int:
    """Print the records of a sweep, or a metric's mean and spread over seeds."""
    from . import table as results

    path = _notebook(options.notebook)
    frame = results.runs(Store(path.stem).records)
    parameters = list(read_parameters(read_notebook(path), path))
    by = list(dict.fromkeys(filter(None, map(str.strip, (options.by or "").split(",")))))
    results.check_columns(frame, by)
    varied = results.varied(frame, parameters)
    by = by or varied
    if options.metric:
        frame = results.over_seeds(frame, by, options.metric)
        print(results.write(frame, options.format))
        if options.format == "text":
            highest = frame.loc[frame["mean"].astype(float).idxmax()]
            values = [f"{name} {results.shown(highest[name])}" for name in by]
            mean = f"mean of {options.metric} {results.shown(highest['mean'])}"
            print(f"highest: {', '.join([*values, mean])}")
        return 0
    shown = [*by, *varied, "seed"]  # else rows could not be told apart
    frame = results.in_order(frame, shown)
    same = [name for name in parameters if name in frame and name not in shown]
    print(results.write(frame.drop(columns=same), options.format))
    return 0


def _notebook(name: str) -> Path:
    """A notebook by name (``vit_training``) or by path."""
    path = Path(name)
    if path.suffix != ".ipynb":
        path = ROOT / "notebooks" / f"{name}.ipynb"
    if not path.exists():
        names = ", ".join(sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb")))
        raise UserError(f"there is no notebook {name!r}; there are {names}")
    return path.resolve()


def whole(text: str, low: int, high: int) -> int:
    """A number from the command line; argparse's error if it is not whole, or out of range."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        limit = f"from {low} to {high:,}" if high < sys.maxsize else f"of at least {low}"
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} is not a whole number {limit}")
    return number


def _not_for_sweeps(pair: str) -> str:
    """What `homework execute` takes as -p NAME VALUE, told apart from a sweep's -g."""
    name, _, value = pair.partition("\0")
    raise argparse.ArgumentTypeError(f"a sweep takes values as -g {name}={value or 'VALUES'}")


def _positive(text: str) -> int:
    return whole(text, 1, sys.maxsize)


def _processes(text: str) -> int:
    return whole(text, 1, 64 * cores())


def _tries(text: str) -> int:
    return whole(text, 0, 1000)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= threading.TIMEOUT_MAX:  # beyond it no wait is possible; NaN is neither
        raise argparse.ArgumentTypeError(
            f"{reprlib.repr(text)} is not a number of seconds above 0; leave it out for no limit"
        )
    return number


def _devices(text: str) -> tuple[str, ...]:
    devices = tuple(device.strip() for device in text.split(","))
    if not all(devices):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of devices such as 0,1")
    return devices


def _last_metric(outcome: local.Outcome) -> str:
    if not outcome.record or not outcome.record["values"]:
        return ""
    name, value = list(outcome.record["values"].items())[-1]
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes // 60} h {minutes % 60} min"
