"""Files that must agree with one another: packages, locks, Pythons."""

import ast
import re
import resource
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

from helpers.doctor import PYTHONS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
HELPERS = sorted((ROOT / "helpers").rglob("*.py"))


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


def test_a_lock_is_versions_and_hashes_and_nothing_else():
    pattern = r"[\w.-]+==\S+(?: ; .+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    for folder in ("", "bench", "tests/browser", "tests/torchtext"):
        lock = (ROOT / folder / "requirements.lock").read_text()
        assert re.fullmatch(f"(?:{pattern})+", lock), folder


@pytest.mark.parametrize("folder", ["bench", "tests/browser", "tests/torchtext"])
def test_the_locks_of_the_optional_lanes_have_what_is_asked(folder):
    lock = (ROOT / folder / "requirements.lock").read_text()
    for line in (ROOT / folder / "requirements.in").read_text().splitlines():
        if name := re.match(r"[\w-]+", line):
            assert re.search(rf"^{name[0]}==", lock, re.M)


def test_an_installed_package_has_every_file_of_the_helpers(tmp_path):
    no_cache = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=no_cache)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools import build_meta as b; print(b.build_wheel('wheels'))"
    command = [sys.executable, "-c", build]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    files = {path for path in (tmp_path / "helpers").rglob("*") if path.is_file()}
    missing = {path.relative_to(tmp_path).as_posix() for path in files}
    assert missing - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_conda_installs_the_same_lock_with_a_python_that_fits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = environment["dependencies"]
    assert environment["name"] == "homework"  # the Makefile looks for this name
    assert pip == {"pip": ["-r requirements.lock"]}
    (python,) = [package for package in packages if package.startswith("python ")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.split("=")[1])


@pytest.mark.parametrize(("made_in", "anew"), [("", False), (".", False), ("/elsewhere", True)])
def test_an_environment_that_was_copied_with_its_folder_is_made_anew(tmp_path, made_in, anew):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    ready = tmp_path / ".venv" / ".ready"
    ready.parent.mkdir()
    ready.write_text(made_in.replace(".", f"{tmp_path.resolve()}\n"))
    command = ["make", "--dry-run", ".venv/.ready"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ("Installing the packages" in done.stdout) == anew, done.stderr


def test_the_supported_pythons_are_said_once():
    supported = SpecifierSet(PROJECT["requires-python"])
    (first, last), inside = PYTHONS, supported.contains
    assert inside("{}.{}".format(*first))
    assert inside("{}.{}".format(*last))
    assert not inside(f"{first[0]}.{first[1] - 1}")
    assert not inside(f"{last[0]}.{last[1] + 1}")
    assert inside("{}.{}".format(*sys.version_info[:2]))


@pytest.mark.parametrize("path", HELPERS, ids=lambda path: path.stem)
def test_modules_stay_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 450
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"


def test_a_command_starts_without_what_it_does_not_need():
    heavy = {"torch", "papermill", "nbclient", "nbconvert", "nbformat", "pandas", "matplotlib"}
    code = f"import sys, helpers.cli; print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_pages_of_large_tensors_are_kept():
    n, faults = 2**25, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = b"x" * n
    before = faults()
    for _ in range(20):
        x = None
        x = b"x" * n
    assert len(x) == n
    assert faults() - before < n / resource.getpagesize(), "of twenty times as many"
