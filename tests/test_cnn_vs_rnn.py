"""CNNs and RNNs on images: the networks, their training, and proofs that break when they should."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from proofs import Proofs, verified

from helpers import cnn_vs_rnn, data
from helpers.cnn_vs_rnn import ConvNet, RowRNN, accuracy, fit, sequential_depth

ANSWER = Path(__file__).parents[1] / "solutions_latex" / "answers" / "cnn_vs_rnn.tex"
SETTINGS = {"batch": 32, "rate": 0.02, "seed": 1}


def test_a_feature_sees_the_field():
    image = torch.rand(1, 1, 64, 64, dtype=torch.double, requires_grad=True)
    ConvNet(16).double().eval().features(image)[..., 7, 8].sum().backward()
    for axis in image.grad[0, 0].nonzero(as_tuple=True):
        assert axis.max() - axis.min() + 1 == ConvNet.FIELD


def test_depth_is_that_of_the_longest_chain():
    a, b, c = (torch.rand(2, 2, requires_grad=True) for _ in range(3))
    assert sequential_depth(a + b) == 0
    assert sequential_depth(a @ b + b @ c) == 1
    assert sequential_depth((a @ b) @ (b @ c)) == 2
    assert sequential_depth((a @ b @ c).tanh() @ a + b @ c) == 3
    power = a
    for _ in range(3000):  # longer than Python's recursion limit
        power = power @ b
    assert sequential_depth(power) == 3000


class Fixed(torch.nn.Module):
    """A network whose logits are given; images are indices of them."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits.float())

    def forward(self, images):
        return self.logits[images]


def test_accuracy_is_a_share_of_images_for_each_row():
    logits = F.one_hot(torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]]), 2)  # (N, T, classes)
    images, labels = torch.arange(4), torch.tensor([0, 1, 0, 1])
    assert accuracy(Fixed(logits), images, labels).tolist() == [0.5, 0.5]
    assert accuracy(Fixed(logits[:, 0]), images, labels).item() == 0.5
    assert accuracy(Fixed(logits), images[:1], labels[:1]).tolist() == [1, 0]


def test_training_counts_each_row_alike():
    labels, rows = torch.tensor([0, 1]), torch.zeros(2, 3, 2)
    once = {"epochs": 1, "batch": 2, "rate": 0.1, "seed": 0}
    moved = fit(Fixed(rows), torch.arange(2), labels, **once).logits
    right = moved.gather(2, labels[:, None, None].expand(2, 3, 1))
    assert (right > 0).all()
    assert torch.allclose(right, right[0, 0])


def bars(count, seed):
    """Images of a horizontal (0) or a vertical (1) bar somewhere."""
    torch.manual_seed(seed)
    labels, places = torch.randint(2, (count,)), torch.randint(1, 11, (count,))
    images = torch.zeros(count, 1, 12, 12)
    for image, label, place in zip(images, labels, places, strict=True):
        image[0].select(int(label), int(place)).fill_(1)
    return images, labels


@pytest.mark.parametrize("make", [ConvNet, lambda: RowRNN(12)])
def test_networks_learn_and_training_repeats(make):
    def trained():
        torch.manual_seed(1)
        return fit(make(), *bars(200, 0), epochs=5, **SETTINGS)

    network, (images, labels) = trained(), bars(100, 1)
    assert accuracy(network, images, labels) > 0.9
    assert torch.equal(network(images), trained()(images))


# The notebook's proofs. Its cells run once, on noise and without training. What is true of the
# networks as such holds even so; what they must have learned does not. Then each other proof is
# broken by one wrong formula in the notebook or in the helpers.

LEARNED = {"shift-sideways", "shift-down", "learned-memory", "early-answers", "order-remembered"}


def noise(split, profile, limit):
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (300, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (300,), generator=generator)
    return data.Images(images, labels, tuple("0123456789"), "noise")


@pytest.fixture(scope="module")
def proofs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "fashion_mnist", noise)
        patch.setattr(cnn_vs_rnn, "fit", lambda model, *data, **settings: model.eval())
        yield Proofs("cnn_vs_rnn", cnn_vs_rnn)


def test_every_claim_of_the_answer_is_proved_and_every_number_recorded(proofs):
    assert verified("cnn_vs_rnn") == set(proofs.claims)
    assert set(re.findall(r"\\val\{([^}]*)\}", ANSWER.read_text())) <= set(proofs.records)


def test_only_what_must_be_learned_fails_without_training(proofs):
    assert {name.split("/")[1] for name, holds in proofs.claims.items() if not holds} == LEARNED


WRONG = [
    ("equivariance", '(2,) * 4, mode="circular")', "(2,) * 4)"),
    ("column-order", "[:, order]", "[:, order.argsort()]"),
    ("parameter-counts", "79 * c", "78 * c"),
    ("parameter-counts", "3 * h * (w + h + 2)", "3 * h * w * (w + h + 2)"),
    ("sequential-depth", "== cost.n + 1", "== cost.n"),
    ("sequential-depth", '"chain CNN"] == 4', '"chain CNN"] == 3'),
    ("sequential-depth", "max(map(depth.get, before), default=0)", "0"),
    ("parallelism", "9 * c**2", "8 * c**2"),
    ("parallelism", "+ 10 * h)", "+ 9 * h)"),
    ("parallelism", 'cost["multiplications RNN"] / cost', 'cost["multiplications RNN"] * cost'),
    ("gradient-product", "1 - states[t] ** 2", "1 - states[t - 1] ** 2"),
    ("vanishing-gradient", "values[15::8] / values[7:-8:8]", "values[15::8] / values[15::8]"),
    ("vanishing-gradient", "RowRNN(size), ConvNet()]", "ConvNet(), RowRNN(size)]"),
    ("streaming", "online.read(row, state)", "online.read(row)"),
    ("online-cost", "itertools.accumulate(fresh)", "fresh"),
    ("online-cost", "3 * hidden * (size + hidden) +", "3 * hidden * hidden +"),
    ("online-cost", "restarts[-1] / fresh[-1]", "restarts[-1] / one_pass[-1]"),
    ("order-blind", "ConvNet.FIELD - 1", "ConvNet.FIELD - 5"),
    ("order-blind", "black, lower, black], 2)", "black, black, lower], 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), WRONG)
def test_a_wrong_formula_fails(proofs, name, old, new):
    assert not proofs.holds(f"cnn-vs-rnn/{name}", old, new)


def test_each_claim_has_a_wrong_formula_or_needs_training(proofs):
    broken = {name for name, _, _ in WRONG} | LEARNED
    assert {f"cnn-vs-rnn/{name}" for name in broken} == set(proofs.claims)
