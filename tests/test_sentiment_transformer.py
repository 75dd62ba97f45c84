"""Heads and training of the sentiment notebook."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs
from torch import nn

from helpers import sentiment_transformer as sentiment
from helpers.sentiment_transformer import (
    AttentionHead,
    FirstTokenHead,
    GRUHead,
    Recipe,
    SentimentClassifier,
    homework_model,
    load_head,
    parameter_counts,
    predict,
    rate_factor,
    save_head,
    scores,
    split,
    train,
)

WIDTH = 6
HEADS = {
    "gru": lambda: GRUHead(width=WIDTH, hidden=5),
    "attention": lambda: AttentionHead(width=WIDTH, hidden=5),
    "first": lambda: FirstTokenHead(width=WIDTH),
}


def batch(lengths, *, seed=0, padding=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(lengths), max(lengths), WIDTH, generator=generator)
    lengths = torch.tensor(lengths)
    x[~sentiment.mask(lengths, x.shape[1])] = padding
    return x, lengths


def test_the_homeworks_parameter_counts():
    model = homework_model()
    assert parameter_counts(model) == (112_241_409, 2_759_169)
    assert all(p.is_meta for p in model.parameters())
    one_layer = SentimentClassifier(model.encoder, GRUHead(width=768, layers=1).to("meta"))
    assert parameter_counts(one_layer)[1] != 2_759_169


def test_the_homeworks_split_sizes():
    training, validation = split(25_000, seed=3)
    assert (len(training), len(validation)) == (17_500, 7_500)
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(25_000))
    assert training.equal(split(25_000, seed=3)[0])
    assert not training.equal(split(25_000, seed=4)[0])
    with pytest.raises(ValueError, match="1 reviews cannot be split"):
        split(1, seed=0)


@pytest.mark.parametrize("name", HEADS)
@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 8), min_size=2, max_size=5), padding=st.floats(-9, 9))
def test_a_head_does_not_see_padding_or_company(name, lengths, padding):
    torch.manual_seed(0)
    head = HEADS[name]().eval()
    clean, n = batch(lengths)
    dirty, _ = batch(lengths, padding=padding)
    together = head(dirty, n)
    alone = torch.cat([head(clean[i : i + 1, :k], n[i : i + 1]) for i, k in enumerate(lengths)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_attention_weights_are_shares():
    torch.manual_seed(0)
    x, lengths = batch([5, 2, 1])
    weights = HEADS["attention"]().weights(x, lengths)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    assert (weights[~sentiment.mask(lengths, 5)] == 0).all()


def test_a_frozen_encoder_stays_in_evaluation_mode(small_bert):
    model = SentimentClassifier(small_bert, HEADS["gru"]()).train()
    assert model.head.training
    assert not any(module.training for module in model.encoder.modules())
    assert not any(p.requires_grad for p in model.encoder.parameters())
    thawed = SentimentClassifier(small_bert, HEADS["gru"](), frozen=False).train()
    assert thawed.encoder.training
    assert all(p.requires_grad for p in thawed.parameters())
    small_bert.eval()


def test_a_prediction_does_not_depend_on_padding(small_bert):
    model = SentimentClassifier(small_bert, HEADS["gru"]()).eval()
    ids = torch.tensor([[2, 7, 9, 3] + 14 * [0]])
    lengths = torch.tensor([4])
    padded, plain = model(ids, lengths), model(ids[:, :4], lengths)
    torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-5)
    unmasked = model.head(model.encoder(ids).last_hidden_state, lengths)
    assert not torch.allclose(unmasked, plain, rtol=1e-4, atol=1e-5)


def test_scores_are_totals_over_all():
    logits = torch.tensor([2.0, -1.0, 0.5])
    labels = torch.tensor([1, 0, 0])
    loss = sum(math.log1p(math.exp(v)) for v in (-2.0, -1.0, 0.5)) / 3
    assert scores(logits, labels) == (pytest.approx(loss), pytest.approx(2 / 3))


def toy_task(count=120):
    """Reviews whose first feature is, on average, high in the positive ones."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 9, (count,), generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    x = torch.randn(count, 8, WIDTH, generator=generator)
    x[:, :, 0] += 2.0 * labels[:, None] - 1
    inputs = lambda rows: (x[rows, : int(lengths[rows].max())], lengths[rows])
    return inputs, lengths, labels


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_training_learns_and_keeps_the_best_epoch(name, bf16):
    torch.manual_seed(0)
    head, (inputs, lengths, labels) = HEADS[name](), toy_task()
    training, validation = split(120, seed=0)
    seen = []
    history = train(
        head,
        inputs,
        lengths,
        labels,
        training=training,
        validation=validation,
        recipe=Recipe(epochs=12, rate=2e-2, tokens=100, bf16=bf16),
        seed=0,
        report=seen.append,
    )
    assert seen == history
    best = min(history, key=lambda epoch: epoch.validation_loss)
    logits = predict(head, inputs, lengths, validation, bf16=bf16)
    kept, accuracy = scores(logits, labels[validation])
    assert kept == pytest.approx(best.validation_loss, abs=1e-5)
    assert accuracy > (0.7 if name == "first" else 0.85)


class Scaled(nn.Module):
    """Logits that are the inputs times the one parameter, which begins as 1."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, lengths):
        return self.scale * x


@pytest.mark.parametrize("size", [0.5, 100.0])
def test_an_epoch_counts_each_review_once_and_steps_by_each_batch_alone(size):
    model, labels = Scaled(), torch.tensor([1, 1, 0, 0, 1, 0])
    x = size * torch.tensor([9.0, 1.0, 0.4, -0.7, -0.3, 0.2])
    training, order = torch.tensor([1, 2, 3, 4, 5]), [torch.tensor([3, 1]), torch.tensor([4, 0, 2])]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    inputs = lambda rows: (x[rows], torch.ones(len(rows)))
    found = sentiment.train_epoch(
        model, inputs, labels, training, order, optimiser, schedule, bf16=False
    )
    assert found == pytest.approx(scores(x[training], labels[training]))
    last = training[order[-1]]
    slope = ((x[last].sigmoid() - labels[last]) * x[last]).mean()
    torch.testing.assert_close(model.scale.grad, slope.clamp(-1, 1), rtol=1e-4, atol=1e-6)
    assert (abs(slope) > 1) == (size == 100)  # it is clipped to one


def test_the_rate_follows_its_lines_over_all_epochs(monkeypatch):
    rates, train_epoch = [], sentiment.train_epoch

    def watched(*arguments, **how):
        optimiser = arguments[5]
        if not rates:
            note = lambda *_: rates.append(optimiser.param_groups[0]["lr"])
            optimiser.register_step_pre_hook(note)
        return train_epoch(*arguments, **how)

    monkeypatch.setattr(sentiment, "train_epoch", watched)
    inputs, lengths, labels = toy_task(40)
    recipe = Recipe(epochs=2, rate=0.5, tokens=64, warmup=0.25)
    rows = torch.arange(40)
    train(
        FirstTokenHead(width=WIDTH), inputs, lengths, labels,
        training=rows, validation=rows, recipe=recipe, seed=0,
    )  # fmt: skip
    expected = [0.5 * rate_factor(step, len(rates), 0.25) for step in range(len(rates))]
    assert rates == pytest.approx(expected)
    assert len(rates) >= 6


def test_predictions_come_in_the_order_asked_for():
    torch.manual_seed(0)
    head, (inputs, lengths, _) = HEADS["gru"](), toy_task(30)
    rows = torch.randperm(30)
    scattered = predict(head, inputs, lengths, rows, tokens=20)
    torch.testing.assert_close(scattered, predict(head, inputs, lengths, torch.arange(30))[rows])


def test_a_loss_that_is_not_finite_stops():
    head, (inputs, lengths, labels) = HEADS["attention"](), toy_task(20)
    nn.init.constant_(head.output[-1].bias, math.nan)
    rows = torch.arange(20)
    recipe = Recipe(epochs=1)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(head, inputs, lengths, labels, training=rows, validation=rows, recipe=recipe, seed=0)


def test_the_rate_rises_then_falls_in_lines():
    assert [rate_factor(s, 10, 0.2) for s in (0, 1, 2, 6, 10)] == [0, 0.5, 1, 0.5, 0]
    assert rate_factor(0, 4, 0.0) == 1


def test_heads_survive_a_file(tmp_path):
    head, other = HEADS["gru"](), HEADS["gru"]()
    save_head(head, tmp_path / "new" / "head.safetensors")
    load_head(other, tmp_path / "new" / "head.safetensors")
    assert all(a.equal(b) for a, b in zip(head.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="does not hold this head's weights"):
        load_head(HEADS["attention"](), tmp_path / "new" / "head.safetensors")
    (tmp_path / "half").write_bytes(b"half of a file")
    with pytest.raises(ValueError, match="does not hold this head's weights"):
        load_head(other, tmp_path / "half")


# The notebook's proofs, up to the training, each broken by one change.


@pytest.fixture(scope="module")
def proofs():
    return Proofs("sentiment_transformer", sentiment, without=(), until="folds = layer_probe(")


def test_every_claim_holds_before_anything_is_trained(proofs):
    assert all(proofs.claims.values()), proofs.claims


MUTATIONS = [
    ("vocabulary", "vocabulary = encoder.tokenizer.vocab_size", "vocabulary = 30_521"),
    ("split", "VALIDATION_SHARE = 0.3", "VALIDATION_SHARE = 0.4"),
    ("split", "return order[held_out:]", "return order[held_out - 1 :]"),
    ("labels", '("negative", "positive")', '("positive", "negative")'),
    ("parameters", "self.output = nn.Linear(2 * hidden, 1)", "self.output = nn.Linear(hidden, 1)"),
    ("parameters", "encoder.requires_grad_(not frozen)", "encoder.requires_grad_(frozen)"),
    ("packed", "ours = gru(x, lengths)", "ours = gru(x, torch.full_like(lengths, 40))"),
    ("packed", "packed = gru.packed(x, lengths)", "packed = gru.packed(x.flip(1), lengths)"),
]


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"sentiment/{name}", old, new)


def test_each_claim_has_a_mutation(proofs):
    assert {f"sentiment/{name}" for name, _, _ in MUTATIONS} == set(proofs.claims)
