"""Records of runs: one JSON file each, written whole when the run is done.

A record is named after the run's parameters and holds what the run depended on, so that
it can be told whether it is done, and if it would be repeated, why.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .. import mime
from ..pdf.errors import UserError
from ..pdf.notebook import (
    DATA,
    ROOT,
    components,
    differing,
    lacks_data,
    read_notebook,
    write_atomically,
)
from ..pdf.parameters import Parameter, Value, choose
from .plan import Run

# Modules that only show and write down: a change to them makes no recorded run outdated.
MAKES_NO_NUMBERS = (
    "helpers/mime.py",
    "helpers/pdf/",
    "helpers/report.py",
    "helpers/sweep/",
)


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the values it was given, and all values it will have."""

    given: dict[str, Value]
    values: dict[str, Value]
    defaults: dict[str, Value]
    profile: str  # which a notebook without that parameter has, too

    @property
    def key(self) -> str:
        """A file name: what is not the default, readable, and a hash of all values."""
        content = json.dumps(sorted(self.values.items()), default=str)
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        special = {k: v for k, v in self.values.items() if v != self.defaults[k]}
        readable = "_".join(f"{name}-{value}" for name, value in special.items())
        allowed = (c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in readable)
        return f"{''.join(allowed)[:80]}_{digest}".lstrip("_.")

    @property
    def label(self) -> str:
        """The given values as a person reads them."""
        return " ".join(f"{name}={value}" for name, value in self.given.items()) or "defaults"


def jobs(runs: list[Run], known: dict[str, Parameter], profile: str, path: Path) -> list[Job]:
    """The runs with their parameters checked, each job once. Raises UserError."""
    defaults = {name: parameter.default for name, parameter in known.items()}
    found = {}
    for run in runs:
        values = choose(known, run, profile, path)
        job = Job({name: values[name] for name in run}, defaults | values, defaults, profile)
        found.setdefault(json.dumps(sorted(job.values.items()), default=str), job)
    return list(found.values())


class Store:
    """The records and notebooks of one notebook's runs."""

    def __init__(self, name: str, *, records: Path | None = None, work: Path | None = None):
        self.records = records or ROOT / "data" / "results" / name
        self.work = work or ROOT / "build" / "sweeps" / name

    def record(self, job: Job) -> Path:
        """Where the job's record lies once the job is done."""
        return self.records / f"{job.key}.json"

    def notebook(self, job: Job) -> Path:
        """Where the job's executed notebook lies; ``.failed.ipynb`` beside it if it failed."""
        return self.work / f"{job.key}.ipynb"

    def failed(self, job: Job) -> Path:
        """The partly executed notebook of a job that failed."""
        return self.notebook(job).with_suffix(".failed.ipynb")

    def running(self, job: Job) -> Path:
        """The notebook of a job that is at work."""
        return self.notebook(job).with_suffix(".running.ipynb")

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

    def why(self, job: Job, parts: dict[str, str]) -> str:
        """Why the job has to run: empty if it is done by the code as it is now.

        Data count only for a run that had to do without: a record holds for the data set in its
        stamp, wherever that lies and whatever lies beside it.
        """
        from ..data import present

        try:
            record = _read(self.record(job))
        except FileNotFoundError:
            return "failed before" if self.has_failed(job) else "not run yet"
        except (ValueError, KeyError, TypeError, RecursionError):
            return "its record is broken"
        done = record["identity"]
        if changed := changes(done, parts):
            return f"changed since: {', '.join(changed)}"
        lacked = record.get("lacked_data", "stand-in" in str(record.get("stamp")))
        if lacked and done.get(DATA) != parts.get(DATA) and present():
            return "it ran without all its data, and there are other data now"
        return ""

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
            yield

    def save(
        self,
        job: Job,
        executed: NotebookNode,
        parts: dict[str, str],
        seconds: float,
        machine: str = "",
    ) -> dict:
        """Write the job's record; from then on it is done. Returns the record.

        ``machine`` is the hardware that it ran on: this one's unless it says otherwise.
        """
        record = make_record(job, executed, parts, seconds, machine or hardware())
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n"
        write_atomically(self.record(job), text)
        return record


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The parts that differ between two sets of ``components`` and can change a number.

    The data sets are left out (see ``Store.why``).
    """
    return differing(before, after, MAKES_NO_NUMBERS)


def refuse_changes(notebook: Path, parts: dict[str, str], when: str) -> None:
    """Raises UserError if what a run depends on is not as in ``parts`` any more."""
    if changed := changes(parts, components(read_notebook(notebook))):
        raise UserError(f"{', '.join(changed)} changed {when}")


def make_record(
    job: Job, executed: NotebookNode, parts: dict[str, str], seconds: float, machine: str
) -> dict:
    """What an executed notebook recorded, with how it was made."""
    metrics, claims, stamp = {}, {}, {}
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if content := data.get(mime.RECORD):
                metrics[content["name"]] = content["value"]
            if content := data.get(mime.CLAIM):
                claims[content["name"]] = content["holds"]
            stamp |= data.get(mime.STAMP, {})
    return {
        "parameters": job.values,
        "metrics": metrics,
        "claims": claims,
        "stamp": stamp,
        "seconds": round(seconds, 2),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": machine,
        "lacked_data": lacks_data(executed),
        "identity": parts,
    }


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


def _read(path: Path) -> dict:
    """A record; ValueError, KeyError, TypeError or RecursionError if the file is none."""
    record = json.loads(path.read_text(encoding="utf-8"))
    for part in ("parameters", "metrics", "identity"):
        if not isinstance(record[part], dict):
            raise TypeError(f"{part} is no object")
    return record


def load(folder: Path) -> list[dict]:
    """All records in ``folder``, by name; a file that is not one is refused.

    Raises UserError naming the broken file.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = _read(path)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is not a record of a run ({error}); remove it") from None
        records.append(record | {"name": path.stem})
    return records
