"""The parameters cell: what a notebook can be run with.

The cell tagged ``parameters`` is the only specification. Each line gives a name, a typed
default and a comment::

    epochs = 2  # passes over the training set [1..200] (full: 40)

The brackets hold the allowed range (``[lo..hi]``, either end may be left out, ``<`` or
``>`` beside an end excludes it) or the choices (``[quick | full]``); the parentheses hold
the value that the full profile uses.

``recipe = 1`` in that cell is no parameter: it numbers what the code makes of them.
"""

import ast
import difflib
import io
import math
import re
import reprlib
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from .errors import UserError
from .notebook import tags

Value = bool | int | float | str | list | None

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"\[\s*({_NUMBER})?(<)?\s*\.\.\s*(>|<)?({_NUMBER})?\s*\]", re.I)
_CHOICES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_FULL = re.compile(r"\(full:\s*(.*?)\)\s*$")
_MAX_TEXT = 3000  # characters of a value that is no text; Python's own limit is near


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One line of the parameters cell."""

    name: str
    default: Value
    help: str = ""
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    full: Value = None  # the value in the full profile; None: as in quick

    def parse(self, text: str) -> Value:
        """The value that ``text``, from a command line or a table, stands for."""
        return self.check(_typed(text, self.default, self.name))

    def check(self, value: Value) -> Value:
        """``value``, if it has the default's type and lies in the allowed range."""
        value = _same_type(value, self.default, self.name)
        if self.choices and str(value) not in self.choices:
            raise UserError(f"{self.name} = {value!r}: choose one of {', '.join(self.choices)}")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                self._check_range(number)
        return value

    def _check_range(self, number: float) -> None:
        if isinstance(number, float) and math.isinf(number):  # 1e999, say
            raise UserError(f"{self.name} = {number} is not a finite number")
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        if not (above and below):  # false for NaN, too
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            limits = f"{left}{self.low:g}, {self.high:g}{right}"
            raise UserError(f"{self.name} = {reprlib.repr(number)} is outside {limits}")


def read_parameters(notebook: NotebookNode, path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in the order of its parameters cell.

    Raises UserError if the cell is missing, given twice, or holds anything but
    ``name = literal``, each within the limits of its comment.
    """
    return {name: line for name, line in _lines(notebook, path).items() if name != "recipe"}


def read_recipe(notebook: NotebookNode, path: Path) -> int:
    """The number that goes up when the same parameters would give other numbers; 1 without it.

    Raises UserError as ``read_parameters`` does.
    """
    line = _lines(notebook, path).get("recipe")
    if line is not None and type(line.default) is not int:
        raise UserError(f"{path}: recipe = {line.default!r} is not a whole number")
    return line.default if line else 1


def _lines(notebook: NotebookNode, path: Path) -> dict[str, Parameter]:
    """The lines of the parameters cell by name."""
    cells = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    if len(cells) != 1:
        many = "no cell" if not cells else f"{len(cells)} cells"
        raise UserError(
            f"{path}: {many} tagged 'parameters': tag the one that holds the defaults "
            "(in JupyterLab: right side bar, Property Inspector, Cell Tags)"
        )
    source = cells[0].source
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        raise UserError(f"{path}: the parameters cell is not valid Python ({error})") from None
    found = {}
    for statement in statements:
        parameter = _read(statement, comments.get(statement.end_lineno, ""), path)
        if parameter is not None:
            if parameter.name in found:
                raise UserError(f"{path}: parameter {parameter.name!r} is given twice")
            found[parameter.name] = parameter
    return found


def choose(
    known: dict[str, Parameter], given: dict[str, str | Value], profile: str, path: Path
) -> dict[str, Value]:
    """The values to run with: the profile's, overridden by ``given``.

    Text in ``given`` is read as the parameter's type. Raises UserError for a name that the
    notebook does not have (with the nearest one), a value of another type or range, or another
    profile.
    """
    values: dict[str, Value] = {}
    if profile == "full":
        values = {name: p.full for name, p in known.items() if p.full is not None}
    if "profile" in known and profile != known["profile"].default:
        values["profile"] = known["profile"].check(profile)
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise UserError(f"{path.name} has no parameter {name!r}; {hint}")
        read = known[name].parse if isinstance(value, str) else known[name].check
        try:
            values[name] = read(value)
        except UserError as error:
            raise UserError(f"{path.name}: {error}") from None
        if name == "profile" and values[name] != profile:
            raise UserError(
                f"{path.name}: profile = {values[name]!r} alone would leave the other profile's "
                f"budgets: say --profile {values[name]}, which sets them, too"
            )
    return values


def _read(statement: ast.stmt, comment: str, path: Path) -> Parameter | None:
    """The parameter that one statement of the cell defines; None for a bare docstring."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return None
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    if isinstance(statement, ast.AnnAssign):
        target = statement.target
    if not isinstance(target, ast.Name) or statement.value is None:
        line = ast.unparse(statement).splitlines()[0]
        raise UserError(f"{path}: the parameters cell may hold only 'name = value', not {line!r}")
    try:
        default = ast.literal_eval(statement.value)
    except (ValueError, TypeError, RecursionError):
        default = ...
    if not isinstance(default, Value):
        raise UserError(
            f"{path}: parameter {target.id!r} needs a literal as default: a number, text in "
            "quotes, a list, True, False or None"
        )
    try:
        parameter = Parameter(name=target.id, default=default, **_read_comment(comment, default))
    except UserError as error:
        raise UserError(f"{path}: comment of parameter {target.id!r}: {error}") from None
    _check_own(parameter, path)
    return parameter


def _check_own(parameter: Parameter, path: Path) -> None:
    """The cell's own values must keep to its limits: they run without passing ``choose``."""
    for place, value in {"default": parameter.default, "full value": parameter.full}.items():
        try:
            if value is not None:
                parameter.check(value)
        except UserError as error:
            raise UserError(f"{path}: as {place}, {error}") from None


def _read_comment(comment: str, default: Value) -> dict[str, Any]:
    """Range, choices and full value out of a parameter's comment."""
    fields: dict[str, Any] = {}
    if match := _FULL.search(comment):
        fields["full"] = _typed(match[1], default, "full")
        comment = comment[: match.start()].rstrip()
    if match := _RANGE.search(comment):
        low, open_low, open_high, high = match.groups()
        fields |= {"low": float(low)} if low else {}
        fields |= {"high": float(high)} if high else {}
        fields |= {"open_low": bool(open_low), "open_high": bool(open_high)}
    elif match := _CHOICES.search(comment):
        fields["choices"] = tuple(choice.strip() for choice in match[1].split("|"))
    if match:
        comment = comment[: match.start()].rstrip()
    return fields | {"help": comment}


def _comments(source: str) -> dict[int, str]:
    """Comments by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _typed(text: str, default: Value, name: str) -> Value:
    """``text`` as the type of ``default``: 1e-3 is a float, false is a bool."""
    if isinstance(default, str):
        return text
    if len(text) > _MAX_TEXT:
        raise UserError(f"{name} = {reprlib.repr(text)} is too long: {len(text):,} characters")
    lowered = text.strip().lower()
    if isinstance(default, bool):
        if lowered in ("true", "false"):
            return lowered == "true"
        raise UserError(f"{name} = {reprlib.repr(text)}: write true or false")
    if default is None and lowered == "none":
        return None
    try:
        return _same_type(ast.literal_eval(text.strip()), default, name)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        if default is None:
            return text
        wanted = type(default).__name__
        raise UserError(f"{name} = {reprlib.repr(text)} is not of type {wanted}") from None


def _same_type(value: Value, default: Value, name: str) -> Value:
    """``value`` if it can stand where ``default`` stands; an int may stand for a float.

    The items of a list are like the first item of the default.
    """
    if isinstance(default, float) and type(value) is int and abs(value) < 1e300:
        return float(value)
    if default is not None and type(value) is not type(default):
        given, wanted = type(value).__name__, type(default).__name__
        raise UserError(f"{name} = {reprlib.repr(value)} is of type {given}, not {wanted}")
    if not isinstance(value, Value):  # a dictionary, say, where the default is None
        raise UserError(f"{name} = {reprlib.repr(value)} is neither number, text nor list")
    if isinstance(default, list) and default:
        return [_same_type(item, default[0], f"an item of {name}") for item in value]
    return value
