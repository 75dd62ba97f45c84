"""The one kind of error that a person is meant to read, and how it is told."""

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """A mistake that the user can mend: what is wrong, where, and what to do, in two lines."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """What to do about a name that is not there: take the nearest one, or ``otherwise``."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def exit_status(work: Callable[[], int | None]) -> int:
    """Do ``work``: 0, or what it returns; a user's mistake, or a full disk, is a line and 2."""
    try:
        status = work()
        sys.stdout.flush()  # here, where a full disk can be told
        return status or 0
    except UserError as error:
        print(f"homework: {error}", file=sys.stderr)
    except OSError as error:  # no space left, no permission, a folder where a file should be
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"homework: {place}{error.strerror}", file=sys.stderr)
    return 2
