"""From raw reviews to a test accuracy: our way and the homework's own loop.

So many reviews in IMDB's proportions (35 % training, 15 % validation, 50 % test); both train a
head on the same frozen encoder for two epochs, on one thread. The homework's loop runs the encoder
in every pass, in float32, on random batches padded to the longest review, and its GRU over the
padding. Ours computes the features once, in bfloat16 where that is fast, on batches of similar
length, and its GRU takes as many steps. The row says what accuracy both reached.
The data come from DATA_DIR, full profile.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import sentiment_transformer as sentiment
from helpers.data import imdb
from helpers.devices import choose_device
from helpers.text_encoder import Encoder, frozen_features, load_encoder, tokenize

from . import paired

REVIEWS, EPOCHS, ROUNDS = 768, 2, 1
SIZES = (48, 96, 192, 384, 768)  # reviews
LENGTH, BATCH, RATE = 512, 32, 1e-3  # tokens of a review, reviews in a batch, learning rate
OURS = "features computed once"
THEIRS = "the homework's loop"

Parts = tuple[Tensor, Tensor, Tensor]  # rows to train on, to validate on, to test on


class HomeworkModel(nn.Module):
    """The circulated model: no mask, and a GRU that ends in the padding."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.bert = encoder.model
        width = self.bert.config.hidden_size
        how = {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.25}
        self.gru = nn.GRU(width, 256, **how)
        self.dropout, self.output = nn.Dropout(0.25), nn.Linear(512, 1)

    def forward(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.bert(ids).last_hidden_state  # (B, T, width)
        final = self.gru(features)[1]  # (4, B, 256)
        return self.output(self.dropout(torch.cat([final[-2], final[-1]], -1))).squeeze(-1)


def homework(encoder: Encoder, texts: list[str], labels: Tensor, parts: Parts, epochs: int):
    """Test accuracy after so many epochs of the homework's own loop."""
    tokens = tokenize(texts, encoder.tokenizer, length=LENGTH)
    model = HomeworkModel(encoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    training, validation, test = parts
    for _ in range(epochs):
        model.train()
        for rows in training[torch.randperm(len(training))].split(BATCH):
            loss = F.binary_cross_entropy_with_logits(
                model(tokens.batch(rows)[0]), labels[rows].float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _accuracy(model, tokens, labels, validation)
    return _accuracy(model, tokens, labels, test)


@torch.no_grad()
def _accuracy(model: nn.Module, tokens, labels: Tensor, rows: Tensor) -> float:
    model.eval()
    logits = [model(tokens.batch(part)[0]) for part in rows.split(BATCH)]
    return sentiment.evaluate(torch.cat(logits), labels[rows])[1]


def ours(encoder: Encoder, texts: list[str], labels: Tensor, parts: Parts, epochs: int):
    """Test accuracy after so many epochs over features that are computed once."""
    bf16 = choose_device("cpu")[1] == torch.bfloat16
    tokens = tokenize(texts, encoder.tokenizer, length=LENGTH)
    training, validation, test = parts
    size = BATCH * int(tokens.lengths.double().mean())  # tokens in a batch of 32 average reviews
    head = sentiment.GRUHead(width=encoder.model.config.hidden_size)
    recipe = sentiment.Recipe(epochs=epochs, rate=RATE, tokens=size, bf16=bf16)
    with tempfile.TemporaryDirectory() as folder:  # nothing is there yet
        features = frozen_features(encoder.model, tokens, folder=Path(folder), bf16=bf16)
        how = {"training": training, "validation": validation, "recipe": recipe, "seed": 0}
        sentiment.fit(head, features.batch, tokens.lengths, labels, **how)
        logits = sentiment.predict(head, features.batch, tokens.lengths, test, bf16=bf16)
    return sentiment.evaluate(logits, labels[test])[1]


def seconds(way: Callable[..., float], accuracies: list[float], *arguments) -> float:
    """Processor seconds of one way, which a busy machine does not stretch as it does the clock."""
    torch.manual_seed(0)
    start = time.process_time()
    accuracies.append(way(*arguments))
    return time.process_time() - start


def in_proportion(count: int) -> Parts:
    """The first ``count`` rows in IMDB's proportions."""
    sizes = [round(0.35 * count), round(0.15 * count)]
    return torch.arange(count).split([*sizes, count - sum(sizes)])


def main() -> None:
    """Measure all ways in turn, and ours at several sizes; print and record."""
    torch.set_num_threads(1)
    encoder, pool = load_encoder(), imdb("train", profile="full")
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(pool.texts), generator=draw)[: max(SIZES)]
    texts, labels = [pool.texts[i] for i in chosen.tolist()], pool.labels[chosen]
    ways = {OURS: ours, THEIRS: homework}
    reached: dict[str, list[float]] = {name: [] for name in ways}

    def given(count: int, epochs: int = EPOCHS) -> tuple:
        return encoder, texts[:count], labels[:count], in_proportion(count), epochs

    for way in ways.values():
        way(*given(16, epochs=1))  # what is done once per process
    found = paired.in_turn(
        {name: partial(seconds, way, reached[name], *given(REVIEWS)) for name, way in ways.items()},
        ROUNDS,
    )
    percent = {name: 100 * sum(values) / len(values) for name, values in reached.items()}
    growth = [seconds(ours, [], *given(count)) for count in SIZES]
    what = (
        f"raw text to test accuracy, {REVIEWS} reviews, {EPOCHS} epochs, {encoder.name}: "
        f"{percent[OURS]:.0f} % against {percent[THEIRS]:.0f} % right"
    )
    how = {"growth": paired.grows("reviews", SIZES, growth), "goal": "≥ 10 ×"}
    rows = [paired.row(what, found, OURS, THEIRS, unit="s", **how)]
    bf16 = choose_device("cpu")[1] == torch.bfloat16
    paired.save("sentiment", rows, accuracy=reached, data=pool.source, threads=1, bf16=bf16)


if __name__ == "__main__":
    main()
