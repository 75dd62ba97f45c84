"""Self-attention that costs O(T²), and three ways to bring it down to O(T).

Everywhere q and k are (..., T, d), v is (..., T, d_v) and the result is (..., T, d_v), with
any leading axes (batch, heads). All functions are differentiable. Each output is a weighted
sum of the rows of v, so with v = I the functions return the weights themselves, (..., T, T).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FeatureMap = Callable[[Tensor], Tensor]


def softmax_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, mask: Tensor | None = None
) -> Tensor:
    """softmax(scale · QKᵀ) V, row by row: 4T²d operations, 2T² numbers in memory.

    ``scale`` is 1/√d by default (Vaswani et al. 2017, eq. 1). ``mask`` (T, S) is True where a
    query may look. Keys and values may be S ≠ T in number: k (..., S, d), v (..., S, d_v).
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * (q @ k.mT)  # (..., T, S)
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
    """Softmax attention inside a window of ``width`` w positions: O(Twd).

    Queries go in blocks of b (default w), which see b + w − 1 keys between them, so no T×T
    matrix appears: 4T(b + w − 1)d operations if b divides T. The window is ``band_mask``'s
    (Beltagy et al. 2020, "Longformer", §3.1). Raises ValueError for a size below 1.
    """
    T = q.shape[-2]
    block = min(width, T) if block is None else block
    _at_least_one(width=width, block=block)
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


def elu_plus_one(x: Tensor) -> Tensor:
    """φ(x) = elu(x) + 1 > 0, feature by feature (Katharopoulos et al. 2020, eq. 7).

    Below zero it is eˣ: the sum (eˣ − 1) + 1 would be rounded to 0 for x < −17.
    """
    return torch.where(x > 0, x + 1, x.clamp(max=1).exp())  # no inf in the branch not taken


def positive_features(directions: Tensor) -> FeatureMap:
    """Random features φ with E[φ(q)ᵀφ(k)] = exp(qᵀk/√d) (Choromanski et al. 2021, lemma 1).

    ``directions`` (m, d), independent and standard normal, fixes the m features.
    """
    m, d = directions.shape

    def phi(x: Tensor) -> Tensor:
        x = x / d**0.25
        return torch.exp(x @ directions.T - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(m)

    return phi


def linear_attention(q: Tensor, k: Tensor, v: Tensor, phi: FeatureMap = elu_plus_one) -> Tensor:
    """Σ_j φ(q_i)ᵀφ(k_j) v_j / Σ_j φ(q_i)ᵀφ(k_j), in 4Tm(d_v + 1) operations for m features.

    The normaliser comes along as one more column of V, a column of ones
    (Katharopoulos et al. 2020, eq. 5).
    """
    q, k, v = phi(q), phi(k), F.pad(v, (0, 1), value=1.0)  # (T, m), (T, m), (T, d_v + 1)
    y = q @ (k.mT @ v)  # the brackets are the whole trick: (T, m) @ (m, d_v + 1)
    return y[..., :-1] / y[..., -1:]


def causal_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, phi: FeatureMap = elu_plus_one, block: int = 64
) -> Tensor:
    """Linear attention where position i sees positions 1 … i only: O(T(md_v + mb + bd_v)).

    The prefix sums S_i = S_{i−1} + φ(k_i)v_iᵀ are kept once per block of b positions; inside
    a block, the small b×b product is masked (Hua et al. 2022, "Transformer Quality in Linear
    Time").
    """
    _at_least_one(block=block)
    T, fill = q.shape[-2], -q.shape[-2] % block
    q, k, v = phi(q), phi(k), F.pad(v, (0, 1), value=1.0)
    q, k, v = (F.pad(x, (0, 0, 0, fill)).unflatten(-2, (-1, block)) for x in (q, k, v))
    sums = (k.mT @ v).cumsum(-3)[..., :-1, :, :]  # (..., blocks − 1, m, d_v + 1)
    before = F.pad(sums, (0, 0, 0, 0, 1, 0))  # S at the start of each block, the first is 0
    y = q @ before + (q @ k.mT).tril() @ v  # (..., blocks, b, d_v + 1)
    y = y.flatten(-3, -2)[..., :T, :]
    return y[..., :-1] / y[..., -1:]


def pooling_matrix(T: int, rank: int, **options) -> Tensor:
    """The (r, T) matrix that averages r segments of consecutive positions; I for r = T.

    The fixed stand-in for Linformer's learned projection. ``options``: dtype, device.
    """
    if not 1 <= rank <= T:
        raise ValueError(f"pooling {T} positions to {rank} segments: choose a rank in 1..{T}")
    segment = torch.arange(T) * rank // T  # (T,): the segment of each position
    members = F.one_hot(segment, rank).T.to(**options or {"dtype": torch.get_default_dtype()})
    return members / members.sum(dim=1, keepdim=True)


def low_rank_attention(q: Tensor, k: Tensor, v: Tensor, projection: Tensor) -> Tensor:
    """Softmax attention over r summaries E k, E v of the sequence: O(Trd).

    ``projection`` E is (r, T), learned by Wang et al. (2020, "Linformer", eq. 7). The four
    products take 8Trd operations. Raises ValueError if E does not fit the keys.
    """
    if projection.shape[-1] != k.shape[-2]:
        size = tuple(projection.shape)
        raise ValueError(f"projection {size} needs one column for each of {k.shape[-2]} keys")
    return softmax_attention(q, projection @ k, projection @ v)


def _at_least_one(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"attention with {name} {value}: choose {name} ≥ 1")
