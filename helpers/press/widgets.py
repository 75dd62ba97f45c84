"""Progress bars drawn as widgets, as the one line of text they end with."""

import html
import re

from nbformat import NotebookNode

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
_WIDTH = 20


def final_text(data: NotebookNode, widgets: NotebookNode) -> str:
    """``train: 100%|████████████████████| 30/30 [00:03<00:00]`` for tqdm's widget."""
    states = widgets.get(STATE_MIME, {}).get("state", {})
    box = states.get(data[VIEW_MIME].get("model_id"), {}).get("state", {})
    children = [
        states.get(child.removeprefix("IPY_MODEL_"), {}) for child in box.get("children", [])
    ]
    return "".join(_text_of(child.get("state", {})) for child in children).strip()


def _text_of(state: NotebookNode) -> str:
    if "max" in state and isinstance(state.get("value"), int | float):
        share = state["value"] / state["max"] if state["max"] else 1
        filled = round(_WIDTH * min(max(share, 0), 1))
        return f"|{'█' * filled}{'░' * (_WIDTH - filled)}|"
    value = state.get("value", "")
    return html.unescape(re.sub(r"<[^>]*>|&nbsp;", " ", value)) if isinstance(value, str) else ""
