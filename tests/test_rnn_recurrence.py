"""The recurrence against its closed form, SymPy, torch.nn.RNN and exact integers."""

import math
from itertools import product

import matplotlib.pyplot as plt
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs, verified

from helpers import rnn_recurrence as recurrence
from helpers.rnn_recurrence import (
    LinearRNN,
    compare_positions,
    draw_graph,
    saturation_point,
    torch_states,
)

HOMEWORK = LinearRNN()
unhurried = settings(deadline=None)  # a busy machine is no failure
integers = st.integers(-(10**30), 10**30)
small = st.integers(-5, 5)
networks = st.builds(LinearRNN, w_x=small, w_h=small, b_h=small, w_y=small, b_y=small, h_0=small)


def even_less_odd(inputs):
    """Σ even positions − Σ odd positions, counted from 1, one input at a time."""
    return sum(x if position % 2 == 0 else -x for position, x in enumerate(inputs, start=1))


@given(networks, st.lists(integers, max_size=40))
@unhurried
def test_closed_form_equals_recurrence_for_any_weights(rnn, inputs):
    assert rnn.states(inputs)[-1] == rnn.closed_form(inputs)


def test_closed_form_on_symbols_is_the_induction_step():
    w_x, w_h, b_h, h_0 = sympy.symbols("w_x w_h b_h h_0")
    rnn = LinearRNN(w_x=w_x, w_h=w_h, b_h=b_h, h_0=h_0)
    x = sympy.symbols("x1:8")
    assert rnn.closed_form([]) == h_0
    for T in range(7):
        stepped = rnn.step(rnn.closed_form(x[:T]), x[T])
        assert sympy.expand(stepped - rnn.closed_form(x[: T + 1])) == 0


@given(st.integers(-12, 12), st.lists(integers, max_size=40))
@unhurried
def test_recurrence_is_horners_rule(w_h, inputs):
    polynomial = sympy.Poly(inputs or [0], sympy.Symbol("z"))
    assert LinearRNN(w_h=w_h).states(inputs)[-1] == polynomial.eval(w_h)


@given(st.lists(integers, max_size=60))
@unhurried
def test_even_length_compares_even_with_odd(inputs):
    inputs = inputs[: len(inputs) // 2 * 2]
    lead = even_less_odd(inputs)
    y = HOMEWORK.readout(HOMEWORK.states(inputs)[-1]).item()
    assert y == (1 if lead > 0 else 0 if lead < 0 else 0.5)
    assert compare_positions(inputs) == y


@given(st.lists(integers, max_size=60), integers)
@unhurried
def test_odd_length_exchanges_the_sides(inputs, last):
    inputs = [*inputs[: len(inputs) // 2 * 2], last]
    lead = even_less_odd(inputs)
    y = HOMEWORK.readout(HOMEWORK.states(inputs)[-1]).item()
    assert y == (0 if lead > 0 else 1 if lead < 0 else 0.5)
    assert compare_positions(inputs) == y


@pytest.mark.parametrize("T", range(7))
def test_every_short_sequence(T):
    for inputs in product((-1, 0, 1), repeat=T):
        y = HOMEWORK.readout(HOMEWORK.states(inputs)[-1])
        assert y == compare_positions(inputs)


@pytest.mark.parametrize(
    ("inputs", "y"),
    [
        ([7] * 1000, 0.5),
        ([7] * 999 + [8], 1),
        ([8] + [7] * 999, 0),
        ([1, -1] * 500, 0),
        ([-1, 1] * 500, 1),
        ([10**30] * 999 + [10**30 + 1], 1),
        ([0] * 1000, 0.5),
        ([5], 1),
        ([-5], 0),
        ([], 0.5),
    ],
)
def test_length_1000_and_edges(inputs, y):
    assert HOMEWORK.readout(HOMEWORK.states(inputs)[-1]) == y
    assert compare_positions(inputs) == y


@given(networks, st.lists(st.lists(small, min_size=3, max_size=3), min_size=1, max_size=5))
@unhurried
def test_agrees_with_torch_rnn(rnn, rows):
    inputs = torch.tensor(rows, dtype=torch.float64)  # (T, 3)
    assert torch.equal(torch_states(rnn, inputs), torch.stack(rnn.states(inputs)[1:]))


def test_agrees_with_torch_rnn_at_length_1000():
    inputs = torch.randint(-16_777, 16_778, (1000, 8))  # (T, batch), within float32's bound
    exact = HOMEWORK.states(inputs)[-1]
    assert torch.equal(torch_states(HOMEWORK, inputs.float())[-1], exact.float())
    assert torch.equal(HOMEWORK.states(inputs.float())[-1].long(), exact)
    assert torch.equal(HOMEWORK.readout(exact), compare_positions(inputs).float())


@given(st.lists(st.integers(-(2**18), 2**18), min_size=1, max_size=64))
@unhurried
def test_float32_is_exact_within_its_bound(inputs):
    assert sum(map(abs, inputs)) <= 2**24
    assert HOMEWORK.states(torch.tensor(inputs).float())[-1] == HOMEWORK.states(inputs)[-1]


def test_float32_fails_beyond_its_bound():
    inputs = [2**24, -1, 0, 2**24]
    single = HOMEWORK.states(torch.tensor(inputs).float())[-1]
    assert HOMEWORK.readout(single) == 0.5
    assert HOMEWORK.readout(HOMEWORK.states(inputs)[-1]) == compare_positions(inputs) == 0


@pytest.mark.parametrize(
    ("dtype", "bits", "overflow"), [(torch.float32, 24, 128), (torch.float64, 53, 1024)]
)
def test_sigmoid_saturates_where_rounding_says(dtype, bits, overflow):
    one, zero = saturation_point(dtype, 1), saturation_point(dtype, 0)
    assert one == pytest.approx(bits * math.log(2), rel=1e-5)
    assert zero == pytest.approx(overflow * math.log(2), rel=1e-5)
    z = torch.tensor([one, -zero], dtype=dtype)
    assert torch.sigmoid(z).tolist() == [1, 0]
    inward = torch.sigmoid(torch.nextafter(z, torch.zeros_like(z)))
    assert inward[0] < 1
    assert inward[1] > 0


@given(networks, small)
@unhurried
def test_the_readout_is_the_sigmoid_with_weight_and_bias(rnn, h):
    expected = 1 / (1 + math.exp(-(rnn.w_y * h + rnn.b_y)))
    assert rnn.readout(h).item() == pytest.approx(expected, rel=1e-5)
    double = rnn.readout(torch.tensor(h, dtype=torch.float64)).item()
    assert double == pytest.approx(expected, rel=1e-12)


@given(integers.filter(bool))
@unhurried
def test_integers_saturate_exactly(h):
    assert HOMEWORK.readout(h) == (h > 0)


@pytest.mark.parametrize("T", [1, 2, 999, 1000])
def test_gradient_neither_vanishes_nor_explodes(T):
    x = torch.randn(T, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(HOMEWORK.states(x)[-1], x)
    assert gradient.tolist() == [(-1) ** (T - t) for t in range(1, T + 1)]


@pytest.mark.parametrize(("last", "size"), [(3.0, 250.0), (4.0, 0.0), (2.0, 0.0)])
def test_output_gradient_lives_on_ties_only(last, size):
    x = torch.tensor([3.0] * 9 + [last], requires_grad=True)
    (gradient,) = torch.autograd.grad(HOMEWORK.readout(HOMEWORK.states(x)[-1]), x)
    assert gradient.abs().tolist() == [size] * 10


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="shape"):
        torch_states(HOMEWORK, torch.zeros(3))
    with pytest.raises(ValueError, match="floating"):
        torch_states(HOMEWORK, torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="saturates"):
        saturation_point(torch.float32, 2)


def test_graph_shows_every_weight():
    figure = draw_graph(LinearRNN(w_x=2, w_h=-3, b_h=5, w_y=7, b_y=11, h_0=13), steps=3)
    shown = " ".join(text.get_text() for text in figure.axes[0].texts)
    plt.close(figure)
    words = shown.split()
    assert words.count("2") == words.count("−3") == 3
    assert words.count("7") == 1
    for part in ("$h_0$ = 13", "$b_h$ = 5", "$b_y$ = 11", "$x_3$"):
        assert part in shown


# The notebook's proofs, each broken by one change in the notebook or in the helpers.


@pytest.fixture(scope="module")
def proofs():
    return Proofs("rnn_recurrence", recurrence, without=("gallery = {", "gain, dash in"))


def test_every_claim_of_the_answer_is_proved(proofs):
    assert verified("rnn_recurrence") <= set(proofs.claims)
    assert all(proofs.claims.values()), proofs.claims


MUTATIONS = [
    ("closed-form", "driven + self.w_h**T * self.h_0", "driven + self.h_0"),
    ("closed-form", "w * term(T, t) - term(T + 1, t)", "term(T, t) - term(T + 1, t)"),
    ("even-length", "even - odd if", "odd - even if"),
    ("even-length", "rnn.w_h * torch.outer(signs, signs)", "torch.outer(signs, signs)"),
    ("tie", "0.5 * (difference == 0)", "0.0 * (difference == 0)"),
    ("tie", "xs[-1] + by]", "xs[-1] + 0 * by]"),
    ("length-1000", "odd, even = sum(", "even, odd = sum("),
    ("odd-length", "homework.readout(homework.states(batch)[-1]),", "0 * batch[0],"),
    ("odd-length", "torch.zeros(1, trials", "torch.ones(1, trials"),
    ("saturation-one", "(24, 24 * log2,", "(24, 25 * log2,"),
    ("saturation-one", "== value:\n            high", "!= value:\n            high"),
    ("saturation-zero", "128 * log2),\n    torch.float64", "127 * log2),\n    torch.float64"),
    ("float32-exact", "[N, -1, 0, N]", "[N, -2, 0, N]"),
    ("float32-exact", "N // 64 + torch", "N // 16 + torch"),
    ("gradient", "self.w_h * h +", "0.999 * self.w_h * h +"),
    ("output-gradient", "(6, 8)", "(6, 7)"),
    ("output-gradient", "999 + [last]", "1000"),
    ("horner", "LinearRNN(w_h=10).states(number)", "LinearRNN(w_h=9).states(number)"),
    ("horner", "self.w_x * x + self.w_h", "self.w_x * x - self.w_h"),
]


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"rnn/{name}", old, new)


def test_each_claim_has_a_mutation(proofs):
    assert {f"rnn/{name}" for name, _, _ in MUTATIONS} == set(proofs.claims)
