"""Counters of operations and memory against what is known, and of time."""

from collections import Counter

import numpy as np
import pytest
import torch

from helpers.counting import memory, numbers, plain, seconds


def test_numbers_count_what_numpy_does_with_them():
    tally = Counter()
    A, b = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 0.5])
    layers = [np.tanh(numbers(A, tally) @ numbers(b, tally))]
    layers.append(np.tanh(layers[0].sum() / 2 - 1.0))
    assert plain(layers[0]).numpy() == pytest.approx(np.tanh(A @ b))
    assert layers[1].value == pytest.approx(np.tanh(np.tanh(A @ b).mean() - 1))
    assert [layers[0][0].depth, layers[1].depth] == [1, 2]
    assert tally == Counter(multiplications=6, additions=4 + 1 + 1, activations=3, divisions=1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("function", "peak"),
    [
        (lambda x: x + 1, 1),
        (lambda x: x + 1 + 1 + 1, 2),  # the first sum is gone before the third
        (lambda x: (x + 1).view(-1)[3:].view(1, -1), 1),  # views cost nothing
        (lambda x: x.view(-1)[3:], 0),  # a view of the input
        (lambda x: x.add_(1), 0),  # in place
        (lambda x: [x + 1, x + 2, x + 3], 3),
        (lambda x: torch.cat([x, x]), 2),
        (lambda x: [torch.cat([x + 1, x + 2]), x + 3], 4),
    ],
)
def test_memory_is_the_most_alive_at_once(function, peak, device):
    x = torch.zeros(10, 100, device=device)
    assert memory(function, x) == peak * 4000


@pytest.mark.parametrize(
    ("repeats", "at_least", "counted"), [(3, 0.0, 3), (1, 0.0, 1), (1, 7.5, 3), (2, 8.5, 4)]
)
def test_time_is_the_least_of_several_runs(monkeypatch, repeats, at_least, counted):
    """The runs take 9 seconds, which are not counted, then 5, 2, 1, ½ and 6."""
    clock, durations = [0.0], iter([9.0, 5.0, 2.0, 1.0, 0.5, 6.0])

    def work(tensor):
        clock[0] += next(durations)
        assert not (tensor * 2).requires_grad

    monkeypatch.setattr("helpers.counting.time.thread_time", lambda: clock[0])
    found = seconds(work, torch.ones(1, requires_grad=True), repeats=repeats, at_least=at_least)
    assert found == min([5.0, 2.0, 1.0, 0.5][:counted])
    assert len(list(durations)) == 5 - counted
