"""The README: its commands run, its table agrees with the editions, its links lead somewhere."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from pdf_fixtures import like_a_clone

from bench.__main__ import in_readme, recorded
from helpers.pdf.colab import readdressed
from helpers.pdf.edition import editions, read_edition

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
    if "/dask " in command or " new " in command:
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
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or command.startswith("git clone")


def test_the_two_commands_come_first():
    assert readdressed(README) == README, "run `make badges`"
    assert COMMANDS[0] == f"git clone {ADDRESS} homework && cd homework"
    assert [shlex.split(command) for command in COMMANDS[1:3]] == [
        ["make", "pdf"],
        ["make", "test"],
    ]


def test_the_table_has_the_questions_of_the_editions():
    rows = [line.split("|") for line in README.splitlines() if re.search(r"\| \d{4} Q\d", line)]
    for edition in ("2021-hw4", "2022-hw3", "2023-hw3", "2025-hw2"):
        for question in read_edition(ROOT / "solutions_latex" / f"{edition}.tex").questions:
            place = f"{edition[:4]} Q{question.number}"
            links = {f"(notebooks/{name}.ipynb)" for name in question.notebooks}
            (row,) = (  # another edition of that year may have a question of that number
                row
                for row in rows
                if place in row[2].strip().split(", ") and all(link in row[3] for link in links)
            )
            for name in question.notebooks:
                assert f"/notebooks/{name}.ipynb)" in row[5]
            for answer in question.answers:
                assert f"(solutions_latex/answers/{answer}.tex)" in row[4]


def test_the_editions_are_named():
    named = set(re.findall(r"`([\w-]+)`", re.search(r"^Editions: .*?\.\n", README, re.M | re.S)[0]))
    assert named == set(editions(ROOT / "solutions_latex"))


def test_every_recorded_benchmark_is_in_the_table():
    assert in_readme(README, recorded()) == README, "run `make bench` or bench/__main__'s table"


@pytest.mark.parametrize("name", ["README.md", "data/README.md"])
def test_links_lead_somewhere(name):
    made = {"docs/all.pdf", "docs/page.png", "docs/heat_map.png"}  # by `make docs`
    text = (ROOT / name).read_text()
    links = {link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    places = {
        "#" + re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
    }
    for link in links - places:
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
    lines = re.findall(r"^([a-z -]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    targets = {name for line in lines for name in line.split()}
    named = re.findall(r"(?:^|`)make\s([a-z-]+)", README, re.M)
    assert set(named) <= targets
