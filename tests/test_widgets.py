"""Progress bars drawn as widgets: the line that they end with, however odd their bundle is."""

import itertools

import nbformat
import pytest
from pdf_fixtures import executed, write

from helpers.pdf.render import render
from helpers.pdf.widgets import STATE_MIME, VIEW_MIME


def progress(**changes):
    """The states of tqdm's widget: a box of three children, the middle one a bar."""
    bar = {"state": {"max": 30, "value": 15} | changes}
    left, right = ({"state": {"value": text}} for text in ("train:&nbsp; 50%", " 15/30"))
    box = {"state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"]}}
    return {"box": box, "a": left, "b": bar, "c": right}


def shown_widget(tmp_path, states, view=None):
    data = {VIEW_MIME: view or {"model_id": "box"}, "text/plain": "in plain text"}
    notebook = executed(nbformat.v4.new_output("display_data", data))
    notebook.metadata["widgets"] = {STATE_MIME: {"state": states}}
    render(write(notebook, tmp_path / "a.ipynb"), tmp_path / "a.tex")
    return (tmp_path / "a.tex").read_text(encoding="utf-8")


def test_a_progress_bar_is_set_as_the_line_it_ends_with(tmp_path):
    assert f"50%|{'█' * 10}{'░' * 10}| 15/30" in shown_widget(tmp_path, progress())


ODD = [{"value": float("nan")}, {"value": 10**400}, {"max": "30"}, {"max": None}, {"value": [1]}]


@pytest.mark.parametrize("changes", ODD, ids=itertools.count())
def test_of_an_odd_progress_bar_the_words_are_set(tmp_path, changes):
    assert "50% 15/30" in shown_widget(tmp_path, progress(**changes))


STATES = [None, [], "x", {}, {"box": None}, {"box": {"state": 5}}]
STATES += [{"box": {"state": {"children": names}}} for names in (None, 5, "abc", [None, {}, "x"])]


@pytest.mark.parametrize("states", STATES, ids=itertools.count())
def test_of_an_odd_widget_the_plain_text_is_set(tmp_path, states):
    assert "in plain text" in shown_widget(tmp_path, states)
    assert "in plain text" in shown_widget(tmp_path, progress(), view=["box"])
