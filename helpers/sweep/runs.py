"""Runs and their records: one JSON file each, written whole when the run is done.

A run is done when there is a record with the same parameters and the same recipe: the number in
the notebook's parameters cell that goes up when the same parameters would give other numbers.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .. import mime
from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, bundles, write_atomically
from ..pdf.parameters import UNKNOWN, Value, choose, read_parameters, read_recipe
from .plan import Run

LONGEST_NAME = 120  # characters of a file's name: systems take 255 bytes with all that we append


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    values: dict[str, Value]  # of every parameter
    profile: str  # which a notebook without that parameter has, too
    recipe: int
    name: str  # of its files
    label: str  # the given values as a person reads them


def jobs(runs: list[Run], notebook: NotebookNode, profile: str, path: Path) -> list[Job]:
    """The runs with their parameters checked, each job once. Raises UserError."""
    known, recipe = read_parameters(notebook, path), read_recipe(notebook, path)
    defaults = {name: p.default for name, p in known.items() if p.default is not UNKNOWN}
    usual = defaults | choose(known, {}, profile, path)
    found = {}
    for run in runs:
        values = defaults | choose(known, run, profile, path)
        label = " ".join(f"{name}={values[name]}" for name in run) or "defaults"
        job = Job(values, profile, recipe, _name(values, usual), label)
        found.setdefault(_text(values), job)
    return list(found.values())


def _name(values: dict[str, Value], usual: dict[str, Value]) -> str:
    """A run's file name: what differs from the profile, in the notebook's order.

    ``profile=quick`` stands in it, so that those of the full profile are shorter. What is long, or
    holds what a file system could mind (capitals, since some know none), ends in a digest.
    """
    special = [
        f"{name}={_text(value)}"
        for name, value in values.items()
        if value != usual.get(name, UNKNOWN) or (name == "profile" and value != "full")
    ]
    name = ",".join(special) or "defaults"
    safe = re.sub(r"[^a-z0-9_.,=+\[\]-]", "_", name.lower())[:LONGEST_NAME]
    return name if name == safe else f"{safe}~{_digest(values)}"


def _digest(values: dict[str, Value]) -> str:
    """Eight digits that tell parameters from others."""
    return hashlib.sha256(_text(values).encode()).hexdigest()[:8]


def _text(value: object) -> str:
    """One text for each value, or for each set of parameters."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)


class Store:
    """The records and notebooks of one notebook's runs."""

    def __init__(self, name: str, *, records: Path | None = None, work: Path | None = None):
        self.records = records or ROOT / "data" / "results" / name
        self.work = work or ROOT / "build" / "sweeps" / name
        self.look()

    def look(self) -> None:
        """Read anew which records there are: another sweep may have added some."""
        self._found: dict[str, tuple[Path, int]] = {}
        for path in self.records.glob("*.json"):
            with contextlib.suppress(UserError):
                record = _read(path)
                self._found[_text(record["parameters"])] = path, record["recipe"]

    def record(self, job: Job) -> Path:
        """Where the job's record lies once the job is done.

        Two sets of parameters never share a file, even where what is usual has changed since.
        """
        if found := self._found.get(_text(job.values)):
            return found[0]
        path = self.records / f"{job.name}.json"
        taken = any(path == other for other, _ in self._found.values())
        return path.with_name(f"{job.name}~{_digest(job.values)}.json") if taken else path

    def notebook(self, job: Job) -> Path:
        """Where the job's executed notebook lies."""
        return self.work / f"{self.record(job).stem}.ipynb"

    def failed(self, job: Job) -> Path:
        """The partly executed notebook of a job that failed."""
        return self.notebook(job).with_suffix(".failed.ipynb")

    def note(self, job: Job) -> Path:
        """Where the problem of a job that failed is written down, whatever else it has left."""
        return self.notebook(job).with_suffix(".failed.txt")

    def fail(self, job: Job, problem: str) -> None:
        """Write down that the job failed."""
        with contextlib.suppress(OSError):  # a full disk: the terminal has the problem, too
            write_atomically(self.note(job), f"{problem}\n".encode(errors="replace"))

    def why(self, job: Job) -> str:
        """Why the job has to run: empty if it is done."""
        path, recipe = self._found.get(_text(job.values), (None, None))
        if path and recipe == job.recipe:
            return ""
        if self.note(job).exists():
            return "failed before"
        return (
            f"its record is of recipe {recipe}, now {job.recipe}"
            if path
            else f"no record of profile {job.profile}"
        )

    @contextlib.contextmanager
    def lock(self):
        """One sweep at a time in this folder. Raises UserError if there is another."""
        from filelock import FileLock, Timeout

        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / ".lock"
        try:
            with FileLock(path, timeout=0):
                path.write_text(str(os.getpid()))
                self.look()
                yield
        except Timeout:
            raise UserError(
                f"another sweep (process {path.read_text().strip()}) is at work in {self.work}: "
                "wait for it"
            ) from None

    def save(self, job: Job, executed: NotebookNode, seconds: float, machine: str) -> dict:
        """Write the job's record; from then on it is done. Returns the record.

        ``machine`` is the hardware that it ran on.
        """
        values, claims, stamp = {}, {}, {}
        for data in bundles(executed):
            if content := data.get(mime.RECORD):
                values[content["name"]] = content["value"]
            if content := data.get(mime.CLAIM):
                claims[content["name"]] = content["holds"]
            stamp |= data.get(mime.STAMP, {})
        record = {
            "recipe": job.recipe,
            "parameters": job.values,
            "values": values,
            "claims": claims,
            "stamp": stamp,
            "seconds": round(seconds, 2),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "hardware": machine,
        }
        path = self.record(job)
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n"
        write_atomically(path, text)
        self._found[_text(job.values)] = path, job.recipe
        for left in (self.note(job), self.failed(job)):  # of an earlier run that failed
            left.unlink(missing_ok=True)
        return record


def hardware() -> str:
    """The processor and how many of its cores this process may use."""
    from dask.system import CPU_COUNT

    cpuinfo = Path("/proc/cpuinfo")
    named = re.search("^model name.*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "", re.M)
    model = named[1] if named else platform.processor() or platform.machine()
    return f"{model}, {CPU_COUNT} cores"


def _read(path: Path) -> dict:
    """A record. Raises UserError naming a file that is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["recipe"], record["parameters"], record["values"]  # it has them
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a record of a run ({error}); remove it") from None
    return record


def load(folder: Path) -> list[dict]:
    """All records in ``folder``, by name. Raises UserError naming a file that is not one."""
    return [_read(path) | {"name": path.stem} for path in sorted(folder.glob("*.json"))]
