"""Self-attention that copies: three tokens made of four orthogonal vectors of one norm β.

The tokens are x₁ = d + b, x₂ = a and x₃ = c + b; queries, keys and values are the tokens
themselves and the scores are not scaled. Closed forms are written in q = e^{−β²}. Arrays of
tokens are (..., 3, D), with any leading axes; weights are (..., 3, 3), a row for each query.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from helpers.attention_complexity import softmax_attention

# Coefficients of a, b, c, d (columns) in x₁, x₂, x₃ (rows).
MIX = ((0, 1, 0, 1), (1, 0, 0, 0), (0, 1, 1, 0))


def mix(vectors: Tensor) -> Tensor:
    """The tokens x₁, x₂, x₃ (..., 3, D) made of the vectors a, b, c, d (..., 4, D)."""
    return torch.tensor(MIX, dtype=vectors.dtype) @ vectors


def orthogonal_vectors(width: int, *, seed: int = 0) -> Tensor:
    """Unit vectors a, b, c, d (4, width), orthogonal and in random directions, in float64.

    Raises ValueError for a width below 4, where four orthogonal vectors do not fit.
    """
    if width < 4:
        raise ValueError(f"width {width}: four orthogonal vectors need a width of 4 or more")
    normal = torch.randn(
        width, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return torch.linalg.qr(normal).Q.mT  # (4, width)


def random_vectors(count: int, width: int, *, seed: int = 0) -> Tensor:
    """``count`` draws of a, b, c, d (count, 4, width), uniform on the unit sphere, in float64."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 4, width, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(normal, dim=-1)


def attention_weights(queries: Tensor, keys: Tensor, scale: float = 1.0) -> Tensor:
    """Weights of softmax attention (..., n, m): its output on the identity as values."""
    return softmax_attention(queries, keys, torch.eye(keys.shape[-2], dtype=keys.dtype), scale)


def closed_weights(beta: Tensor) -> Tensor:
    """The weights (..., 3, 3) as functions of the norm β (...), with q = e^{−β²}."""
    q = torch.exp(-(beta**2))
    one = torch.ones_like(q)
    z, z2 = 1 + q + q**2, 1 + 2 * q  # normalisers of rows 1 and 3, and of row 2
    rows = [one / z, q**2 / z, q / z, q / z2, one / z2, q / z2, q / z, q**2 / z, one / z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))  # (..., 9) -> (..., 3, 3)


def closed_errors(beta: Tensor) -> Tensor:
    """The copying errors ‖yᵢ − xᵢ‖ (..., 3) as functions of the norm β (...)."""
    q = torch.exp(-(beta**2))
    outer = (2 + 2 * q + 3 * q**2).sqrt() / (1 + q + q**2)
    middle = 10**0.5 / (1 + 2 * q)
    return (beta * q)[..., None] * torch.stack([outer, middle, outer], dim=-1)


def error_bounds(beta: Tensor) -> Tensor:
    """Upper bounds (..., 3) on the copying errors, tight as β grows: √2, √10, √2 times βe^{−β²}."""
    constants = torch.tensor([2.0, 10.0, 2.0], dtype=beta.dtype).sqrt()
    return (beta * torch.exp(-(beta**2)))[..., None] * constants


def copy_bound(scores: Tensor, values: Tensor, source: int) -> Tensor:
    """Bound on ‖y − v_source‖ for y = softmax(scores) · values, for any scores and values.

    The weight of another value k is at most e^{−gap}, with gap = score of the source minus
    score of k, and moves y away by at most that times ‖v_k − v_source‖ (compare
    Ramsauer et al. 2021, "Hopfield networks is all you need", on retrieval errors).
    scores (..., n), values (n, D).
    """
    distances = (values - values[source]).norm(dim=-1)  # (n,); zero at the source
    gaps = scores[..., source, None] - scores
    return (torch.exp(-gaps) * distances).sum(-1)


def routing_query(tokens: Tensor, sources: Sequence[int], gap: float) -> Tensor:
    """A query matrix (D, D) with which token i copies token ``sources[i]``.

    W xᵢ = gap · p_{sources[i]}, where pⱼ is dual to the tokens: pⱼ · x_k = 1 if j = k, else 0.
    So the score of the source is ``gap`` and every other score is 0.

    Raises ValueError if the tokens (n, D) are linearly dependent: there is no dual basis then.
    """
    if torch.linalg.matrix_rank(tokens) < len(tokens):
        raise ValueError("the tokens are linearly dependent: give tokens that have a dual basis")
    dual = torch.linalg.pinv(tokens).mT  # (n, D)
    return gap * dual[list(sources)].mT @ dual
