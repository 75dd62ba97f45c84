"""The GRU for padded rows, against PyTorch's own and against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import gru
from helpers.gru import BidirectionalGRU, Recurrence
from helpers.text_encoder import mask

WIDTH = 6


def batch(lengths, *, seed=0, padding=0.0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(len(lengths), max(lengths), WIDTH, generator=draw, dtype=torch.float64)
    lengths = torch.tensor(lengths)
    x[~mask(lengths, x.shape[1])] = padding
    return x, lengths


def module(layers=2, dropout=0.0):
    torch.manual_seed(1)
    return BidirectionalGRU(width=WIDTH, hidden=5, layers=layers, dropout=dropout).double()


@pytest.mark.parametrize("layers", [1, 2])
@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 3 * gru.STEPS), min_size=1, max_size=5),
    padding=st.floats(-99, 99),
)
def test_it_is_pytorchs_packed_gru(layers, lengths, padding):
    ours = module(layers)
    x, lengths = batch(lengths, padding=padding)
    x.requires_grad_()
    inside = mask(lengths, x.shape[1])
    draw, found = torch.Generator(), []
    for way in (ours, ours.packed):
        outputs, final = way(x, lengths)
        weights = torch.randn(outputs.shape, generator=draw.manual_seed(2), dtype=torch.float64)
        loss = (outputs * weights * inside[..., None]).sum() + final.square().sum()
        grown = torch.autograd.grad(loss, [x, *ours.parameters()])
        found.append([outputs[inside], final, *grown])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("steps", [1, gru.STEPS + 1])
def test_the_written_gradient_is_the_slope(steps):
    torch.manual_seed(steps)
    shapes = (2, steps, 1, 6), (2, 6, 2), (2, 6)
    given = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(Recurrence.apply, given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_states_and_gradients_in_narrower_numbers(dtype):
    exact, (x, lengths) = module(), batch([20, 9, 13])
    narrow = module().float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs, final = narrow(x.float(), lengths)
    assert final.dtype == outputs.dtype == dtype
    tolerance = 16 * torch.finfo(dtype).eps
    expected = exact(x, lengths)[1]
    torch.testing.assert_close(final.double(), expected, rtol=0, atol=tolerance)
    final.float().sum().backward()
    expected.sum().backward()
    for slope, name in zip(exact.parameters(), dict(narrow.named_parameters()), strict=True):
        found = narrow.get_parameter(name).grad
        assert found.dtype == torch.float32
        gap = (found.double() - slope.grad).norm() / slope.grad.norm()
        assert gap < tolerance, name


def test_dropout_lies_between_layers_and_only_in_training():
    x, lengths = batch([5, 3])
    one, two = module(1, dropout=0.5), module(2, dropout=0.5)
    assert one(x, lengths)[1].equal(one(x, lengths)[1])
    assert not two(x, lengths)[1].equal(two(x, lengths)[1])
    two.eval()
    assert two(x, lengths)[1].equal(two(x, lengths)[1])
