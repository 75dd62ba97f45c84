"""Attention in O(T) against softmax attention, naive and fused, at one thread.

Memory that is freed stays in the process. Else large results would lie on new pages each time,
whose cost differs from system to system and is not that of the algorithm.
"""

import ctypes
from functools import partial

import torch
import torch.nn.functional as F

from helpers.attention_complexity import (
    elu_plus_one,
    linear_attention,
    softmax_attention,
    windowed_attention,
)
from helpers.counting import seconds

from . import paired

TOKENS = 8192  # the T × T matrix of the naive way then takes 256 MB
LENGTHS = tuple(2**k for k in range(10, 17))  # tokens; below, fixed costs count
DIM, WINDOW = 32, 64
OURS = {
    "linear": lambda q, k, v: linear_attention(elu_plus_one(q), elu_plus_one(k), v),
    "windowed": lambda q, k, v: windowed_attention(q, k, v, WINDOW),
}
THEIRS = {"naive softmax": softmax_attention, "fused SDPA": F.scaled_dot_product_attention}


def time(way, T: int) -> float:
    """Seconds of one call on random q, k and v of shape (1, 1, T, DIM): one head."""
    return seconds(way, *torch.randn(3, 1, 1, T, DIM))


def keep_memory() -> None:
    """Have glibc take memory from its heap alone and give nothing back; elsewhere, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-4, 0)  # M_MMAP_MAX: no block gets pages of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 2**26)  # M_TOP_PAD: it grows in steps of 64 MB


def main(rounds: int = 3) -> None:
    """Seconds at a length that all can do, and how ours grow with it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_memory()
    ways = OURS | THEIRS
    found = paired.in_turn({name: partial(time, ways[name], TOKENS) for name in ways}, rounds)
    rows = []
    for name, way in OURS.items():
        what = f"attention, {TOKENS:,} tokens, {name}"
        growth = paired.grows("tokens", LENGTHS, [time(way, T) for T in LENGTHS])
        rows += [paired.row(what, found, name, other, unit="s", growth=growth) for other in THEIRS]
    paired.save("attention", rows)
