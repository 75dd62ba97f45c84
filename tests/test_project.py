"""Files that must agree with one another: packages, editions, notebooks, answers."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from helpers.pdf.edition import read_edition
from helpers.pdf.notebook import code_cells, read_notebook, tags
from helpers.pdf.parameters import choose, read_parameters
from helpers.pdf.system import PYTHONS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HELPERS = sorted((ROOT / "helpers").rglob("*.py"))

# The course's editions as they were set: (points, notebooks) of their questions, in order.
# Further ones may be added; what these ask stays.
EDITIONS = {
    "2021-hw4": [
        ("3", "rnn2d_parameters"),
        ("1", "attention_complexity"),
        ("2", "skipgram_sampling"),
        ("4", "sentiment_transformer"),
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


def direct_dependencies():
    groups = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for group in groups for line in group)]
    return [Requirement(line) for line in lines]


def locked():
    """Name to versions; a package may be locked differently for different Pythons."""
    found: dict[str, list[str]] = {}
    for name, number in re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", LOCK, re.M):
        found.setdefault(name, []).append(number)
    return found


@pytest.mark.parametrize("requirement", direct_dependencies(), ids=lambda r: r.name)
def test_every_dependency_is_locked_and_installed_as_locked(requirement):
    versions = locked()[requirement.name]
    assert all(number in requirement.specifier for number in versions)
    assert version(requirement.name) in versions


def test_the_lock_has_hashes_and_names_no_index():
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.M)[1:]
    assert len(blocks) > 100
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?:|index-url|find-links|file:", LOCK)


@pytest.mark.parametrize("folder", ["bench", "tests/browser", "tests/torchtext"])
def test_the_locks_of_the_optional_lanes_have_hashes_and_name_no_index(folder):
    lock = (ROOT / folder / "requirements.lock").read_text()
    for line in (ROOT / folder / "requirements.in").read_text().splitlines():
        if name := re.match(r"[\w-]+", line):
            assert re.search(rf"^{name[0]}==", lock, re.M)
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?:|index-url|find-links|file:", lock)


@pytest.fixture
def unpacked(tmp_path):
    """A folder as an archive of the repository unpacks it: no git."""
    shutil.copytree(
        ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_an_installed_package_has_every_file_of_the_helpers(unpacked):
    build = "from setuptools import build_meta as b; print(b.build_wheel('wheels'))"
    command = [sys.executable, "-c", build]
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True)
    (wheel,) = (unpacked / "wheels").glob("*.whl")
    files = {path for path in (unpacked / "helpers").rglob("*") if path.is_file()}
    missing = {path.relative_to(unpacked).as_posix() for path in files}
    assert missing - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_ruff_leaves_what_others_wrote_alone_without_git_too(unpacked):
    for folder in (".venv-torchtext", ".venv", "build", "data/cache"):
        path = unpacked / folder / "bin" / "other.py"
        path.parent.mkdir(parents=True)
        path.write_text("import   os\n")
    for command in (["check"], ["format", "--check"]):
        run = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        done = subprocess.run(run, cwd=unpacked, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_conda_installs_the_same_lock_with_a_python_that_fits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = environment["dependencies"]
    assert environment["name"] == "homework"  # the Makefile looks for this name
    assert pip == {"pip": ["-r requirements.lock"]}
    (python,) = [package for package in packages if package.startswith("python ")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.split("=")[1])


def test_the_supported_pythons_are_said_once():
    supported = SpecifierSet(PROJECT["requires-python"])
    (first, last), inside = PYTHONS, supported.contains
    assert inside("{}.{}".format(*first))
    assert inside("{}.{}".format(*last))
    assert not inside(f"{first[0]}.{first[1] - 1}")
    assert not inside(f"{last[0]}.{last[1] + 1}")
    assert inside("{}.{}".format(*sys.version_info[:2]))


@pytest.mark.parametrize("name", EDITIONS)
def test_an_edition_has_its_questions_and_points_in_order(name):
    edition = read_edition(ROOT / "solutions_latex" / f"{name}.tex")
    assert [(q.points, *q.notebooks) for q in edition.questions] == EDITIONS[name]


def test_all_has_every_question_once():
    everything = read_edition(ROOT / "solutions_latex" / "all.tex").questions
    asked = [question.notebooks for question in everything if question.notebooks]
    assert len(set(asked)) == len(asked)
    assert {tuple(names) for e in EDITIONS.values() for _, *names in e} <= set(asked)
    paths = sorted((ROOT / "solutions_latex").glob("*.tex"))
    further = [path for path in paths if path.stem not in (*EDITIONS, "all")]
    for question in everything:
        said = re.findall(r"\d{4} Q\d+", question.asked)
        course = [
            f"{name[:4]} Q{number}"
            for name, questions in EDITIONS.items()
            for number, (_, *names) in enumerate(questions, 1)
            if tuple(names) == question.notebooks
        ]
        others = {
            f"{path.stem[:4]} Q{one.number}"
            for path in further
            for one in read_edition(path).questions
            if one.notebooks == question.notebooks
        }
        assert [place for place in said if place in course] == course
        assert set(said) <= {*course, *others}


def test_editions_input_answers_named_after_the_notebook():
    """A part of an answer shares the first word: attention_complexity, attention_window."""
    for path in (ROOT / "solutions_latex").glob("*.tex"):
        for question in read_edition(path).questions:
            answers, notebooks = (
                {name.split("_")[0] for name in names}
                for names in (question.answers, question.notebooks)
            )
            assert answers == notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_shape_that_all_have(path):
    notebook = read_notebook(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    headings = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert any(source.startswith("## Answer") for source in headings[-2:])
    assert notebook.metadata.kernelspec.name == "python3"
    assert tags(notebook.cells[1]) == ["colab"]
    assert "parameters" in tags(notebook.cells[2])
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert not cell.outputs
        assert cell.execution_count is None
        lines = cell.source.splitlines()
        assert len(lines) <= 30, f"{cell.id} has {len(lines)} lines"
        assert max(map(len, lines), default=0) <= 100, f"{cell.id} has a line that is too long"
    stamps = [cell for cell in code_cells(notebook) if re.search(r"^stamp\(", cell.source, re.M)]
    assert len(stamps) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_described_and_their_full_values_allowed(path):
    parameters = read_parameters(read_notebook(path), path)
    assert parameters["profile"].choices == ("quick", "full")
    assert "seed" in parameters
    assert all(parameter.help for parameter in parameters.values())
    for parameter in parameters.values():
        parameter.check(parameter.default)
    choose(parameters, {}, "full", path)


@pytest.mark.parametrize("path", HELPERS, ids=lambda path: path.stem)
def test_modules_stay_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"


def test_a_command_starts_without_what_it_does_not_need():
    heavy = {"torch", "papermill", "nbconvert", "lark", "pandas", "matplotlib"}
    code = f"import sys, helpers.cli; print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
