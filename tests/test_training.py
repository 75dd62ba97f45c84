"""Training: the split, the augmentation, the schedule, the choice of an epoch, repeatability."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers import training, vit
from helpers.training import Epoch, ImageSet, Recipe

few = settings(deadline=None, max_examples=25, derandomize=True)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def bright_or_dark(count=64, seed=0):
    """Images that are easy to tell apart: label 1 is bright on the left, label 0 is not."""
    labels = torch.arange(count) % 2
    images = torch.randint(0, 100, (count, 28, 28), generator=draws(seed), dtype=torch.uint8)
    images[labels == 1, :, :14] += 150
    return ImageSet(images, labels)


def tiny_model(seed=0, **changes):
    torch.manual_seed(seed)
    return vit.VisionTransformer(layers=1, heads=2, width=16, classes=2, **changes)


class Constant(nn.Module):
    """Scores that ignore the image; a linear layer at each end so that there is what to train."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([2.0, 1.0]))

    def forward(self, images):
        return self.scores.expand(len(images), 2)


@few
@given(count=st.integers(2, 300), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_the_split_uses_every_row_once(count, share, seed):
    held_out = min(max(1, int(share * count)), count - 1)
    rows, held = training.split(count, held_out, seed=seed)
    assert len(held) == held_out
    assert torch.equal(torch.cat([rows, held]).sort().values, torch.arange(count))
    again, _ = training.split(count, held_out, seed=seed)
    assert torch.equal(rows, again)


def test_the_split_depends_on_the_seed():
    first, second = (training.split(1000, 100, seed=seed)[1] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first.sort().values, torch.arange(100))


@pytest.mark.parametrize("held_out", [0, 10, 11, -1])
def test_a_split_that_leaves_nothing_is_refused(held_out):
    with pytest.raises(ValueError, match=f"cannot hold out {held_out} of 10"):
        training.split(10, held_out, seed=0)


def shifted(image, down, right, mirrored):
    """One image moved the slow way; black moves in."""
    image = image.flip(1) if mirrored else image
    moved = torch.zeros_like(image)
    H, W = image.shape
    for r in range(H):
        for c in range(W):
            if 0 <= r - down < H and 0 <= c - right < W:
                moved[r, c] = image[r - down, c - right]
    return moved


@pytest.mark.parametrize("mirror", [False, True])
def test_augmentation_draws_from_all_shifts_and_no_others(mirror):
    image = torch.randint(1, 256, (5, 4), generator=draws(), dtype=torch.uint8)
    batch = training.augment(image.expand(1500, 5, 4), shift=1, mirror=mirror, generator=draws(1))
    steps = (-1, 0, 1)
    allowed = [
        shifted(image, down, right, mirrored)
        for down in steps
        for right in steps
        for mirrored in {False, mirror}
    ]
    hits = torch.stack([(batch == one).all((1, 2)) for one in allowed])  # (kinds, 1500)
    assert torch.equal(hits.sum(0), torch.ones(1500, dtype=torch.int64))
    counts = hits.sum(1) / 1500 * len(allowed)
    assert ((counts > 0.6) & (counts < 1.4)).all()  # over three standard deviations


def test_no_augmentation_changes_nothing():
    images = bright_or_dark().images
    same = training.augment(images, shift=0, mirror=False, generator=draws())
    assert torch.equal(same, images)


def test_normalised_pixels_are_centred():
    black_white = training.normalise(torch.tensor([0, 255], dtype=torch.uint8))
    expected = torch.tensor([-0.286, 1 - 0.286]) / 0.353
    torch.testing.assert_close(black_white, expected)


@few
@given(warmup=st.floats(0.01, 0.9), progress=st.floats(0, 1))
def test_rates_rise_to_one_and_fall_to_zero(warmup, progress):
    factor = lambda p: training.rate_factor(p, warmup)
    assert 0 <= factor(progress) <= 1
    assert factor(0) == 0
    assert factor(warmup) == pytest.approx(1)
    assert factor(1) == pytest.approx(0, abs=1e-12)
    nearby = min(1.0, progress + 1e-6)
    change = factor(nearby) - factor(progress)
    assert change >= 0 or nearby > warmup
    assert change <= 0 or progress < warmup
    assert abs(change) < 2e-4  # no jump


def test_halfway_down_the_cosine_the_rate_is_half():
    assert training.rate_factor(0.55, 0.1) == pytest.approx(0.5)


def test_muon_gets_the_matrices_of_the_blocks():
    model = tiny_model()
    adamw, muon = training.make_optimizers(model, Recipe(epochs=1, weight_decay=0.3))
    names = {id(p): name for name, p in model.named_parameters()}
    inner = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    block = model.blocks[0]
    matrices = [block.attention.qkv, block.attention.out, block.up, block.down]
    assert inner == {names[id(m.weight)] for m in matrices}
    decaying, steady = ({names[id(p)] for p in g["params"]} for g in adamw.param_groups)
    assert decaying == {"embed.weight", "classify.weight"}
    assert inner | decaying | steady == set(names.values())
    assert len(inner) + len(decaying) + len(steady) == len(names)
    decays = [group["weight_decay"] for o in (adamw, muon) for group in o.param_groups]
    assert decays == [0.3, 0.0, 0.3]


def test_without_muon_adamw_gets_everything():
    model = tiny_model()
    (adamw,) = training.make_optimizers(model, Recipe(epochs=1, rule="adamw"))
    found = [p for group in adamw.param_groups for p in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in model.parameters()}
    assert len(found) == len(list(model.parameters()))


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule 'sgd'"):
        Recipe(epochs=1, rule="sgd")


def test_a_pass_takes_every_image_at_most_once_in_random_order():
    images = torch.arange(50, dtype=torch.uint8)[:, None, None].expand(50, 28, 28)
    data = ImageSet(images, torch.arange(50))
    recipe = Recipe(epochs=1, batch=8, shift=0, mirror=False)
    parts = list(training.batches(data, recipe, draws()))
    assert [len(part) for part in parts] == [8] * 6
    labels = torch.cat([part.labels for part in parts])
    assert len(set(labels.tolist())) == 48
    assert labels.tolist() != sorted(labels.tolist())
    assert all(torch.equal(part.images[:, 0, 0].long(), part.labels) for part in parts)


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_training_learns_what_can_be_learned(rule):
    model = tiny_model()
    recipe = Recipe(epochs=6, batch=16, rule=rule, rate=0.01, mirror=False, shift=1)
    history = training.train(model, bright_or_dark(), bright_or_dark(seed=1), recipe=recipe, seed=0)
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss
    assert training.validate(model, bright_or_dark(seed=2))[1] > 0.95


def test_what_a_step_looks_at_may_change_from_epoch_to_epoch():
    model, data, seen = tiny_model(), bright_or_dark(), []

    def begin(number):
        model.kept = 10 * number
        seen.append(number)

    first = training.train(
        model, data, data, recipe=Recipe(epochs=3, batch=16), seed=0, begin=begin
    )
    assert seen == [1, 2, 3]
    assert model.kept == 30
    second = training.train(tiny_model(), data, data, recipe=Recipe(epochs=3, batch=16), seed=0)
    assert first[-1].loss != second[-1].loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_seed_fixes_every_bit(dtype):
    def run(seed):
        model = tiny_model(seed, kept=30, dtype=dtype)
        torch.seed()  # what was drawn before does not count
        recipe = Recipe(epochs=2, batch=16)
        data = bright_or_dark()
        history = training.train(model, data, data, recipe=recipe, seed=seed)
        facts = [(e.loss, e.validation_loss, e.validation_accuracy) for e in history]
        return facts, torch.nn.utils.parameters_to_vector(model.parameters())

    (facts, weights), (same_facts, same), (other_facts, other) = run(0), run(0), run(1)
    assert facts == same_facts
    assert torch.equal(weights, same)
    assert facts != other_facts
    assert not torch.equal(weights, other)


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_all_rates_follow_the_schedule_over_the_whole_training(monkeypatch, rule):
    found, step = [], training.train_step

    def watched(model, batch, optimizers, smoothing):
        found.append([group["lr"] for o in optimizers for group in o.param_groups])
        return step(model, batch, optimizers, smoothing)

    monkeypatch.setattr(training, "train_step", watched)
    data, recipe = bright_or_dark(), Recipe(epochs=2, batch=16, rule=rule, warmup=0.25)
    training.train(tiny_model(), data, data, recipe=recipe, seed=0)
    peaks = torch.tensor([2e-3, 2e-3, 0.01][: len(found[0])], dtype=torch.float64)
    shares = [training.rate_factor((i + 0.5) / 8, 0.25) for i in range(8)]
    expected = torch.outer(torch.tensor(shares, dtype=torch.float64), peaks)
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)
    assert len(found[0]) == (3 if rule == "muon" else 2)


def test_an_epoch_tells_the_mean_loss_and_the_seconds_of_its_training_alone(monkeypatch):
    clock = [0.0]

    def taking(seconds, work):
        def timed(*arguments):
            clock[0] += seconds
            return work(*arguments)

        return timed

    monkeypatch.setattr(training, "_now", lambda data: clock[0])
    monkeypatch.setattr(training, "train_step", taking(1.0, training.train_step))
    monkeypatch.setattr(training, "validate", taking(100.0, training.validate))
    data = ImageSet(bright_or_dark().images, torch.zeros(64, dtype=torch.int64))
    recipe = Recipe(epochs=2, batch=16, rate=0.0, smoothing=0.2)
    right = math.log(1 + math.exp(-1))
    for epoch in training.train(Constant(), data, data, recipe=recipe, seed=0):
        assert epoch.loss == pytest.approx(right + 0.1)  # of smoothing
        assert epoch.validation_loss == pytest.approx(right)
        assert epoch.seconds == 4.0


def test_a_step_goes_down_the_gradient_of_its_own_batch():
    model, data = Constant(), ImageSet(bright_or_dark().images, torch.ones(64, dtype=int))
    other = ImageSet(data.images, torch.zeros(64, dtype=torch.int64))
    for batch in (other, data):
        before = model.scores.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        training.train_step(model, batch, [optimizer], smoothing=0.0)
        step = 0.5 * (before.softmax(0) - torch.eye(2)[batch.labels[0]])
        torch.testing.assert_close(model.scores, before - step)


def test_the_weights_of_the_best_epoch_are_kept(monkeypatch):
    seen = []

    def validate(model, data):
        seen.append(model.scores.detach().clone())
        return 0.0, [0.3, 0.7, 0.7, 0.5][len(seen) - 1]

    monkeypatch.setattr(training, "validate", validate)
    model = Constant()
    data = bright_or_dark()
    history = training.train(model, data, data, recipe=Recipe(epochs=4, batch=16), seed=0)
    assert training.best_epoch(history).epoch == 2
    assert torch.equal(model.scores, seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_the_first_of_equal_epochs_is_the_best():
    history = [Epoch(n, 1.0, 1.0, accuracy, 1.0) for n, accuracy in enumerate([0.1, 0.4, 0.4])]
    assert training.best_epoch(history).epoch == 1


def test_accuracy_is_total_correct_over_all_whatever_the_batches():
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 1])
    data = ImageSet(torch.zeros(7, 28, 28, dtype=torch.uint8), labels)
    loss, accuracy = training.validate(Constant(), data)
    assert accuracy == 4 / 7  # the constant model says 0
    right = math.log(1 + math.exp(-1))
    assert loss == pytest.approx((4 * right + 3 * (right + 1)) / 7)


def test_predictions_do_not_depend_on_the_batch_size():
    model = tiny_model(kept=30).train()
    images = bright_or_dark().images
    torch.testing.assert_close(
        training.predict(model, images, batch=7), training.predict(model, images, batch=64)
    )
    assert not model.training


def test_smoothing_spreads_a_share_of_the_label():
    model, data = Constant(), bright_or_dark()
    loss = training.train_step(model, data, [], smoothing=0.2)
    right = math.log(1 + math.exp(-1))  # of label 0; label 1 costs 1 more
    assert loss.item() == pytest.approx(right + 0.5)
    data = ImageSet(data.images, torch.zeros(64, dtype=torch.int64))
    loss = training.train_step(model, data, [], smoothing=0.2)
    assert loss.item() == pytest.approx(right + 0.1)


def test_a_batch_larger_than_the_data_is_refused():
    data = bright_or_dark()
    with pytest.raises(ValueError, match="batches of 65 need at least 65 images, not 64"):
        training.train(tiny_model(), data, data, recipe=Recipe(epochs=1, batch=65), seed=0)


def test_a_loss_that_is_not_finite_stops_the_training():
    data, model = bright_or_dark(), Constant()
    model.scores.data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        training.train(model, data, data, recipe=Recipe(epochs=2, batch=16), seed=0)
