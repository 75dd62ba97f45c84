"""Notebooks of any form, and what a run depends on."""

import json
import os
import shutil
import subprocess

import nbformat
import pytest
from pdf_fixtures import claim, executed, source_notebook, stamp, value

from helpers.pdf.errors import UserError
from helpers.pdf.execute import cache_key, digests, inputs
from helpers.pdf.notebook import as_run, commit, read_notebook

ODD = {
    "nbformat": 4,
    "metadata": {"kernelspec": {"name": "ir", "language": "R"}, "odd": 1},
    "cells": [
        {"cell_type": "markdown", "source": ["# T\n", "text"], "outputs": [], "stray": 1},
        {"cell_type": "code", "source": "x", "metadata": {"tags": ["a"]}, "outputs": [
            {"output_type": "hologram", "data": {}},
            {"output_type": "stream", "text": ["a", "b"], "stray": 2},
            {"output_type": "display_data", "data": {"text/plain": ["c", "d"]}}]},
        {"cell_type": "poem", "source": "so much depends"},
        {"cell_type": "code", "id": "not an id!", "source": ""},
        {"cell_type": "code", "id": "same", "source": ""},
        {"cell_type": "code", "id": "same", "source": ""},
    ],
}  # fmt: skip


def read(tmp_path, content):
    path = tmp_path / "Übung 1.final.ipynb"
    path.write_text(json.dumps(content), encoding="utf-8")
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    return notebook


def test_stray_and_missing_things_of_a_notebook_are_put_right(tmp_path):
    notebook = read(tmp_path, ODD)
    first, second, third, *_ = notebook.cells
    assert first.source == "# T\ntext"
    unknown, stream, shown = second.outputs
    assert "unknown type 'hologram'" in unknown.text
    assert (stream.text, shown.data["text/plain"]) == ("ab", "cd")
    assert (third.cell_type, third.source) == ("raw", "so much depends")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize(
    "content", ["{", "[1, 2]", '{"nbformat": 4, "cells": [1]}', "{}", "[" * 9**5]
)
def test_what_is_no_notebook_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(UserError, match=r"a.ipynb is not a notebook") as caught:
        read_notebook(path)
    assert "\n" not in str(caught.value)


def test_a_run_is_read_into_values_claims_and_stamp():
    outputs = claim("a/b"), value("a/n", "12,345"), stamp(commit="c", stand_in=True), stamp()
    run = as_run(executed(*outputs), "a")
    assert run.values == {"a/n": "12,345"}
    assert run.claims["a/b"]["holds"]
    assert run.on_stand_in


def test_a_run_that_says_two_things_is_refused():
    with pytest.raises(UserError, match="a records 'a/n' as '1' and as '2'"):
        as_run(executed(value("a/n", "1"), value("a/n", "2")), "a")
    with pytest.raises(UserError, match="files the claim 'a/c' twice"):
        as_run(executed(claim("a/c"), claim("a/c")), "a")


@pytest.fixture
def project(tmp_path):
    """A project whose notebook reads helpers, files beside it and recorded runs."""
    files = {
        "helpers/__init__.py": "",
        "helpers/used.py": "from . import deeper",
        "helpers/deeper.py": "x = 1",
        "helpers/other.py": "x = 1",
        "notebooks/mine.py": "x = 1",
        "notebooks/data/mine.csv": "1,2",
        "notebooks/.hidden/x.csv": "1",
        "data/results/a-topic/a.json": "{}",
        "data/results/other/a.json": "{}",
        "data/named.csv": "1",
        "requirements.lock": "torch==1",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


CODE = "%matplotlib inline\nfrom helpers.used import x\nruns('a-topic')\n%run -i run.ipynb\n"
CODE += "open('../data/named.csv')\n"
CODE += f"print('{200 * '长'}')"  # more than a file's name may have


def key(project, notebook, **values):
    files = inputs(notebook, project / "notebooks", project)
    return cache_key(notebook, values, digests(files))


READ = ["helpers/used.py", "helpers/deeper.py", "notebooks/mine.py", "notebooks/data/mine.csv",
        "notebooks/new.csv", "data/results/a-topic/a.json", "data/results/a-topic/b.json",
        "data/named.csv", "notebooks/run.ipynb", "requirements.lock"]  # fmt: skip
OTHER = ["helpers/other.py", "notebooks/other.ipynb", "notebooks/.hidden/x.csv",
         "data/results/other/a.json"]  # fmt: skip


@pytest.mark.parametrize("extra", ["", "files = !ls", "print?", "%%time", "if True:\n    %time 1"])
def test_the_key_follows_every_file_that_a_notebook_may_read(project, extra):
    notebook = source_notebook(f"{extra}\n{CODE}")
    found = [key(project, notebook)]
    for file in READ:
        (project / file).write_text("from . import deeper; changed = 1")
        found.append(key(project, notebook))
    assert len(set(found)) == len(found)
    for file in OTHER:
        (project / file).write_text("changed = 1")
        assert key(project, notebook) == found[-1]


def test_the_key_follows_code_tags_parameters_and_threads_but_no_prose(project, monkeypatch):
    notebook = source_notebook(CODE)
    found = [key(project, notebook)]
    notebook.cells[0].source = "# Other prose"
    assert key(project, notebook) == found[0]
    found.append(key(project, notebook, n=1))
    notebook.cells[-1].metadata["tags"] = ["skip-execution"]
    found.append(key(project, notebook))
    notebook.cells[-1].source += "\n"
    found.append(key(project, notebook))
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    found.append(key(project, notebook))
    assert len(set(found)) == len(found)


@pytest.mark.skipif(not shutil.which("git"), reason="git is missing")
def test_a_commit_is_of_this_project_and_not_of_a_folder_around_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "project").mkdir()
    monkeypatch.setattr("helpers.pdf.notebook.ROOT", tmp_path / "project")
    git = "-c user.name=a -c user.email=b commit -q --allow-empty --no-gpg-sign -m x".split()
    for repository, known in ((tmp_path, False), (tmp_path / "project", True)):
        for arguments in (["init", "-q"], git):
            subprocess.run(["git", *arguments], cwd=repository, check=True)
        assert (commit() != "unknown") == known
