"""One look for every figure and table, on screen and in print.

Colours are Okabe and Ito's, told apart by colour-blind readers; every line also gets its
own dash and marker, so that it is told apart in grey.
"""

import inspect
from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import pandas as pd
from cycler import cycler
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from . import mime

# Okabe & Ito (2008), "Color Universal Design".
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK = COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000",
)  # fmt: skip
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Text width of the PDF: letter paper less margins of one inch.
TEXT_WIDTH = 6.5  # inches


def use_style() -> None:
    """Set Matplotlib's defaults, and vector output in notebooks (SVG on screen, PDF in print)."""
    plt.rcParams.update(
        {
            "figure.figsize": (TEXT_WIDTH, 2.6),
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
            "axes.prop_cycle": cycler(color=COLOURS)
            + cycler(linestyle=_DASHES)
            + cycler(marker=_MARKERS),
            "pdf.fonttype": 42,
            "svg.fonttype": "path",
            "svg.hashsalt": "homework",
        }
    )
    if get_ipython() is not None and hasattr(get_ipython(), "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", "pdf")


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
        display(bundle, metadata=metadata, raw=True)


def show_source(*definitions: Callable) -> None:
    """Show the source of functions or classes that live in ``helpers``, as it runs."""
    source = "\n\n".join(inspect.getsource(definition).rstrip() for definition in definitions)
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    html = highlight(source, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    display({mime.SOURCE: source, "text/html": html, "text/plain": source}, raw=True)


def _as_text(frame: pd.DataFrame, formats: str | Mapping[str, str] | None) -> pd.DataFrame:
    """The frame as it reads: numbers formatted, a labelled index as columns of its own."""
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if isinstance(formats, str):
        formats = dict.fromkeys(frame.select_dtypes("number"), formats)
    text = frame.astype(object)
    for name, pattern in (formats or {}).items():
        text[name] = [pattern.format(value) for value in frame[name]]
    return text
