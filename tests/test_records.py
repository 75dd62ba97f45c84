"""What a notebook records of itself."""

import os
import shutil
import subprocess

import pytest

from helpers import records


@pytest.mark.skipif(not shutil.which("git"), reason="git is missing")
def test_a_commit_is_of_this_project_and_not_of_a_folder_around_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "project" / "helpers").mkdir(parents=True)
    module = tmp_path / "project" / "helpers" / "records.py"
    monkeypatch.setattr(records, "__file__", str(module))
    commit = "-c user.name=a -c user.email=b commit -q --allow-empty --no-gpg-sign -m x".split()
    for repository, known in ((tmp_path, False), (tmp_path / "project", True)):
        for arguments in (["init", "-q"], commit):
            subprocess.run(["git", *arguments], cwd=repository, check=True)
        assert (records.commit() != "unknown") == known
