"""Self-attention that copies: closed forms, bounds, and proofs that break when they should."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs, verified
from torch.nn.functional import scaled_dot_product_attention

from helpers import attention_copying as copying

few = settings(deadline=None, max_examples=40, derandomize=True)
norms = st.floats(0, 12).map(lambda beta: torch.tensor(beta, dtype=torch.float64))
seeds = st.integers(0, 2**31)


def attend(queries, tokens):
    """PyTorch's own attention, not scaled: the reference for all that follows."""
    return scaled_dot_product_attention(queries[None], tokens[None], tokens[None], scale=1.0)[0]


@few
@given(width=st.integers(4, 40), seed=seeds)
def test_vectors_are_orthonormal(width, seed):
    unit = copying.orthogonal_vectors(width, seed=seed)
    torch.testing.assert_close(unit @ unit.mT, torch.eye(4, dtype=torch.float64))


def test_four_orthogonal_vectors_need_four_dimensions():
    with pytest.raises(ValueError, match="width 3"):
        copying.orthogonal_vectors(3)


def test_tokens_are_the_sums_of_the_question():
    a, b, c, d = vectors = torch.randn(4, 7)
    torch.testing.assert_close(copying.mix(vectors), torch.stack([d + b, a, c + b]))


def test_random_vectors_lie_on_the_unit_sphere_in_all_directions():
    vectors = copying.random_vectors(4000, 8, seed=3)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4000, 4, dtype=torch.float64))
    second_moment = torch.einsum("nvi,nvj->ij", vectors, vectors) / 16000
    assert (second_moment - torch.eye(8) / 8).abs().max() < 0.01
    assert torch.equal(vectors, copying.random_vectors(4000, 8, seed=3))
    assert not torch.allclose(vectors, copying.random_vectors(4000, 8, seed=4))


@few
@given(beta=norms, seed=seeds)
def test_weights_and_errors_are_those_of_attention(beta, seed):
    tokens = beta * copying.mix(copying.orthogonal_vectors(6, seed=seed))
    weights = copying.attention_weights(tokens, tokens)
    torch.testing.assert_close(weights, copying.closed_weights(beta), atol=1e-12, rtol=0)
    outputs = attend(tokens, tokens)
    torch.testing.assert_close(copying.closed_weights(beta) @ tokens, outputs)
    errors = (outputs - tokens).norm(dim=-1)
    torch.testing.assert_close(errors, copying.closed_errors(beta), atol=1e-12, rtol=0)


@few
@given(beta=norms)
def test_errors_stay_below_bounds_that_become_tight(beta):
    errors, bounds = copying.closed_errors(beta), copying.error_bounds(beta)
    assert (errors <= bounds * (1 + 1e-12)).all()
    slack = 3 * math.exp(-(beta**2))  # the bound overshoots by at most this factor less 1
    assert (bounds <= errors * (1 + slack)).all()


def random_scores(seed, size):
    """Five normal scores, and the generator to go on with."""
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(5, generator=generator, dtype=torch.float64), generator


@few
@given(seed=seeds, size=st.floats(0, 30), source=st.integers(0, 4))
def test_whatever_the_scores_the_error_is_below_the_bound(seed, size, source):
    scores, generator = random_scores(seed, size)
    values = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    error = (scores.softmax(-1) @ values - values[source]).norm()
    assert error <= copying.copy_bound(scores, values, source) + 1e-12


@few
@given(seed=seeds, size=st.floats(0, 8), source=st.integers(0, 4))
def test_the_bound_overshoots_by_the_normaliser_where_errors_add_up(seed, size, source):
    """Values on one side of the source: y is off by Σ e^{−gap} distance / Σ e^{−gap}."""
    scores, generator = random_scores(seed, size)
    away = torch.rand(5, 1, generator=generator, dtype=torch.float64)
    values = torch.where(torch.arange(5)[:, None] == source, 0, away) * torch.tensor([0.6, -0.8])
    weights = scores.softmax(-1)
    error = (weights @ values - values[source]).norm()
    bound = copying.copy_bound(scores, values, source)
    torch.testing.assert_close(bound, error / weights[source], rtol=1e-6, atol=0)


@pytest.mark.parametrize("sources", list(itertools.product(range(3), repeat=3)))
def test_routing_query_gives_the_source_the_whole_gap(sources):
    tokens = 1.3 * copying.mix(copying.orthogonal_vectors(5, seed=1))
    scores = tokens @ copying.routing_query(tokens, sources, gap=20.0).mT @ tokens.mT
    torch.testing.assert_close(scores, 20 * torch.eye(3, dtype=torch.float64)[list(sources)])


def test_dependent_tokens_have_no_routing_query():
    with pytest.raises(ValueError, match="linearly dependent"):
        copying.routing_query(torch.ones(2, 4), (0, 1), 1.0)


# The notebook's proofs. Its cells run once, without the figures; then each proof is broken on
# purpose, by one change in the notebook or in the helpers, and its claim must no longer hold.


@pytest.fixture(scope="module")
def proofs():
    return Proofs("attention_copying", copying)


def test_every_claim_of_the_answer_is_proved(proofs):
    assert verified("attention_copying") == set(proofs.claims)
    assert all(proofs.claims.values()), proofs.claims


MUTATIONS = [
    ("scores", "vstack(d + b, a, c + b)", "vstack(d + b, a, c - b)"),
    ("norms", "norms == [sp.sqrt(2) * β, β,", "norms == [2 * β, β,"),
    ("weights", "lambda m: q**-m)\nW", "lambda m: q**m)\nW"),
    ("weights", "rows = [one / z, q**2 / z, q / z,", "rows = [one / z, q / z, q**2 / z,"),
    ("weights", "scaled_dot_product_attention(x, x, identity, scale=1.0)",
     "scaled_dot_product_attention(x, x, identity)"),
    ("outputs", "Y = W * X", "Y = W.T * X"),
    ("limit", "lambda m: q**-m)\nW", "lambda m: q**m)\nW"),
    ("error", "forms = [(2 + 2 * q + 3 * q**2)", "forms = [(2 + 2 * q + 2 * q**2)"),
    ("error", "middle = 10**0.5", "middle = 5**0.5"),
    ("bound", "zip(ratios, (2, 10, 2), strict", "zip(ratios, (2, 5, 2), strict"),
    ("bound", "[2.0, 10.0, 2.0]", "[2.0, 5.0, 2.0]"),
    ("rate", "square, fits = (betas[far] ** 2)", "square, fits = (betas[far])"),
    ("needed-norm", "np.log(1 / wanted.values)", "np.log(1 / wanted.values) / 2"),
    ("shared-vector", "coefficient = sp.cancel(Y[0, 1]", "coefficient = sp.cancel(Y[0, 3]"),
    ("shared-vector", "- measured[1:, 0, 0] - measured[1:, 0, 2]", "- measured[1:, 0, 0]"),
    ("unshared", "c5 + e5", "c5 + b5"),
    ("scaling", "lambda D: 2 * D**0.25", "lambda D: 2 * D**0.2"),
    ("scaling", "unscaled(rule(D) / D**0.25)", "unscaled(rule(D))"),
    ("random-gap", 'np.sqrt(random["D"] / 3)', 'np.sqrt(random["D"] / 2)'),
    ("random", "random_vectors(draws, D, seed=seed + D)", "random_vectors(draws, 64, seed=D)"),
    ("random-error", '(9 * np.sqrt(3 / wide["D"]))', '(3 * np.sqrt(3 / wide["D"]))'),
    ("any-token", "dual = torch.linalg.pinv(tokens).mT", "dual = tokens"),
    ("any-token", "torch.exp(-gaps)", "torch.exp(-2 * gaps)"),
    ("midpoint", "x[[0, 2]].mean(0, keepdim=True)", "x[[0, 2]].sum(0, keepdim=True)"),
    ("trained-query", "F(-(beta**2))) / (16 *", "F(-(beta**2))) / (8 *"),
    ("plateau", "half[-1] * 16 *", "half[-1] * 8 *"),
    ("interference", "shift[:, 0] / 2", "shift[:, 0]"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"copying/{name}", old, new)


def test_each_claim_has_a_mutation(proofs):
    assert {f"copying/{name}" for name, _, _ in MUTATIONS} == set(proofs.claims)
