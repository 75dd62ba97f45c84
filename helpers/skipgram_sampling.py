"""Skip-gram with a softmax over d words: its loss, the gradient, and estimates of it.

The centre word has the vector v (h,), the outside words have the rows u_w of ``outside``
(d, h). A pair whose outside word is o costs (Mikolov et al. 2013, equation 2)

    L = −u_oᵀv + log Σ_w exp(u_wᵀv),    p = softmax(u_1ᵀv, …, u_dᵀv).

What makes its gradient dear is the average ū = Σ_w p_w u_w. The estimates below take words
``samples`` (…, S) drawn from ``proposal`` (d,) and return one estimate of ū for each
sample, (…, h).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, mul

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def pair_loss(centre: Tensor, outside: Tensor, observed: int) -> Tensor:
    """−log p_o, the loss of a centre word's vector with one observed outside word."""
    scores = outside @ centre  # (d,)
    return torch.logsumexp(scores, 0) - scores[observed]


def pair_gradient(centre: Tensor, outside: Tensor, observed: int) -> tuple[Tensor, Tensor]:
    """∂L/∂v = Σ_w p_w u_w − u_o, (h,), and ∂L/∂u_w = (p_w − 1[w = o]) v, (d, h)."""
    p = torch.softmax(outside @ centre, 0)  # (d,)
    residual = p.clone()
    residual[observed] -= 1
    return p @ outside - outside[observed], torch.outer(residual, centre)


def negative_sampling_loss(
    centre: Tensor, outside: Tensor, observed: int, negatives: Tensor
) -> Tensor:
    """−log σ(u_oᵀv) − Σ_k log σ(−u_kᵀv): another objective (Mikolov et al. 2013, eq. 4)."""
    repelled = F.logsigmoid(-outside[negatives] @ centre).sum()
    return -F.logsigmoid(outside[observed] @ centre) - repelled


def negative_sampling_gradient(
    centre: Tensor, outside: Tensor, observed: int, negatives: Tensor
) -> Tensor:
    """Its gradient in v, (h,): −(1 − σ(u_oᵀv)) u_o + Σ_k σ(u_kᵀv) u_k."""
    attracted = torch.sigmoid(-outside[observed] @ centre) * outside[observed]
    return torch.sigmoid(outside[negatives] @ centre) @ outside[negatives] - attracted


# ------------------------------------------------------------------ estimates of ū


def sampled_average(outside: Tensor, samples: Tensor) -> Tensor:
    """The mean of u_w over words drawn from the softmax itself."""
    return outside[samples].mean(-2)


def importance_average(
    outside: Tensor, probabilities: Tensor, proposal: Tensor, samples: Tensor
) -> Tensor:
    """The mean of (p_w / q_w) u_w over words drawn from q. The p_w hold the normaliser."""
    ratios = (probabilities / proposal)[samples]  # (…, S)
    return (ratios[..., None] * outside[samples]).mean(-2)


def self_normalised_average(
    centre: Tensor, outside: Tensor, proposal: Tensor, samples: Tensor
) -> Tensor:
    """The same with the normaliser estimated from the sample: a softmax over S words.

    Its scores are u_wᵀv − log q_w (Bengio and Senécal 2003; Jean et al. 2015).
    """
    u = outside[samples]  # (…, S, h)
    weights = torch.softmax(u @ centre - proposal.log()[samples], -1)  # (…, S)
    return (weights[..., None] * u).sum(-2)


def rejection_samples(
    centre: Tensor, outside: Tensor, bound: float, count: int, generator: Generator
) -> tuple[Tensor, int]:
    """``count`` words drawn exactly from the softmax without its normaliser, and the tries.

    A word drawn uniformly is kept with probability exp(u_wᵀv − bound); ``bound`` is at least
    the largest score. Raises ValueError if a score above it turns up.
    """
    kept, tries = [], 0
    while len(kept) < count:
        words = torch.randint(len(outside), (4096,), generator=generator)
        scores = outside[words] @ centre
        if scores.max() > bound:
            raise ValueError(f"bound is {bound:.4g}, and a score is {scores.max():.4g}: raise it")
        chance = torch.rand(len(words), generator=generator)
        places = (chance < (scores - bound).exp()).nonzero().flatten()[: count - len(kept)]
        kept += words[places].tolist()
        tries += int(places[-1]) + 1 if len(kept) == count else len(words)
    return torch.tensor(kept), tries


def log_uniform(d: int) -> Tensor:
    """q = log((r + 1) / r) / log(d + 1) for the ranks r = 1 … d: near Zipf's 1/r. (d,)"""
    ranks = torch.arange(1, d + 1, dtype=torch.float64)
    return ranks.reciprocal().log1p() / math.log(d + 1)


# ------------------------------------------------------------------ closed forms


def importance_variance(outside: Tensor, probabilities: Tensor, proposal: Tensor) -> Tensor:
    """S times the variance of ``importance_average``: Σ (p²/q) ‖u_w‖² − ‖ū‖².

    A vector's variance is the sum of its entries'. With q = p it is that of
    ``sampled_average``.
    """
    squares = outside.square().sum(1)  # (d,)
    return (probabilities**2 / proposal) @ squares - (probabilities @ outside).square().sum()


def self_normalised_bias(outside: Tensor, probabilities: Tensor, proposal: Tensor) -> Tensor:
    """S times the bias of ``self_normalised_average`` as S grows: −Σ (p²/q) (u_w − ū), (h,)."""
    return -(probabilities**2 / proposal) @ (outside - probabilities @ outside)


def self_normalised_variance(outside: Tensor, probabilities: Tensor, proposal: Tensor) -> Tensor:
    """S times its variance as S grows: Σ (p²/q) ‖u_w − ū‖²."""
    spread = (outside - probabilities @ outside).square().sum(1)  # (d,)
    return (probabilities**2 / proposal) @ spread


def moments(
    estimate: Callable[[Tensor], Tensor], proposal: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Mean (h,) and variance of ``estimate``, exact: over all dˢ samples of S = ``size`` words."""
    words = torch.arange(len(proposal))
    samples = torch.cartesian_prod(*[words] * size).reshape(-1, size)  # (d^S, S)
    chances = proposal[samples].prod(1)  # (d^S,)
    values = estimate(samples)  # (d^S, h)
    mean = chances @ values
    return mean, chances @ (values - mean).square().sum(1)


# ------------------------------------------------------------------ counting


class Number:
    """A number that counts in ``tally`` what is done with it."""

    __slots__ = ("tally", "value")

    def __init__(self, value: float | Tensor, tally: Counter):
        self.value, self.tally = value, tally

    def _count(self, operation: str, value: float) -> "Number":
        self.tally[operation] += 1
        return Number(value, self.tally)

    def __mul__(self, other: "Number") -> "Number":
        return self._count("multiplications", self.value * other.value)

    def __add__(self, other: "Number") -> "Number":
        return self._count("additions", self.value + other.value)

    def __sub__(self, other: "Number") -> "Number":
        return self._count("additions", self.value - other.value)

    def __truediv__(self, other: "Number") -> "Number":
        return self._count("divisions", self.value / other.value)

    def exp(self) -> "Number":
        return self._count("exponentials", self.value.exp())


def softmax_by_numbers(centre: Sequence[Number], outside: Sequence[Sequence[Number]]):
    """All d probabilities p_w, and with them the normaliser."""
    scores = [reduce(add, map(mul, u, centre)) for u in outside]
    exponentials = [score.exp() for score in scores]
    normaliser = reduce(add, exponentials)
    return [exponential / normaliser for exponential in exponentials]


def centre_gradient_by_numbers(
    p: Sequence[Number], outside: Sequence[Sequence[Number]], observed: int
) -> list[Number]:
    """∂L/∂v = Σ_w p_w u_w − u_o, (h,), for probabilities that are known."""
    average = [reduce(add, map(mul, p, column)) for column in zip(*outside, strict=True)]
    return [a - b for a, b in zip(average, outside[observed], strict=True)]


def sampled_gradient_by_numbers(
    drawn: Sequence[Sequence[Number]], observed: Sequence[Number]
) -> list[Number]:
    """The mean of S ``drawn`` vectors less u_o, (h,): an estimate of ∂L/∂v if drawn from p."""
    share = Number(1 / len(drawn), observed[0].tally)
    sums = [reduce(add, column) for column in zip(*drawn, strict=True)]
    return [total * share - b for total, b in zip(sums, observed, strict=True)]


def outside_gradient_by_numbers(
    p: Sequence[Number], centre: Sequence[Number], observed: int
) -> list[list[Number]]:
    """∂L/∂u_w = (p_w − 1[w = o]) v, (d, h), for probabilities that are known."""
    residual = list(p)
    residual[observed] = residual[observed] - Number(1.0, residual[observed].tally)
    return [[r * entry for entry in centre] for r in residual]
