"""The 2D RNN along anti-diagonals against node by node, at one thread, seconds for a batch."""

from functools import partial

import torch

from helpers.counting import seconds
from helpers.rnn2d_parameters import RNN2d

from . import paired

SIZES = (7, 14, 28, 42, 56)  # pixels
BATCHES, WIDTH = (1, 16), 32


def main(rounds: int = 5) -> None:
    """Time both at n = 28, and how each grows with n."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = RNN2d(hidden=WIDTH, channels=1)
    ways = {"anti-diagonals": model.forward, "node by node": model.node_by_node}

    def time(way, n: int) -> float:
        return seconds(way, torch.randn(batch, 1, n, n), repeats=3)

    rows = []
    for batch in BATCHES:
        contenders = {name: partial(time, way, 28) for name, way in ways.items()}
        found = paired.in_turn(contenders, rounds)
        what = f"2D RNN, {batch} image{'s' * (batch > 1)} of 28 × 28, h = {WIDTH}"
        growth = paired.grows("n", SIZES, [time(model.forward, n) for n in SIZES])
        rows.append(paired.row(what, found, *ways, unit="s", growth=growth))
    paired.save("rnn2d", rows)
