"""Progress bars drawn as widgets: the line that they end with."""

import pytest

from helpers.pdf.widgets import STATE_MIME, VIEW_MIME, final_text


def shown(bar):
    """The text of tqdm's widget: a box of three children, the middle one a bar."""
    left, right = ({"state": {"value": text}} for text in ("train:&nbsp; 50%", " 15/30"))
    box = {"state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"]}}
    states = {"box": box, "a": left, "b": bar, "c": right}
    return final_text({VIEW_MIME: {"model_id": "box"}}, {STATE_MIME: {"state": states}})


def test_a_progress_bar_is_the_line_it_ends_with():
    assert shown({"state": {"max": 30, "value": 15}}) == f"train:  50%|{'█' * 10}{'░' * 10}| 15/30"


ODD = [{"value": float("nan"), "max": 30}, {"value": 3, "max": "30"}, {"value": [1]}]


@pytest.mark.parametrize("state", ODD)
def test_of_an_odd_widget_nothing_is_left(state):
    assert shown({"state": state}) == shown({}) == ""
    assert final_text({VIEW_MIME: {"model_id": "box"}}, {}) == ""
