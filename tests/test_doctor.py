"""`make doctor`, with each thing missing in turn."""

import builtins
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import downloads
from helpers.pdf import doctor, glyphs

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run one of the checks as the command does; return its status and what it prints."""

    def run(name):
        monkeypatch.setattr(doctor, "CHECKS", {name: doctor.CHECKS[name]})
        return doctor.main(), capsys.readouterr().out

    return run


def without_package(monkeypatch, name):
    """Make ``import name`` fail as it does where the package is not installed."""
    real = builtins.__import__

    def refuse(module, *arguments, **options):
        if module.split(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("name", ["Python", "packages", "pandoc", "TeX", "fonts"])
def test_here_nothing_is_missing(run, name):
    status, shown = run(name)
    assert status == 0
    assert shown.startswith(f"[OK]   {name}: ")
    assert shown.count("\n") == 1


def test_a_python_that_does_not_fit(run, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10))
    status, shown = run("Python")
    assert status == 1
    assert shown.startswith("[FAIL] Python: missing: Python 3.11 to 3.14 (this is 3.10;")


def test_after_a_python_that_is_too_old_nothing_else_is_looked_at(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 8))
    monkeypatch.setattr(doctor, "packages", None)
    assert doctor.main() == 1
    assert [line[:16] for line in capsys.readouterr().out.splitlines()] == [
        "[FAIL] Python: m",
        "       install t",
    ]


def test_a_package_of_another_version_and_one_that_is_missing(run, monkeypatch):
    real = metadata.version

    def version(name):
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return "0.0" if name == "pandas" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    status, shown = run("packages")
    assert status == 1
    assert f"pandas is 0.0, not {real('pandas')}; scipy is missing\n" in shown
    assert "make setup" in shown


def test_a_package_for_another_platform_is_not_asked_for(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("nothing==1.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:0\n")
    assert doctor.packages(lock) == doctor.Check("0 as in requirements.lock")
    lock.write_text("nothing==1.0 \\\n    --hash=sha256:0\n")
    assert doctor.packages(lock).found == "nothing is missing"


@pytest.mark.parametrize(
    ("name", "package"),
    [("packages", "packaging"), ("pandoc", "pypandoc"), ("GPU", "torch"), ("fonts", "matplotlib")],
)
def test_an_environment_without_a_package(run, monkeypatch, name, package):
    monkeypatch.delitem(sys.modules, "helpers.pdf.glyphs")
    without_package(monkeypatch, package)
    status, shown = run(name)
    assert status == 1
    assert f"{name}: the package {package} is missing\n       run `make setup`" in shown


def test_a_wheel_without_its_pandoc(run, monkeypatch):
    import pypandoc

    def missing():
        raise OSError("No pandoc was found")

    monkeypatch.setattr(pypandoc, "get_pandoc_version", missing)
    status, shown = run("pandoc")
    assert status == 1
    assert "make setup" in shown


@pytest.mark.parametrize("name", ["packages", "fonts"])
def test_an_environment_that_is_not_there_is_not_removed(run, monkeypatch, tmp_path, name):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.0")
    monkeypatch.setattr(glyphs, "BUNDLED_FONTS", [tmp_path / "DejaVuSans.ttf"])
    assert run(name)[1].splitlines()[1] == "       run `make setup`"
    (tmp_path / ".venv").mkdir()
    assert run(name)[1].splitlines()[1] == "       run `rm -r .venv && make setup`"


def test_an_address_that_is_a_placeholder_is_noted_and_no_failure(run, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[project.urls]\nRepository = "https://github.com/{doctor.PLACEHOLDER}"\n')
    status, shown = run("address")
    assert status == 0
    assert shown.startswith("[NOTE] address: Colab badges lead nowhere until ")
    assert "`make colab`" in shown.splitlines()[1]
    project.write_text('[project.urls]\nRepository = "https://github.com/us/ours"\n')
    assert run("address") == (0, "[OK]   address: https://github.com/us/ours\n")


def test_a_machine_without_tex(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    glyphs.find_tex_font.cache_clear()
    status, shown = run("TeX")
    assert status == 1
    for hint in ("missing: xelatex, latexmk, TeX Live", "make tex", "apt-get install", "brew"):
        assert hint in shown
    assert all(line.startswith(("[", "       ")) for line in shown.splitlines())


def test_tex_without_its_fonts(run, monkeypatch, tmp_path):
    (tmp_path / "kpsewhich").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "kpsewhich").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    glyphs.find_tex_font.cache_clear()
    status, shown = run("fonts")
    assert status == 1
    assert "texgyrepagella-regular.otf" in shown
    assert "fonts-texgyre-math" in shown


def test_matplotlib_without_its_fonts(run, monkeypatch, tmp_path):
    monkeypatch.setattr(glyphs, "BUNDLED_FONTS", [tmp_path / "DejaVuSans.ttf"])
    status, shown = run("fonts")
    assert status == 1
    assert "Matplotlib lacks DejaVuSans.ttf" in shown


def test_a_full_disk(run, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0.2e9))
    status, shown = run("disk")
    assert status == 1
    assert "0.2 GB free" in shown
    assert "make clean" in shown


def test_little_memory(run, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 250_000}
    monkeypatch.setattr(doctor.os, "sysconf", pages.get)
    status, shown = run("memory")
    assert status == 1
    assert "1.0 GB" in shown
    assert "JOBS=1" in shown


def test_no_gpu_is_all_right_but_one_that_can_not_be_used_is_not(run, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert run("GPU")[0] == 0
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    status, shown = run("GPU")
    assert status == 1
    assert "renew the driver" in shown


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("HOMEWORK_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_neither_data_nor_network(run, monkeypatch, no_data, tmp_path):
    monkeypatch.setattr(doctor, "_answers", lambda url: False)
    status, shown = run("data")
    assert status == 1
    assert f"Fashion-MNIST, IMDB, word pairs, text8: not in {tmp_path}, and no network" in shown
    assert "DATA_DIR" in shown


def test_a_server_that_does_not_answer_is_named(run, monkeypatch, no_data):
    monkeypatch.setattr(doctor, "_answers", lambda url: "mattmahoney" not in url)
    status, shown = run("network")
    assert status == 1
    assert "no answer from mattmahoney.net\n" in shown
    assert "https_proxy" in shown


def test_a_network_makes_up_for_data_that_is_missing(run, monkeypatch, no_data):
    monkeypatch.setattr(doctor, "_answers", lambda url: True)
    assert "downloaded when first needed" in run("data")[1]


def test_a_network_that_is_switched_off_is_not_asked(run, monkeypatch, no_data):
    monkeypatch.setattr(doctor, "_answers", lambda url: True)
    monkeypatch.setenv("HOMEWORK_OFFLINE", "false")
    assert run("network")[0] == 0
    monkeypatch.setenv("HOMEWORK_OFFLINE", "1")
    monkeypatch.setattr(doctor, "_answers", None)
    status, shown = run("network")
    assert status == 1
    assert "HOMEWORK_OFFLINE" in shown


def test_data_at_hand_need_no_network(run, monkeypatch):
    monkeypatch.setattr(doctor, "_missing_data", dict)
    monkeypatch.setattr(doctor, "_answers", None)
    assert "not needed" in run("network")[1]


@pytest.fixture
def asked(monkeypatch):
    """The hosts and ports that were connected to; all of them answer but that of text8."""
    found = []

    def connect(address, timeout):
        found.append(address)
        if "mattmahoney" in address[0]:
            raise OSError
        return SimpleNamespace(close=lambda: None)

    downloads._reachable.cache_clear()
    monkeypatch.setattr(downloads.socket, "create_connection", connect)
    monkeypatch.setattr(downloads.urllib.request, "getproxies", dict)
    yield found
    downloads._reachable.cache_clear()


def test_servers_are_asked_as_downloads_ask_them_and_by_one_check(asked, no_data):
    assert "no network to download from" in doctor.data().found
    assert ("mattmahoney.net", 443) in asked
    asked.clear()
    assert doctor.network().found == "no answer from mattmahoney.net"
    assert not asked


@pytest.mark.parametrize("url", ["mirror.example/without-a-scheme", "http://mirror.example:port/"])
def test_what_is_no_address_does_not_answer(asked, url):
    assert not doctor._answers(url)
    assert not asked


def test_with_nothing_installed_it_reports_and_does_not_break(tmp_path):
    """As before `make setup`: a bare Python, no TeX, no network."""
    command = [sys.executable, "-I", "-S", "-c"]
    command += [f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
                "from helpers.pdf.doctor import main; sys.exit(main())"]  # fmt: skip
    environment = {"PATH": str(tmp_path), "HOMEWORK_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for name in doctor.CHECKS:
        assert f"] {name}: " in done.stdout.replace("[OK]  ", "[OK]")
    assert "[FAIL] GPU: the package torch is missing" in done.stdout
