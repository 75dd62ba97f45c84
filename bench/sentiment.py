"""From raw reviews to a test accuracy: our way and the homework's own loop.

So many reviews of IMDB in its proportions (35 % training, 15 % validation, 50 % test); both train
a head on the same frozen encoder for two epochs, on one thread. The homework's loop runs the
encoder in every pass, in float32, on random batches padded to the longest review, and its GRU over
the padding. Ours computes the features once, in bfloat16 where that is fast, on batches of similar
length, and its GRU takes as many steps. The row says what accuracy both reached.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import sentiment_transformer as sentiment
from helpers.data import imdb
from helpers.devices import choose_device
from helpers.text_encoder import Encoder, TokenRows, frozen_features, load_encoder, tokenize

from . import paired

EPOCHS, ROUNDS = 2, 1
SIZES = (48, 96, 192, 384, 768)  # reviews; the last is that of the row
LENGTH, BATCH, RATE = 512, 32, 1e-3  # tokens of a review, reviews in a batch, learning rate


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


def homework(encoder: Encoder, tokens: TokenRows, labels: Tensor, epochs: int) -> float:
    """Test accuracy after so many epochs of the homework's own loop."""
    model = HomeworkModel(encoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    training, validation, test = in_proportion(len(labels))

    @torch.no_grad()
    def accuracy(rows: Tensor) -> float:
        model.eval()
        logits = [model(tokens.batch(part)[0]) for part in rows.split(BATCH)]
        return sentiment.binary_accuracy(torch.cat(logits), labels[rows])

    for _ in range(epochs):
        model.train()
        for rows in training[torch.randperm(len(training))].split(BATCH):
            logits = model(tokens.batch(rows)[0])
            loss = F.binary_cross_entropy_with_logits(logits, labels[rows].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy(validation)
    return accuracy(test)


def ours(encoder: Encoder, tokens: TokenRows, labels: Tensor, epochs: int) -> float:
    """Test accuracy after so many epochs over features that are computed once."""
    bf16 = choose_device("cpu")[1] == torch.bfloat16
    training, validation, test = in_proportion(len(labels))
    size = BATCH * int(tokens.lengths.double().mean())  # tokens in a batch of 32 average reviews
    head = sentiment.GRUHead(width=encoder.model.config.hidden_size)
    recipe = sentiment.Recipe(epochs=epochs, rate=RATE, tokens=size, bf16=bf16)
    with tempfile.TemporaryDirectory() as folder:  # nothing is there yet
        features = frozen_features(encoder.model, tokens, folder=Path(folder), bf16=bf16)
        how = {"training": training, "validation": validation, "recipe": recipe, "seed": 0}
        sentiment.fit(head, features.batch, tokens.lengths, labels, **how)
        logits = sentiment.predict(head, features.batch, tokens.lengths, test, bf16=bf16)
    return sentiment.binary_accuracy(logits, labels[test])


def in_proportion(count: int) -> tuple[Tensor, ...]:
    """The first ``count`` rows in IMDB's proportions: to train on, to validate on, to test on."""
    sizes = [round(0.35 * count), round(0.15 * count)]
    return torch.arange(count).split([*sizes, count - sum(sizes)])


def main() -> None:
    """Measure both in turn, and ours at several sizes."""
    torch.set_num_threads(1)
    encoder, pool = load_encoder(), imdb("train", profile="full")
    order = torch.randperm(len(pool.texts), generator=torch.Generator().manual_seed(0)).tolist()
    ways = {"features computed once": ours, "the homework's loop": homework}
    right = {}

    def seconds(name: str, count: int, epochs: int = EPOCHS) -> float:
        """Processor seconds, which a busy machine does not stretch as it does the clock."""
        torch.manual_seed(0)
        start, rows = time.process_time(), order[:count]
        tokens = tokenize([pool.texts[row] for row in rows], encoder.tokenizer, length=LENGTH)
        right[name] = ways[name](encoder, tokens, pool.labels[rows], epochs)
        return time.process_time() - start

    for name in ways:
        seconds(name, 16, epochs=1)  # what is done once per process
    contenders = {name: partial(seconds, name, SIZES[-1]) for name in ways}
    found = paired.in_turn(contenders, ROUNDS)
    reached = " against ".join(f"{100 * right[name]:.0f} %" for name in ways)
    what = f"raw text to test accuracy, {SIZES[-1]} reviews, {EPOCHS} epochs, {encoder.name}"
    mine, _ = ways
    growth = paired.grows("reviews", SIZES, [seconds(mine, count) for count in SIZES])
    rows = [paired.row(f"{what}: {reached} right", found, *ways, unit="s", growth=growth)]
    paired.save("sentiment", rows)
