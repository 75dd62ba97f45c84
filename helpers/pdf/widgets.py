"""Progress bars drawn as widgets, as the one line of text they end with."""

import html
import math
import re
from collections.abc import Mapping

from nbformat import NotebookNode

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
_WIDTH = 20


def final_text(data: NotebookNode, widgets: object) -> str:
    """``train: 100%|████████████████████| 30/30 [00:03<00:00]`` for tqdm's widget.

    Empty where the bundle is odd, or the states of the widgets are not in the notebook.
    """
    states = _object(_object(_object(widgets).get(STATE_MIME)).get("state"))
    children = _state(states, _object(data[VIEW_MIME]).get("model_id")).get("children")
    found = children if isinstance(children, list) else []
    names = [str(name).removeprefix("IPY_MODEL_") for name in found]
    return "".join(_text_of(_state(states, name)) for name in names).strip()


def _object(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _state(states: Mapping, name: object) -> Mapping:
    """The state of one widget; empty if there is none of that name."""
    return _object(_object(states.get(str(name))).get("state"))


def _text_of(state: Mapping) -> str:
    value, end = state.get("value"), state.get("max")
    if _is_number(value) and _is_number(end):
        share = value / end if end else 1
        filled = round(_WIDTH * min(max(share, 0), 1))
        return f"|{'█' * filled}{'░' * (_WIDTH - filled)}|"
    return html.unescape(re.sub(r"<[^<>]*>|&nbsp;", " ", value)) if isinstance(value, str) else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300 and not math.isnan(value)
