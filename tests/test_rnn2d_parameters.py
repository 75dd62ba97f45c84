"""The 2D RNN: its evaluations, its counts, and proofs that break when they should."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from proofs import Proofs, verified

from helpers import rnn2d_parameters as rnn2d
from helpers.pdf.notebook import code_cells, read_notebook
from helpers.rnn2d_parameters import RNN2d, sensitivity


def by_the_equation(net, image):
    """States (n, m, h) of one image (c, n, m), as the equation says, in NumPy."""
    W_in, W_left, W_top = (W.weight.detach().numpy() for W in (net.W_in, net.W_left, net.W_top))
    _, n, m = image.shape
    h = np.zeros((n + 1, m + 1, len(W_in)))  # row 0 and column 0 lie outside the image
    for i, j in product(range(n), range(m)):
        inputs = W_in @ image[:, i, j].numpy() + W_left @ h[i + 1, j] + W_top @ h[i, j + 1]
        h[i + 1, j + 1] = np.tanh(inputs)
    return torch.from_numpy(h[1:, 1:])


@pytest.mark.parametrize(
    ("n", "m", "h", "c"), [(1, 1, 2, 3), (4, 4, 3, 2), (2, 5, 3, 1), (5, 2, 1, 2)]
)
def test_both_evaluations_are_the_equation_and_have_the_same_gradients(n, m, h, c):
    torch.manual_seed(0)
    net, images = RNN2d(channels=c, hidden=h).double(), torch.randn(2, c, n, m).double()
    expected = torch.stack([by_the_equation(net, image) for image in images])
    gradients = []
    for states in (net(images), net.node_by_node(images)):
        torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
        gradients.append(torch.autograd.grad(states.square().sum(), list(net.parameters())))
    torch.testing.assert_close(*gradients)


def test_sensitivity_is_the_finite_difference():
    torch.manual_seed(0)
    net = RNN2d(channels=1, hidden=2).double()
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


# The notebook's proofs. Its cells run once, without figures and without training; then each
# proof is broken on purpose, by one change in the notebook or in the module.


@pytest.fixture(scope="module")
def proofs():
    left_out = ("= panels(", "= fashion_mnist(", "= halve(")
    return Proofs("rnn2d_parameters", rnn2d, without=left_out, until="results = []")


TRAINED = {"rnn2d/context-task", "rnn2d/texture-task", "rnn2d/last-pixel"}


MUTATIONS = [
    ("evaluations-agree", ", latest[first + 1 : last + 1]\n", ", latest[first:last]\n"),
    ("parameter-count", "+ 2 * hidden**2 for hidden", "+ hidden**2 for hidden"),
    ("parameter-count", "bias=False)  # (h, c)", "bias=True)  # (h, c)"),
    ("multiplications", "z.h * (z.c + 2 * z.h)\n", "z.h * (z.c + z.h)\n"),
    ("multiplications", "W_left, (i, j - 1)), (W_top", "W_left, (i - 1, j)), (W_top"),
    ("additions", "(z.c + 2 * z.h - 1)", "(z.c + 2 * z.h)"),
    ("border", "saved = 2 * z.n", "saved = 4 * z.n"),
    ("border", "if node in states or not skip:", "if True:"),
    ("operations-large", "twice = [2 * n**2", "twice = [n**2"),
    ("sequential-steps", "m: [*range(1, m), m, ", "m: [*range(1, m), "),
    ("sequential-steps", "z.depth == 2 * z.n - 1", "z.depth == 2 * z.n"),
    ("convnet-counts", "9 * (k.L - 1) * k.h**2", "9 * k.L * k.h**2"),
    ("convnet-counts", "(2 * P - k.h * k.L)", "(2 * P - k.h)"),
    ("convnet-counts", "k.depth == k.L)", "k.depth == k.n)"),
    ("receptive-field", "(row <= i) & (column <= j)", "(row <= i) | (column <= j)"),
    ("receptive-field", "(abs(column - j) <= reach)", "(abs(column - j) < reach)"),
    ("gradient-paths", "math.comb(a + b, a) *", "math.comb(a + b + 1, a) *"),
    ("gradient-paths", "w_top**a * w_left**b", "w_top**b * w_left**a"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"rnn2d/{name}", old, new)


def test_every_claim_of_the_answer_is_proved_and_can_fail(proofs):
    can_fail = {f"rnn2d/{name}" for name, _, _ in MUTATIONS}
    assert can_fail == set(proofs.claims)
    assert verified("rnn2d_parameters") <= can_fail | TRAINED
    assert all(proofs.claims.values()), proofs.claims


def trained(proofs, **changed):
    """The claims about training if the runs had gone like this: all pixels, last pixel, vote."""
    shares = {
        "context_rnn": [(30, 50, 60), (29, 45, 60)],
        "context_convnet": [(22, 20, 61), (23, 25, 60)],
        "texture_rnn": [(23, 40, 30), (24, 41, 31)],
        "texture_convnet": [(29, 30, 40), (28, 31, 41)],
    } | changed
    rows = [
        {"task": name.split("_")[0], "depth": 0 if "rnn" in name else 2,
         "pixels": pixels, "last": last, "vote": vote}
        for name, runs in shares.items() for pixels, last, vote in runs
    ]  # fmt: skip
    state, claims = proofs.state | {"results": pd.DataFrame(rows)}, {}
    state["TILES"] = {"context": 15, "texture": 5}
    for cell in proofs.cells[proofs.stop + 1 :]:
        if "def runs" in cell or "wide_view" in cell:
            claims |= proofs.run(cell, state)
    return claims


def test_training_claims_hold_where_each_run_goes_as_told(proofs):
    assert trained(proofs) == dict.fromkeys(TRAINED, True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("context-task", {"context_rnn": [(30, 50, 60), (22, 45, 60)]}),  # one run is no better
        ("texture-task", {"texture_convnet": [(29, 30, 40), (23, 31, 41)]}),
        ("texture-task", {"texture_rnn": [(23, 40, 30), (24, 41, 42)]}),  # better by its vote
        ("last-pixel", {"context_convnet": [(22, 46, 61), (23, 25, 60)]}),
        ("last-pixel", {"texture_rnn": [(23, 40, 30), (24, 30, 31)]}),
    ],
)
def test_training_claims_fail_if_one_run_goes_the_other_way(proofs, name, change):
    assert not trained(proofs, **change)[f"rnn2d/{name}"]


@pytest.mark.filterwarnings("ignore::helpers.data.StandInWarning")
def test_training_claims_hold_on_the_stand_in(proofs, folder):
    """Without data there would be no PDF: the cells that train, as they are, on the digits."""
    cells = [cell.source for cell in code_cells(read_notebook(proofs.path))]
    cells = [cell for cell in cells if "= panels(" not in cell]
    (load,) = (cell for cell in cells if "= fashion_mnist(" in cell)
    (start,) = (i for i, cell in enumerate(cells) if "def canvases(" in cell)
    state, claims = proofs.state | {"repeats": 2, "steps": 50}, {}
    for cell in [load, *cells[start:]]:
        claims |= proofs.run(cell, state)
    assert state["training"].stand_in
    assert claims == dict.fromkeys(TRAINED, True), state["results"]


def test_all_figures_of_a_trained_network_are_of_its_tiles(proofs):
    """Scores that name the class in a tile's last column only: a fifth of the pixels."""
    state, tile = dict(proofs.state), 5
    (cell,) = (cell for cell in proofs.cells if "def evaluate" in cell)
    labels = torch.arange(9).view(1, 3, 3)
    scores = torch.zeros(1, 15, 15, 10)
    scores[..., 9] = 1.0  # wrong everywhere
    for row, column in product(range(15), (4, 9, 14)):
        scores[0, row, column, labels[0, row // tile, column // tile]] = 6.0
    state |= {"canvases": lambda *_: (None, labels), "tests": None}
    proofs.run(cell, state)
    found = state["evaluate"](lambda pixels: scores, tile)
    assert {key: round(found[key], 4) for key in ("pixels", "last", "vote")} == {
        "pixels": 20, "last": 100, "vote": 100,
    }  # fmt: skip
    assert found["where"][:, [4, 9, 14]].min() == 1
