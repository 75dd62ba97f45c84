"""Which words of a review a classifier's logit comes from, computed and drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

if TYPE_CHECKING:
    from helpers.sentiment_transformer import SentimentClassifier


def integrated_gradients(
    model: "SentimentClassifier", ids: Tensor, *, points: int = 24, blank: int = 0
) -> tuple[Tensor, float]:
    """How much each token (T,) moves the logit, and the whole change that they explain.

    Sundararajan et al. 2017, "Axiomatic attribution for deep networks": the gradient along
    the straight line from a blank review ([PAD] for every token but [CLS] and [SEP]) to this
    one, integrated by Gauss and Legendre's rule. The attributions of an exact integral sum to
    the change of the logit.
    """
    model.eval()
    embedding = model.encoder.get_input_embeddings()
    with torch.no_grad():
        ends = embedding(ids)  # (T, width)
        empty = torch.full_like(ids, blank)
        empty[0], empty[-1] = ids[0], ids[-1]
        blanks = embedding(empty)  # (T, width)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    at = torch.tensor((nodes + 1) / 2, dtype=ends.dtype, device=ids.device)
    share = torch.tensor(weights / 2, dtype=ends.dtype, device=ids.device)
    at = torch.cat([at, at.new_tensor([0.0, 1.0])])  # the ends, for the change itself
    path = (blanks + at[:, None, None] * (ends - blanks)).requires_grad_()  # (points + 2, T, width)
    lengths = torch.full((len(path),), len(ids), device=ids.device)
    with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass in eval mode
        logits = model.head(model.encoder(inputs_embeds=path).last_hidden_state, lengths)
        (gradient,) = torch.autograd.grad(logits.sum(), path)
    mean = torch.einsum("p,ptw->tw", share, gradient[:-2])
    return (mean * (ends - blanks)).sum(-1), (logits[-1] - logits[-2]).item()


def by_word(pieces: Sequence[str], shares: Sequence[float]) -> tuple[list[str], list[float]]:
    """Words and what each adds, from word pieces: a piece that begins with ## goes on a word."""
    words, values = [], []
    for piece, share in zip(pieces, shares, strict=True):
        if piece.startswith("##") and words:
            words[-1] += piece.removeprefix("##")
            values[-1] += share
        else:
            words.append(piece)
            values.append(share)
    return words, values


def draw_words(
    ax: Axes, words: Sequence[str], values: Sequence[float], *, columns: int = 70
) -> None:
    """A text in lines, each word on a ground of its colour with its value below it.

    Violet is for, orange is against; the stronger, the darker. The number says the same in
    grey.
    """
    colours, top = plt.get_cmap("PuOr"), max((abs(value) for value in values), default=0) or 1
    x, y = 0.0, 0.0
    for word, value in zip(words, values, strict=True):
        wide = max(len(word), 5)
        if x and x + wide > columns:
            x, y = 0.0, y - 2.2
        colour = colours(0.5 + 0.3 * value / top)
        box = FancyBboxPatch((x, y - 0.45), wide, 0.9, boxstyle="round,pad=0.15", color=colour)
        ax.add_patch(box)
        ax.text(x + wide / 2, y, word, family="monospace", ha="center", va="center")
        ax.text(x + wide / 2, y - 1.0, f"{value:+.2f}", size=6, ha="center", va="center")
        x += wide + 1.2
    ax.set(xlim=(-0.5, columns + 0.5), ylim=(y - 1.4, 0.8))
    ax.axis("off")
