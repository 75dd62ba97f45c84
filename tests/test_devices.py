"""Which device and type of numbers are chosen."""

import pytest
import torch

from helpers.devices import choose_device


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="finds no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu")


@pytest.mark.parametrize(
    ("unit", "dtype"),
    [("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)],
)
def test_bfloat16_is_for_processors_that_multiply_in_it(monkeypatch, unit, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True})
    assert choose_device("cpu")[1] == dtype
