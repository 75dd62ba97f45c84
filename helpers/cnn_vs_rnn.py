"""A small convnet and a small recurrent network that classify images, and how to probe them.

Images are float tensors (B, 1, height, width). ``ConvNet`` slides kernels over both axes;
``RowRNN`` reads an image as a sequence, one row of pixels a step.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELLS = {"gru": nn.GRU, "tanh": nn.RNN}
PADDINGS = ("zeros", "circular")
PRODUCTS = ("ConvolutionBackward", "AddmmBackward", "MmBackward", "BmmBackward")  # autograd's names


class ConvNet(nn.Module):
    """Three convolutions, then the maximum over all positions: images of any size from 4 × 4.

    A feature sees ``FIELD`` × ``FIELD`` pixels, its neighbour those ``STRIDE`` pixels further.
    Every convolution is followed by batch normalization (Ioffe and Szegedy 2015) and ReLU.
    """

    STRIDE = 4
    FIELD = 19

    def __init__(self, *, channels: int = 8, classes: int = 10, padding: str = "zeros"):
        super().__init__()
        _check_sizes(channels=channels, classes=classes)
        _check_choice("padding", padding, PADDINGS)
        self.features = nn.Sequential(
            _convolution(1, channels, kernel=5, stride=2, padding=padding),
            _convolution(channels, 2 * channels, padding=padding),
            nn.MaxPool2d(2),
            _convolution(2 * channels, 4 * channels, padding=padding),
        )
        self.head = nn.Linear(4 * channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        features = self.features(images)  # (B, 4 channels, height / 4, width / 4)
        return self.head(features.amax((2, 3)))  # the maximum over positions: (B, 4 channels)


class RowRNN(nn.Module):
    """A recurrent layer that reads ``width`` pixels a step, and a linear readout of its state.

    ``cell`` is "gru" (Cho et al. 2014) or "tanh" (Elman 1990).
    """

    def __init__(self, *, width: int, hidden: int = 32, classes: int = 10, cell: str = "gru"):
        super().__init__()
        _check_sizes(width=width, hidden=hidden, classes=classes)
        _check_choice("cell", cell, tuple(CELLS))
        self.rnn = CELLS[cell](width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) after the last row."""
        logits, _ = self.read(images)
        return logits[:, -1]

    def read(self, images: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, height, classes) after every row, and the state (1, B, hidden) at the end.

        With a ``state`` reading goes on where it had stopped; without, it starts at zero.
        """
        states, state = self.rnn(images.squeeze(1), state)  # rows (B, height, width) are steps
        return self.head(states), state


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 0.02,
    seed: int = 0,
    predict: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__,
) -> nn.Module:
    """Minimize the cross-entropy; return the model, in evaluation mode.

    Adam (Kingma and Ba 2015), its rate rising to ``rate`` and falling to zero (Smith and
    Topin 2019), gradients clipped to norm 1. ``predict(model, images)`` may replace the model's
    forward pass. Where it returns logits for every row, (B, T, classes), each row counts alike.
    """
    _check_sizes(epochs=epochs, batch=batch)
    order = torch.Generator().manual_seed(seed)
    batches = -(-len(images) // batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=order).split(batch):
            optimizer.zero_grad()
            cross_entropy(predict(model, images[chosen]), labels[chosen]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, classes), or (B, T, classes) with a label for all T."""
    if logits.dim() == 3:
        labels = labels[:, None].expand(logits.shape[:2]).flatten()  # (B,) -> (B·T,)
        logits = logits.flatten(0, 1)  # (B, T, classes) -> (B·T, classes)
    return F.cross_entropy(logits, labels)


@torch.no_grad()
def accuracy(predict: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose largest logit is at their label; one for each row if logits are."""
    found = torch.cat([predict(part).argmax(-1) for part in images.split(500)])
    labels = labels.reshape(-1, *[1] * (found.dim() - 1))  # (B,), or (B, 1) against (B, T)
    return (found == labels).double().mean(0)


def parameters(model: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(weight.numel() for weight in model.parameters())


def shift(images: Tensor, *, down: int = 0, right: int = 0) -> Tensor:
    """The images moved by so many pixels, black where nothing moves in; negative: up, left."""
    height, width = images.shape[-2:]
    reach = max(abs(down), abs(right))
    wide = F.pad(images, (reach,) * 4)
    top, left = reach - down, reach - right
    return wide[..., top : top + height, left : left + width]


def sequential_depth(output: Tensor) -> int:
    """Matrix products and convolutions on the longest chain that led to ``output``.

    Each needs the result of the one before it, so that no number of processors makes the
    chain shorter. Counted on the graph that autograd recorded.
    """
    depth, stack = {}, [output.grad_fn]
    while stack:  # a loop, because the chains are longer than Python may recurse
        node = stack[-1]
        before = [parent for parent, _ in node.next_functions if parent is not None]
        waiting = [parent for parent in before if parent not in depth]
        if waiting:
            stack.extend(waiting)
            continue
        depth[node] = max(map(depth.get, before), default=0) + node.name().startswith(PRODUCTS)
        stack.pop()
    return depth[output.grad_fn]


def row_gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Norm of the loss's gradient in each row of pixels, (height,): a quadratic mean of images."""
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(model(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient.square().sum((1, 3)).mean(0).sqrt()


def state_jacobians(model: RowRNN, image: Tensor) -> Tensor:
    """∂h_T/∂h_t for t = 0 … T of one image (1, T, width): (T + 1, hidden, hidden)."""
    steps, hidden = image.shape[1], model.rnn.hidden_size
    states, _ = model.rnn(image)
    starts = F.pad(states[0].detach(), (0, 0, 1, 0))  # h_0 … h_T, (T + 1, hidden)
    jacobians = [torch.eye(hidden, dtype=image.dtype)]
    for t in reversed(range(steps)):
        copies = starts[t].repeat(1, hidden, 1).requires_grad_()  # one for each unit of h_T
        _, end = model.rnn(image[:, t:].expand(hidden, -1, -1), copies)
        jacobians += torch.autograd.grad(end[0].diagonal().sum(), copies)
    return torch.stack([jacobian.reshape(hidden, hidden) for jacobian in reversed(jacobians)])


def stack_apart(first: Tensor, second: Tensor, *, gap: int, margin: int) -> Tensor:
    """Two batches of images, the first above the second, ``gap`` black rows between them.

    (B, 1, n, m) twice -> (B, 1, 2n + gap + 2 margin, m), with ``margin`` black rows at both ends.
    """
    empty = first.new_zeros(*first.shape[:2], gap, first.shape[3])
    return F.pad(torch.cat([first, empty, second], 2), (0, 0, margin, margin))


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: str
) -> nn.Sequential:
    convolution = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        padding_mode=padding,
        bias=False,  # batch normalization has one
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: give a whole number from 1")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is not one of {', '.join(choices)}")
