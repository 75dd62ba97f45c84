"""Skip-gram: exact moments, estimates, pairs of words, and proofs that break when they should."""

from functools import partial
from itertools import product

import pytest
import torch
from proofs import Proofs, verified

from helpers import skipgram_sampling as skipgram


def test_moments_are_those_of_all_samples_one_by_one():
    q = torch.tensor([0.5, 0.2, 0.3]).double()
    U = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double()
    estimate = partial(skipgram.self_normalized_average, torch.tensor([1.0, -2.0]).double(), U, q)
    mean, variance = skipgram.moments(estimate, q, 4)
    samples = torch.tensor(list(product(range(3), repeat=4)))
    chances, values = q[samples].prod(1), estimate(samples)
    torch.testing.assert_close(mean, chances @ values)
    torch.testing.assert_close(variance, chances @ (values - chances @ values).square().sum(1))


def test_every_word_once_drawn_evenly_gives_the_exact_average():
    v, U = torch.randn(3).double(), torch.randn(7, 3).double()
    estimate = skipgram.self_normalized_average(v, U, torch.ones(7).double() / 7, torch.arange(7))
    torch.testing.assert_close(estimate, torch.softmax(U @ v, 0) @ U)


def test_log_uniform_is_a_distribution_near_zipf():
    q = skipgram.log_uniform(1000)
    assert q.sum() == pytest.approx(1)
    assert q[99] / q[199] == pytest.approx(2, rel=0.01)


def test_negative_sampling_of_pairs_is_that_of_each_pair():
    V, U = torch.randn(4, 3), torch.randn(9, 3)
    observed, negatives = torch.tensor([0, 5, 5, 8]), torch.randint(9, (4, 6))
    together = skipgram.negative_sampling_loss(V, U, observed, negatives)
    for pair in range(4):
        right = torch.sigmoid(U[observed[pair]] @ V[pair])
        wrong = torch.sigmoid(U[negatives[pair]] @ V[pair])
        torch.testing.assert_close(together[pair], -right.log() - (1 - wrong).log().sum())


def test_words_and_their_neighbors():
    vocabulary, tokens = skipgram.tokenize("B b; cc a_ the CC dd. The cc", min_count=2)
    assert vocabulary == ["cc", "the"]
    assert tokens.tolist() == [0, 1, 0, 1, 0]
    pairs = skipgram.window_pairs(torch.tensor([7, 8, 9]), window=2).T.tolist()
    assert sorted(pairs) == [[7, 8], [7, 9], [8, 7], [8, 9], [9, 7], [9, 8]]


def test_docstrings_are_those_of_a_package_without_its_tests(tmp_path, monkeypatch):
    package = tmp_path / "speaking"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text('"""One\ntwo."""\nx = 1\ny = """three"""', "utf-8")
    (package / "tests" / "test_it.py").write_text('"""not this"""', "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert skipgram.docstrings("speaking") == "One\ntwo. three"


# The notebook's proofs, each broken by one change in the notebook or in the helpers.


@pytest.fixture(scope="module")
def proofs():
    before = torch.get_default_dtype()
    yield Proofs(
        "skipgram_sampling",
        skipgram,
        without=("plt.subplots", "= docstrings("),
        until="tokenize(text",
    )
    torch.set_default_dtype(before)


MUTATIONS = [
    ("gradient-center", "return p @ outside - outside[obs", "return p @ outside + outside[obs"),
    ("gradient-outside", "residual[observed] - 1", "residual[observed] - 2"),
    ("gradient-outside", "np.outer(residual, center)", "np.outer(abs(residual), center)"),
    ("cost-center", "[2 * d * h, 2 * d * h - 1, d, d]", "[2 * d * h, 2 * d * h, d, d]"),
    ("cost-center", "np.exp(outside @ center)", "np.exp(outside @ center - 0.0)"),
    ("cost-step", "[3 * d * h, 2 * d * h, d, d]", "[3 * d * h, 2 * d * h - 1, d, d]"),
    ("weighted-average", "(p[:, None] * (U - U[333]))", "(p[:, None] * (U[333] - U))"),
    ("weighted-average", "(p[:, None] * (U - U[333]))", "((U - U[333]) / 1000)"),
    ("softmax-unbiased", "abs(S * variance / spread - 1)", "abs(variance / spread - 1)"),
    ("softmax-unbiased", "return outside[samples].mean(-2)", "return outside[samples].sum(-2)"),
    ("sample-cost", ".sum() == (S + 1) * h", ".sum() == S * h"),
    ("self-normalized-rate", "limit = -(p**2 / q)", "limit = -(p / q)"),
    ("self-normalized-rate", "spread = (p**2 / q) @", "spread = 1.1 * (p**2 / q) @"),
    ("self-normalized-rate", "- proposal.log()[samples], -1", ", -1"),
    ("negative-sampling-gradient", "torch.sigmoid(-to @ v[0])", "torch.sigmoid(to @ v[0])"),
    ("negative-sampling-optimum", "- math.log(K))", "- math.log(K + 1))"),
    ("negative-sampling-optimum", "apart = (torch.softmax(scores, 0) - f)",
     "apart = (torch.softmax(scores + q.log(), 0) - f)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"skipgram/{name}", old, new)


def test_every_claim_of_the_answer_is_proved_and_can_fail(proofs):
    can_fail = {f"skipgram/{name}" for name, _, _ in MUTATIONS}
    assert can_fail == set(proofs.claims)
    assert verified("skipgram_sampling") <= can_fail | {LEARNS}
    assert all(proofs.claims.values()), proofs.claims


LEARNS = "skipgram/negative-sampling-learns"


@pytest.mark.parametrize("learned", [True, False])
def test_vectors_that_know_their_neighbors_beat_what_ignores_the_center(proofs, learned):
    """Words come in pairs that are always neighbors; vectors of ones know nothing of it."""
    state = dict(proofs.state)
    twins = torch.arange(40).roll(20)
    centers = torch.arange(40).repeat(500)
    noise = torch.ones(40) / 40
    known = torch.eye(40)[twins] * 6 - 3  # score 3 for the twin, −3 for all others
    state |= {
        "V": torch.eye(40) if learned else torch.ones(40, 40) / 40,
        "U": known if learned else torch.ones(40, 40),
        "vocabulary": [str(i) for i in range(40)],
        "noise": noise,
        "K": 5,
    }
    state["held_out"] = state["training"] = torch.stack([centers, twins[centers]])
    (cell,) = (
        i for i, source in enumerate(proofs.cells) if "centers, observed = held_out" in source
    )
    torch.manual_seed(0)
    proofs.run(proofs.cells[cell], state)
    assert proofs.run(proofs.cells[cell + 1], state) == {LEARNS: learned}
