"""Fine-tuning a text encoder on short reviews: negative, neutral or positive.

A batch is a pair: what the encoder reads, ``input_ids`` and ``attention_mask`` (B, T), and the
classes (B,). Every weight is trained, the encoder's, too.
"""

import copy
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import trange

if TYPE_CHECKING:
    from transformers import BatchEncoding, BertModel

BERT_CASED = "bert-base-cased"
CLASSES = ("negative", "neutral", "positive")
COLUMNS = (
    "epoch", "training loss", "training accuracy", "validation loss", "validation accuracy",
    "seconds",
)  # fmt: skip
Batch = tuple["BatchEncoding", Tensor]
Rows = Sequence[Tensor]


def class_of(score: int) -> int:
    """The class of a score from 1 to 5, as a place in ``CLASSES``."""
    return 0 if score <= 2 else 1 if score == 3 else 2


def split(count: int, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers to train, validate and test on, 90 : 5 : 5, drawn by the seed.

    The homework's sizes for its 15,746 reviews are 14,171, 787 and 788: what is held out is
    rounded up, and so is the half of it that tests.
    """
    held_out = -(-count // 10)
    validation = held_out // 2
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    sizes = [count - held_out, validation, held_out - validation]
    return order.split(sizes)


class Reviews(Dataset):
    """N reviews as token numbers from [CLS] to [SEP], at most ``length`` of them, and classes."""

    def __init__(
        self, texts: list[str], classes: list[int], tokenizer, *, length: int, device: str = "cpu"
    ):
        self.ids = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
        self.lengths = torch.tensor([len(ids) for ids in self.ids])  # (N,)
        self.classes, self.tokenizer, self.device = classes, tokenizer, device

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[list[int], int]:
        return self.ids[row], self.classes[row]

    def collate(self, examples: Iterable[tuple[list[int], int]]) -> Batch:
        """One batch, padded to its longest review: (B, T), and the classes (B,)."""
        ids, classes = zip(*examples, strict=True)
        padded = self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt")
        return padded.to(self.device), torch.tensor(classes, device=self.device)


def in_batches(
    reviews: Reviews, rows: Tensor, *, size: int = 16, generator: torch.Generator | None = None
) -> DataLoader:
    """The reviews ``rows`` in batches of ``size``: in their order, or drawn by a generator.

    Of each 32 batches drawn, reviews of similar length share one: that leaves little padding.
    """
    plan = rows.split(size)
    if generator is not None:
        drawn = rows[torch.randperm(len(rows), generator=generator)]
        parts = (part[reviews.lengths[part].argsort()] for part in drawn.split(32 * size))
        plan = [batch for part in parts for batch in part.split(size)]
        plan = [plan[i] for i in torch.randperm(len(plan), generator=generator)]
    return DataLoader(
        reviews,
        batch_sampler=[batch.tolist() for batch in plan],
        collate_fn=reviews.collate,
        generator=torch.Generator(),  # else it draws from the numbers that dropout draws from
    )


class ReviewClassifier(nn.Module):
    """An encoder, dropout on its pooled output, and a linear layer to three logits."""

    def __init__(self, encoder: "BertModel", *, dropout: float = 0.3, bf16: bool = False):
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.output = nn.Linear(encoder.config.hidden_size, len(CLASSES))
        self.bf16 = bf16  # whether the encoder multiplies matrices in bfloat16

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, 3) of tokens and their mask (B, T)."""
        with torch.autocast(input_ids.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            encoded = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return self.output(self.dropout(encoded.pooler_output.float()))  # (B, width) → (B, 3)


def train_epoch(
    model: nn.Module, batches: Iterable[Batch], optimizer: Optimizer, schedule: LRScheduler
) -> tuple[float, float]:
    """One pass that learns: its loss (nats) and accuracy, both per review."""
    model.train()
    loss_sum, right, seen = 0.0, 0, 0
    for tokens, classes in batches:
        logits = model(**tokens)
        loss = F.cross_entropy(logits, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.item() * len(classes)
        right += (logits.argmax(1) == classes).sum().item()
        seen += len(classes)
    return loss_sum / seen, right / seen


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits (N, 3) and classes (N,) of the reviews in the batches; nothing is learned."""
    model.eval()
    found = [(model(**tokens), classes) for tokens, classes in batches]
    logits, classes = zip(*found, strict=True)
    return torch.cat(logits), torch.cat(classes)


def evaluate(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Loss (nats) and accuracy, both per review."""
    logits, classes = predict(model, batches)
    right = (logits.argmax(1) == classes).double().mean().item()
    return F.cross_entropy(logits, classes).item(), right


def fit(
    model: nn.Module, data: Reviews, rows: Rows, *, epochs: int, rate: float, size: int, seed: int
) -> list[dict[str, float]]:
    """Train in place on the first of two sets of rows; end with the weights of the best epoch.

    Best is the first with the highest accuracy on the second set. AdamW (Loshchilov and Hutter
    2019), its rate falling in a line to 0. Returns a row for each epoch, with its seconds.
    """
    torch.manual_seed(seed)  # for dropout
    draw = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(rows[0]) // size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / steps)
    history = []
    for epoch in trange(1, epochs + 1, desc="fine-tuning", unit="epoch"):
        start = time.perf_counter()
        batches = in_batches(data, rows[0], size=size, generator=draw)
        trained = train_epoch(model, batches, optimizer, schedule)
        validated = evaluate(model, in_batches(data, rows[1]))
        values = epoch, *trained, *validated, time.perf_counter() - start
        history.append(dict(zip(COLUMNS, values, strict=True)))
        if history[-1] is max(history, key=lambda row: row["validation accuracy"]):
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return history
