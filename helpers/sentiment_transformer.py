"""Sentiment of a review from a frozen text encoder: the homework's head, training, evaluation.

A head gets token features (B, T, width), one row per token, and each review's ``lengths`` (B,); it
returns one logit per review, positive for a positive review (label 1).
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from helpers.gru import BidirectionalGRU
from helpers.text_encoder import plan_batches, token_vectors

if TYPE_CHECKING:
    from transformers import BertModel

CLASSES = ("negative", "positive")  # by label
VALIDATION_SHARE = 0.3  # of the reviews given for training, as the homework has it


def split(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to train on and to validate on, 70 : 30, drawn by the seed.

    Of IMDB's 25,000 these are 17,500 and 7,500.
    """
    held_out = round(VALIDATION_SHARE * count)
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
        _, final = self.gru(features, lengths)  # (B, 2 · hidden)
        return self.output(self.dropout(final)).squeeze(-1)  # (B,)


class SentimentClassifier(nn.Module):
    """A frozen encoder and a head, from token numbers to logits.

    ``train()`` leaves the encoder in evaluation mode: its dropout would otherwise disturb
    features that nothing learns to repair.
    """

    def __init__(self, encoder: "BertModel", head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head
        encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "SentimentClassifier":
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B,) of token numbers (B, T)."""
        return self.head(token_vectors(self.encoder, ids, lengths), lengths)


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
    bf16: bool = False  # whether matrices are multiplied in bfloat16; sums stay in float32


Inputs = Callable[[Tensor], tuple[Tensor, Tensor]]  # rows → padded batch (B, T, …), lengths (B,)


def binary_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of reviews (N,) whose logit has the sign of their label."""
    return ((logits > 0).long() == labels).double().mean().item()


def logits_of(model: nn.Module, batch: tuple[Tensor, Tensor], *, bf16: bool) -> Tensor:
    """Logits (B,) in float32, on the CPU."""
    with torch.autocast(batch[0].device.type, dtype=torch.bfloat16, enabled=bf16):
        return model(*batch).float().cpu()


@torch.no_grad()
def predict(
    model: nn.Module, inputs: Inputs, lengths: Tensor, rows: Tensor, *, bf16: bool = False
) -> Tensor:
    """Logits (N,) of the reviews ``rows``, in that order. The model is left in eval mode."""
    model.eval()
    logits = torch.empty(len(rows))
    for batch in plan_batches(lengths[rows], tokens=16_384):
        logits[batch] = logits_of(model, inputs(rows[batch]), bf16=bf16)
    return logits


def evaluate(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Loss (nats per review) and accuracy: totals over the N reviews, divided by N."""
    loss = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return loss.item(), binary_accuracy(logits, labels)


def train(
    model: nn.Module, inputs: Inputs, labels: Tensor, batches: Sequence[Tensor],
    optimizer: Optimizer, schedule: LRScheduler, *, bf16: bool,
) -> tuple[float, float]:  # fmt: skip
    """One pass over the batches, row numbers each: loss (nats per review) and accuracy."""
    model.train()
    seen = []
    for rows in batches:
        logits = logits_of(model, inputs(rows), bf16=bf16)
        loss = F.binary_cross_entropy_with_logits(logits, labels[rows].float())
        if not math.isfinite(loss.item()):
            raise FloatingPointError("the loss is not finite: lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seen.append(logits.detach())
    return evaluate(torch.cat(seen), labels[torch.cat(list(batches))])


def fit(
    model: nn.Module,
    inputs: Inputs,
    lengths: Tensor,
    labels: Tensor,
    *,
    training: Tensor,
    validation: Tensor,
    recipe: Recipe,
    seed: int,
) -> list[Epoch]:
    """Train in place; end with the weights of the epoch of least validation loss.

    ``training`` and ``validation`` are row numbers. Raises FloatingPointError when the loss is no
    longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [
        plan_batches(lengths[training], tokens=recipe.tokens, generator=generator)
        for _ in range(recipe.epochs)
    ]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.weight_decay)
    total = sum(map(len, orders))
    schedule = LambdaLR(optimizer, lambda step: 1 - step / total)
    history, best = [], None
    for number, order in enumerate(orders, 1):
        start = time.perf_counter()
        batches = [training[batch] for batch in order]
        fitted = train(model, inputs, labels, batches, optimizer, schedule, bf16=recipe.bf16)
        logits = predict(model, inputs, lengths, validation, bf16=recipe.bf16)
        held_out = evaluate(logits, labels[validation])
        if best is None or held_out[0] < min(epoch.validation_loss for epoch in history):
            best = copy.deepcopy(model.state_dict())
        history.append(Epoch(number, *fitted, *held_out, time.perf_counter() - start))
    model.load_state_dict(best)
    model.eval()
    return history
