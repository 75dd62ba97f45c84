"""Progress bars drawn as widgets, as the one line of text they end with."""

import html
import re
from collections.abc import Mapping

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
_WIDTH = 20


def final_text(data: Mapping, widgets: Mapping) -> str:
    """``train: 100%|████████████████████| 30/30 [00:03<00:00]`` for tqdm's widget.

    Empty where it is no progress bar, or the states of the widgets are not in the notebook.
    """
    try:
        states = widgets[STATE_MIME]["state"]
        names = states[data[VIEW_MIME]["model_id"]]["state"]["children"]
        children = [states[name.removeprefix("IPY_MODEL_")]["state"] for name in names]
        return "".join(map(_text_of, children)).strip()
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError):
        return ""


def _text_of(state: Mapping) -> str:
    value = state.get("value")
    if not isinstance(value, int | float):
        return html.unescape(re.sub(r"<[^<>]*>|&nbsp;", " ", value or ""))
    filled = round(_WIDTH * min(max(value / (state["max"] or 1), 0.0), 1.0))
    return f"|{'█' * filled}{'░' * (_WIDTH - filled)}|"
