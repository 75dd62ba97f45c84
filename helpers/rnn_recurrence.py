"""Scalar linear recurrent networks: their states, their closed form, what they decide.

One hidden unit without a non-linearity follows

    h_t = w_x x_t + w_h h_{t−1} + b_h,        y = σ(w_y h_T + b_y),

and ``LinearRNN`` runs it on numbers of any kind: Python's integers and fractions stay exact,
SymPy's symbols give the formula, tensors of shape (T, batch) run a batch in their own dtype.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from helpers.report import BLUE, ORANGE, TEXT_WIDTH


@dataclass(frozen=True, kw_only=True)
class LinearRNN:
    """A recurrent network given by its weights; the defaults are the homework's network."""

    w_x: float = 1
    w_h: float = -1
    b_h: float = 0
    w_y: float = 1000
    b_y: float = 0
    h_0: float = 0

    def step(self, h, x):
        """The next state, from the state ``h`` before it and the input ``x``."""
        return self.w_x * x + self.w_h * h + self.b_h

    def states(self, inputs: Sequence) -> list:
        """All states h_0, h_1, …, h_T: one more than there are inputs."""
        return list(accumulate(inputs, self.step, initial=self.h_0))

    def closed_form(self, inputs: Sequence):
        """h_T without the recurrence: Σ_t w_h^{T−t} (w_x x_t + b_h) + w_h^T h_0."""
        T = len(inputs)
        driven = sum(
            self.w_h ** (T - t) * (self.w_x * x + self.b_h) for t, x in enumerate(inputs, start=1)
        )
        return driven + self.w_h**T * self.h_0

    def readout(self, h) -> Tensor:
        """σ(w_y h + b_y): in float32 for a number, in its own floating dtype for a tensor."""
        z = self.w_y * h + self.b_y
        return torch.sigmoid(z if isinstance(z, Tensor) else torch.tensor(float(z)))


def compare_positions(inputs: Sequence):
    """The homework's answer, written without a network: 1, 0, or ½ on a tie.

    Compares the sum at even positions (counted from 1) with the sum at odd positions; for
    an odd length the two change sides. ``inputs``: T numbers, or a tensor (T, batch).
    """
    odd, even = sum(inputs[0::2]), sum(inputs[1::2])
    difference = even - odd if len(inputs) % 2 == 0 else odd - even
    return 1.0 * (difference > 0) + 0.5 * (difference == 0)


def torch_states(rnn: LinearRNN, inputs: Tensor) -> Tensor:
    """The states h_1, …, h_T, shape (T, batch), as ``torch.nn.RNN`` computes them.

    That class has no linear unit, so two ReLU units carry h as its positive and its
    negative part: h = relu(h) − relu(−h). ``inputs`` is floating, of shape (T, batch).
    """
    if inputs.ndim != 2 or not inputs.is_floating_point():
        raise ValueError(
            f"inputs have shape {tuple(inputs.shape)} and dtype {inputs.dtype}: "
            "give a floating tensor of shape (T, batch)"
        )
    signs = torch.tensor([1.0, -1.0], dtype=inputs.dtype)
    net = torch.nn.RNN(1, 2, nonlinearity="relu", dtype=inputs.dtype).requires_grad_(False)
    net.weight_ih_l0.copy_(rnn.w_x * signs[:, None])  # (2, 1)
    net.weight_hh_l0.copy_(rnn.w_h * torch.outer(signs, signs))  # (2, 2)
    net.bias_ih_l0.copy_(rnn.b_h * signs)
    net.bias_hh_l0.zero_()
    start = torch.relu(rnn.h_0 * signs).expand(1, inputs.shape[1], 2).contiguous()
    parts, _ = net(inputs[:, :, None], start)  # (T, batch, 1) → (T, batch, 2)
    return parts @ signs


def saturation_point(dtype: torch.dtype, value: int) -> float:
    """The smallest z ≥ 0 of this dtype with σ(z) = 1 exactly, or σ(−z) = 0 exactly.

    Found by bisection, down to neighbouring numbers of the format. ``value``: 1 or 0.
    """
    if value not in (0, 1):
        raise ValueError(f"value is {value!r}: the sigmoid saturates at 0 and at 1 only")
    low, high = torch.tensor(0.0, dtype=dtype), torch.tensor(1000.0, dtype=dtype)
    while (middle := low + (high - low) / 2) not in (low, high):
        if torch.sigmoid(middle if value else -middle) == value:
            high = middle
        else:
            low = middle
    return high.item()


def draw_graph(rnn: LinearRNN, steps: int = 4) -> Figure:
    """The network unrolled over ``steps`` time steps, with its weights at the edges."""
    figure, axes = plt.subplots(figsize=(TEXT_WIDTH, 1.6))
    axes.axis("off")
    axes.set(xlim=(-0.5, 2 * steps + 2.6), ylim=(-0.5, 2.0), aspect="equal")
    h, x = (lambda t: (2 * t, 1.5)), (lambda t: (2 * t, 0.0))
    for t in range(1, steps + 1):
        _arrow(axes, h(t - 1), h(t), f"{rnn.w_h:g}", ORANGE)
        _arrow(axes, x(t), h(t), f"{rnn.w_x:g}", BLUE)
    output = (2 * steps + 2, 1.5)
    _arrow(axes, h(steps), output, f"{rnn.w_y:g}", "black")
    for t in range(steps + 1):
        _node(axes, h(t), f"$h_{t}$", "white" if t else "0.9")
    for t in range(1, steps + 1):
        _node(axes, x(t), f"$x_{t}$", "white")
    _node(axes, output, "$σ$", "white")
    axes.text(0, 0.75, f"$h_0$ = {rnn.h_0:g}", ha="center", va="center")
    biases = f"$b_h$ = {rnn.b_h:g}\n$b_y$ = {rnn.b_y:g}"
    axes.text(output[0], 0.5, biases.replace("-", "−"), ha="center", va="center")
    return figure


def _node(axes, at, label, colour):
    axes.add_patch(plt.Circle(at, 0.4, facecolor=colour, edgecolor="black", zorder=2))
    axes.text(*at, label, ha="center", va="center")


def _arrow(axes, start, end, label, colour):
    style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 16, "shrinkB": 16, "lw": 1.4}
    axes.annotate("", end, start, arrowprops=style)
    flat = start[1] == end[1]
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    axes.annotate(
        label.replace("-", "−"), middle, (0, 4) if flat else (5, 0), textcoords="offset points",
        ha="center" if flat else "left", va="bottom" if flat else "center",
    )  # fmt: skip
