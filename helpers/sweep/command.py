"""What ``homework sweep`` and ``homework results`` do."""

import os
import sys
import textwrap
import time
from pathlib import Path

import click

from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, read_notebook
from ..pdf.parameters import read_recipe
from . import engine
from .plan import grid, table
from .runs import Job, Store, jobs, load


def sweep(
    notebook: str, axes, zipped: bool, runs: Path | None, profile: str, at_once: int | None,
    dry_run: bool, again: bool, only_failed: bool, metric: str | None, gpus: str, **settings,
) -> int:  # fmt: skip
    """Plan the sweep, run what is not done yet; exit status 1 if a run failed."""
    if settings["scheduler"] and (at_once or gpus):
        raise UserError("on a cluster its workers say what runs at once, not --jobs and --gpus")
    devices = tuple(gpu.strip() for gpu in gpus.split(",") if gpu.strip())
    if devices and not dry_run:
        _check_gpus(devices)
    path = _notebook(notebook)
    plan = grid(list(axes), zipped=zipped) if axes else [{}]
    if runs:
        plan = [row | run for row in table(runs) for run in plan]
    wanted = jobs(plan, read_notebook(path), profile, path)
    store = Store(path.stem)

    def why(job: Job) -> str:
        return store.why(job) or ("asked for again" if again else "")

    waiting = [job for job in wanted if why(job)]
    if only_failed:
        waiting = [job for job in waiting if store.note(job).exists()]
    done = sum(not why(job) for job in wanted)
    print(f"{len(wanted)} run{'s' * (len(wanted) != 1)}: {done} done, {len(waiting)} to run")
    if done:
        print("done: of the same parameters and recipe. Where code or data of yours have changed "
              "since, raise the recipe or say --again")  # fmt: skip
    if dry_run:
        for job in wanted:
            state = "run" if job in waiting else "skip" if why(job) else "done"
            print(f"  {state:4}  {job.label}  {why(job)}".rstrip())
    if dry_run or not waiting:
        return 0
    chosen = engine.Settings(
        notebook=path, jobs=at_once or max(1, len(devices)), gpus=devices, **settings
    )
    with store.lock():  # what another sweep has done in the meantime is done
        try:
            return _run([job for job in waiting if why(job)], store, chosen, metric)
        except KeyboardInterrupt:
            same = "the same command" + ", without --again," * again
            raise click.Abort(f"({same} goes on with the rest)") from None


def results(notebook: str, metric: str | None, by: str, where: tuple[str, ...], style: str) -> None:
    """Print the records of a sweep, or a value's mean and spread over seeds."""
    from . import table as tables

    path = _notebook(notebook)
    folder = Store(path.stem).records
    if not (records := load(folder)):
        raise UserError(
            f"{folder} has no records yet: `homework sweep {path.stem} -g …` makes them"
        )
    recipe = read_recipe(read_notebook(path), path)
    frame = tables.where(tables.everything(records, recipe), list(where))
    first = [name.strip() for name in by.split(",") if name.strip()]
    print(tables.report(frame, first, metric, style))


def _notebook(name: str) -> Path:
    """A notebook by name (``vit_training``, with or without .ipynb) or by path."""
    path = Path(name)
    if path.suffix != ".ipynb" or not path.exists():
        path = ROOT / "notebooks" / f"{name.removesuffix('.ipynb')}.ipynb"
    if not path.exists():
        names = ", ".join(sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb")))
        raise UserError(f"there is no notebook {name!r}; there are {names}")
    return path.resolve()


def _check_gpus(gpus: tuple[str, ...]) -> None:
    """Raises UserError for devices that are not there: runs would quietly take the processor."""
    import torch

    count = torch.cuda.device_count()  # of those that are not hidden: then --gpus can name any
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ
    absent = [gpu for gpu in gpus if gpu.isdigit() and int(gpu) >= count and not hidden]
    if absent or not count:
        raise UserError(f"--gpus {','.join(gpus)}: PyTorch finds {count} GPUs: see `make doctor`")


def _run(waiting: list[Job], store: Store, settings: engine.Settings, metric: str | None) -> int:
    """Run the jobs and say how it goes; 1 if one failed."""
    from tqdm import tqdm

    failed, doubtful, started = {}, {}, time.monotonic()
    for count, outcome in enumerate(engine.run_all(waiting, store, settings), 1):
        label = outcome.job.label
        if outcome.problem:
            failed[label] = brief(outcome.problem)
        elif broken := [name for name, holds in outcome.record["claims"].items() if not holds]:
            doubtful[label] = f"does not hold: {', '.join(broken)}"
        left = (time.monotonic() - started) / count * (len(waiting) - count)
        facts = [failed.get(label), _value(outcome.record, metric), doubtful.get(label)]
        facts += [f"{outcome.seconds:.1f} s", f"{len(failed)} failed"]
        facts += [f"{tqdm.format_interval(left)} left"]
        print(f"[{count}/{len(waiting)}] {label}: {' · '.join(filter(None, facts))}", flush=True)
    print(f"records: {store.records}")
    for label, what in failed.items():
        print(f"failed: {label}: {what}", file=sys.stderr)
    for label, what in doubtful.items():
        print(f"recorded, but a claim {what}: {label}", file=sys.stderr)
    if failed:
        print(f"what they did until then, and in full what went wrong: {store.work}/*.failed.*\n"
              "the same command with --only-failed runs them again", file=sys.stderr)  # fmt: skip
    return 1 if failed else 0


def brief(problem: str) -> str:
    """The first line of a problem, without the path of the notebook before it."""
    line = problem.partition("\n")[0]
    return textwrap.shorten(line.partition(" failed: ")[2] or line, 200, placeholder="…")


def _value(record: dict | None, metric: str | None) -> str:
    """The value that progress shows: the one asked for, else the last."""
    values = record["values"] if record else {}
    names = [name for name in values if metric in (None, name, name.partition("/")[2])]
    if not names:
        return f"no {metric}" if metric and record else ""
    value = values[names[-1]]
    return f"{names[-1]} {value:.4g}" if isinstance(value, float) else f"{names[-1]} {value}"
