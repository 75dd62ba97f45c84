"""Skip-gram training: its loss and steps pair by pair, what it learns, and what is asked of it."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from helpers.word2vec import SkipGram, WordVectors, code_digest, one_thread_per_operation

COUNTS = np.arange(20, 0, -1) * 10


def small(block=4, window=3, seed=0, **settings):
    model = SkipGram(counts=COUNTS, size=6, block=block, window=window, seed=seed, **settings)
    generator = torch.Generator().manual_seed(seed + 1)
    model.centre = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    model.outside = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    model.weights, model.observed = model.weights.double(), model.observed.double()
    tokens = torch.randint(20, (3 * block + 2 * window,), generator=generator)
    negatives = torch.randint(20, (3, block), generator=generator)
    return model, tokens, negatives


def pairs(model, tokens, negatives, share):
    """(centre, other, weight, sign) one by one, as the original draws them on average."""
    w, b = model.window, model.block
    for i in range(w, len(tokens) - w):
        for reach in range(1, w + 1):  # each of the w widths has the chance 1 / w
            for j in [*range(i - reach, i), *range(i + 1, i + reach + 1)]:
                yield tokens[i], tokens[j], 1 / w, 1
        for k in negatives[(i - w) // b]:
            yield tokens[i], k, share, -1


def loss_by_pairs(model, tokens, negatives, share):
    total = 0
    for c, o, weight, sign in pairs(model, tokens, negatives, share):
        total = total - weight * F.logsigmoid(sign * (model.outside[o] @ model.centre[c]))
    return total


@pytest.mark.parametrize("window", [1, 3, 5])
def test_loss_is_the_sum_over_pairs(window):
    model, tokens, negatives = small(window=window, negatives=7)
    # w + 1 observed pairs for each centre on average, 7 negatives for each, 4 stand for them
    share = 7 * (window + 1) / 4
    expected = loss_by_pairs(model, tokens, negatives, share)
    torch.testing.assert_close(model.loss(tokens, negatives), expected)
    broken = loss_by_pairs(model, tokens, negatives, share / 2)
    assert not torch.isclose(model.loss(tokens, negatives), broken, rtol=0.01)


def step_by_autograd(model, tokens, negatives, rate, damped=True, threads=1):
    centre, outside = model.centre.clone(), model.outside.clone()
    model.centre.requires_grad_(), model.outside.requires_grad_()
    gradients = torch.autograd.grad(model.loss(tokens, negatives), (model.centre, model.outside))
    model.centre, model.outside = centre.clone(), outside.clone()
    weights = torch.zeros(2, 20, dtype=torch.float64)
    share = model.weights[0, -1].item()
    for c, o, weight, _ in pairs(model, tokens, negatives, share):
        weights[0, c] += weight
        weights[1, o] += weight
    # A block also scores the words around it that a centre does not reach, with weight zero.
    quotient = 1 + threads * weights * rate / 4 if damped else torch.ones(2, 20)
    return [
        vectors - rate * gradient / n[:, None]
        for vectors, gradient, n in zip((centre, outside), gradients, quotient, strict=True)
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_step_is_the_damped_gradient(threads):
    model, tokens, negatives = small()
    expected = step_by_autograd(model, tokens, negatives, 0.1, threads=threads)
    plain = step_by_autograd(model, tokens, negatives, 0.1, damped=False)
    model.step(tokens, negatives, 0.1, threads=threads)
    for found, right, wrong in zip((model.centre, model.outside), expected, plain, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(found, wrong, atol=0.01)


def test_small_steps_are_gradient_descent():
    model, tokens, negatives = small()
    expected = step_by_autograd(model, tokens, negatives, 1e-6, damped=False)
    before = model.centre.clone()
    model.step(tokens, negatives, 1e-6)
    moved, right = model.centre - before, expected[0] - before
    assert (moved - right).norm() < 1e-4 * right.norm()


def test_repeated_words_do_not_overshoot(monkeypatch):
    """All tokens alike: the sum of the slopes at one point would throw the vectors far off."""
    tokens, negatives = torch.zeros(262, dtype=int), torch.randint(20, (8, 32))

    def largest():
        model = SkipGram(counts=COUNTS, size=6, block=32, window=3)
        for _ in range(60):
            model.step(tokens, negatives, 0.2)
        return model.centre.norm(dim=1).max().item()

    assert largest() < 20

    def undamped(vectors, rows, gradient, weights, rate):
        vectors.index_add_(0, rows.flatten(), gradient.flatten(0, 1), alpha=-rate)

    monkeypatch.setattr("helpers.word2vec._descend", undamped)
    assert not largest() < 100


def test_subsampling_and_noise():
    model = SkipGram(counts=COUNTS, subsample=1e-2)
    share = COUNTS / COUNTS.sum()
    expected = np.sqrt(1e-2 / share) + 1e-2 / share
    np.testing.assert_allclose(model.keep, expected, rtol=1e-6)
    np.testing.assert_allclose(model.noise, COUNTS**0.75)


def steps_of(model, tokens, **settings):
    """(words, negatives, rate, threads) of each step of a training, of which none is taken."""
    given = []
    model.step = lambda *how, threads: given.append((*how, threads))
    model.train(tokens, **settings)
    return given


def test_the_rate_falls_evenly_to_zero():
    model = SkipGram(counts=COUNTS, block=8, window=2, subsample=9.0)  # keeps every word
    given = steps_of(model, np.zeros(84, int), epochs=3, rate=0.6, blocks=2, threads=1)
    rates = [rate for _, _, rate, _ in given]
    np.testing.assert_allclose(rates, 0.6 * (1 - np.arange(15) / 15), rtol=1e-6)


def test_each_thread_walks_a_stretch_of_its_own_once():
    tokens = np.random.default_rng(0).permutation(84)  # no word twice
    model = SkipGram(counts=np.ones(84), block=4, window=2, subsample=99.0)
    given = steps_of(model, tokens, epochs=1, blocks=2, threads=2)
    stretches = [tokens[2:34].tolist(), tokens[44:76].tolist()]  # 42 words each, 32 in steps
    centres = [words[2:-2].tolist() for words, *_ in given]
    assert sorted(centres) == sorted(s[i : i + 8] for s in stretches for i in range(0, 32, 8))
    assert {threads for *_, threads in given} == {2}


def test_frequent_words_are_skipped_as_often_as_promised():
    tokens = np.random.default_rng(0).choice(2, p=[0.9, 0.1], size=40_000)
    model = SkipGram(counts=np.bincount(tokens), block=8, window=1, subsample=0.1)
    given = steps_of(model, tokens, epochs=1, blocks=1, threads=1)
    kept = torch.cat([words[1:-1] for words, *_ in given]).bincount()
    share = kept[0] / (tokens == 0).sum()
    assert share == pytest.approx((0.1 / 0.9) ** 0.5 + 0.1 / 0.9, rel=0.02)
    assert kept[1] == pytest.approx((tokens == 1).sum(), rel=0.01)


def test_negatives_are_drawn_by_their_counts_and_anew_for_each_thread_and_epoch():
    model = SkipGram(counts=[16, 1, 81], block=50, window=1, subsample=99.0)
    given = steps_of(model, np.zeros(20_004, int), epochs=2, blocks=1, threads=2)
    drawn = torch.cat([negatives.flatten() for _, negatives, *_ in given])
    shares = drawn.bincount() / len(drawn)
    np.testing.assert_allclose(shares, np.array([8, 1, 27]) / 36, atol=0.01)  # count^0.75
    assert len({tuple(negatives.flatten().tolist()) for _, negatives, *_ in given}) == len(given)


def topics(length=15_000, seed=0):
    """Text in stretches of 50 words, each on one of two topics of 10 words."""
    rng = np.random.default_rng(seed)
    stretches = rng.integers(2, size=(length // 50, 1)) * 10
    return (stretches + rng.integers(10, size=(length // 50, 50))).ravel()


def train(threads=1, seed=0, **settings):
    tokens = topics()
    model = SkipGram(counts=np.bincount(tokens), size=8, seed=seed, subsample=1.0)
    model.train(tokens, epochs=5, rate=0.1, blocks=4, threads=threads, **settings)
    return model


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_words_of_a_topic_end_up_together(threads):
    """Threads that ignored each other's pairs would end in NaN on so few words.

    How far apart the topics end up depends on how the threads take turns; that any two words of
    one topic are nearer than any two of both does not.
    """
    cosines = WordVectors([str(i) for i in range(20)], train(threads).centre).vectors
    cosines = cosines @ cosines.T
    within = torch.minimum(cosines[:10, :10].min(), cosines[10:, 10:].min())
    assert within > cosines[:10, 10:].max()


def test_one_thread_repeats_itself():
    first, again, other = train(), train(), train(seed=1)
    assert torch.equal(first.centre, again.centre)
    assert not torch.allclose(first.centre, other.centre, atol=0.01)


def test_settings_are_checked():
    for name in ("size", "window", "negatives", "block"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            SkipGram(counts=COUNTS, **{name: 0})
    for name in ("epochs", "blocks", "threads"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            SkipGram(counts=COUNTS).train([0, 1], **{name: 0})
    with pytest.raises(ValueError, match="give more text"):
        SkipGram(counts=COUNTS).train(np.zeros(500, int), threads=1)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread_per_operation():
        assert torch.get_num_threads() == 1
    train(threads=2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_the_digest_changes_with_the_code_but_not_with_the_default_rate(monkeypatch):
    source, found = inspect.getsource, code_digest()

    def digest(old, new):
        assert old in source(SkipGram)
        with monkeypatch.context() as patch:
            patch.setattr(inspect, "getsource", lambda item: source(item).replace(old, new))
            return code_digest()

    assert digest("rate: float = 0.05", "rate: float = 0.1") == found
    assert digest("block: int = 32", "block: int = 16") != found


# ------------------------------------------------------------------ what the vectors say

WORDS = ["man", "woman", "king", "queen", "fish"]
VECTORS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [-1, 0.1, 0]])


def test_nearest():
    vectors = WordVectors(WORDS, VECTORS)
    torch.testing.assert_close(vectors.vectors.norm(dim=1), torch.ones(5))
    assert vectors.nearest("queen", 2) == ["woman", "king"]


def test_rank_correlation_is_spearmans():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(30, 5, generator=generator)
    words = [f"w{i}" for i in range(30)]
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(rng.integers(30, size=(50, 2)), columns=["word1", "word2"])
    pairs = pairs.map(lambda i: f"W{i}").assign(score=rng.integers(8, size=50))  # with ties
    cosines = [
        F.cosine_similarity(raw[int(a[1:])], raw[int(b[1:])], dim=0).item()
        for a, b in zip(pairs["word1"], pairs["word2"], strict=True)
    ]
    expected = spearmanr(np.round(cosines, 5), pairs["score"]).statistic
    pairs.loc[len(pairs)] = ["W1", "nowhere", 3]
    found, known = WordVectors(words, raw).rank_correlation(pairs)
    assert known == 50
    assert found == pytest.approx(expected, abs=1e-3)


def test_answers():
    vectors = WordVectors(WORDS, VECTORS)
    questions = [
        ("family", "man", "king", "woman", "queen"),
        ("family", "man", "woman", "king", "queen"),
        ("unknown", "man", "king", "woman", "empress"),
        ("family", "king", "man", "fish", "fish"),
    ]
    frame = vectors.answers(questions)
    assert frame["section"].tolist() == ["family"] * 3
    assert frame["answer"].tolist()[:2] == ["queen", "queen"]
    assert frame["answer"][2] not in {"king", "man", "fish"}  # never a word of the question
    assert len(vectors.answers(questions, among=3)) == 0


def test_many_questions_are_answered_as_a_few():
    vectors = WordVectors(WORDS, VECTORS)
    few = [("family", "man", "king", "woman", "queen"), ("family", "king", "man", "queen", "woman")]
    assert vectors.answers(few * 600)["answer"].tolist() == ["queen", "woman"] * 600
