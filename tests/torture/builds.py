"""The same bits and pages elsewhere: other jobs, locale, time zone, home, path, read-only tree."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from pdf_fixtures import like_a_clone
from sweep import figures, heed_ctrl_c
from test_make import RAN, YOU, make, project, text_of
from test_sweep_engine import Sweep

from helpers.sweep.runs import load

__all__ = ["figures", "project"]  # fixtures

TRAINING = """import torch
from helpers.report import record
torch.manual_seed(n)
x, y = torch.randn(512, 300), torch.arange(512) % 10
net = torch.nn.Sequential(torch.nn.Linear(300, 400), torch.nn.ReLU(), torch.nn.Linear(400, 10))
optimizer = torch.optim.Adam(net.parameters())
for _ in range(20):
    loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
record("tiny/loss", loss.item())
record("tiny/sum", torch.randn(3_000_000).sum().item())
"""


def test_the_same_seed_gives_the_same_bits_whatever_the_jobs(tmp_path, figures):
    found = []
    for jobs in (1, 2, 3):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        sweep = Sweep(folder, TRAINING)
        assert not any(sweep.run("n=0:2", jobs=jobs).values())
        records = load(sweep.store.records)
        found.append([(r["parameters"]["n"], r["values"]) for r in records])
    assert found[0] == found[1] == found[2]
    figures["runs equal to the bit under 1, 2 and 3 jobs"] += 3


ELSEWHERE = {
    "a locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"},
    "no locale": {"LC_ALL": "POSIX"},
    "a time zone": {"TZ": "Pacific/Kiritimati"},
    "a home": {"HOME": "/nonexistent"},
}


@pytest.fixture
def elsewhere(project, tmp_path):
    """The project's sources and executed notebooks in a folder with a difficult name."""
    folder = project
    copy = tmp_path / "Müll & Söhne, Straße 7"
    copy.mkdir()
    for name in ("solutions_latex", "notebooks"):
        shutil.copytree(folder / name, copy / name)
    like_a_clone(copy, "helpers")
    shutil.copy(folder / "course.toml", copy)
    (copy / "build").mkdir()
    yield copy, folder


def carry(folder, copy):
    """Take the executed notebooks, and nothing else that was built, along."""
    shutil.copytree(folder / "build" / "quick" / "executed", copy / "build" / "quick" / "executed")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_same_notebooks_give_the_same_pages(elsewhere, monkeypatch, figures, name):
    copy, folder = elsewhere
    carry(folder, copy)
    for variable, value in ELSEWHERE[name].items():
        monkeypatch.setenv(variable, value)
    shown = make(copy, *YOU)
    assert ": executed" not in shown
    assert text_of(copy) == text_of(folder)
    figures["PDFs of the same words elsewhere"] += 1


@pytest.mark.parametrize("seconds", [0.5, 1, 1.5, 2, 3, 4])
def test_ctrl_c_ends_a_build_in_a_word_whenever_it_comes(elsewhere, figures, seconds):
    copy, folder = elsewhere
    command = ["make", RAN, "HW=tiny"]
    build = subprocess.Popen(command, cwd=copy, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True,
                             preexec_fn=heed_ctrl_c)  # fmt: skip
    time.sleep(seconds)
    os.killpg(build.pid, signal.SIGINT)
    shown = build.communicate(timeout=60)[0]  # when the last process has gone
    assert "Traceback" not in shown, shown
    make(copy, *YOU)
    assert text_of(copy) == text_of(folder)
    figures["builds stopped by Ctrl-C and taken up again"] += 1


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs to mount")
def test_only_build_need_be_writable(elsewhere, figures):
    copy, folder = elsewhere
    if subprocess.run(["mount", "--bind", copy, copy]).returncode:
        pytest.skip("may not mount")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "none", copy / "build"], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", copy], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (copy / "x").touch()
        shown = make(copy, *YOU)
        assert "first: executed" in shown
        shutil.rmtree(copy / "build" / "quick")
        (copy / "build" / "tiny.pdf").unlink()
        carry(folder, copy)
        make(copy, *YOU)
        assert text_of(copy) == text_of(folder)
        figures["PDFs built in a read-only tree"] += 2
    finally:
        subprocess.run(["umount", "--recursive", copy], check=True)
