"""Our Muon against PyTorch's, and against the singular value decomposition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.muon import Muon, orthogonalize


def matrices(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_orthogonalising_keeps_the_singular_vectors(count, rows, columns, seed):
    x = matrices(count, rows, columns, seed=seed)
    found = orthogonalize(x)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    inside = u.mT @ found @ vt.mT  # (K, m, m): diagonal if the vectors are the same
    values = inside.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(inside, values.diag_embed(), rtol=0, atol=1e-9)
    shares = s / s.norm(dim=1, keepdim=True)
    clear = shares > 0.01
    assert ((values[clear] > 0.65) & (values[clear] < 1.25)).all()


def test_a_zero_gradient_gives_no_step():
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


@pytest.mark.parametrize("shape", [(6, 6), (12, 5), (5, 12)])
def test_steps_are_those_of_pytorch(shape, monkeypatch):
    # PyTorch's, told not to round to bfloat16, so that the two must agree closely.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)
    starts = matrices(3, *shape)
    mine, theirs = ([x.clone().requires_grad_() for x in starts] for _ in range(2))
    ours = Muon(mine, rate=0.02, weight_decay=0.3, dtype=torch.float64)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.3, momentum=0.95)
    for step in range(4):
        for x, y, grad in zip(mine, theirs, matrices(3, *shape, seed=step + 1), strict=True):
            x.grad, y.grad = grad, grad.clone()
        ours.step()
        reference.step()
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)
    assert all((x - start).abs().max() > 0.01 for x, start in zip(mine, starts, strict=True))


def test_shapes_are_kept_apart_and_matrices_without_a_gradient_stay():
    a, b, c = (matrices(*shape).requires_grad_() for shape in [(3, 4), (4, 3), (3, 4)])
    before = c.detach().clone()
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    together = Muon([a, b, c], rate=0.1)
    alone = matrices(4, 3).requires_grad_()
    alone.grad = torch.ones_like(alone)
    Muon([alone], rate=0.1).step()
    together.step()
    assert torch.equal(b, alone)
    assert torch.equal(c, before)
