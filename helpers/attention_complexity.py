"""Self-attention that costs O(T²), and two ways to bring it down to O(T).

Everywhere q and k are (..., T, d), v is (..., T, d_v) and the result is (..., T, d_v), with
any leading axes (batch, heads). All functions are differentiable. Each output is a weighted
sum of the rows of v, so with v = I the functions return the weights themselves, (..., T, T).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d) V, row by row (Vaswani et al. 2017, eq. 1).

    ``mask`` (T, T) is True where a query may look.
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., T, T)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v  # (..., T, d_v)


def band_mask(T: int, width: int, causal: bool = False) -> Tensor:
    """Where a window lets a query look, as a dense (T, T) mask: for reference, it costs O(T²).

    A window of ``width`` w holds the w positions i−⌊w/2⌋, …, i+⌈w/2⌉−1, or, if ``causal``,
    the last w positions i−w+1, …, i.
    """
    offset = torch.arange(T) - torch.arange(T)[:, None]  # (T, T): j − i
    first = 1 - width if causal else -(width // 2)
    return (offset >= first) & (offset < first + width)


def windowed_attention(
    q: Tensor, k: Tensor, v: Tensor, width: int, causal: bool = False, block: int | None = None
) -> Tensor:
    """Softmax attention inside a window of ``width`` w ≥ 1 positions: O(Twd).

    Queries go in blocks of b (default w), which see b + w − 1 keys between them: no T×T matrix,
    4T(b + w − 1)d operations if b divides T. The window is ``band_mask``'s (Beltagy et al. 2020).
    """
    T = q.shape[-2]
    block = min(width, T) if block is None else block
    blocks, seen = -(-T // block), block + width - 1
    fill = blocks * block - T  # rows that complete the last block
    left = width - 1 if causal else width // 2
    q = F.pad(q, (0, 0, 0, fill)).unflatten(-2, (blocks, block))  # (..., blocks, b, d)
    pad = (0, 0, left, width - 1 - left + fill)
    k, v = (F.pad(x, pad).unfold(-2, seen, block) for x in (k, v))  # (..., blocks, d, seen)
    rows, columns = torch.arange(block)[:, None], torch.arange(seen)
    position = columns - left + block * torch.arange(blocks)[:, None, None]  # (blocks, 1, seen)
    near = (columns >= rows) & (columns < rows + width)  # (b, seen)
    mask = (near & (position >= 0) & (position < T)).to(q.device)  # (blocks, b, seen)
    scores = (q @ k / math.sqrt(q.shape[-1])).masked_fill(~mask, torch.finfo(q.dtype).min)
    return (scores.softmax(-1) @ v.mT).flatten(-3, -2)[..., :T, :]  # (..., T, d_v)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Σ_j (q_iᵀk_j) v_j / Σ_l q_iᵀk_l, in 4Td(d_v + 1) operations: KᵀV and Kᵀ1 once, for all i.

    A weighted average if all products q_iᵀk_j are positive; ``linear_attention(φ(q), φ(k), v)``
    with a map φ to positive features is one always (Katharopoulos et al. 2020, eq. 5).
    """
    v = F.pad(v, (0, 1), value=1.0)  # (..., T, d_v + 1): a column of ones, for the normalizer
    y = q @ (k.mT @ v)  # the brackets are the whole trick: (..., d, d_v + 1) in the middle
    return y[..., :-1] / y[..., -1:]  # (..., T, d_v)


def elu_plus_one(x: Tensor) -> Tensor:
    """φ(x) = elu(x) + 1 > 0, feature by feature (Katharopoulos et al. 2020, eq. 7).

    Below zero it is eˣ: the sum (eˣ − 1) + 1 would be rounded to 0 for x < −17.
    """
    return torch.where(x > 0, x + 1, x.clamp(max=1).exp())  # no inf in the branch not taken


def positive_features(x: Tensor, directions: Tensor) -> Tensor:
    """Random features φ with E[φ(q)ᵀφ(k)] = exp(qᵀk/√d) (Choromanski et al. 2021, lemma 1).

    ``directions`` (m, d), independent and standard normal, are the same for q and k. From
    x (..., T, d) to (..., T, m), in 2Tmd operations.
    """
    m, d = directions.shape
    x = x / d**0.25
    return torch.exp(x @ directions.T - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(m)
