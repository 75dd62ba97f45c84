"""Settings and fixtures for all tests."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from hypothesis import settings

settings.register_profile("homework", deadline=None)  # a busy machine is not a failed test
settings.load_profile("homework")


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


@pytest.fixture(scope="module")
def small_bert():
    """A BERT of width 6 that knows 40 tokens and reads 20 of them."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=20,
        initializer_range=0.5,
    )
    return BertModel(config).eval()
