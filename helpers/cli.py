"""The command ``homework``: what Make calls, and what a person may call directly."""

import argparse
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .pdf.errors import UserError
from .sweep.command import add_commands, whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake, or a full disk, is one line and exit status 2.

    Status 130 and 141 are a shell's for a command that was interrupted, or lost its reader.
    """
    for stream in (sys.stdout, sys.stderr):  # a ✓ as ? where it can't be written, not a traceback
        if hasattr(stream, "reconfigure"):  # what a test puts in its place may lack that
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(_pairs_joined(sys.argv[1:] if arguments is None else arguments))
    try:
        status = options.run(options) or 0
        sys.stdout.flush()  # here, where a full disk or a reader that is gone can be told
        return status
    except UserError as error:
        print(f"homework: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read this, as `head` does, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE  # as a shell says it: not all was done
    except OSError as error:  # no space left, no permission, a folder where a file should be
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"homework: {place}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("homework: stopped", file=sys.stderr)
        return 130


def _pairs_joined(arguments: Sequence[str]) -> list[str]:
    """``-p NAME VALUE`` as one argument, with a character between that no argument can have.

    As papermill reads it: argparse itself would take a value such as -1e-3 for an option. The
    other commands have no -p, and argparse says so.
    """
    waiting, joined = list(arguments), []
    if waiting[:1] not in (["execute"], ["sweep"]):
        return waiting
    while waiting:
        if waiting[0] == "-p" and len(waiting) > 2:
            _, name, value, *waiting = waiting
            joined.append(f"-p={name}\0{value}")
        else:
            joined.append(waiting.pop(0))
    return joined


def _pair(text: str) -> list[str]:
    name, separator, value = text.partition("\0")
    if not separator:
        raise argparse.ArgumentTypeError("write it as -p NAME VALUE")
    return [name, value]


def _timeout(text: str) -> int:
    return whole(text, 0, sys.maxsize)


def _megabytes(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:  # NaN is neither
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of megabytes above 0")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="homework", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    execute = commands.add_parser("execute", help="run a notebook")
    execute.add_argument("notebook", type=Path)
    execute.add_argument("target", type=Path)
    execute.add_argument("--profile", default="quick", choices=["quick", "full"])
    execute.add_argument("-p", type=_pair, action="append", default=[], metavar="NAME VALUE")
    execute.add_argument(
        "--timeout", type=_timeout, default=600, help="seconds it may take; 0: any"
    )
    execute.set_defaults(run=_execute)

    render = commands.add_parser("render", help="turn an executed notebook into LaTeX")
    render.add_argument("executed", type=Path)
    render.add_argument("target", type=Path)
    render.set_defaults(run=_render)

    _add_pdf_commands(commands)
    colab = commands.add_parser("colab", help="renew badges, Colab cells and the README's tables")
    colab.set_defaults(run=_colab)

    data = commands.add_parser("data", help="download the data sets")
    data.add_argument("names", nargs="*", choices=["fashion_mnist", "imdb", "snippets", []])
    data.set_defaults(run=_data)

    doctor = commands.add_parser("doctor", help="is everything there that a build needs?")
    doctor.set_defaults(run=_doctor)
    add_commands(commands)
    return parser


def _add_pdf_commands(commands) -> None:
    typeset = commands.add_parser("typeset", help="set an edition as one PDF")
    typeset.add_argument("edition", type=Path, help="solutions_latex/<edition>.tex")
    typeset.add_argument("target", type=Path)
    typeset.add_argument("--work", type=Path, required=True)
    typeset.add_argument("--profile", default="quick", choices=["quick", "full"])
    typeset.add_argument("--limit", type=_megabytes, default=100, help="largest PDF, in MB")
    typeset.add_argument(
        "--student", default="student.toml", help="whose details go on the cover; '': nobody's"
    )
    typeset.add_argument(
        "--dry-run", action="store_true", help="only look for what would stop it in any case"
    )
    typeset.set_defaults(run=_typeset)

    check = commands.add_parser("check", help="look a PDF over before it is handed in")
    check.add_argument("pdf", type=Path)
    check.add_argument("--work", type=Path, help="the folder it was set in, build/<profile>")
    check.add_argument("--limit", type=_megabytes, default=100, help="largest PDF, in MB")
    check.set_defaults(run=_check)

    docs = commands.add_parser("docs", help="publish a PDF and the README's pictures")
    docs.add_argument("pdf", type=Path)
    docs.add_argument("target", type=Path)
    docs.add_argument("--work", type=Path, required=True)
    docs.add_argument("--profile", default="full", choices=["quick", "full"])
    docs.set_defaults(run=_docs)


def _execute(options: argparse.Namespace) -> None:
    from .pdf.execute import execute

    name = options.notebook.stem
    ran = execute(
        options.notebook,
        options.target,
        profile=options.profile,
        given=dict(options.p),
        timeout=options.timeout or None,
    )
    print(f"{name}: {'executed' if ran else 'code unchanged, outputs kept'}")


def _render(options: argparse.Namespace) -> None:
    from .pdf.render import render

    render(options.executed, options.target)


def _typeset(options: argparse.Namespace) -> None:
    from .pdf.foresee import foresee, read_student

    given = {"name": os.environ.get("HOMEWORK_NAME"), "netid": os.environ.get("HOMEWORK_NETID")}
    student = read_student(Path(options.student or os.devnull), given)
    if options.dry_run:
        return foresee(options.edition, student)
    from .pdf.typeset import typeset

    warnings = typeset(
        options.edition,
        options.work,
        options.target,
        student=student,
        profile=options.profile,
        limit=options.limit,
    )
    size = options.target.stat().st_size / 1e6
    print(f"{options.target} is ready, {size:.1f} MB", flush=True)
    for warning in warnings:
        print(f"homework: warning: {warning}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    from .pdf.inspect import inspect

    return inspect(options.pdf, options.work, options.limit)


def _docs(options: argparse.Namespace) -> None:
    from .pdf.docs import publish

    for path in publish(options.pdf, options.work, options.target, options.profile):
        print(f"{path}, {path.stat().st_size / 1e6:.2f} MB")


def _colab(options: argparse.Namespace) -> None:
    from .pdf.colab import prepare
    from .pdf.notebook import ROOT, notebook_text, read_notebook, write_atomically
    from .pdf.readme import renewed

    def renew(path: Path, text: str) -> None:
        if path.read_bytes() != text.encode():  # a file as it was is not newer than what it made
            write_atomically(path, text)
            print(f"{path.relative_to(ROOT)}: renewed")

    for path in (ROOT / "notebooks").glob("*.ipynb"):
        renew(path, notebook_text(prepare(read_notebook(path), path.stem)))
    readme = ROOT / "README.md"
    renew(readme, renewed(readme.read_text(encoding="utf-8")))


def _data(options: argparse.Namespace) -> int:
    from .data import download

    failed = 0
    for found, problem in download(options.names):
        failed += bool(problem)
        print(f"[FAIL] {problem}" if problem else f"[OK] {found}")
    return min(failed, 1)


def _doctor(options: argparse.Namespace) -> int:
    from .pdf.doctor import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
