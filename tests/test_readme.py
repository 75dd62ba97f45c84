"""The README: its commands run, its table agrees with the editions, its links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import test_project
from pdf_fixtures import like_a_clone, source_notebook, write

from helpers import mime
from helpers.pdf import docs
from helpers.pdf.colab import prepare
from helpers.pdf.edition import read_edition
from helpers.pdf.errors import UserError
from helpers.pdf.execute import execute
from helpers.pdf.notebook import read_notebook
from helpers.pdf.readme import renewed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
COMMANDS = [
    re.sub(r"\s+# .*", "", line)
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.strip().splitlines()
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder like a clone, with this environment, whose build folder is its own."""
    folder = tmp_path_factory.mktemp("readme")
    like_a_clone(folder, "helpers", "notebooks", "solutions_latex", "data", "bench", "tests")
    return folder


def cheaply(command: str) -> str:
    """``command`` itself if it is quick and changes nothing, else what shows that it would run."""
    if command.startswith("make "):
        return f"{command} --dry-run"
    if " sweep " in command:
        return f"{command} --dry-run"
    if "/dask " in command:
        return f"{command} --help"
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(checkout, tmp_path, command):
    cwd, settings = checkout, {"HOMEWORK_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    if command.startswith("git clone"):
        if not (ROOT / ".git").exists():
            pytest.skip("this is no git checkout")
        cwd = tmp_path
        settings |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": ADDRESS}
        settings["GIT_CONFIG_KEY_0"] = f"url.file://{ROOT}.insteadOf"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        cheaply(command), shell=True, cwd=cwd, env=environment | settings,
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    offline = "homework data" in command and "[FAIL]" in done.stdout
    assert done.returncode == 0 or offline, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or command.startswith("git clone")


def shown_notebook():
    """The notebook that the README shows, as JupyterLab would save it."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    notebook = source_notebook()
    notebook.cells = []
    for part in re.split(r"^# %%", block, flags=re.M)[1:]:
        head, _, source = part.partition("\n")
        if "[markdown]" in head:
            text = re.sub(r"^# ", "", source.strip(), flags=re.M)
            notebook.cells.append(nbformat.v4.new_markdown_cell(text))
        else:
            found = {"tags": tags} if (tags := re.findall(r'tags=\["(\w+)"\]', head)) else {}
            notebook.cells.append(nbformat.v4.new_code_cell(source.strip(), metadata=found))
    return notebook


def test_the_notebook_it_shows_has_the_shape_of_all_and_runs(tmp_path):
    path = write(prepare(shown_notebook(), "odd_sums"), tmp_path / "odd_sums.ipynb")
    test_project.test_a_notebook_has_the_shape_that_all_have(path)
    test_project.test_parameters_are_described_and_their_full_values_allowed(path)
    execute(path, tmp_path / "done" / path.name)
    cells = read_notebook(tmp_path / "done" / path.name).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    (number,) = [data[mime.RECORD] for data in outputs if mime.RECORD in data]
    (claim,) = [data[mime.CLAIM] for data in outputs if mime.CLAIM in data]
    assert claim["holds"]
    for quoted in (f"\\val{{{number['name']}}}", f"\\verified{{{claim['name']}}}"):
        assert quoted in README


def test_the_two_commands_come_first():
    assert COMMANDS[0] == f"git clone {ADDRESS} homework && cd homework"
    assert [shlex.split(command) for command in COMMANDS[1:3]] == [
        ["make", "pdf"],
        ["make", "test"],
    ]


def test_generated_parts_are_up_to_date():
    assert renewed(README) == README, "run `make colab`"


def test_a_lost_mark_is_named():
    with pytest.raises(UserError, match="<!-- questions -->"):
        renewed(README.replace("<!-- questions -->", ""))


def test_the_table_has_the_questions_of_the_editions():
    rows = [line.split("|") for line in README.splitlines() if re.search(r"\| \d{4} Q\d", line)]
    for edition in ("2021-hw4", "2022-hw3", "2023-hw3", "2025-hw2"):
        for question in read_edition(ROOT / "solutions_latex" / f"{edition}.tex").questions:
            place = f"{edition[:4]} Q{question.number}"
            (row,) = (  # another edition of that year may have a question of that number
                row
                for row in rows
                if place in row[2].strip().split(", ") and links_all(row[3], question.notebooks)
            )
            for name in question.notebooks:
                assert f"/notebooks/{name}.ipynb)" in row[5]
            for answer in question.answers:
                assert f"(solutions_latex/answers/{answer}.tex)" in row[4]


def links_all(cell, notebooks):
    return all(f"(notebooks/{name}.ipynb)" in cell for name in notebooks)


@pytest.fixture
def changed(tmp_path):
    """A copy of what the README is made from, to be changed."""
    for name in ("notebooks", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "solutions_latex", tmp_path / "solutions_latex")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_editions_are_named_and_a_new_one_takes_its_place(changed):
    latex = changed / "solutions_latex"
    for name in ("2020-a-name-that-fills-the-line", "2026-hw1", "2026-hw2", "2026-hw3"):
        shutil.copy(latex / "2023-hw3.tex", latex / f"{name}.tex")
    for root, text in ((ROOT, README), (changed, renewed(README, changed))):
        (line,) = re.findall(r"<!-- editions -->\n(Editions: .*?\.)\n", text, re.S)
        named = re.findall(r"`([\w-]+)`", line)
        paths = (root / "solutions_latex").glob("*.tex")
        assert named == [*sorted({path.stem for path in paths} - {"all"}), "all"]
        assert max(map(len, line.splitlines())) <= 100


@pytest.mark.parametrize("name", ["README.md", "data/README.md"])
def test_links_lead_somewhere(name):
    made = {"docs/all.pdf", f"docs/{docs.PAGE}", f"docs/{docs.HEAT_MAP}"}  # by `make docs`
    text = (ROOT / name).read_text()
    links = {link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    for link in links:
        exists = ((ROOT / name).parent / link).exists()
        assert exists or (link in made and not (ROOT / "docs").exists()), link


def test_the_address_is_pyprojects_alone():
    places = {
        path.relative_to(ROOT).as_posix()
        for folder in ("helpers", "tests", "solutions_latex", "bench")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and ADDRESS.encode() in path.read_bytes()
    }
    assert places == set()


def test_the_targets_named_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:^|`)make\s([a-z-]+)", README, re.M)
    assert set(named) <= targets
