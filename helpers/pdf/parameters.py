"""The parameters cell: what a notebook can be run with.

The first cell tagged ``parameters`` is the only specification. A line gives a name, a default
and a comment::

    epochs = 2  # passes over the training set [1..200] (full: 40)

At the comment's end, brackets hold the allowed range (``[lo..hi]``, either end may be left out,
``<`` or ``>`` beside an end excludes it; ends without a point want whole numbers) or the choices
(``[quick | full]``); parentheses hold the value that the full profile uses. Whatever else stands
in the cell runs as it is. ``recipe = 1`` is no parameter: it numbers what the code makes of them.

Only what somebody asks for is checked, and only against what can be known.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from .errors import UserError, did_you_mean
from .notebook import tags

Value = bool | int | float | str | list | tuple | dict | None

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"\[\s*({_NUMBER})?(<)?\s*\.\.\s*(>|<)?({_NUMBER})?\s*\]$", re.I)
_CHOICES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]$")
_FULL = re.compile(r"\(full:\s*(.*?)\)$")
UNKNOWN = object()  # the default of a parameter whose line is no literal


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One line of the parameters cell."""

    name: str
    default: Any
    comment: str = ""

    def read(self, value: Value) -> Value:
        """``value``, if it is of the default's kind and within its limits; text is read first.

        Raises UserError.
        """
        limits = _FULL.sub("", self.comment).rstrip()
        bounds, choices = _RANGE.search(limits), _CHOICES.search(limits)
        whole = bool(bounds) and "." not in bounds[0].replace("..", "")
        value = self._as_default(_read(value, self.default), whole)
        if choices and str(value) not in (names := re.split(r"\s*\|\s*", choices[1].strip())):
            raise UserError(f"{self.name} = {value!r}: choose one of {', '.join(names)}")
        for number in value if isinstance(value, list | tuple) else [value]:
            if bounds and isinstance(number, int | float):
                self._check_range(number, bounds)
        return value

    def _as_default(self, value: Value, whole: bool) -> Value:
        """``value`` if it can stand where the default stands, as a number, text, list and so on."""
        kinds = (type(value), type(self.default))
        if self.default is None or self.default is UNKNOWN or kinds[0] is kinds[1]:
            return value
        if kinds == (int, float) or (kinds == (float, int) and not whole):
            return float(value)
        given, wanted = (kind.__name__ for kind in kinds)
        raise UserError(f"{self.name} = {value!r} is of type {given}, not {wanted}")

    def _check_range(self, number: float, bounds: re.Match) -> None:
        low, above, below, high = bounds.groups()
        least, most = float(low or "-inf"), float(high or "inf")
        if not least <= number <= most or (above and number == least) or (below and number == most):
            raise UserError(f"{self.name} = {number} is outside {bounds[0]}")


def read_parameters(notebook: NotebookNode, path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in the order of its parameters cell.

    None where no cell is tagged so. Raises UserError for a cell that is not Python.
    """
    return {name: line for name, line in _lines(notebook, path).items() if name != "recipe"}


def read_recipe(notebook: NotebookNode, path: Path) -> int:
    """The number that goes up when the same parameters would give other numbers; 1 without it.

    Raises UserError where it is not a whole number.
    """
    recipe = _lines(notebook, path).get("recipe")
    if recipe is None:
        return 1
    if type(recipe.default) is not int:
        raise UserError(f"{path}: recipe must be a whole number, such as recipe = 1")
    return recipe.default


def choose(
    known: dict[str, Parameter], given: dict[str, str | Value], profile: str, path: Path
) -> dict[str, Value]:
    """The values to run with: the profile's, overridden by ``given``.

    Raises UserError for a name that the notebook does not have (with the nearest one), a value
    of another kind or range, or another profile.
    """
    values: dict[str, Value] = {}
    try:
        if profile == "full":
            full = {name: _FULL.search(p.comment) for name, p in known.items()}
            values = {name: known[name].read(match[1]) for name, match in full.items() if match}
        if "profile" in known and profile != known["profile"].default:
            values["profile"] = known["profile"].read(profile)
        for name, value in given.items():
            if name not in known:
                has = ", ".join(known) or "none: tag the cell with the defaults 'parameters'"
                hint = did_you_mean(name, known, f"it has {has}")
                raise UserError(f"no parameter {name!r}; {hint}")
            values[name] = known[name].read(value)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None
    if values.get("profile", profile) != profile:
        raise UserError(
            f"{path.name}: profile = {values['profile']!r} alone would leave the other profile's "
            f"budgets: say --profile {values['profile']}, which sets them, too"
        )
    return values


def _lines(notebook: NotebookNode, path: Path) -> dict[str, Parameter]:
    """Every ``name = value`` of the parameters cell, the last one of a name counting."""
    cell = next((cell for cell in notebook.cells if "parameters" in tags(cell)), None)
    source = cell.source if cell is not None else ""
    source = re.sub(r"^[ \t]*[%!].*", "", source, flags=re.M)  # magics are IPython's
    try:
        statements = ast.parse(source).body
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        raise UserError(f"{path}: the parameters cell is not valid Python ({error})") from None
    found = {}
    for statement in statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        if isinstance(target, ast.Name):
            comment = comments.get(statement.end_lineno, "").lstrip("# ").rstrip()
            default = _literal(statement.value)
            found[target.id] = Parameter(name=target.id, default=default, comment=comment)
    return found


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # an expression: nothing is known of it
        return UNKNOWN


def _read(value: Value, default: Any) -> Value:
    """``value``, where it is text and the default is not, as Python reads it: 1e-3, [1, 2].

    Either case will do for true, false and none. Text that is no Python stays text.
    """
    if not isinstance(value, str) or isinstance(default, str):
        return value
    text = value.strip()
    try:
        return ast.literal_eval(text.title() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, TypeError, SyntaxError):
        return value
