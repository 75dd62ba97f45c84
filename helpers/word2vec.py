"""Skip-gram with negative sampling, trained by small matrix products.

The model and its sampling are those of Mikolov et al. (2013), "Distributed Representations
of Words and Phrases and their Compositionality". Two things are arranged differently, so
that a processor spends its time in matrix products rather than in single dot products:

- ``block`` neighbouring positions share their negatives, as the words of one window do in
  Ji et al. (2016), "Parallelizing Word2Vec in Shared and Distributed Memory". The scores of
  a block, observed words and negatives together, are then one matrix product.
- The original draws each window's reach uniformly from 1 … w. Here a word δ places away
  counts with the weight (w + 1 − |δ|) / w instead, the chance that such a window holds it.
"""

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor


class SkipGram:
    """Vectors of words as centres and as outside words, float32 (d, size) each.

    ``counts`` (d,) say how often each word occurs. A word of the corpus that makes up a
    share f of it is kept with probability √(subsample / f) + subsample / f. Each observed
    pair is set against ``negatives`` words, drawn in proportion to count^0.75.

    Raises ValueError for sizes below 1.
    """

    def __init__(
        self,
        *,
        counts: Sequence[int],
        size: int = 100,
        window: int = 5,
        negatives: int = 5,
        subsample: float = 1e-3,
        block: int = 32,
        seed: int = 0,
    ):
        _check(size=size, window=window, negatives=negatives, block=block)
        self.window, self.block = window, block
        self.generator = Generator().manual_seed(seed)
        counts = torch.as_tensor(np.asarray(counts), dtype=torch.float64)
        self.noise = counts**0.75  # (d,)
        ratio = subsample * counts.sum() / counts
        self.keep = (ratio.sqrt() + ratio).float()  # (d,), above 1 for rare words
        numbers = torch.rand(len(counts), size, generator=self.generator, dtype=torch.float32)
        self.centre = (numbers - 0.5) / size
        self.outside = torch.zeros_like(self.centre)
        # Of block b and window w: a row for each centre, a column for each of the b + 2w
        # words around and for each of the block's b negatives.
        place = torch.arange(block + 2 * window) - window
        distance = (place - torch.arange(block)[:, None]).abs()
        around = ((window + 1 - distance).float() / window).clamp(min=0) * (distance > 0)
        per_negative = negatives * (window + 1) / block  # a row of ``around`` sums to w + 1
        self.observed = F.pad(around, (0, block))  # (b, 2b + 2w)
        self.weights = F.pad(around, (0, block), value=per_negative)  # (b, 2b + 2w)

    def loss(self, tokens: Tensor, negatives: Tensor) -> Tensor:
        """−Σ log σ(uᵀv) over observed pairs − Σ log σ(−uᵀv) over negatives, weighted.

        ``tokens`` (B + 2w,) are B neighbouring positions and the w words to either side,
        ``negatives`` (B / b, b) the negatives of each block of b positions.
        """
        *_, scores = self._scores(*self._pairs(tokens, negatives))
        return (self.weights * F.softplus(scores) - self.observed * scores).sum()

    def step(self, tokens: Tensor, negatives: Tensor, rate: float, *, threads: int = 1) -> None:
        """Descend the gradient of ``loss`` by ``rate``, less where words repeat (``_descend``).

        Of ``threads`` that step at the same time each reckons with the others' pairs, too, or
        their sum would overshoot where they all change the same few words.
        """
        centres, others = self._pairs(tokens, negatives)
        v, u, scores = self._scores(centres, others)
        slopes = scores.sigmoid_().mul_(self.weights).sub_(self.observed)  # ∂loss / ∂scores
        v_gradient, u_gradient = slopes @ u, slopes.mT @ v  # (B / b, b, size), (B / b, m, size)
        v_weights = threads * self.weights.sum(1).expand(len(others), -1)  # (B / b, b)
        u_weights = threads * self.weights.sum(0).expand(len(others), -1)  # (B / b, m)
        _descend(self.centre, centres, v_gradient, v_weights, rate)
        _descend(self.outside, others, u_gradient, u_weights, rate)

    def _pairs(self, tokens: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Each position's word (B,); each block's words around and negatives (B / b, m)."""
        around = tokens.unfold(0, self.block + 2 * self.window, self.block)  # (B / b, b + 2w)
        return tokens[self.window : -self.window], torch.cat([around, negatives], 1)

    def _scores(self, centres: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v = self.centre.index_select(0, centres).unflatten(0, (-1, self.block))
        u = self.outside.index_select(0, others.flatten()).unflatten(0, others.shape)
        return v, u, v @ u.mT  # (B / b, b, size), (B / b, m, size), (B / b, b, m)

    def train(
        self,
        tokens: Sequence[int],
        *,
        epochs: int = 5,
        rate: float = 0.05,
        blocks: int = 32,
        threads: int = 2,
    ) -> None:
        """Step along the corpus, ``blocks`` blocks at a time, the rate falling to zero.

        ``tokens`` (T,) are the corpus as word numbers. Each thread walks a stretch of its
        own, and all update the same vectors without locks (Recht et al. 2011, "Hogwild!").
        One thread gives the same vectors every time; several do not.

        Raises ValueError if a stretch is shorter than one step.
        """
        _check(epochs=epochs, blocks=blocks, threads=threads)
        tokens = torch.as_tensor(np.asarray(tokens))
        with ThreadPoolExecutor(threads) as pool, one_thread_per_operation():
            for epoch in range(epochs):
                chance = torch.rand(len(tokens), generator=self.generator)
                kept = tokens[chance < self.keep[tokens]]
                rates = [rate * (1 - done / epochs) for done in (epoch, epoch + 1)]
                seeds = torch.randint(2**62, (threads,), generator=self.generator).tolist()
                walks = [
                    pool.submit(
                        self._walk, stretch, blocks, rates, threads, Generator().manual_seed(seed)
                    )
                    for stretch, seed in zip(kept.tensor_split(threads), seeds, strict=True)
                ]
                for walk in walks:
                    walk.result()

    def _walk(
        self, tokens: Tensor, blocks: int, rates: list[float], threads: int, generator: Generator
    ) -> None:
        """Step through ``tokens``; fewer than a step's worth at the end are not used."""
        stride, around = blocks * self.block, 2 * self.window
        steps = (len(tokens) - around) // stride
        if steps < 1:
            raise ValueError(
                f"a thread has {len(tokens):,} words, one step takes {stride + around}: "
                "give more text, fewer threads or fewer blocks"
            )
        torch.set_num_threads(1)
        drawn = torch.multinomial(self.noise, steps * stride, True, generator=generator)
        for i, negatives in enumerate(drawn.view(steps, blocks, self.block)):
            part = tokens[i * stride : (i + 1) * stride + around]
            rate = rates[0] + (rates[1] - rates[0]) * i / steps
            self.step(part, negatives, rate, threads=threads)


def _descend(vectors: Tensor, rows: Tensor, gradient: Tensor, weights: Tensor, rate: float) -> None:
    """Subtract ``rate`` times the gradient, over 1 + n · rate / 4, from rows of ``vectors``.

    Here n is the weight of all the pairs that a row has in this batch. Their slopes add up,
    all taken at one point, and for frequent words the sum would overshoot. As σ is nowhere
    steeper than 1/4, the quotient gives the implicit step, linearised, of n pairs whose other
    vectors have length one and point the same way.
    """
    rows, weights = rows.flatten(), weights.flatten()
    pairs = vectors.new_zeros(len(vectors)).index_add_(0, rows, weights)  # n, (d,)
    rates = rate / (1 + pairs.index_select(0, rows) * (rate / 4))
    steps = gradient.view(len(rows), -1).mul_(-rates[:, None])
    vectors.index_add_(0, rows, steps)


class WordVectors:
    """Words, the most frequent first, and their vectors scaled to length one, (d, h)."""

    def __init__(self, words: Sequence[str], vectors: Tensor):
        self.words = list(words)
        self.index = {word: i for i, word in enumerate(self.words)}
        self.vectors = F.normalize(torch.as_tensor(vectors), dim=1)

    def nearest(self, word: str, count: int = 8) -> list[str]:
        """The ``count`` words whose vectors make the smallest angles with that of ``word``."""
        scores = self.vectors @ self.vectors[self.index[word]]
        return [self.words[i] for i in scores.topk(count + 1).indices if self.words[i] != word]

    def rank_correlation(self, pairs: pd.DataFrame) -> tuple[float, int]:
        """Spearman's ρ of cosines with people's scores, and how many pairs are known.

        ``pairs`` has the columns word1, word2 and score; a pair with an unknown word is left out.
        """
        known = pairs.assign(
            i=pairs["word1"].str.lower().map(self.index),
            j=pairs["word2"].str.lower().map(self.index),
        ).dropna()
        i, j = (torch.tensor(known[side].to_numpy(int)) for side in "ij")
        cosines = (self.vectors[i] * self.vectors[j]).sum(1)
        ranks = pd.DataFrame({"model": cosines.numpy(), "people": known["score"].to_numpy()}).rank()
        return float(ranks["model"].corr(ranks["people"])), len(known)

    def answers(self, questions: Sequence[tuple], among: int = 30_000) -> pd.DataFrame:
        """Answer "a is to b as c is to …" by the word nearest to b − a + c, other than these.

        ``questions`` are (section, a, b, c, d). Only those with all four words ``among`` the
        most frequent are asked. Returns section, a, b, c, d and ``answer``, a row for each.
        """
        words = self.words[:among]
        known = [q for q in questions if all(self.index.get(w, among) < among for w in q[1:])]
        vectors, answers = self.vectors[:among], []
        for start in range(0, len(known), 1024):
            asked = [[self.index[word] for word in q[1:4]] for q in known[start : start + 1024]]
            a, b, c = (vectors[column] for column in torch.tensor(asked).T)
            scores = (b - a + c) @ vectors.T  # (questions, among)
            scores.scatter_(1, torch.tensor(asked), -torch.inf)
            answers += [words[i] for i in scores.argmax(1)]
        frame = pd.DataFrame(known, columns=["section", "a", "b", "c", "d"])
        return frame.assign(answer=answers)


@contextmanager
def one_thread_per_operation() -> Iterator[None]:
    """Keep PyTorch from splitting operations over threads, which costs more than it gains here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def code_digest() -> str:
    """Twelve digits that change with the training code, kept with recorded runs.

    The default rate is not part of it: runs record the rate that they were given.
    """
    source = inspect.getsource(SkipGram) + inspect.getsource(_descend)
    source = re.sub(r"(rate: float) = [0-9.]+", r"\1", source)
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}: give at least 1")
