"""The recurrence, the rule it follows, and proofs that break when they should."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from proofs import Proofs, verified

from helpers import rnn_recurrence
from helpers.rnn_recurrence import LinearRNN, compare_positions

HOMEWORK = LinearRNN()
integers = st.integers(-(10**30), 10**30)
small = st.integers(-5, 5)
networks = st.builds(LinearRNN, w_x=small, w_h=small, b_h=small, w_y=small, b_y=small, h_0=small)


def output(inputs):
    return HOMEWORK.readout(HOMEWORK.states(inputs)[-1]).item()


@given(networks, st.lists(integers, max_size=40))
def test_every_weight_counts(rnn, inputs):
    T = len(inputs)
    driven = sum(rnn.w_h ** (T - t) * (rnn.w_x * x + rnn.b_h) for t, x in enumerate(inputs, 1))
    assert rnn.states(inputs)[-1] == driven + rnn.w_h**T * rnn.h_0


@given(networks, small)
def test_the_readout_is_the_sigmoid_with_weight_and_bias(rnn, h):
    expected = 1 / (1 + math.exp(-(rnn.w_y * h + rnn.b_y)))
    assert rnn.readout(h).item() == pytest.approx(expected, rel=1e-5)
    double = rnn.readout(torch.tensor(h, dtype=torch.float64)).item()
    assert double == pytest.approx(expected, rel=1e-12)


@given(st.lists(integers, max_size=60))
def test_the_rule_compares_the_last_parity_with_the_other(inputs):
    lead = sum(x if (len(inputs) - t) % 2 == 0 else -x for t, x in enumerate(inputs, 1))
    y = 1 if lead > 0 else 0 if lead < 0 else 0.5
    assert output(inputs) == compare_positions(inputs) == y


# The notebook's proofs, each broken by one wrong formula in the notebook or in the helpers.


@pytest.fixture(scope="module")
def proofs():
    return Proofs("rnn_recurrence", rnn_recurrence)


WRONG = [
    ("closed-form", "w_ ** (T - t) * (wx_", "w_ ** (T - t + 1) * (wx_"),
    ("closed-form", "(wx_ * x + b_)", "(wx_ * x)"),
    ("closed-form", "w_**T * h0_", "h0_"),
    ("closed-form", "(-1) ** (len(xs) - t)", "(-1) ** t"),
    ("even-length", "even - odd if", "odd - even if"),
    ("even-length", "(lead > 0) + 0.5 *", "(lead > 0) + 0 *"),
    ("even-length", "10**434", "10**435"),
    ("tie", "0.5 * (lead == 0)", "0.0 * (lead == 0)"),
    ("tie", "[7] * 1000, pairs", "[7] * 999, pairs"),
    ("tie", "xs[-1] + by]", "xs[-1] + 2 * by + 1]"),
    ("length-1000", "odd, even = sum(", "even, odd = sum("),
    ("length-1000", "(lead > 0)", "(lead > 1)"),
    ("odd-length", "rule = compare_positions(batch)", "rule = 1 - compare_positions(batch)"),
    ("odd-length", "torch.cat([ten, zero]))[-1], -last", "torch.cat([ten, zero]))[-1], last"),
    ("odd-length", "torch.cat([zero, ten]))[-1], last", "torch.cat([zero, ten]))[-1], -last"),
    ("saturation-one", "torch.float32: (24,", "torch.float32: (25,"),
    ("saturation-one", "torch.float64: (53,", "torch.float64: (52,"),
    ("saturation-zero", "(24, 128)", "(24, 150)"),
    ("saturation-zero", "(53, 1024)", "(53, 1023)"),
    ("float32-exact", "N = 2**24", "N = 2**25"),
    ("float32-exact", "N = 2**24", "N = 2**23"),
    ("gradient", "torch.tensor([-1.0, 1.0]).repeat(500)", "torch.tensor([1.0, -1.0]).repeat(500)"),
    ("gradient", "homework.states(x)[-1]", "homework.states(x)[-2]"),
    ("output-gradient", "250 * alternating", "1000 * alternating"),
    ("output-gradient", "(6, 7, 8)", "(6, 7, 7)"),
    ("output-gradient", "homework.readout(last_state(x))", "torch.sigmoid(last_state(x))"),
    ("horner", "(xs, sympy", "(xs[::-1], sympy"),
    ("horner", ".eval(w)", ".eval(-w)"),
]


@pytest.mark.parametrize(("name", "old", "new"), WRONG)
def test_a_wrong_formula_fails(proofs, name, old, new):
    assert not proofs.holds(f"rnn/{name}", old, new)


def test_every_claim_of_the_answer_is_proved_and_can_fail(proofs):
    can_fail = {f"rnn/{name}" for name, _, _ in WRONG}
    assert verified("rnn_recurrence") == can_fail == set(proofs.claims)
    assert all(proofs.claims.values()), proofs.claims
