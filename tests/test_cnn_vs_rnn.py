"""CNNs and RNNs on images: the networks, their probes, and proofs that break when they should."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs, verified

from helpers import cnn_vs_rnn as im
from helpers import datasets
from helpers.cnn_vs_rnn import ConvNet, RowRNN

ROOT = Path(__file__).parent.parent
ANSWER = ROOT / "solutions_latex" / "answers" / "cnn_vs_rnn.tex"

few = settings(deadline=None, max_examples=20, derandomize=True)


def seen_by(network, row, column):
    """The pixels that a feature of the network depends on: first and last row and column."""
    image = torch.rand(1, 1, 64, 64, dtype=torch.double, requires_grad=True)
    network.features(image)[..., row, column].sum().backward()
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


def test_a_feature_sees_the_field_and_the_next_one_is_a_stride_away():
    torch.manual_seed(0)
    network = ConvNet(channels=16).double().eval()
    top, bottom, left, right = seen_by(network, 7, 8)
    assert bottom - top + 1 == right - left + 1 == ConvNet.FIELD
    below = seen_by(network, 8, 8)
    assert below[:2] == (top + ConvNet.STRIDE, bottom + ConvNet.STRIDE)


@few
@given(height=st.integers(4, 40), width=st.integers(4, 40))
def test_the_convnet_reads_any_size(height, width):
    network = ConvNet(channels=2, classes=3).eval()
    assert network(torch.rand(2, 1, height, width)).shape == (2, 3)


def test_the_plain_cell_computes_the_recurrence():
    network = RowRNN(width=5, hidden=3, cell="tanh").double()
    weights = network.rnn
    image, h = torch.rand(1, 1, 4, 5, dtype=torch.double), torch.zeros(3, dtype=torch.double)
    for x in image[0, 0]:
        h = torch.tanh(
            weights.weight_ih_l0 @ x
            + weights.bias_ih_l0
            + weights.weight_hh_l0 @ h
            + weights.bias_hh_l0
        )
    torch.testing.assert_close(network(image)[0], network.head(h))


@few
@given(cut=st.integers(1, 8), cell=st.sampled_from(["gru", "tanh"]), seed=st.integers(0, 99))
def test_reading_goes_on_where_it_stopped(cut, cell, seed):
    torch.manual_seed(seed)
    network, images = RowRNN(width=4, hidden=5, cell=cell).double(), torch.rand(3, 1, 9, 4).double()
    whole, end = network.read(images)
    upper, state = network.read(images[:, :, :cut])
    lower, state = network.read(images[:, :, cut:], state)
    torch.testing.assert_close(torch.cat([upper, lower], 1), whole)
    torch.testing.assert_close(state, end)
    torch.testing.assert_close(network(images), whole[:, -1])


@few
@given(down=st.integers(-7, 7), right=st.integers(-7, 7))
def test_shifts_move_and_fill_with_black(down, right):
    image = torch.rand(1, 1, 6, 5) + 1
    moved = im.shift(image, down=down, right=right)
    for i in range(6):
        for j in range(5):
            inside = 0 <= i - down < 6 and 0 <= j - right < 5
            expected = image[0, 0, i - down, j - right] if inside else 0
            assert moved[0, 0, i, j] == expected


def test_depth_is_that_of_the_longest_chain():
    a, b, c = (torch.rand(2, 2, requires_grad=True) for _ in range(3))
    assert im.sequential_depth(a + b) == 0
    assert im.sequential_depth(a @ b + b @ c) == 1
    assert im.sequential_depth((a @ b) @ (b @ c)) == 2
    assert im.sequential_depth((a @ b @ c).tanh() @ a + b @ c) == 3
    power = a
    for _ in range(3000):  # longer than Python's recursion limit
        power = power @ b
    assert im.sequential_depth(power) == 3000


def test_gradients_of_rows_are_quadratic_means_over_images():
    network = RowRNN(width=4, hidden=3, classes=2).double()
    images, labels = torch.rand(3, 1, 5, 4).double(), torch.tensor([0, 1, 1])
    squares = torch.zeros(5, dtype=torch.double)
    for image, label in zip(images, labels, strict=True):
        pixels = image[None].clone().requires_grad_()
        F.cross_entropy(network(pixels), label[None]).backward()
        squares += pixels.grad[0, 0].square().sum(1)
    torch.testing.assert_close(im.row_gradients(network, images, labels), (squares / 3).sqrt())


def test_jacobians_are_products_of_one_factor_for_each_row():
    network = RowRNN(width=4, hidden=3, cell="tanh").double()
    image = torch.rand(1, 6, 4).double()
    states, _ = network.rnn(image)
    expected = torch.eye(3, dtype=torch.double)
    jacobians = im.state_jacobians(network, image)
    for t in range(6, -1, -1):
        torch.testing.assert_close(jacobians[t], expected)
        if t:
            factor = (1 - states[0, t - 1] ** 2)[:, None] * network.rnn.weight_hh_l0
            expected = expected @ factor


def test_stacked_images_keep_their_distances():
    upper, lower = torch.ones(2, 1, 3, 4), 2 * torch.ones(2, 1, 3, 4)
    canvas = im.stack_apart(upper, lower, gap=2, margin=1)
    assert canvas[0, 0, :, 0].tolist() == [0, 1, 1, 1, 0, 0, 2, 2, 2, 0]
    assert canvas.shape == (2, 1, 10, 4)


def test_the_loss_counts_each_row_alike():
    logits, labels = torch.randn(4, 6, 3), torch.tensor([0, 2, 1, 1])
    by_row = torch.stack([F.cross_entropy(logits[:, t], labels) for t in range(6)])
    torch.testing.assert_close(im.cross_entropy(logits, labels), by_row.mean())
    torch.testing.assert_close(im.cross_entropy(logits[:, 0], labels), by_row[0])


def test_accuracy_is_a_share_of_images_for_each_row():
    logits = F.one_hot(torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]]), 2)
    labels = torch.tensor([0, 1, 0, 0])
    images = torch.arange(4)
    assert im.accuracy(lambda i: logits[i], images, labels).tolist() == [0.75, 0.75]
    assert im.accuracy(lambda i: logits[i, 0], images, labels).item() == 0.75


def bars(count, seed):
    """Images of a horizontal (0) or a vertical (1) bar somewhere."""
    torch.manual_seed(seed)
    labels, places = torch.randint(2, (count,)), torch.randint(1, 11, (count,))
    images = torch.zeros(count, 1, 12, 12)
    for image, label, place in zip(images, labels, places, strict=True):
        image[0].select(int(label), int(place)).fill_(1)
    return images, labels


@pytest.mark.parametrize("make", [ConvNet, lambda classes: RowRNN(width=12, classes=classes)])
def test_networks_learn_and_training_repeats(make):
    images, labels = bars(200, 0)

    def trained():
        torch.manual_seed(1)
        return im.fit(make(classes=2), images, labels, epochs=5, batch=32, seed=1)

    network = trained()
    assert not network.training
    assert im.accuracy(network, *bars(100, 1)) > 0.9
    assert torch.equal(network(images), trained()(images))


def test_training_may_use_every_row():
    images, labels = bars(64, 0)
    torch.manual_seed(0)
    network = RowRNN(width=12, classes=2)
    used = []

    def every_row(model, images):
        used.append(model)
        return model.read(images)[0]

    im.fit(network, images, labels, epochs=1, batch=32, predict=every_row)
    assert used == [network] * 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvNet(channels=0), "channels is 0"),
        (lambda: ConvNet(padding="mirror"), "padding 'mirror' is not one of zeros, circular"),
        (lambda: RowRNN(width=8, hidden=-1), "hidden is -1"),
        (lambda: RowRNN(width=8, cell="lstm"), "cell 'lstm' is not one of gru, tanh"),
        (lambda: im.fit(ConvNet(), *bars(4, 0), epochs=0), "epochs is 0"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# The notebook's proofs. Its cells run once, on random images and without training. What is true
# of the networks as such holds even so; what they must have learned does not. Then each other
# proof is broken on purpose, by one change in the notebook or in the helpers.

LEARNED = {
    "shift-sideways",
    "shift-down",
    "learned-memory",
    "early-answers",
    "order-remembered",
    "row-order",
    "any-size",
}
CHANCE = {"equal-parameters", "equal-accuracy"}  # without training either way round


def random_images(split, profile, limit):
    """As many images as asked for, of noise."""
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (limit, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (limit,), generator=generator)
    return datasets.Images(images, labels, tuple("0123456789"), "noise")


@pytest.fixture(scope="module")
def proofs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "fashion_mnist", random_images)
        patch.setattr(im, "fit", lambda model, *data, **settings: model.eval())
        yield Proofs("cnn_vs_rnn", im)


def test_every_claim_of_the_answer_is_proved_and_every_number_recorded(proofs):
    assert verified("cnn_vs_rnn") == set(proofs.claims)
    assert set(re.findall(r"\\val\{([^}]*)\}", ANSWER.read_text())) <= set(proofs.records)


def test_only_what_must_be_learned_fails_without_training(proofs):
    failed = {name.split("/")[1] for name, holds in proofs.claims.items() if not holds}
    assert failed - CHANCE == LEARNED


MUTATIONS = [
    ("equal-parameters", "channels=8)\n", "channels=9)\n"),
    ("equal-accuracy", 'rungs.accuracy >= scores["CNN"]', "rungs.accuracy >= 0"),
    ("equal-accuracy", "in (2 * hidden, 4 * hidden)]", "in (2 * hidden, 2 * hidden)]"),
    ("equivariance", '(2,) * 4, mode="circular")', "(2,) * 4)"),
    ("column-order", "[:, order]", "[:, order.argsort()]"),
    ("parameter-counts", "79 * c", "78 * c"),
    ("parameter-counts", "3 * h * (w + h + 2)", "4 * h * (w + h + 2)"),
    ("sequential-depth", "[n + 1 for n in resolutions]", "[n for n in resolutions]"),
    ("sequential-depth", "max(map(depth.get, before), default=0)", "0"),
    ("parallelism", "cost.multiplications / cost.depth", "cost.multiplications * cost.depth"),
    ("gradient-bound", "** distance", "** (distance + 1)"),
    ("gradient-bound", "diagonal().sum()", "diagonal().sum() * 100"),
    ("vanishing-gradient", "norms / norms.max()", "norms / norms"),
    ("vanishing-gradient", "weight_hh_l0, 2)", "weight_hh_l0 / 2, 2)"),
    ("streaming", "rnn.read(row, state)", "rnn.read(row)"),
    ("online-cost", "itertools.accumulate(fresh)", "fresh"),
    ("online-cost", "3 * hidden * (size + hidden) +", "3 * hidden * hidden +"),
    ("cnn-streams", "first = max(0, i - 2)", "first = max(0, i - 1)"),
    ("cnn-streams", "torch.maximum(largest, features)", "features"),
    ("order-blind", "ConvNet.FIELD - 1, 16", "ConvNet.FIELD - 5, 16"),
    ("order-blind", "ConvNet.FIELD - 1, 16", "ConvNet.FIELD - 1, 4"),
    ("stride", "whole[::4, ::4]", "whole[::2, ::2]"),
    ("stride", 'padding="circular").double()', 'padding="zeros").double()'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"cnn-vs-rnn/{name}", old, new)


def test_each_claim_has_a_mutation_or_needs_training(proofs):
    broken = {name for name, _, _ in MUTATIONS} | LEARNED
    assert {f"cnn-vs-rnn/{name}" for name in broken} == set(proofs.claims)
