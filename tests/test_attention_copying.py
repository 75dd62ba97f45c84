"""Self-attention that copies: closed forms, bounds, and proofs that break when they should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs, verified

from helpers import attention_copying as copying


def test_tokens_are_the_sums_of_the_question():
    a, b, c, d = vectors = torch.randn(4, 7)
    torch.testing.assert_close(copying.mix(vectors), torch.stack([d + b, a, c + b]))
    unit = copying.orthogonal_vectors(9)
    torch.testing.assert_close(unit @ unit.mT, torch.eye(4, dtype=torch.float64))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), size=st.floats(0, 8), source=st.integers(0, 4))
def test_the_bound_overshoots_by_the_weight_of_the_source_where_errors_add_up(seed, size, source):
    """Values on one side of the source: y is off by Σ e^{−gap} distance / Σ e^{−gap}."""
    generator = torch.Generator().manual_seed(seed)
    scores = size * torch.randn(5, generator=generator, dtype=torch.float64)
    away = torch.rand(5, 1, generator=generator, dtype=torch.float64)
    direction = torch.tensor([0.6, -0.8], dtype=torch.float64)
    values = torch.where(torch.arange(5)[:, None] == source, 0, away) * direction
    weights = scores.softmax(-1)
    error = (weights @ values - values[source]).norm()
    bound = copying.copy_bound(scores, values, source)
    torch.testing.assert_close(bound, error / weights[source])


# The notebook's proofs, each broken by one change in the notebook or in the helpers.


@pytest.fixture(scope="module")
def proofs():
    yield Proofs("attention_copying", copying, without=("panels(2",))
    torch.set_default_dtype(torch.float32)  # the notebook computes in float64


MUTATIONS = [
    ("scores", "vstack(d + b, a, c + b)", "vstack(d + b, a, c - b)"),
    ("scores", "(0, 1, 1, 0))", "(0, 0, 1, 0))"),
    ("norms", "norms == [sp.sqrt(2) * β, β,", "norms == [2 * β, β,"),
    ("weights", "lambda m: q**-m)\nW", "lambda m: q**m)\nW"),
    ("weights", "rows = [one / z, q**2 / z, q / z,", "rows = [one / z, q / z, q**2 / z,"),
    ("weights", "(x, x, eye, scale=1.0)", "(x, x, eye)"),
    ("outputs", "Y = (W * X / β)", "Y = (W.T * X / β)"),
    ("limit", "lambda m: q**-m)\nW", "lambda m: q**m)\nW"),
    ("limit", "β * sp.exp(-(β**2))", "sp.exp(β - β)"),
    ("shared-vector", "for j in (1, 3)]", "for j in (3, 1)]"),
    ("shared-vector", "- 3 * q**2) ==", "- 2 * q**2) =="),
    ("error", "forms = [(2 + 2 * q + 3 * q**2)", "forms = [(2 + 2 * q + 2 * q**2)"),
    ("error", "middle = 10**0.5", "middle = 5**0.5"),
    ("bound", "zip(ratios, (2, 10, 2), strict", "zip(ratios, (2, 5, 2), strict"),
    ("bound", "[2.0, 10.0, 2.0]", "[2.0, 5.0, 2.0]"),
    ("scaling", "betas / D**0.25", "betas / D**0.5"),
    ("random-gap", "math.sqrt(3 / D)", "math.sqrt(2 / D)"),
    ("random-gap", "* (d1 - c1)", "* (d1 + c1 + b1)"),
    ("any-token", "dual = torch.linalg.pinv(tokens).mT", "dual = tokens"),
    ("any-token", "torch.exp(-gaps)", "torch.exp(-2 * gaps)"),
]


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"copying/{name}", old, new)


def test_every_claim_of_the_answer_is_proved_and_can_fail(proofs):
    can_fail = {f"copying/{name}" for name, _, _ in MUTATIONS}
    assert verified("attention_copying") == can_fail == set(proofs.claims)
    assert all(proofs.claims.values()), proofs.claims
