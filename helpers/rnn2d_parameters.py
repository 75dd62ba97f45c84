"""A recurrent network over an image's two axes, a convnet beside it, and what both cost.

The hidden state at row i and column j depends on the pixel and on two neighbours:

    h_ij = σ(W x_ij + U h_{i−1,j} + V h_{i,j−1}),    x_ij of size c, h_ij of size h,

the two-dimensional RNN of Graves, Fernández and Schmidhuber (2007), with one direction
and no gates. Counts are of the linear operations: σ is not counted, and there is no bias.
"""

import operator
from collections import Counter
from collections.abc import Callable
from functools import reduce
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BORDERS = ("padded", "skipped")


class RNN2d(nn.Module):
    """h_ij = σ(W x_ij + U h_{i−1,j} + V h_{i,j−1}), states of one image side by side.

    Outside the image the state is zero. ``border="padded"`` multiplies those zeros like
    any other state; ``border="skipped"`` leaves the products out. The states are the same.

    Raises ValueError for sizes below 1 and for an unknown border.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        border: str = "padded",
    ):
        super().__init__()
        _check(border, channels=channels, hidden=hidden)
        self.pixel = nn.Linear(channels, hidden, bias=False)  # W, (h, c)
        self.above = nn.Linear(hidden, hidden, bias=False)  # U, (h, h)
        self.left = nn.Linear(hidden, hidden, bias=False)  # V, (h, h)
        self.activation = activation
        self.border = border

    def forward(self, images: Tensor) -> Tensor:
        """States (B, n, m, h) of ``images`` (B, c, n, m), one anti-diagonal after another.

        The nodes with i + j = d need only those with i + j = d − 1, so that each of the
        n + m − 1 anti-diagonals is one batched step. In the diagonal before, the node to the
        left of a node has the same row, and the node above it one row less.
        """
        height, width = images.shape[-2:]
        inputs = self.pixel(images.flatten(2).permute(2, 0, 1))  # (n·m, B, c) -> (n·m, B, h)
        rows = torch.arange(height, device=images.device)
        diagonal = (rows[:, None] + torch.arange(width, device=images.device)).flatten()  # i + j
        order, counts = diagonal.argsort(stable=True), diagonal.bincount().tolist()
        states, previous, previous_top = [], inputs[:0], 0  # before the first: no nodes
        for d, summand in enumerate(inputs[order].split(counts)):  # (count, B, h)
            top = max(0, d - width + 1)  # the diagonal's first row
            count, first = len(summand), top - previous_top  # first: where row `top` lay before
            above = self._multiply(self.above, previous, first - 1, count)
            left = self._multiply(self.left, previous, first, count)
            previous, previous_top = self.activation(summand + above + left), top
            states.append(previous)
        grid = torch.cat(states)[order.argsort()]  # (n·m, B, h) in reading order
        return grid.unflatten(0, (height, width)).movedim(2, 0)  # (B, n, m, h)

    def node_by_node(self, images: Tensor) -> Tensor:
        """The same states (B, n, m, h), one node at a time in reading order."""
        batch, _, height, width = images.shape
        outside = images.new_zeros(batch, self.above.in_features)
        states = {}
        for i, j in product(range(height), range(width)):
            total = self.pixel(images[:, :, i, j])
            for matrix, neighbour in ((self.above, (i - 1, j)), (self.left, (i, j - 1))):
                if neighbour in states or self.border == "padded":
                    total = total + matrix(states.get(neighbour, outside))
            states[i, j] = self.activation(total)
        grid = torch.stack(list(states.values()), 1)  # (B, n·m, h)
        return grid.unflatten(1, (height, width))  # (B, n, m, h)

    def _multiply(self, matrix: nn.Linear, previous: Tensor, first: int, count: int) -> Tensor:
        """``matrix`` times nodes first … first + count − 1 of ``previous``, zero past its ends.

        ``previous`` is (nodes, B, h), the diagonal before; returns (count, B, h).
        """
        begin, end = max(first, 0), min(first + count, len(previous))
        inside = previous[begin:end]
        ends = (0, 0, 0, 0, begin - first, first + count - end)
        if self.border == "padded":
            return matrix(F.pad(inside, ends))
        return F.pad(matrix(inside), ends)


class ConvNet(nn.Module):
    """``layers`` 3×3 convolutions of width h with zero padding, each followed by σ; no bias.

    Raises ValueError for sizes below 1.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        layers: int,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ):
        super().__init__()
        _check("padded", channels=channels, hidden=hidden, layers=layers)
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


# ------------------------------------------------------------------ closed forms


def rnn_parameters(h: int, c: int) -> int:
    """W, U and V, shared by all nodes: the size of the image does not enter."""
    return h * c + 2 * h * h


def rnn_multiplications(n: int, h: int, c: int, border: str = "padded") -> int:
    """n² pixels times W; as many states times U and V, less n of each at the border."""
    neighbours = 2 * n * n if border == "padded" else 2 * n * (n - 1)
    return n * n * h * c + neighbours * h * h


def rnn_additions(n: int, h: int, c: int, border: str = "padded") -> int:
    """A sum of m products takes m − 1 additions: one fewer for each of the n²h entries."""
    return rnn_multiplications(n, h, c, border) - n * n * h


def rnn_operations(n: int, h: int, c: int, border: str = "padded") -> int:
    """Multiplications and additions: n²h(2c + 4h − 1), less 4nh² if the border is skipped."""
    saved = 0 if border == "padded" else 4 * n * h * h
    return n * n * h * (2 * c + 4 * h - 1) - saved


def conv_parameters(h: int, c: int, layers: int) -> int:
    """A 3×3 kernel from c to h channels, then ``layers`` − 1 from h to h."""
    return 9 * c * h + (layers - 1) * 9 * h * h


def conv_multiplications(n: int, h: int, c: int, layers: int, border: str = "padded") -> int:
    """Every weight meets n² pixels, or (3n − 2)² / 9 of them on average without the border."""
    taps = 9 * n * n if border == "padded" else (3 * n - 2) ** 2
    return taps * (h * c + (layers - 1) * h * h)


def conv_operations(n: int, h: int, c: int, layers: int, border: str = "padded") -> int:
    """Twice the multiplications, less one addition for each of the layers·n²h entries."""
    return 2 * conv_multiplications(n, h, c, layers, border) - layers * n * n * h


# ------------------------------------------------------------------ counting


class Scalar:
    """A number that counts what is done with it, in a tally shared by all of a computation.

    ``depth`` is the largest number of activations on any path that led to it: the steps
    that no amount of parallel hardware can save.
    """

    __slots__ = ("depth", "tally", "value")

    def __init__(self, value: float, tally: Counter, depth: int = 0):
        self.value, self.tally, self.depth = value, tally, depth

    def __mul__(self, other: "Scalar") -> "Scalar":
        self.tally["multiplications"] += 1
        return Scalar(self.value * other.value, self.tally, max(self.depth, other.depth))

    def __add__(self, other: "Scalar") -> "Scalar":
        self.tally["additions"] += 1
        return Scalar(self.value + other.value, self.tally, max(self.depth, other.depth))

    def activate(self, function: Callable[[Tensor], Tensor]) -> "Scalar":
        self.tally["activations"] += 1
        value = function(torch.tensor(self.value, dtype=torch.float64)).item()
        return Scalar(value, self.tally, self.depth + 1)


def count_by_scalars(
    model: RNN2d | ConvNet, image: Tensor, border: str = "padded"
) -> tuple[Tensor, Counter]:
    """Evaluate ``model`` on one image (c, n, n), number by number.

    Returns its states (n, n, h) in float64, and the tally: multiplications, additions and
    activations done, and the depth of the deepest state.
    """
    tally = Counter()

    def scalars(tensor: Tensor):
        if tensor.ndim == 0:
            return Scalar(tensor.item(), tally)
        return [scalars(part) for part in tensor]

    n = image.shape[-1]
    rows = scalars(image.movedim(0, -1))  # (n, n, c)
    states = {(i, j): rows[i][j] for i, j in product(range(n), repeat=2)}
    for taps, is_recurrent in _layers(model):
        below, states = states, {}
        weights = [(scalars(matrix), di, dj) for matrix, di, dj in taps]
        for node in product(range(n), repeat=2):
            sources = [below] + [states] * 2 if is_recurrent else [below] * len(weights)
            states[node] = _evaluate(node, weights, sources, model.activation, border)
    tally["depth"] = max(entry.depth for state in states.values() for entry in state)
    values = [[[entry.value for entry in states[i, j]] for j in range(n)] for i in range(n)]
    return torch.tensor(values, dtype=torch.float64), tally


def _layers(model: RNN2d | ConvNet) -> list[tuple[list[tuple[Tensor, int, int]], bool]]:
    """Each layer's matrices with the offset of the node that they read; is it recurrent?"""
    if isinstance(model, RNN2d):
        matrices = (model.pixel.weight, model.above.weight, model.left.weight)
        return [(list(zip(matrices, (0, -1, 0), (0, 0, -1), strict=True)), True)]
    offsets = list(product((-1, 0, 1), repeat=2))
    return [
        ([(layer.weight[:, :, 1 + di, 1 + dj], di, dj) for di, dj in offsets], False)
        for layer in model.convolutions
    ]


def _evaluate(node, weights, sources, activation, border) -> list[Scalar]:
    """σ of the sum of the matrices times the states that they read from their sources."""
    i, j = node
    matrices, inputs = [], []
    for (matrix, di, dj), source in zip(weights, sources, strict=True):
        neighbour = source.get((i + di, j + dj))
        if neighbour is None and border == "padded":
            neighbour = [Scalar(0.0, matrix[0][0].tally)] * len(matrix[0])
        if neighbour is not None:
            matrices.append(matrix)
            inputs.extend(neighbour)
    state = []
    for rows in zip(*matrices, strict=True):  # row k of every matrix, as one long row
        products = map(operator.mul, (weight for row in rows for weight in row), inputs)
        state.append(reduce(operator.add, products).activate(activation))
    return state


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


def _check(border: str, **sizes: int) -> None:
    if border not in BORDERS:
        raise ValueError(f"border {border!r} is not one of {', '.join(BORDERS)}")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: give at least 1")
