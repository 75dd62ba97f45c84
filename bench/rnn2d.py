"""The 2D RNN along anti-diagonals against node by node, at one thread, seconds for a batch."""

import torch

from helpers.counting import seconds
from helpers.rnn2d_parameters import RNN2d

from . import paired

SIZES = (7, 14, 28, 42, 56)  # pixels
BATCHES, WIDTH = (1, 16), 32
NAMES = ("anti-diagonals", "node by node")


def main(rounds: int = 5) -> None:
    """Time both at n = 28, and how each grows with n."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = RNN2d(hidden=WIDTH, channels=1)
    ways = dict(zip(NAMES, (model.forward, model.node_by_node), strict=True))

    def time(name: str, n: int, batch: int) -> float:
        return seconds(ways[name], torch.randn(batch, 1, n, n), repeats=3)

    rows = []
    for batch in BATCHES:
        contenders = {name: lambda name=name, batch=batch: time(name, 28, batch) for name in NAMES}
        found = paired.in_turn(contenders, rounds)
        curve = [time(NAMES[0], n, batch) for n in SIZES]
        what = f"2D RNN, {batch} image{'s' * (batch > 1)} of 28 × 28, h = {WIDTH}"
        grows = paired.grows("n", SIZES, curve)
        goal = "≥ 7 × (n/4), one image"
        rows.append(paired.row(what, found, *NAMES, unit="s", growth=grows, goal=goal))
    paired.save("rnn2d", rows)


if __name__ == "__main__":
    main()
