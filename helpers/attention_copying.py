"""Self-attention that copies: three tokens made of four orthogonal vectors of one norm β.

The tokens are x₁ = d + b, x₂ = a and x₃ = c + b; queries, keys and values are the tokens
themselves and the scores are not scaled. Closed forms are written in q = e^{−β²}. Arrays of
tokens are (..., 3, D), with any leading axes; weights are (..., 3, 3), a row for each query.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Coefficients of a, b, c, d (columns) in x₁, x₂, x₃ (rows).
MIX = ((0, 1, 0, 1), (1, 0, 0, 0), (0, 1, 1, 0))


def mix(vectors: Tensor) -> Tensor:
    """The tokens x₁, x₂, x₃ (..., 3, D) made of the vectors a, b, c, d (..., 4, D)."""
    return torch.tensor(MIX, dtype=vectors.dtype) @ vectors


def orthogonal_vectors(width: int) -> Tensor:
    """Unit vectors a, b, c, d (4, width ≥ 4), orthogonal and in random directions, in float64."""
    return torch.linalg.qr(torch.randn(width, 4, dtype=torch.float64)).Q.mT


def closed_weights(beta: Tensor) -> Tensor:
    """The weights (..., 3, 3) as functions of the norm β (...), with q = e^{−β²}."""
    q = torch.exp(-(beta**2))
    one = torch.ones_like(q)
    z, z2 = 1 + q + q**2, 1 + 2 * q  # normalizers of rows 1 and 3, and of row 2
    rows = [one / z, q**2 / z, q / z, q / z2, one / z2, q / z2, q / z, q**2 / z, one / z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))  # (..., 9) -> (..., 3, 3)


def closed_errors(beta: Tensor) -> Tensor:
    """The copying errors ‖yᵢ − xᵢ‖ (..., 3) as functions of the norm β (...)."""
    q = torch.exp(-(beta**2))
    outer = (2 + 2 * q + 3 * q**2).sqrt() / (1 + q + q**2)
    middle = 10**0.5 / (1 + 2 * q)
    return (beta * q)[..., None] * torch.stack([outer, middle, outer], dim=-1)


def copy_bound(scores: Tensor, values: Tensor, source: int) -> Tensor:
    """Bound on the copying error, Σ_k e^{−gap_k} ‖v_k − v‖: scores (..., n), values (n, D)."""
    distances = (values - values[source]).norm(dim=-1)  # (n,); zero at the source
    gaps = scores[..., source, None] - scores
    return (torch.exp(-gaps) * distances).sum(-1)


def routing_query(tokens: Tensor, sources: Sequence[int], gap: float) -> Tensor:
    """A query matrix W (D, D) with which token i copies token ``sources[i]``.

    W xᵢ = gap · p_{sources[i]}, where pⱼ · x_k = 1[j = k]; independent tokens (n, D).
    """
    dual = torch.linalg.pinv(tokens).mT  # (n, D)
    return gap * dual[list(sources)].mT @ dual
