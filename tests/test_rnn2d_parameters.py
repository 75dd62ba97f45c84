"""The 2D RNN: its evaluations, its counts, and proofs that break when they should."""

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs, verified

from helpers import rnn2d_parameters as rnn2d
from helpers.rnn2d_parameters import ConvNet, RNN2d, count_by_scalars, sensitivity

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "data" / "results" / "rnn2d_parameters"

few = settings(deadline=None, max_examples=15, derandomize=True)
small = st.integers(1, 5)
seeds = st.integers(0, 2**31)
borders = st.sampled_from(rnn2d.BORDERS)


def by_the_equation(net, image):
    """States (n, m, h) of one image (c, n, m), as the equation says, in NumPy."""
    W, U, V = (layer.weight.detach().numpy() for layer in (net.pixel, net.above, net.left))
    _, n, m = image.shape
    h = np.zeros((n + 1, m + 1, len(W)))  # row 0 and column 0 lie outside the image
    for i, j in product(range(n), range(m)):
        h[i + 1, j + 1] = np.tanh(W @ image[:, i, j].numpy() + U @ h[i, j + 1] + V @ h[i + 1, j])
    return torch.from_numpy(h[1:, 1:])


@few
@given(n=small, m=small, h=small, c=small, border=borders, seed=seeds)
def test_both_evaluations_are_the_equation(n, m, h, c, border, seed):
    torch.manual_seed(seed)
    net = RNN2d(channels=c, hidden=h, border=border).double()
    images = torch.randn(2, c, n, m, dtype=torch.float64)
    expected = torch.stack([by_the_equation(net, image) for image in images])
    torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.node_by_node(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("border", rnn2d.BORDERS)
def test_both_evaluations_have_the_same_gradients(border):
    torch.manual_seed(0)
    net = RNN2d(channels=2, hidden=3, border=border).double()
    images = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    weights = list(net.parameters())
    one = torch.autograd.grad(net(images).square().sum(), weights)
    two = torch.autograd.grad(net.node_by_node(images).square().sum(), weights)
    torch.testing.assert_close(one, two)


def counted_by_hand(n, h, c, border):
    """Multiplications and additions, node by node: m products are added in m − 1 additions."""
    products = additions = 0
    for i, j in product(range(n), repeat=2):
        neighbours = 2 if border == "padded" else (i > 0) + (j > 0)
        terms = c + neighbours * h
        products += h * terms
        additions += h * (terms - 1)
    return products, additions


@few
@given(n=st.integers(1, 40), h=st.integers(1, 99), c=st.integers(1, 99), border=borders)
def test_closed_forms_are_the_count_by_hand(n, h, c, border):
    products, additions = counted_by_hand(n, h, c, border)
    assert rnn2d.rnn_multiplications(n, h, c, border) == products
    assert rnn2d.rnn_additions(n, h, c, border) == additions
    assert rnn2d.rnn_operations(n, h, c, border) == products + additions


@few
@given(n=small, h=st.integers(1, 3), c=st.integers(1, 3), border=borders, seed=seeds)
def test_scalars_compute_what_the_module_computes_and_count_it(n, h, c, border, seed):
    torch.manual_seed(seed)
    net, image = RNN2d(channels=c, hidden=h).double(), torch.randn(c, n, n).double()
    states, tally = count_by_scalars(net, image, border)
    torch.testing.assert_close(states, net(image[None])[0], rtol=0, atol=1e-12)
    assert (tally["multiplications"], tally["additions"]) == counted_by_hand(n, h, c, border)
    assert tally["activations"] == n * n * h
    assert tally["depth"] == 2 * n - 1


@pytest.mark.parametrize("border", rnn2d.BORDERS)
@pytest.mark.parametrize("layers", [1, 3])
def test_scalars_count_convolutions(layers, border):
    torch.manual_seed(layers)
    net = ConvNet(channels=2, hidden=3, layers=layers).double()
    image = torch.randn(2, 4, 4).double()
    states, tally = count_by_scalars(net, image, border)
    torch.testing.assert_close(states, net(image[None])[0], rtol=0, atol=1e-12)
    assert sum(weight.numel() for weight in net.parameters()) == rnn2d.conv_parameters(3, 2, layers)
    assert tally["multiplications"] == rnn2d.conv_multiplications(4, 3, 2, layers, border)
    both = tally["multiplications"] + tally["additions"]
    assert both == rnn2d.conv_operations(4, 3, 2, layers, border)
    assert tally["depth"] == layers


def test_convolutions_at_a_skipped_border_counted_by_hand():
    inside = sum(
        0 <= i + di < 5 and 0 <= j + dj < 5
        for i, j in product(range(5), repeat=2)
        for di, dj in product((-1, 0, 1), repeat=2)
    )
    assert rnn2d.conv_multiplications(5, 1, 1, 1, "skipped") == inside


@pytest.mark.parametrize("kind", ["rnn", "convnet"])
def test_sensitivity_is_the_finite_difference(kind):
    torch.manual_seed(0)
    settings = {"channels": 1, "hidden": 2, "activation": torch.tanh}
    net = (RNN2d(**settings) if kind == "rnn" else ConvNet(**settings, layers=1)).double()
    generator = torch.Generator().manual_seed(4)
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=generator)  # as it draws it
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for i, j in product(range(4), repeat=2):
        moved = torch.zeros_like(image)
        moved[0, 0, i, j] = 1e-6
        with torch.no_grad():
            change = (net(image + moved) - net(image - moved))[0, 2, 1] / 2e-6
        expected[i, j] = change.abs().max()
    measured = sensitivity(net, 4, (2, 1), seed=4)
    torch.testing.assert_close(measured, expected, rtol=1e-6, atol=1e-9)
    assert torch.equal(measured > 0, expected > 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"hidden": -1}, "hidden is -1"),
        ({"border": "none"}, "border 'none' is not one of padded, skipped"),
    ],
)
def test_bad_sizes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RNN2d(**{"channels": 1, "hidden": 1} | wrong)


def test_a_convnet_has_a_layer():
    with pytest.raises(ValueError, match="layers is 0"):
        ConvNet(channels=1, hidden=1, layers=0)


# The notebook's proofs. Its cells run once, without figures and without training; then each
# proof is broken on purpose, by one change in the notebook or in the module.


@pytest.fixture(scope="module")
def proofs():
    return Proofs(
        "rnn2d_parameters",
        rnn2d,
        without=("plt.subplots", "= fashion_mnist("),
        until="results = []",
    )


MUTATIONS = [
    ("evaluations-agree", "previous, first - 1, count)", "previous, first, count)"),
    ("parameter-count", "+ 2 * hidden**2 for hidden", "+ hidden**2 for hidden"),
    ("parameter-count", "bias=False)  # U, (h, h)", "bias=True)  # U, (h, h)"),
    ("multiplications", "(p.c + 2 * p.h)).all()", "(p.c + p.h)).all()"),
    ("multiplications", 'self.tally["multiplications"] += 1', 'self.tally["multiplications"] += 2'),
    ("additions", "(p.c + 2 * p.h - 1)", "(p.c + 2 * p.h)"),
    ("operations", "(2 * p.c + 4 * p.h - 1)", "(2 * p.c + 4 * p.h + 1)"),
    ("operations", "zip(matrices, (0, -1, 0), (0, 0, -1)", "zip(matrices, (0, -1, 0), (0, 0, -2)"),
    ("border", "- 4 * s.n * s.h**2", "- 2 * s.n * s.h**2"),
    ("border", 'if neighbour is None and border == "padded"', "if neighbour is None"),
    ("operations-large", "== 2 * rnn2d.rnn_multiplications", "== rnn2d.rnn_multiplications"),
    ("operations-large", "F.pad(matrix(inside), ends)", "matrix(F.pad(inside, ends))"),
    ("exponents", 'g["n"] ** 2 * g["h"]', 'g["n"] * g["h"]'),
    ("exponents", 'close("h, far below c", 1)', 'close("h, far below c", 2)'),
    ("sequential-steps", "== 2 * m - 1", "== 2 * m"),
    ("sequential-steps", "self.tally, self.depth + 1", "self.tally, 1"),
    ("convnet-counts", "9 * (k.L - 1) * k.h**2", "9 * k.L * k.h**2"),
    ("convnet-counts", "(3 * bare.n - 2) ** 2", "(3 * bare.n - 1) ** 2"),
    ("price-per-parameter", "k.h * k.L)).all()", "k.h)).all()"),
    ("same-width", "deep.parameters >= 4.5 * small", "deep.parameters >= 9 * small"),
    ("receptive-field", "(row <= i) & (column <= j)", "(row <= i) | (column <= j)"),
    ("receptive-field", "(abs(column - j) <= reach)", "(abs(column - j) < reach)"),
    ("receptive-field", "previous, first - 1, count)", "previous, first, count)"),
    ("convnet-depth", "m - 1 <= L", "m <= L"),
    ("gradient-paths", "math.comb(a + b, a) *", "math.comb(a + b + 1, a) *"),
    ("gradient-paths", "u**a * v**b * w", "u**b * v**a * w"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert proofs.claims[f"rnn2d/{name}"]
    assert not proofs.holds(f"rnn2d/{name}", old, new)


def trained(proofs, **shares):
    """The claims about training if the runs had gone like this: shares of right pixels."""
    rows = [
        {"task": task, "depth": depth, "parameters": 1, "pixels": pixels, "last": last}
        for (task, depth), runs in {
            ("context", 0): shares["context_rnn"],
            ("context", 2): shares["context_convnet"],
            ("texture", 0): [(pixels, 0) for pixels in shares["texture_rnn"]],
            ("texture", 2): [(pixels, 0) for pixels in shares["texture_convnet"]],
        }.items()
        for pixels, last in runs
    ]
    state, claims = proofs.state | {"results": pd.DataFrame(rows)}, {}
    for cell in proofs.cells[proofs.stop + 1 :]:
        if "def runs_of" in cell or "rnn2d/context-task" in cell:
            claims |= proofs.run(cell, state)
    return claims


GOOD = {
    "context_rnn": [(0.30, 0.50), (0.29, 0.45)],
    "context_convnet": [(0.22, 0.20), (0.23, 0.25)],
    "texture_rnn": [0.23, 0.24],
    "texture_convnet": [0.29, 0.28],
}


def test_training_claims_hold_where_each_network_wins_its_task_in_each_run(proofs):
    assert trained(proofs, **GOOD) == {"rnn2d/context-task": True, "rnn2d/texture-task": True}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("context", {"context_rnn": [(0.30, 0.50), (0.22, 0.45)]}),  # one run is no better
        ("context", {"context_rnn": [(0.30, 0.50), (0.29, 0.24)]}),  # nor at the last pixel
        ("texture", {"texture_convnet": [0.29, 0.23]}),
        ("texture", {"texture_rnn": [0.23, 0.30]}),
    ],
)
def test_training_claims_fail_if_one_run_goes_the_other_way(proofs, name, change):
    assert not trained(proofs, **GOOD | change)[f"rnn2d/{name}-task"]


RUN = {
    "context-pixels": {"rnn": 39, "convnet": 28, "convnet-4": 40, "convnet-6": 39},
    "context-last": {"rnn": 60, "convnet": 17, "convnet-4": 32, "convnet-6": 29},
}


def deeper(proofs, run):
    """The claim about deeper convnets if the recorded run had these figures."""
    metrics = {}
    for name, values in run.items():
        task, key = name.split("-")
        metrics |= {f"rnn2d/{task}-{slug}-{key}": value for slug, value in values.items()}
    sweep = {"parameters": {"depths": [2, 4, 6]}, "metrics": metrics}
    state, claims = proofs.state | {"sweep": sweep, "spelled": str}, {}
    for cell in proofs.cells[proofs.stop + 1 :]:
        if "def figures" in cell or "rnn2d/deeper-convnets" in cell:
            claims |= proofs.run(cell, state)
    return claims["rnn2d/deeper-convnets"]


@pytest.mark.parametrize(
    ("name", "change", "holds"),
    [
        ("context-pixels", {}, True),
        ("context-pixels", {"convnet-4": 35, "convnet-6": 35}, False),  # not level with the RNN
        ("context-pixels", {"convnet": 38}, False),  # depth made no difference
        ("context-last", {"convnet-6": 58}, False),  # the last pixel is no trouble
    ],
)
def test_claim_about_deeper_convnets_depends_on_the_record(proofs, name, change, holds):
    assert deeper(proofs, RUN | {name: RUN[name] | change}) == holds


def test_every_claim_of_the_answer_is_proved_and_broken(proofs):
    named = verified("rnn2d_parameters")
    tasks = {"rnn2d/context-task", "rnn2d/texture-task", "rnn2d/deeper-convnets"}
    assert named == set(proofs.claims) | tasks
    assert {f"rnn2d/{name}" for name, _, _ in MUTATIONS} == set(proofs.claims)


@pytest.mark.parametrize("tile", [15, 5])
def test_a_canvas_is_made_of_tiles_and_every_pixel_has_its_picture_as_label(proofs, tile):
    pictures = torch.arange(20.0)[:, None, None].expand(20, 15, 15)  # picture k is k everywhere
    generator = torch.Generator().manual_seed(0)
    data = pictures, torch.arange(20)
    pixels, labels = proofs.state["canvases"](data, tile, 8, generator)
    assert pixels.shape == (8, 1, 15, 15)
    assert torch.equal(pixels[:, 0].long(), labels)
    tiles = labels.unfold(1, tile, tile).unfold(2, tile, tile).flatten(3)  # (8, g, g, t²)
    assert (tiles == tiles[..., :1]).all()
    assert len(tiles[..., 0].unique()) > (8 if tile == 5 else 3)


def test_tiles_keep_their_orientation(proofs):
    pictures = torch.arange(225.0).view(1, 15, 15)
    data = pictures, torch.zeros(1, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    pixels, _ = proofs.state["canvases"](data, 5, 3, generator)
    assert (pixels[..., 1:5, 0] - pixels[..., 0:4, 0] == 15).all()
    assert (pixels[..., 0, 1:5] - pixels[..., 0, 0:4] == 1).all()
    whole, _ = proofs.state["canvases"](data, 15, 1, generator)
    assert torch.equal(whole[0, 0], pictures[0])


@pytest.mark.parametrize("depth", [0, 2, 4, 6])
def test_trained_networks_have_nearly_the_same_size(proofs, depth):
    sizes = [
        sum(weight.numel() for weight in proofs.state["build"](layers).parameters())
        for layers in (0, depth)
    ]
    assert math.isclose(*sizes, rel_tol=0.05)


@pytest.mark.parametrize("depth", [0, 2])
def test_training_learns_to_tell_bright_from_dark(proofs, depth):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(30) % 2
    data = torch.randn(30, 15, 15, generator=generator) + 2 * labels[:, None, None] - 1, labels
    proofs.state |= {"fit": data, "steps": 12}
    scores, labels = proofs.state["scores"](proofs.state["train"](depth, 15, 0.02, 1), data, 15)
    assert (scores.argmax(-1) == labels)[:, -1, -1].double().mean() > 0.8


def test_recorded_runs_are_full_and_hold():
    paths = list(RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        record = json.loads(path.read_text())
        assert record["parameters"]["profile"] == "full"
        assert "stand-in" not in record["stamp"]["data"]
        assert all(record["claims"].values())
