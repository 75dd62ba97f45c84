"""This course's editions and notebooks: what was asked, and the shape that all have."""

import re
from pathlib import Path

import pytest
from conftest import COURSE

from helpers.pdf.edition import read_edition
from helpers.pdf.notebook import code_cells, read_notebook, tags
from helpers.pdf.parameters import choose, read_parameters

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem in COURSE]

# The course's editions as they were set: (points, notebooks) of their questions, in order.
# Further ones may be added; what these ask stays.
EDITIONS = {
    "2021-hw4": [
        ("3", "rnn2d_parameters"),
        ("1", "attention_complexity"),
        ("2", "skipgram_sampling"),
        ("4", "review_finetuning"),
    ],
    "2022-hw3": [
        ("3", "cnn_vs_rnn"),
        ("4", "rnn_recurrence"),
        ("3", "attention_complexity"),
        ("6", "sentiment_transformer"),
    ],
    "2023-hw3": [("", "cnn_vs_rnn"), ("", "rnn_recurrence"), ("", "attention_copying")],
    "2025-hw2": [
        ("3", "rnn_recurrence"),
        ("2", "attention_complexity"),
        ("5", "vit_training", "vit_sweep"),
        ("5", "sentiment_transformer"),
    ],
}


@pytest.mark.parametrize("name", EDITIONS)
def test_an_edition_has_its_questions_and_points_in_order(name):
    edition = read_edition(ROOT / "solutions_latex" / f"{name}.tex")
    assert [(q.points, *q.notebooks) for q in edition.questions] == EDITIONS[name]


def test_all_has_every_question_once():
    everything = read_edition(ROOT / "solutions_latex" / "all.tex").questions
    asked = [question.notebooks for question in everything if question.notebooks]
    assert len(set(asked)) == len(asked)
    assert {tuple(names) for e in EDITIONS.values() for _, *names in e} <= set(asked)
    for question in everything:
        course = [
            f"{name[:4]} Q{number}"
            for name, questions in EDITIONS.items()
            for number, (_, *names) in enumerate(questions, 1)
            if tuple(names) == question.notebooks
        ]
        assert re.findall(r"\d{4} Q\d+", question.asked) == course


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_shape_that_all_have(path):
    notebook = read_notebook(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    last = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"][-1]
    assert last.startswith(("## What it showed", "**What it showed", "## Answer"))
    assert notebook.metadata.kernelspec.name == "python3"
    assert tags(notebook.cells[1]) == ["colab"]
    assert "parameters" in tags(notebook.cells[2])
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        saved = cell.outputs or cell.execution_count
        assert not saved, "clear them: Edit, Clear Outputs of All Cells, then save"
        lines = cell.source.splitlines()
        short = len(lines) <= 25 or "hide-input" in tags(cell)
        assert short, f"{cell.id} has {len(lines)} printed lines"
        assert max(map(len, lines), default=0) <= 100, f"{cell.id} has a line that is too long"
    stamps = [cell for cell in code_cells(notebook) if re.search(r"^stamp\(", cell.source, re.M)]
    assert len(stamps) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_described_and_their_full_values_allowed(path):
    parameters = read_parameters(read_notebook(path), path)
    assert "[quick | full]" in parameters["profile"].comment
    assert all(parameter.comment for parameter in parameters.values())
    for parameter in parameters.values():
        assert parameter.read(parameter.default) == parameter.default
    choose(parameters, {}, "full", path)
