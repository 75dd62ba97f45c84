"""Attention in O(T) against softmax attention, naive and fused, at one thread.

Memory that is freed stays in the process. Else large results would lie on new pages each time,
whose cost differs from system to system and is not that of the algorithm.
"""

import ctypes
import math

import torch
import torch.nn.functional as F

from helpers.attention_complexity import (
    elu_plus_one,
    linear_attention,
    softmax_attention,
    windowed_attention,
)
from helpers.counting import crossover, growth_exponent, seconds

from . import paired

LENGTHS = tuple(2**k for k in range(8, 17))  # tokens, 256 to 65,536
NAIVE_LIMIT = 8192  # beyond, the T × T matrix of one head takes more than 256 MB
FUSED_LIMIT = 16384  # beyond, a single call takes seconds
HEADS, DIM, WINDOW = 1, 32, 64


def time(function, T: int) -> float:
    """Seconds of one call on random q, k and v of shape (1, HEADS, T, DIM)."""
    q, k, v = torch.randn(3, 1, HEADS, T, DIM)
    return seconds(function, q, k, v)


def keep_memory() -> None:
    """Have glibc take memory from its heap alone and give nothing back; elsewhere, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-4, 0)  # M_MMAP_MAX: no block gets pages of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 2**26)  # M_TOP_PAD: it grows in steps of 64 MB


def finite(crossed: float) -> float | None:
    """A ``crossover`` as JSON can hold it: 0 where it is −∞, always cheaper; None for ∞, never."""
    return None if crossed == math.inf else max(crossed, 0)


def main(rounds: int = 3) -> None:
    """Seconds at a length both can do, growth over all lengths, and where the lines cross.

    A crossing is recorded in tokens, as ``finite`` puts it.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_memory()
    ways = {
        "linear": lambda q, k, v: linear_attention(elu_plus_one(q), elu_plus_one(k), v),
        "windowed": lambda q, k, v: windowed_attention(q, k, v, WINDOW),
        "naive softmax": softmax_attention,
        "fused SDPA": F.scaled_dot_product_attention,
    }
    limits = {"naive softmax": NAIVE_LIMIT, "fused SDPA": FUSED_LIMIT}
    lengths = {name: [T for T in LENGTHS if limits.get(name, T) >= T] for name in ways}
    curves = {name: [time(f, T) for T in lengths[name]] for name, f in ways.items()}
    crossings = {}
    for cheap in ("linear", "windowed"):
        for dear in limits:
            known = len(lengths[dear])
            crossed = crossover(lengths[dear], curves[cheap][:known], curves[dear])
            crossings[f"{cheap} / {dear}"] = finite(crossed)
    exponents = {  # from 1,024 tokens on, where fixed costs no longer count
        name: growth_exponent(lengths[name][2:], curve[2:]) for name, curve in curves.items()
    }
    found = paired.in_turn({k: lambda f=f: time(f, NAIVE_LIMIT) for k, f in ways.items()}, rounds)
    rows = [
        paired.row(
            f"attention, {NAIVE_LIMIT:,} tokens, {cheap}", found, cheap, dear, unit="s",
            growth=f"tokens^{exponents[cheap]:.2f}", goal="exponent ≤ 1.1",
        )
        for cheap in ("linear", "windowed")
        for dear in limits
    ]  # fmt: skip
    paired.save("attention", rows, exponents_in_T=exponents, crossover_in_T=crossings)


if __name__ == "__main__":
    main()
