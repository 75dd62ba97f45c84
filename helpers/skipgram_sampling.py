"""Skip-gram with a softmax over d words: its loss, the gradient, and estimates of it.

The center word has the vector v (h,), the outside words have the rows u_w of ``outside`` (d, h).
A pair whose outside word is o costs (Mikolov et al. 2013, equation 2)

    L = −u_oᵀv + log Σ_w exp(u_wᵀv),    p = softmax(u_1ᵀv, …, u_dᵀv).

What makes its gradient dear is the average ū = Σ_w p_w u_w. The estimates of it take ``samples``
(…, S) of words and return one vector for each, (…, h).
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import gammaln
from torch import Tensor


def pair_loss(center: Tensor, outside: Tensor, observed: int) -> Tensor:
    """−log p_o, the loss of a center word's vector with one observed outside word."""
    scores = outside @ center  # (d,)
    return torch.logsumexp(scores, 0) - scores[observed]


def softmax(center: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """All d probabilities p_w, and with them their normalizer."""
    exponentials = np.exp(outside @ center)  # (d,)
    return exponentials / exponentials.sum()


def center_gradient(p: np.ndarray, outside: np.ndarray, observed: int) -> np.ndarray:
    """∂L/∂v = Σ_w p_w u_w − u_o, (h,), for probabilities that are known."""
    return p @ outside - outside[observed]


def outside_gradient(p: np.ndarray, center: np.ndarray, observed: int) -> np.ndarray:
    """∂L/∂u_w = (p_w − 1[w = o]) v, (d, h), for probabilities that are known."""
    residual = p.copy()
    residual[observed] = residual[observed] - 1
    return np.outer(residual, center)


def sampled_gradient(drawn: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The mean of S ``drawn`` vectors (S, h) less u_o, (h,): an estimate of ∂L/∂v if w ~ p."""
    return drawn.mean(0) - observed


# Estimates of the average


def sampled_average(outside: Tensor, samples: Tensor) -> Tensor:
    """The mean of u_w over words drawn from the softmax itself."""
    return outside[samples].mean(-2)


def self_normalized_average(
    center: Tensor, outside: Tensor, proposal: Tensor, samples: Tensor
) -> Tensor:
    """A softmax over the S words drawn from ``proposal`` (d,), with scores u_wᵀv − log q_w.

    Its normalizer comes from the sample, too (Bengio and Senécal 2003).
    """
    u = outside[samples]  # (…, S, h)
    weights = torch.softmax(u @ center - proposal.log()[samples], -1)  # (…, S)
    return (weights[..., None] * u).sum(-2)


def log_uniform(d: int) -> Tensor:
    """q = log((r + 1) / r) / log(d + 1) for the ranks r = 1 … d: near Zipf's 1/r. (d,)"""
    ranks = torch.arange(1, d + 1, dtype=torch.float64)
    return ranks.reciprocal().log1p() / math.log(d + 1)


def moments(
    estimate: Callable[[Tensor], Tensor], proposal: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Mean (h,) and variance of ``estimate``, exact: over all samples of ``size`` of d words.

    The estimate must not depend on the order of a sample, so that each multiset is looked at
    once, with its multinomial probability. A vector's variance is the sum of its entries'.
    """
    d = len(proposal)
    bars = torch.combinations(torch.arange(size + d - 1), d - 1)  # stars and bars: (N, d − 1)
    ends = F.pad(bars, (1, 1), value=-1)
    ends[:, -1] = size + d - 1
    counts = ends.diff(dim=1) - 1  # of each word: (N, d), rows add up to size
    log_chance = gammaln(size + 1) - torch.from_numpy(gammaln(counts.numpy() + 1.0)).sum(1)
    chance = (log_chance + counts.double() @ proposal.log()).exp()  # (N,)
    words = torch.arange(d).repeat(len(counts))
    samples = words.repeat_interleave(counts.flatten()).view(-1, size)  # (N, S)
    values = estimate(samples)  # (N, h)
    mean = chance @ values
    return mean, chance @ (values - mean).square().sum(1)


# Negative sampling


def negative_sampling_loss(
    center: Tensor, outside: Tensor, observed: Tensor, negatives: Tensor
) -> Tensor:
    """−log σ(u_oᵀv) − Σ_k log σ(−u_kᵀv) of B pairs, (B,) (Mikolov et al. 2013, equation 4).

    ``center`` (B, h) holds their vectors v, ``observed`` (B,) their words o, and ``negatives``
    (B, K) the words k drawn for them.
    """
    attracted = (F.embedding(observed, outside) * center).sum(-1)  # (B,)
    repelled = (F.embedding(negatives, outside) @ center[..., None]).squeeze(-1)  # (B, K)
    return -F.logsigmoid(attracted) - F.logsigmoid(-repelled).sum(-1)


def docstrings(*packages: str) -> str:
    """The text between triple quotes in the installed ``packages``, tests left out."""
    folders = [Path(find_spec(package).origin).parent for package in packages]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    sources = (f.read_text(encoding="utf-8") for f in files if "tests" not in f.parts)
    return " ".join(part for text in sources for part in re.findall(r'"""(.*?)"""', text, re.S))


def tokenize(text: str, min_count: int) -> tuple[list[str], Tensor]:
    """The words of two letters or more that occur ``min_count`` times, the most frequent first,
    and the text as their places in this list."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    vocabulary = [word for word, n in Counter(words).most_common() if n >= min_count]
    place = {word: i for i, word in enumerate(vocabulary)}
    return vocabulary, torch.tensor([place[word] for word in words if word in place])


def window_pairs(tokens: Tensor, window: int) -> Tensor:
    """All pairs of words up to ``window`` places apart, both ways: (2, N), centers first."""
    right = [torch.stack([tokens[:-k], tokens[k:]]) for k in range(1, window + 1)]
    one_way = torch.cat(right, 1)
    return torch.cat([one_way, one_way.flip(0)], 1)
