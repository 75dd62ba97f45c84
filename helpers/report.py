"""What a notebook says and shows: values, claims, figures, tables, source, recorded runs.

``record``, ``claim`` and ``stamp`` store a MIME bundle of their own in the cell's output, so that
the executed notebook carries all that the PDF quotes by ``\\val{name}`` and ``\\verified{name}``.
"""

import inspect
import json
import math
import os
import platform
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from . import mime
from .pdf.notebook import ROOT, commit
from .pdf.text import table_cell
from .sweep.runs import load
from .sweep.table import frame as frame  # for notebooks to import from here

_NAME = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_NUMBER = re.compile(r"[-+−±]?[\d,.]*\d(?:e[-+]?\d+)?(?: ?± ?[\d.]+)? ?[%×]?")
_ABSENT = {"", "-", "–", "—", "nan", "None"}

# Okabe & Ito (2008), "Color Universal Design": for color-blind readers. Every line also gets its
# own dash and marker, so that it is told apart in gray.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK = COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000",
)  # fmt: skip
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

TEXT_WIDTH = 6.5  # inches: the PDF's letter paper less margins of one inch


# Values, claims and the stamp


def record(name: str, value: float | int | str, text: str | None = None) -> None:
    """Record a number for the answers: ``record("rnn2d/parameters", 2_304)``.

    ``text`` is how it reads in print; by default integers get thousands separators and
    other numbers four significant digits.

    Raises ValueError for a name that is not ``topic/slug`` or a value that is not finite.
    """
    value = value.item() if hasattr(value, "item") else value  # of NumPy or torch
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"record {name!r}: {value} is not a finite number")
    if text is None:
        pattern = {int: "{:,}", float: "{:.4g}"}.get(type(value), "{}")
        text = pattern.format(value)
    _emit(mime.RECORD, {"name": name, "value": value, "text": text}, f"{name} = {text}")


def claim(name: str, holds: bool, evidence: str) -> None:
    """State whether a claim of the answers holds, and on what evidence.

    No PDF is built from a notebook in which a claim does not hold.
    """
    holds = bool(holds)
    mark = "✓" if holds else "✗ DOES NOT HOLD"
    content = {"name": name, "holds": holds, "evidence": evidence}
    _emit(mime.CLAIM, content, f"{mark} {name}: {evidence}")


def stamp(
    *, profile: str, seed: int, data: str = "none", stand_in: bool = False, device: str = "cpu"
) -> None:
    """Show how this run was made, so that a quick number can't pass for a real one.

    ``data`` is the ``source`` of the data set that was loaded; ``stand_in`` whether it stands in
    for the one that the text is about (see ``helpers.data``).
    """
    content = {"profile": profile, "seed": seed, "data": data, "device": device}
    content |= versions() | {"commit": commit()}
    line = " · ".join(f"{key} {value}" for key, value in content.items())
    _emit(mime.STAMP, content | {"stand_in": stand_in}, line)


def _emit(kind: str, content: dict, plain: str) -> None:
    name = content.get("name", "stamp/stamp")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not of the form topic/slug (a–z, 0–9, hyphens)")
    display({kind: content, "text/plain": plain}, raw=True)


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the numerical libraries in use."""
    return {"python": platform.python_version()} | {n: version(n) for n in ("numpy", "torch")}


# Figures, tables and source


def use_style() -> None:
    """Set Matplotlib's defaults, and vector output in notebooks: SVG on screen, PDF in print."""
    plt.rcParams.update(
        {
            "figure.figsize": (TEXT_WIDTH, 2.4),
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "0.9",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.4,
            "lines.markersize": 4,
            "legend.frameon": False,
            "image.cmap": "cividis",
            "axes.prop_cycle": cycler(color=COLORS, linestyle=_DASHES, marker=_MARKERS),
            "pdf.fonttype": 42,
            "svg.fonttype": "path",
            "svg.hashsalt": "homework",
        }
    )
    if get_ipython() is not None and hasattr(get_ipython(), "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("pdf" if os.environ.get("HOMEWORK_PRESS") else "svg")


def show(
    item: Figure | pd.DataFrame,
    caption: str,
    alt: str = "",
    formats: str | Mapping[str, str] | None = None,
) -> None:
    """Display a figure or a table with its caption, in the notebook and in the PDF.

    ``alt`` describes a figure to a reader who cannot see it. ``formats`` says how a
    table's numbers read: one format for all (``"{:.3f}"``) or one for each column.
    """
    metadata = {"caption": caption, "alt": alt}
    if isinstance(item, Figure):
        if not alt:
            raise ValueError(f"figure {caption[:40]!r} needs a description: alt='…'")
        display(item, metadata=metadata)
        plt.close(item)
    else:
        text = _as_text(item, formats)
        bundle = {"text/html": text.to_html(index=False), "text/plain": text.to_string(index=False)}
        display(bundle | {"text/latex": _as_latex(text)}, metadata=metadata, raw=True)


def show_source(*definitions: Callable) -> None:
    """Show the source of functions or classes that live in ``helpers``, as it runs."""
    source = "\n\n".join(inspect.getsource(definition).rstrip() for definition in definitions)
    html = highlight(source, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    display({mime.SOURCE: source, "text/html": html, "text/plain": source}, raw=True)


def _as_text(frame: pd.DataFrame, formats: str | Mapping[str, str] | None) -> pd.DataFrame:
    """The frame as it reads: numbers formatted, a labeled index as columns of its own."""
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if isinstance(formats, str):
        formats = dict.fromkeys(frame.select_dtypes("number"), formats)
    text = frame.astype(object)
    for name, pattern in (formats or {}).items():
        text[name] = [pattern.format(value) for value in frame[name]]
    return text


def _as_latex(text: pd.DataFrame) -> str:
    """What ``_as_text`` gives as a LaTeX table: numbers at the right, long titles in lines."""
    columns = [[str(value) for value in text[name] if str(value) not in _ABSENT] for name in text]
    numbers = [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]
    titles = [_broken(str(name), text[name]) for name in text.columns]
    cells = [[table_cell(str(value)) for value in row] for row in text.to_numpy(dtype=object)]
    table = pd.DataFrame(cells, columns=titles)
    return table.to_latex(index=False, column_format="".join("lr"[number] for number in numbers))


def _broken(title: str, values: pd.Series) -> str:
    """A column's title, in as many lines as it takes to be hardly wider than the column."""
    width = max([8, *map(len, title.split()), *values.map(lambda value: len(str(value)))])
    lines = [table_cell(line) for line in textwrap.wrap(title, width, break_on_hyphens=False)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[b]{{{stacked}}}" if len(lines) > 1 else stacked


# Drawings that recur


def panels(columns: int = 2, *, height: float = 2.3, **options) -> tuple[Figure, Sequence[Axes]]:
    """A figure as wide as the text with ``columns`` axes side by side; ``height`` in inches."""
    return plt.subplots(1, columns, figsize=(TEXT_WIDTH, height), **options)


def heat_map(
    values: pd.DataFrame | np.ndarray,
    *,
    ax: Axes,
    xlabel: str = "",
    ylabel: str = "",
    pattern: str = "{:.2f}",
    **options,
) -> None:
    """A matrix as colored squares with its numbers in them; ``options`` go to ``imshow``.

    Rows and columns are named as the frame's index and columns are.
    """
    table = pd.DataFrame(values)
    drawn = ax.imshow(table.to_numpy(dtype=float), aspect="auto", **options)
    ax.set_xticks(range(table.shape[1]), table.columns)
    ax.set_yticks(range(table.shape[0]), table.index)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    for (row, column), value in np.ndenumerate(table.to_numpy(dtype=float)):
        red, green, blue, _ = drawn.cmap(drawn.norm(value))
        ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        ax.text(column, row, pattern.format(value), ha="center", va="center", color=ink)


def growth(series: Mapping[str, Mapping[float, float]], *, unit: str, ax: Axes) -> None:
    """Costs against sizes, both logarithmic; the legend gives each fitted exponent.

    ``series`` maps a name to the cost of each size, and ``unit`` is the size's symbol. The
    fitted line of cost ∝ sizeᵖ is drawn thin.
    """
    for name, costs in series.items():
        x, y = (np.log(list(numbers)) for numbers in (costs.keys(), costs.values()))
        exponent, factor = np.polyfit(x, y, 1)
        label = f"{name}: ${unit}^{{{exponent:.2f}}}$"
        (points,) = ax.loglog(*np.exp([x, y]), ls="none", label=label)
        fitted = np.exp([x, exponent * x + factor])
        ax.loglog(*fitted, color=points.get_color(), marker="", lw=0.8)
    ax.legend(fontsize=7, labelspacing=0.2, borderaxespad=0)


def image_grid(images: Sequence, titles: Sequence[str], *, columns: int) -> Figure:
    """Small pictures (H, W) in rows of ``columns``, dark on white."""
    rows = -(-len(images) // columns)
    high = TEXT_WIDTH / columns + 0.16 * max(title.count("\n") + 1 for title in titles)
    figure, grid = plt.subplots(rows, columns, figsize=(TEXT_WIDTH, rows * high), squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, title in zip(grid.flat, images, titles, strict=False):
        ax.imshow(np.asarray(image), cmap="gray_r")
        ax.set_title(title, fontsize=7)
    return figure


# Recorded runs


def runs(
    notebook: str, *, profile: str = "full", folder: Path = ROOT / "data/results"
) -> list[dict]:
    """The recorded runs of ``notebook`` in a profile, oldest first; none is an empty list.

    Raises UserError naming a file that is not a record.
    """
    found = load(folder / notebook)
    of_profile = [run for run in found if run["parameters"].get("profile", profile) == profile]
    return sorted(of_profile, key=lambda run: run["finished"])


def alike(runs: list[dict], *varied: str) -> list[dict]:
    """The largest set of runs of one recipe and data set that differ in ``varied`` alone.

    Of sets of equal size, the one that was begun first.
    """

    def rest(run: dict) -> str:
        kept = {name: v for name, v in run["parameters"].items() if name not in varied}
        return json.dumps([run["recipe"], run["stamp"]["data"], kept], sort_keys=True)

    common = [kept for kept, _ in Counter(map(rest, runs)).most_common(1)]
    return [run for run in runs if rest(run) in common]


def provenance(runs: list[dict]) -> str:
    """How recorded runs were made: data, device, versions, when."""
    stamps, several = [run["stamp"] for run in runs], "s" * (len(runs) > 1)
    distinct = lambda values: ", ".join(dict.fromkeys(values))
    parts = [
        f"{len(runs)} recorded run{several} on {distinct(s['data'] for s in stamps)}",
        " and ".join(dict.fromkeys(s["device"] for s in stamps)),
        distinct(run["hardware"] for run in runs),
        "torch " + distinct(s["torch"] for s in stamps),
        distinct(run["finished"][:10] for run in runs),
    ]
    return "; ".join(parts)
