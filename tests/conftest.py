"""Settings and fixtures for all tests."""

import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

import helpers  # noqa: F401 before nbformat, whose import it shortens

ROOT = Path(__file__).parents[1]
# The questions of this course, and the tests that are about them rather than about the tool: who
# removes our notebooks needs no tests of them.
COURSE = (
    "attention_complexity attention_copying cnn_vs_rnn review_finetuning rnn2d_parameters "
    "rnn_recurrence sentiment_transformer skipgram_sampling vit_sweep vit_training"
).split()
LONGEST = (
    "make sweep_engine colab execute rnn2d_parameters cnn_vs_rnn sentiment_transformer typeset"
).split()
ABOUT = {f"test_{name}.py": name for name in COURSE}
ABOUT |= dict.fromkeys(("test_readme.py", "test_course.py"), "rnn_recurrence")
collect_ignore = [
    file for file, name in ABOUT.items() if not (ROOT / "notebooks" / f"{name}.ipynb").exists()
]


def pytest_xdist_auto_num_workers():
    """Half as many processes again as cores: a third of the time, tests wait for others."""
    return min((os.cpu_count() or 2) * 3 // 2, 8)  # more would wait for the longest file


def pytest_collection_modifyitems(items):
    """Mark tests of the course's answers: ``pytest -m "not course"`` tests the tool alone.

    The files that take longest come first, so that all processes end at about the same time.
    """
    order = {f"test_{name}.py": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        if item.path.name in ABOUT:
            item.add_marker("course")


settings.register_profile("homework", deadline=None)  # a busy machine is not a failed test
settings.load_profile("homework")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models in tests are tiny, tests run side by side, and notebooks change the number."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """An empty DATA_DIR, and no network."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOMEWORK_OFFLINE", "1")
    return tmp_path / "data"


@pytest.fixture
def no_stand_in():
    """Any warning is an error, such as that of a stand-in."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def tmpfs():
    """``with tmpfs(path, options):`` mounts a small file system there, or skips the test."""

    @contextmanager
    def mounted(path, options):
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("needs to mount a tmpfs")
        path.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path]).returncode:
            pytest.skip("may not mount")
        try:
            yield path
        finally:
            subprocess.run(["umount", path], check=True)

    return mounted
