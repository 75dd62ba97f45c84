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
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from nbformat import NotebookNode

from .. import mime
from ..pdf.errors import UserError
from ..pdf.notebook import ROOT, write_atomically
from ..pdf.parameters import Value, choose, read_parameters, read_recipe
from .plan import Run

LONGEST_NAME = 120  # characters of a file's name: systems take 255 bytes with all that we append


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    given: dict[str, Value]  # what it was asked for with
    values: dict[str, Value]  # of every parameter
    usual: dict[str, Value]  # of every parameter, in this profile
    profile: str  # which a notebook without that parameter has, too
    recipe: int

    @property
    def name(self) -> str:
        """The run's file name: what differs from the profile, in the notebook's order.

        ``profile=quick`` stands in it, so that those of the full profile are shorter. A name that
        is long, or that a system without capitals could take for another's, ends in a hash.
        """
        special = {k: v for k, v in self.values.items() if v != self.usual[k]}
        if self.values.get("profile", "full") != "full":
            special = {"profile": self.profile} | special
        name = ",".join(f"{key}={_escaped(value)}" for key, value in special.items())
        capitals = any(c.isupper() for v in special.values() if isinstance(v, str | list)
                       for c in str(v))  # fmt: skip
        if len(name) > LONGEST_NAME or capitals:
            return f"{name[:LONGEST_NAME]}~{self.digest}"
        return name or "defaults"

    @property
    def digest(self) -> str:
        """Eight digits that tell its parameters from others."""
        return hashlib.sha256(_canonical(self.values).encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """The given values as a person reads them."""
        return " ".join(f"{name}={value}" for name, value in self.given.items()) or "defaults"


def _escaped(value: Value) -> str:
    """A value in a file's name, with nothing in it that a shell or a file system could mind."""
    if isinstance(value, list):
        return quote(json.dumps(value, separators=(",", ":")), safe="[],+")
    return quote(str(value), safe="+")


def _canonical(values: dict[str, Value]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def jobs(runs: list[Run], notebook: NotebookNode, profile: str, path: Path) -> list[Job]:
    """The runs with their parameters checked, each job once. Raises UserError."""
    known, recipe = read_parameters(notebook, path), read_recipe(notebook, path)
    defaults = {name: parameter.default for name, parameter in known.items()}
    usual = defaults | choose(known, {}, profile, path)
    found = {}
    for run in runs:
        values = defaults | choose(known, run, profile, path)
        job = Job({name: values[name] for name in run}, values, usual, profile, recipe)
        found.setdefault(_canonical(values), job)
    return list(found.values())


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
            with contextlib.suppress(*_BROKEN):
                record = _read(path)
                self._found[_canonical(record["parameters"])] = path, record["recipe"]

    def record(self, job: Job) -> Path:
        """Where the job's record lies once the job is done.

        Two sets of parameters never share a file, even where what is usual has changed since.
        """
        if found := self._found.get(_canonical(job.values)):
            return found[0]
        path = self.records / f"{job.name}.json"
        with contextlib.suppress(*_BROKEN):
            if _canonical(_read(path)["parameters"]) != _canonical(job.values):
                path = path.with_name(f"{job.name}~{job.digest}.json")
        return path

    def notebook(self, job: Job) -> Path:
        """Where the job's executed notebook lies; ``.failed.ipynb`` beside it if it failed."""
        return self.work / f"{self.record(job).stem}.ipynb"

    def failed(self, job: Job) -> Path:
        """The partly executed notebook of a job that failed."""
        return self.notebook(job).with_suffix(".failed.ipynb")

    def note(self, job: Job) -> Path:
        """Where the problem of a job that failed is written down."""
        return self.notebook(job).with_suffix(".failed.txt")

    def fail(self, job: Job, problem: str) -> None:
        """Write down that the job failed, whether or not it left a notebook."""
        with contextlib.suppress(OSError):  # a full disk: the terminal has the problem, too
            write_atomically(self.note(job), f"{problem}\n".encode(errors="replace"))

    def has_failed(self, job: Job) -> bool:
        """Whether the job's last run failed."""
        return self.note(job).exists() or self.failed(job).exists()

    def forget_failure(self, job: Job) -> None:
        """Remove what a run that failed has left."""
        self.note(job).unlink(missing_ok=True)
        self.failed(job).unlink(missing_ok=True)

    def why(self, job: Job) -> str:
        """Why the job has to run: empty if it is done."""
        path, recipe = self._found.get(_canonical(job.values), (None, None))
        if path and recipe == job.recipe:
            return ""
        if self.has_failed(job):
            return "failed before"
        return f"its record is of recipe {recipe}, now {job.recipe}" if path else "no record"

    @contextlib.contextmanager
    def lock(self):
        """One sweep at a time in this folder. Raises UserError if there is another."""
        from filelock import FileLock, Timeout

        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / ".lock"
        try:
            held = FileLock(path, timeout=0).acquire()
        except Timeout:
            owner = path.read_text(errors="replace").strip() or "unknown"
            raise UserError(
                f"another sweep (process {owner}) is at work in {self.work}: wait for it"
            ) from None
        except OSError as error:  # a network file system without locks, say
            raise UserError(f"{path} can't be locked: {error.strerror}") from None
        with held:
            path.write_text(str(os.getpid()))
            self.look()
            yield

    def save(
        self, job: Job, executed: NotebookNode, seconds: float, machine: str | None = None
    ) -> dict:
        """Write the job's record; from then on it is done. Returns the record.

        ``machine`` is the hardware that it ran on: this one's unless it says otherwise.
        """
        values, claims, stamp = {}, {}, {}
        for cell in executed.cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
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
            "hardware": machine or hardware(),
        }
        path = self.record(job)
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n"
        write_atomically(path, text)
        self._found[_canonical(job.values)] = path, job.recipe
        return record


def hardware() -> str:
    """The processor and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {cores()} cores"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_BROKEN = (OSError, ValueError, KeyError, TypeError, RecursionError)  # what ``_read`` raises


def _read(path: Path) -> dict:
    """A record; one of ``_BROKEN`` if the file is none."""
    record = json.loads(path.read_text(encoding="utf-8"))
    for part, kind in {"recipe": int, "parameters": dict, "values": dict}.items():
        if not isinstance(record[part], kind):
            raise TypeError(f"{part} is no {kind.__name__}")
    return record


def load(folder: Path) -> list[dict]:
    """All records in ``folder``, by name; a file that is not one is refused.

    Raises UserError naming the broken file.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = _read(path)
        except _BROKEN as error:
            raise UserError(f"{path} is not a record of a run ({error}); remove it") from None
        records.append(record | {"name": path.stem})
    return records
