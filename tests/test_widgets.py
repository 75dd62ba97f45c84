"""Progress bars drawn as widgets: the line that they end with, however odd their bundle is."""

import itertools

import pytest

from helpers.pdf.widgets import STATE_MIME, VIEW_MIME, final_text


def progress(**changes):
    """The states of tqdm's widget: a box of three children, the middle one a bar."""
    bar = {"state": {"max": 30, "value": 15} | changes}
    left, right = ({"state": {"value": text}} for text in ("train:&nbsp; 50%", " 15/30"))
    box = {"state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"]}}
    return {"box": box, "a": left, "b": bar, "c": right}


def shown(states, view=None):
    return final_text({VIEW_MIME: view or {"model_id": "box"}}, {STATE_MIME: {"state": states}})


def test_a_progress_bar_is_the_line_it_ends_with():
    assert f"50%|{'█' * 10}{'░' * 10}| 15/30" in shown(progress())


ODD = [{"value": float("nan")}, {"value": 10**400}, {"max": "30"}, {"max": None}, {"value": [1]}]


@pytest.mark.parametrize("changes", ODD, ids=itertools.count())
def test_of_an_odd_progress_bar_the_words_are_left(changes):
    assert "50% 15/30" in shown(progress(**changes))


STATES = [None, [], "x", {}, {"box": None}, {"box": {"state": 5}}]
STATES += [{"box": {"state": {"children": names}}} for names in (None, 5, "abc", [None, {}, "x"])]


@pytest.mark.parametrize("states", STATES, ids=itertools.count())
def test_of_an_odd_widget_nothing_is_left(states):
    assert shown(states) == shown(progress(), view=["box"]) == ""
