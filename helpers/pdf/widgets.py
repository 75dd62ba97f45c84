"""Progress bars drawn as widgets, as the one line of text they end with."""

import html
import re
from collections.abc import Mapping

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
_WIDTH = 20
_ODD = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError)


def final_text(data: Mapping, widgets: Mapping) -> str:
    """``train: 100%|████████████████████| 30/30 [00:03<00:00]`` for tqdm's widget.

    Empty where the bundle is odd, or the states of the widgets are not in the notebook.
    """
    try:
        states = widgets[STATE_MIME]["state"]
        names = states[data[VIEW_MIME]["model_id"]]["state"]["children"]
        children = [states[name.removeprefix("IPY_MODEL_")]["state"] for name in names]
    except _ODD:
        return ""
    return "".join(map(_text_of, children)).strip()


def _text_of(state: Mapping) -> str:
    value, end = state.get("value"), state.get("max")
    if isinstance(value, str):
        return html.unescape(re.sub(r"<[^<>]*>|&nbsp;", " ", value))
    try:
        filled = round(_WIDTH * min(max(value / end if end != 0 else 1.0, 0.0), 1.0))
    except _ODD:
        return ""
    return f"|{'█' * filled}{'░' * (_WIDTH - filled)}|"
