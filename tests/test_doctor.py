"""`make doctor`, and what the operating system must provide, on machines where it is missing."""

import ast
import os
import subprocess
import sys

import pytest
from pdf_fixtures import ROOT

from helpers import doctor

SCRIPT = ROOT / "helpers" / "doctor.py"


def run(folder, *arguments, **programs):
    """Run it bare, without packages, on a machine that has only ``programs``, scripts by name."""
    for name, script in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    environment = {"PATH": str(folder), "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-I", "-S", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert "Traceback" not in done.stderr
    return done


def test_what_refuses_an_old_python_can_be_read_by_it():
    """Its grammar, no annotation that is evaluated, and no import at the top that is ours."""
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    assert "from __future__ import annotations" in SCRIPT.read_text()
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert names <= {"__future__", "importlib", "pathlib"}


@pytest.mark.parametrize("version", [(3, 10), (3, 99)])
def test_a_python_that_does_not_fit_is_named(monkeypatch, capsys, version):
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor.main(["python"]) == 2
    assert f"this is 3.{version[1]}; name another with make PYTHON=" in capsys.readouterr().err
    assert doctor.main([]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2, "the other checks could not be read"


def test_without_tex_and_rights_it_says_the_command_for_each_system(tmp_path):
    done = run(tmp_path, "tex")
    assert done.returncode == 2
    assert "missing: xelatex, latexmk, bibtex, TeX Live" in done.stderr
    for hint in ("apt-get install", "brew install", "conda"):
        assert hint in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_as_root_apt_installs_after_saying_what(tmp_path):
    log = tmp_path / "log"
    apt = f'echo "$@" >> {log}'
    env = 'shift; shift="$1"; shift; exec apt-get "$@"'
    done = run(tmp_path, "tex", apt_get=apt, env=env)
    assert "Installing with apt-get: texlive-xetex" in done.stdout
    assert "texlive-latex-extra" in log.read_text()
    assert done.returncode == 2  # the pretended apt-get brought nothing


def test_a_single_missing_package_is_named(tmp_path):
    for name in doctor.TEX_FILES:
        if name != "cancel.sty":
            (tmp_path / name).touch()
    kpsewhich = f"for name; do [ -e {tmp_path}/$name ] && echo {tmp_path}/$name; done; true"
    done = run(tmp_path, "tex", kpsewhich=kpsewhich, xelatex="", latexmk="", bibtex="")
    assert "missing: cancel.sty\n" in done.stderr


def test_with_nothing_installed_it_reports_and_does_not_break(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    for name in doctor.CHECKS:
        assert f"] {name}: " in done.stdout.replace("[OK]  ", "[OK]")
    assert "[FAIL] GPU: the package torch is missing" in done.stdout
    assert "[NOTE] data: " in done.stdout


def test_packages_that_are_not_as_locked_are_named(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("pytest==0.1 \\\n  --hash=x\nother==2 ; python_version < '3' \\\n")
    found, fix = doctor.packages(lock)
    assert "pytest is " in found
    assert "other" not in found
    assert "make setup" in fix


def test_a_hub_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "imdb").mkdir()
    found, fix = doctor.data()
    assert found.startswith(f"imdb in {tmp_path}; ")
    assert "does not answer" in found and "stand-ins" in fix
