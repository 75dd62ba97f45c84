"""The command ``homework``: what Make calls, and what a person may call directly."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .pdf.errors import UserError, exit_status

PROFILE = click.option("--profile", default="quick", type=click.Choice(["quick", "full"]))
WORK = click.option("--work", type=Path, required=True, help="build/<profile>")
LIMIT = click.option(
    "--limit", default=100.0, type=click.FloatRange(0, min_open=True), help="largest PDF, in MB"
)
QUESTION = click.option("--question", default=0, help="only this one, by its number")
STUDENT = click.option(
    "--student", default="student.toml", help="whose details go on the cover; '': nobody's"
)
TIMEOUT = click.option("--timeout", default=600, type=click.IntRange(0), help="seconds; 0: any")
TARGET = click.argument("target", type=Path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit status."""
    how = {"prog_name": "homework", "standalone_mode": False}
    try:
        return exit_status(lambda: homework.main(arguments, **how))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        print("homework: stopped", *error.args, file=sys.stderr)
        return 130


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
def homework() -> None:
    """The group of all commands."""


@homework.command()
@click.argument("notebook", type=Path)
@TARGET
@PROFILE
@click.option("-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="a parameter")
@TIMEOUT
@click.option("--as-is", is_flag=True, help="take the outputs it was saved with")
def execute(notebook: Path, target: Path, given, timeout: int, as_is: bool, profile: str) -> None:
    """Run a notebook."""
    from .pdf import execute as run

    how = {"given": dict(given), "profile": profile, "timeout": timeout or None, "as_is": as_is}
    found, ran = run.execute(notebook, target, **how)
    run.refuse_failed_claims(found, target)
    told = "executed" if ran else "as it was saved" if as_is else "code unchanged, outputs kept"
    print(f"{notebook.stem}: {told}")


@homework.command()
@click.argument("edition", type=Path)
@TARGET
@WORK
@PROFILE
@QUESTION
@STUDENT
@TIMEOUT
@click.option("--jobs", default=1, type=click.IntRange(1), help="notebooks at a time")
def build(edition: Path, target: Path, question: int, student: str, **options) -> int:
    """Execute and render the notebooks of an edition; tell at once what would stop it later."""
    from .pdf.build import build
    from .pdf.edition import read_course, read_edition, typed
    from .pdf.glyphs import glyph_macros

    course = read_course(Path("course.toml"))
    texts = typed(edition, read_edition(edition, question), _student(student) | course)
    glyph_macros(texts, draft=bool(os.environ.get("DRAFT")))  # fonts that are missing
    return build(edition, target, question=question, **options)


@homework.command()
@click.argument("edition", type=Path)
@TARGET
@WORK
@PROFILE
@LIMIT
@QUESTION
@STUDENT
@click.option("--draft", is_flag=True, help="glyphs and widths stop nothing")
def typeset(edition: Path, target: Path, student: str, **options) -> None:
    """Set an edition, solutions_latex/NAME.tex, as one PDF."""
    from .pdf.edition import read_course
    from .pdf.typeset import typeset

    given, course = _student(student), read_course(Path("course.toml"))
    warnings = typeset(edition, target=target, student=given, course=course, **options)
    print(f"{target} is ready, {target.stat().st_size / 1e6:.1f} MB", flush=True)
    for warning in warnings:
        print(f"homework: warning: {warning}", file=sys.stderr)


def _student(path: str) -> dict[str, str]:
    from .pdf.edition import read_student

    given = {"name": os.environ.get("HOMEWORK_NAME"), "netid": os.environ.get("HOMEWORK_NETID")}
    return read_student(Path(path or os.devnull), given)


@homework.command()
@click.argument("pdf", type=Path)
@LIMIT
def check(pdf: Path, limit: float) -> int:
    """Look a PDF over before it is handed in."""
    from .pdf.check import inspect

    return inspect(pdf, limit)


@homework.command()
@click.argument("pdf", type=Path)
@TARGET
@WORK
@click.option("--profile", default="full", type=click.Choice(["quick", "full"]))
def docs(pdf: Path, target: Path, work: Path, profile: str) -> None:
    """Publish a PDF and the README's pictures."""
    from .pdf.docs import publish

    for path in publish(pdf, work, target, profile):
        print(f"{path}, {path.stat().st_size / 1e6:.2f} MB")


@homework.command()
def badges() -> None:
    """Renew Colab badges and cells, and our address in the README."""
    from .pdf.colab import renew_all

    for path in renew_all():
        print(f"{path}: renewed")
    print("Colab opens the tag of pyproject.toml's version, such as v0.1.0: push it to GitHub")


@homework.command()
@click.argument("notebook")
@click.argument("others", nargs=-1, metavar="")
@click.option("-g", "--grid", "axes", multiple=True, metavar="NAME=VALUES",
              help="layers=4:8, heads=2,3,4, sizes=[1,2],[3], file='\"a,b.csv\"'; "
              "repeat it for every combination")  # fmt: skip
@click.option("--zip", "zipped", is_flag=True, help="take the -g lists side by side")
@click.option("--runs", type=Path, metavar="CSV", help="runs from a table")
@PROFILE
@click.option("--jobs", "at_once", type=click.IntRange(1), help="runs at the same time (1)")
@click.option("--threads", type=click.IntRange(1), default=1, help="of one run (1: as recorded)")
@click.option("--dry-run", is_flag=True, help="say what would run, and why")
@click.option("--again", is_flag=True, help="run what is done, too")
@click.option("--only-failed", is_flag=True, help="run only what failed before")
@click.option("--metric", help="the value that progress shows")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="for one run")
@click.option("--retries", type=click.IntRange(0), default=0, help="for a run that fails")
@click.option("--fail-fast", is_flag=True, help="start nothing after a failure")
@click.option("--gpus", default="", metavar="0,1", help="devices to share out")
@click.option("--scheduler", metavar="ADDRESS", help="tcp://… of a Dask cluster to run on")
def sweep(others: tuple[str, ...], **options) -> int:
    """Run a notebook with many parameters."""
    from .sweep.command import sweep

    if others:
        raise UserError(f"a list of values comes after -g: -g {others[0]}")
    return sweep(**options)


@homework.command()
@click.argument("notebook")
@click.option("--metric", help="mean and spread over seeds of this one")
@click.option("--by", default="", help="columns that come first, a,b (default: those that vary)")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="only these runs")
@click.option("--format", "style", default="text", type=click.Choice(["text", "csv", "latex"]))
def results(**options) -> None:
    """Show the records of a sweep as a table."""
    from .sweep.command import results

    results(**options)


@homework.command()
@click.argument("names", nargs=-1, type=click.Choice(["fashion_mnist", "imdb", "snippets"]))
def data(names: tuple[str, ...]) -> int:
    """Download the data sets."""
    from .data import download

    return download(names)


@homework.command()
@click.argument("kind", type=click.Choice(["question", "edition"]))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Begin a question (notebook, answer) or an edition of your own."""
    from .new import edition, question

    for path in (question if kind == "question" else edition)(Path.cwd(), name):
        print(path.relative_to(Path.cwd()))


if __name__ == "__main__":
    sys.exit(main())
