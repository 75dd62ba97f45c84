"""Self-attention that costs O(T²), and three ways to bring it down to O(T).

Everywhere ``q`` and ``k`` are (..., T, d), ``v`` is (..., T, d_v), and the result is
(..., T, d_v), with any leading axes (batch, heads). All functions are differentiable.
"""

import math

import torch
from torch import Tensor


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """softmax(scale · QKᵀ) V, row by row: O(T²d) operations, O(T²) numbers in memory.

    ``scale`` is 1/√d by default (Vaswani et al. 2017, eq. 1). Keys and values may be of
    another length than the queries: q (..., T, d), k (..., S, d), v (..., S, d_v).
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * (q @ k.mT)  # (..., T, S)
    return scores.softmax(dim=-1) @ v  # (..., T, d_v)
