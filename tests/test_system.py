"""What the operating system must provide, on machines where it is missing."""

import __future__

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
from helpers import pdf as press
from helpers.pdf import doctor, system

ROOT = Path(__file__).parents[1]


def test_here_nothing_is_missing():
    assert system.missing_python() == ([], [])
    assert system.missing_tex() == ([], [])


@pytest.mark.parametrize(("version", "told"), [((3, 10), "3.10"), ((3, 99), "3.99")])
def test_a_python_that_does_not_fit_is_named(monkeypatch, version, told):
    monkeypatch.setattr(sys, "version_info", version)
    (message,), packages = system.missing_python()
    assert told in message
    assert "PYTHON=" in message
    assert packages == []


@pytest.mark.parametrize("module", [helpers, press, system, doctor], ids=lambda m: m.__name__)
def test_what_refuses_an_old_python_can_be_read_by_it(module):
    """Its grammar, no annotation that is evaluated, and no import at the top that is ours."""
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 8))
    annotated = {ast.FunctionDef, ast.AnnAssign} & {type(node) for node in ast.walk(tree)}
    assert not annotated or module.annotations is __future__.annotations
    ours = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    assert {alias.name for node in ours for alias in node.names} <= {"system"}


def test_a_python_without_venv_names_the_package(monkeypatch):
    monkeypatch.setattr(system.importlib.util, "find_spec", lambda name: None)
    assert system.missing_python() == (["Python's venv module"], ["python3-venv"])


def run(folder, argument="tex", **programs):
    """Run the check on a machine that has only ``programs``, scripts by name."""
    for name, script in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    command = [sys.executable, "-m", "helpers.pdf.system", argument]
    environment = {"PATH": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_without_tex_and_rights_it_says_the_command_for_each_system(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2
    assert "missing: xelatex, latexmk, TeX Live" in done.stderr
    for hint in ("apt-get install", "brew install", "conda"):
        assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_as_root_apt_installs_after_saying_what(tmp_path):
    log = tmp_path / "log"
    apt = f'echo "$@" >> {log}'
    done = run(tmp_path, apt_get=apt, env='shift; shift="$1"; shift; exec apt-get "$@"')
    assert "Installing with apt-get: texlive-xetex" in done.stdout
    assert "texlive-latex-extra" in log.read_text()
    assert done.returncode == 2  # the pretended apt-get brought nothing
    assert "missing: xelatex" in done.stderr


def test_a_single_missing_package_is_named(tmp_path):
    kpsewhich = f'case "$1" in fvextra.sty) exit 1;; *) echo {__file__};; esac'
    done = run(tmp_path, kpsewhich=kpsewhich, xelatex="", latexmk="")
    assert "missing: fvextra.sty\n" in done.stderr
