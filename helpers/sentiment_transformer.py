"""Sentiment of a review from a frozen text encoder: heads, training, evaluation.

A head gets token features (B, T, width), one row per token, and each review's ``lengths``
(B,); it returns one logit per review, positive for a positive review (label 1).
"""

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.features import plan_batches
from helpers.gru import BidirectionalGRU
from helpers.text_encoder import mask, token_vectors

if TYPE_CHECKING:
    from transformers import BertModel

NEGATIVE, POSITIVE = 0, 1  # the labels, said once
CLASSES = ("negative", "positive")
VALIDATION_SHARE = 0.3  # of the reviews given for training, as the homework has it


def split(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to train on and to validate on, 70 : 30, drawn by the seed.

    Of IMDB's 25,000 these are 17,500 and 7,500. Raises ValueError if either is empty.
    """
    held_out = round(VALIDATION_SHARE * count)
    if not 0 < held_out < count:
        raise ValueError(f"{count} reviews cannot be split 70 : 30: take at least 2")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[held_out:], order[:held_out]


class GRUHead(nn.Module):
    """The homework's head: a bidirectional GRU of 2 layers, dropout, one linear output."""

    def __init__(self, *, width: int, hidden: int = 256, layers: int = 2, dropout: float = 0.25):
        super().__init__()
        self.gru = BidirectionalGRU(width=width, hidden=hidden, layers=layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * hidden, 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        _, final = self.gru(features, lengths)  # (B, 2·hidden)
        return self.output(self.dropout(final)).squeeze(-1)  # (B,)


class AttentionHead(nn.Module):
    """A weighted mean of the token features, then an MLP with one hidden layer.

    The weights are a softmax over the review's tokens of a learned score (Lin et al. 2017,
    "A structured self-attentive sentence embedding", with one row).
    """

    def __init__(self, *, width: int, hidden: int = 256, dropout: float = 0.25):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.output = nn.Sequential(
            nn.LayerNorm(width),
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def weights(self, features: Tensor, lengths: Tensor) -> Tensor:
        """What share of the mean each token has: (B, T), 0 over padding."""
        scores = self.score(features).squeeze(-1)  # (B, T)
        inside = mask(lengths, features.shape[1])
        return scores.masked_fill(~inside, -math.inf).softmax(dim=-1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        weights = self.weights(features, lengths)
        pooled = torch.einsum("bt,btw->bw", weights, features)
        return self.output(pooled).squeeze(-1)  # (B,)


class FirstTokenHead(nn.Module):
    """Dropout and a linear output on the first token, [CLS]: what fine-tuning needs."""

    def __init__(self, *, width: int, dropout: float = 0.1):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.output(self.dropout(features[:, 0])).squeeze(-1)  # (B,)


class SentimentClassifier(nn.Module):
    """An encoder and a head, from token numbers to logits. A frozen encoder stays so.

    ``train()`` leaves a frozen encoder in evaluation mode: its dropout would otherwise
    disturb features that nothing learns to repair.
    """

    def __init__(self, encoder: "BertModel", head: nn.Module, *, frozen: bool = True):
        super().__init__()
        self.encoder, self.head, self.frozen = encoder, head, frozen
        encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> "SentimentClassifier":
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B,) of token numbers (B, T)."""
        return self.head(token_vectors(self.encoder, ids, lengths), lengths)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """How many parameters a model has, and how many of them are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def homework_model() -> SentimentClassifier:
    """The homework's model around ``bert-base-uncased``: its shapes, without any numbers.

    Everything lies on PyTorch's meta device, so that no weight is downloaded or stored.
    BertConfig's defaults are that model's (Devlin et al. 2019): 12 layers, width 768.
    """
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        bert = BertModel(BertConfig())
        return SentimentClassifier(bert, GRUHead(width=bert.config.hidden_size))


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch. Losses are in nats per review; seconds are its time."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: AdamW, its rate falling in a line to zero, batches of equal length."""

    epochs: int
    rate: float = 1e-3
    weight_decay: float = 0.01
    tokens: int = 8192  # in a batch, padding included
    warmup: float = 0.0  # share of all steps in which the rate rises from zero
    bf16: bool = False  # whether matrices are multiplied in bfloat16; sums stay in float32


def scores(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Cross-entropy (nats per review) and accuracy: totals over the N reviews, divided by N."""
    loss = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return loss.item(), ((logits > 0).long() == labels).double().mean().item()


Inputs = Callable[[Tensor], tuple[Tensor, Tensor]]  # rows → padded batch (B, T, …), lengths (B,)


def logits_of(model: nn.Module, batch: tuple[Tensor, Tensor], *, bf16: bool) -> Tensor:
    """Logits (B,) in float32, on the CPU."""
    with torch.autocast(batch[0].device.type, dtype=torch.bfloat16, enabled=bf16):
        return model(*batch).float().cpu()


@torch.no_grad()
def predict(
    model: nn.Module,
    inputs: Inputs,
    lengths: Tensor,
    rows: Tensor,
    *,
    tokens: int = 16_384,
    bf16: bool = False,
) -> Tensor:
    """Logits (N,) of the reviews ``rows``, in that order. The model is left in eval mode."""
    model.eval()
    logits = torch.empty(len(rows))
    for batch in plan_batches(lengths[rows], tokens=tokens):
        logits[batch] = logits_of(model, inputs(rows[batch]), bf16=bf16)
    return logits


def train(
    model: nn.Module,
    inputs: Inputs,
    lengths: Tensor,
    labels: Tensor,
    *,
    training: Tensor,
    validation: Tensor,
    recipe: Recipe,
    seed: int,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train in place; end with the weights of the epoch of least validation loss.

    ``training`` and ``validation`` are row numbers. Raises FloatingPointError when the
    loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [
        plan_batches(lengths[training], tokens=recipe.tokens, generator=generator)
        for _ in range(recipe.epochs)
    ]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.weight_decay)
    total = sum(map(len, orders))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate_factor(step, total, recipe.warmup)
    )
    history, best = [], None
    for number, order in enumerate(orders, 1):
        start = time.perf_counter()
        loss, accuracy = train_epoch(
            model, inputs, labels, training, order, optimiser, schedule, bf16=recipe.bf16
        )
        logits = predict(model, inputs, lengths, validation, bf16=recipe.bf16)
        held_out = scores(logits, labels[validation])
        epoch = Epoch(number, loss, accuracy, *held_out, time.perf_counter() - start)
        if best is None or epoch.validation_loss < min(e.validation_loss for e in history):
            best = copy.deepcopy(model.state_dict())
        history.append(epoch)
        report(epoch)
    model.load_state_dict(best)
    model.eval()
    return history


def train_epoch(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    training: Tensor,
    order: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    bf16: bool,
) -> tuple[float, float]:
    """One epoch: its loss (nats per review) and accuracy, both as totals over N."""
    model.train()
    loss_sum, right = 0.0, 0
    for batch in order:
        target = labels[training[batch]]
        logits = logits_of(model, inputs(training[batch]), bf16=bf16)
        loss = F.binary_cross_entropy_with_logits(logits, target.float())
        if not math.isfinite(loss.item()):
            raise FloatingPointError("the loss is not finite: lower the learning rate")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        loss_sum += loss.item() * len(batch)
        right += int(((logits > 0).long() == target).sum())
    return loss_sum / len(training), right / len(training)


def rate_factor(step: int, total: int, warmup: float) -> float:
    """The learning rate as a share of its peak: a line up over ``warmup``, a line down to 0."""
    rise = warmup * total
    return step / rise if step < rise else (total - step) / max(1.0, total - rise)


def save_head(head: nn.Module, path: Path) -> None:
    """Write a head's weights as safetensors, which hold numbers and never code."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, part)
    part.replace(path)  # whole, whoever else writes the same


def load_head(head: nn.Module, path: Path) -> None:
    """Read what ``save_head`` wrote into a head of the same shape.

    Raises ValueError if the file is damaged or belongs to another head.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        head.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold this head's weights: {reason}") from error
