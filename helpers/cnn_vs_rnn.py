"""A small convnet and a small recurrent network that classify images, and how to train them.

Images are float tensors (B, 1, height, width). ``ConvNet`` slides kernels over both axes;
``RowRNN`` reads an image as a sequence, one row of pixels a step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PRODUCTS = ("ConvolutionBackward", "AddmmBackward", "MmBackward", "BmmBackward")  # autograd's names


class ConvNet(nn.Module):
    """Three convolutions, then the maximum over all positions: images of any size from 4 × 4."""

    FIELD = 19  # pixels that a feature sees, in either direction

    def __init__(self, channels: int = 8):
        super().__init__()

        def convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Sequential:
            kernels = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)
            return nn.Sequential(kernels, nn.BatchNorm2d(outputs), nn.ReLU())

        self.features = nn.Sequential(
            convolution(1, channels, side=5, stride=2),
            convolution(channels, 2 * channels, side=3),
            nn.MaxPool2d(2),
            convolution(2 * channels, 4 * channels, side=3),
        )
        self.head = nn.Linear(4 * channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10)."""
        features = self.features(images)  # (B, 4 channels, height / 4, width / 4)
        return self.head(features.amax((2, 3)))  # the maximum over positions: (B, 4 channels)


class RowRNN(nn.Module):
    """A recurrent layer that reads ``width`` pixels a step, and a linear readout of its state."""

    def __init__(self, width: int, hidden: int = 32, cell=nn.GRU, every_row: bool = False):
        super().__init__()
        self.rnn, self.head = cell(width, hidden, batch_first=True), nn.Linear(hidden, 10)
        self.every_row = every_row

    def read(self, images: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, height, 10) after every row, and the state (1, B, hidden) at the end."""
        states, state = self.rnn(images.squeeze(1), state)  # rows (B, height, width) are steps
        return self.head(states), state

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) after the last row, or (B, height, 10) after ``every_row``."""
        logits, _ = self.read(images)
        return logits if self.every_row else logits[:, -1]


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
) -> nn.Module:
    """Minimize the mean cross-entropy of all logits; return the model, in evaluation mode.

    Adam (Kingma and Ba 2015), its rate rising to ``rate`` and falling to zero (Smith and
    Topin 2019), gradients clipped to norm 1.
    """
    order = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(images) // batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=order).split(batch):
            logits = model(images[chosen]).movedim(-1, 1)  # (B, 10), or (B, 10, T)
            targets = labels[chosen].reshape(-1, *[1] * (logits.dim() - 2))  # (B,), or (B, 1)
            loss = F.cross_entropy(logits, targets.expand(len(chosen), *logits.shape[2:]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose largest logit is at their label: (), or (T,) if read every row."""
    found = torch.cat([model(part).argmax(-1) for part in images.split(500)])  # (N,), or (N, T)
    return (found == labels.reshape(-1, *[1] * (found.dim() - 1))).double().mean(0)


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
