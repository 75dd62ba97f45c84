"""The notebooks of an edition, executed and rendered: those that changed, and no others."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from .edition import Edition, file_name, read_edition
from .errors import exit_status
from .execute import data_at_hand, execute, inputs, refuse_failed_claims
from .notebook import RESULTS, ROOT, Run, for_make, make_rule, read_run, read_text, write_atomically


@dataclass(frozen=True)
class Task:
    """One notebook on its way: where it is, where it goes to, and how it is run."""

    source: Path
    executed: Path
    body: Path | None  # where its LaTeX goes; None: it is run for its claims alone
    profile: str
    timeout: int
    as_is: bool

    def keep(self) -> bool:
        """Whether no kernel is needed; then its present prose is put around its outputs."""
        before = self.executed.stat().st_mtime_ns if self.executed.exists() else 0
        how = {"profile": self.profile, "as_is": self.as_is, "kernel": False}
        done = execute(self.source, self.executed, **how)
        if done is None:
            return False
        refuse_failed_claims(done[0], self.executed)
        if self.executed.stat().st_mtime_ns != before:
            told = "as it was saved" if self.as_is else "code unchanged, outputs kept"
            print(f"{self.source.stem}: {told}", flush=True)
        return True

    def run(self, fork: bool) -> None:
        """Do it all, in a process of its own whose exit status says how it went."""

        def work() -> None:
            how = {"profile": self.profile, "timeout": self.timeout or None, "fork": fork}
            run, _ = execute(self.source, self.executed, **how)
            refuse_failed_claims(run, self.executed)
            print(f"{self.source.stem}: executed", flush=True)
            self.render()

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for ``build``, which ends us
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
        if not multiprocessing.parent_process().is_alive():  # it was stopped while we began
            sys.exit(130)
        try:
            sys.exit(exit_status(work))
        finally:
            for kernel in multiprocessing.active_children():  # else we would wait for its end
                kernel.kill()

    def render(self) -> None:
        """Render what is newer than its LaTeX, or older than the press."""
        press = [p for p in (ROOT / "helpers" / "pdf").rglob("*") if p.suffix != ".pyc"]
        newest = max(path.stat().st_mtime for path in [self.executed, *filter(Path.is_file, press)])
        if self.body and not (self.body.exists() and self.body.stat().st_mtime >= newest):
            from .render import render

            render(self.executed, self.body)


def build(source: Path, stamp: Path, *, work: Path, profile: str, question: int = 0,
          jobs: int = 1, timeout: int = 600) -> int:  # fmt: skip
    """Bring ``work``/executed and ``work``/notebooks up to date for an edition.

    ``jobs`` notebooks run at a time. Beside ``stamp``, whose date is the beginning, goes what Make
    has to know: the files that were read, and those made. Returns an exit status: what went wrong
    in a notebook is told when it ends, and no other is begun. Raises UserError.
    """
    begun = time.time()
    edition = read_edition(source, question)
    tasks = _tasks(source, edition, work, profile, timeout)
    outdated = [task for task in tasks if not task.keep()]
    if not _all_run(outdated, jobs):
        return 2
    for task in tasks:
        task.render()
    _write_rule(stamp, tasks)
    write_atomically(stamp, "")
    os.utime(stamp, (begun, begun))  # for Make: what has changed since counts as newer
    return 0


def _tasks(source: Path, edition: Edition, work: Path, profile: str, timeout: int) -> list[Task]:
    """A task for each notebook that is there; of one that is not yet, its page says so."""
    saved = {name for q in edition.questions if q.as_is for name in q.notebooks}
    tasks = []
    for name in edition.all_notebooks:
        path = source.parent.parent / "notebooks" / f"{name}.ipynb"
        executed = work / "executed" / f"{file_name(name)}.ipynb"
        body = work / "notebooks" / f"{file_name(name)}.tex" if name in edition.notebooks else None
        if path.exists():
            tasks.append(Task(path, executed, body, profile, timeout, name in saved))
        else:  # what ran once proves nothing
            for left in filter(None, (executed, body)):
                left.unlink(missing_ok=True)
    return tasks


def _all_run(tasks: list[Task], jobs: int) -> bool:
    """Run tasks, ``jobs`` at a time; after a failure no other is begun. Whether all went well."""
    if not tasks:
        return True
    from .kernels import share_imports

    share = len(tasks) > 1 and sys.platform == "linux"  # macOS's libraries don't bear a fork
    code = {task: read_text(task.source) for task in tasks}
    torch = sum("import torch" in text for text in code.values()) > 1
    context = share_imports(torch) if share else multiprocessing.get_context("spawn")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended below
    running: dict[int, multiprocessing.process.BaseProcess] = {}
    # What loads a data set trains on it: that begins, so that both processors end together.
    waiting, good = sorted(tasks, key=lambda task: "helpers.data" in code[task]), True
    try:
        while running or (waiting and good):
            while waiting and good and len(running) < jobs:
                task = waiting.pop()
                process = context.Process(target=task.run, args=(share,), name=task.source.stem)
                process.start()
                running[process.sentinel] = process
            for sentinel in connection.wait(running):
                process = running.pop(sentinel)
                process.join()
                good = good and process.exitcode == 0
                if process.exitcode < 0:  # else it has told why
                    print(f"homework: {process.name}: its process was killed", file=sys.stderr)
    finally:
        for process in running.values():
            process.terminate()
    return good


def _write_rule(stamp: Path, tasks: list[Task]) -> None:
    """Tell Make what was made (OUTPUTS) and what ``stamp`` depends on."""
    paths = [path for task in tasks for path in (task.executed, task.body) if path]
    made = " ".join(map(for_make, paths))
    newest = max((path.stat().st_mtime for path in paths), default=0)
    read = {path for task in tasks for path in _read(task, read_run(task.executed))}
    write_atomically(stamp.with_suffix(".d"), f"OUTPUTS := {made}\n{make_rule(stamp, read)}")
    listed = stamp.with_suffix(".made")
    dated = listed.exists() and listed.stat().st_mtime >= newest
    if not dated or listed.read_text(encoding="utf-8") != made:
        write_atomically(listed, made)  # its new date says that the PDF has other notebooks


def _read(task: Task, run: Run) -> set[Path]:
    """What a run depends on.

    The folders of recorded runs and of data beside a notebook count, too: they change when a file
    comes or goes. So do the folders of the data sets where a run was on stand-ins.
    """
    files = inputs(run.notebook, task.source.parent)
    folders = {path.parent for path in files if RESULTS in path.as_posix()}
    folders |= {path.parent for path in files if "notebooks" in path.parts[:-2]}
    return {task.source, *files, *folders, *(data_at_hand()[0] if run.on_stand_in else [])}
