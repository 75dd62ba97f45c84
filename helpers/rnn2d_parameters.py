"""A recurrent network over an image's two axes, a convnet beside it, and what both cost.

The hidden state at row i and column j depends on the pixel and on two neighbors:

    h_ij = σ(W_in x_ij + W_left h_{i,j−1} + W_top h_{i−1,j}),    x_ij of size c, h_ij of size h,

the two-dimensional RNN of Graves, Fernández and Schmidhuber (2007), with one direction and no
gates. There is no bias, and outside the image the states are zero.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from .counting import Number, numbers, plain


class RNN2d(nn.Module):
    """The states of images side by side, by anti-diagonals or one node after another."""

    def __init__(
        self, *, channels: int, hidden: int, activation: Callable[[Tensor], Tensor] = torch.tanh
    ):
        super().__init__()
        self.W_in = nn.Linear(channels, hidden, bias=False)  # (h, c)
        self.W_left = nn.Linear(hidden, hidden, bias=False)  # (h, h)
        self.W_top = nn.Linear(hidden, hidden, bias=False)  # (h, h)
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        """States (B, n, m, h) of ``images`` (B, c, n, m), one anti-diagonal after another.

        The nodes with i + j = d need only those with i + j = d − 1, so that each of the
        n + m − 1 anti-diagonals is one batched step.
        """
        n, m = images.shape[-2:]
        diagonal = torch.arange(n).repeat_interleave(m) + torch.arange(m).repeat(n)  # i + j
        order, counts = diagonal.argsort(stable=True), diagonal.bincount().tolist()
        inputs = self.W_in(images.flatten(2).permute(2, 0, 1))[order]  # (n·m, B, h)
        latest = inputs.new_zeros(n + 1, *inputs.shape[1:])  # of each row, after one outside
        states = []
        for d, summand in enumerate(inputs.split(counts)):  # (count, B, h)
            first = max(0, d - m + 1)  # the diagonal's first row
            last = first + len(summand)
            top, left = latest[first:last], latest[first + 1 : last + 1]
            states.append(self.activation(summand + self.W_left(left) + self.W_top(top)))
            latest = torch.cat([latest[: first + 1], states[-1], latest[last + 1 :]])
        grid = torch.cat(states)[order.argsort()]  # (n·m, B, h) in reading order
        return grid.unflatten(0, (n, m)).movedim(2, 0)  # (B, n, m, h)

    def node_by_node(self, images: Tensor) -> Tensor:
        """The same states (B, n, m, h), one node at a time in reading order."""
        outside = images.new_zeros(len(images), self.W_in.out_features)
        states = {}
        for i, j in np.ndindex(images.shape[-2:]):
            left, top = states.get((i, j - 1), outside), states.get((i - 1, j), outside)
            total = self.W_in(images[:, :, i, j]) + self.W_left(left) + self.W_top(top)
            states[i, j] = self.activation(total)
        return torch.stack(list(states.values()), 1).unflatten(1, images.shape[-2:])


class ConvNet(nn.Module):
    """``layers`` 3×3 convolutions of width h with zero padding, each followed by σ; no bias."""

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        layers: int,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ):
        super().__init__()
        widths = [channels] + [hidden] * (layers - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, hidden, 3, padding=1, bias=False) for width in widths
        )
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        """States (B, n, m, h) of ``images`` (B, c, n, m)."""
        for convolution in self.convolutions:
            images = self.activation(convolution(images))  # (B, h, n, m)
        return images.movedim(1, -1)


# Counting


def rnn_by_numbers(net: RNN2d, image: Tensor, *, skip: bool = False) -> tuple[Tensor, Counter]:
    """States (n, m, h) of one image (c, n, m) with σ = tanh, and the tally of what they took.

    ``skip`` leaves out the products with neighbors outside the image, which are zero.
    """
    tally = Counter(multiplications=0, additions=0)
    W_in, W_left, W_top = (numbers(W.weight, tally) for W in (net.W_in, net.W_left, net.W_top))
    pixels, zero = numbers(image, tally), numbers(np.zeros(len(W_in)), tally)
    states = {}
    for i, j in np.ndindex(image.shape[1:]):
        terms = [(W_in, pixels[:, i, j])]
        for W, node in ((W_left, (i, j - 1)), (W_top, (i - 1, j))):
            if node in states or not skip:
                terms.append((W, states.get(node, zero)))
        matrices, vectors = zip(*terms, strict=True)  # side by side: (h, c + 2h) and (c + 2h,)
        states[i, j] = np.tanh(np.hstack(matrices) @ np.concatenate(vectors))
    grid = np.reshape(list(states.values()), (*image.shape[1:], -1))  # (n, m, h)
    tally["depth"] = max(number.depth for number in grid.flat)
    return plain(grid), tally


def convnet_by_numbers(net: ConvNet, image: Tensor) -> tuple[Tensor, Counter]:
    """The same for a convnet: every product with the padded border is done."""
    tally = Counter()
    grid = numbers(image, tally)  # (c, n, m)
    for layer in net.convolutions:
        kernels = numbers(layer.weight.flatten(1), tally)  # (h, 9c)
        padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), constant_values=Number(0.0, tally))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        patches = np.moveaxis(patches, 0, 2).reshape(*image.shape[1:], -1)  # (n, m, 9c)
        grid = np.moveaxis(np.tanh(patches @ kernels.T), 2, 0)  # (h, n, m)
    tally["depth"] = max(number.depth for number in grid.flat)
    return plain(np.moveaxis(grid, 0, 2)), tally


def sensitivity(model: nn.Module, size: int, node: tuple[int, int], seed: int = 0) -> Tensor:
    """Largest |∂h_node,k / ∂x| over the state's entries k, for each pixel: (size, size).

    Taken at a random one-channel image; exactly zero where no path leads to the node.
    Give a model in float64: over many steps a small gradient rounds to zero in float32.
    """
    dtype = next(model.parameters()).dtype
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 1, size, size, dtype=dtype, generator=generator, requires_grad=True)
    state = model(image)[0, node[0], node[1]]  # (h,)
    each = torch.eye(len(state), dtype=dtype)
    (gradients,) = torch.autograd.grad(state, image, each, is_grads_batched=True)
    return gradients.abs().amax(0)[0, 0]  # (h, 1, 1, n, n) -> (n, n)
