"""What a computation costs: operations and live memory, counted exactly, and time, measured."""

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


def parameter_count(model: torch.nn.Module) -> int:
    """Number of trained numbers."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def operations(function: Callable, *arguments) -> int:
    """Multiplications and additions in the matrix products of ``function(*arguments)``.

    PyTorch's counter: 2abc for a product (a × b)(b × c). It does not count element-wise work,
    products of a matrix and a vector, or what happens inside fused attention on the CPU.
    """
    from torch.utils.flop_counter import FlopCounterMode  # half a second, which not all need

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops()


class Number:
    """A number that adds to ``tally`` what is computed with it.

    NumPy computes with arrays of them, and ``A @ b`` then does what is written: an inner product
    of length m is m multiplications and m − 1 additions. ``depth`` is the largest number of
    tanh on any path that led to the number: steps that no parallel hardware can save.
    """

    __slots__ = ("depth", "tally", "value")

    def __init__(self, value: float, tally: Counter, depth: int = 0):
        self.value, self.tally, self.depth = value, tally, depth

    def _next(self, kind: str, value: float, depth: int = 0) -> "Number":
        self.tally[kind] += 1
        return Number(value, self.tally, max(self.depth, depth))

    def __mul__(self, other: "Number") -> "Number":
        return self._next("multiplications", self.value * other.value, other.depth)

    def __add__(self, other: "Number") -> "Number":
        return self._next("additions", self.value + other.value, other.depth)

    def __sub__(self, other: "Number | float") -> "Number":
        return self._next("additions", self.value - getattr(other, "value", other))

    def __truediv__(self, other: "Number | float") -> "Number":
        return self._next("divisions", self.value / getattr(other, "value", other))

    def exp(self) -> "Number":
        return self._next("exponentials", math.exp(self.value))

    def tanh(self) -> "Number":
        return self._next("activations", math.tanh(self.value), self.depth + 1)


def numbers(values, tally: Counter) -> np.ndarray:
    """An array of ``Number``, of the shape of the array or tensor ``values``."""
    values = values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return np.frompyfunc(lambda value: Number(float(value), tally), 1, 1)(values)


def plain(array: np.ndarray) -> torch.Tensor:
    """The values of an array of ``Number``, in float64."""
    values = [number.value for number in array.flat]
    return torch.tensor(values, dtype=torch.float64).view(array.shape)


class _LiveBytes(TorchDispatchMode):
    """Watches which storages there are, each once however many views it has."""

    def __init__(self):
        super().__init__()
        self.peak, self._live = 0, WeakIdKeyDictionary()  # a storage leaves when it is freed

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        for storage in _storages((args, kwargs)):
            self._live.setdefault(storage, 0)  # was there before
        result = operation(*args, **(kwargs or {}))
        for storage in _storages(result):
            self._live.setdefault(storage, storage.nbytes())
        self.peak = max(self.peak, sum(self._live.values()))
        return result


def _storages(tree) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def memory(function: Callable, *arguments) -> int:
    """The most bytes alive at once of what ``function(*arguments)`` allocates, result included.

    Sees every tensor that an operation returns, not the scratch memory inside one fused kernel.
    """
    with torch.no_grad(), _LiveBytes() as counter:
        function(*arguments)
    return counter.peak


def seconds(function: Callable, *arguments, repeats: int = 5, at_least: float = 0.02) -> float:
    """Processor seconds of the calling thread, the least of several runs after one to warm up.

    Time in which other programs have the processor is not counted, nor is the work of other
    threads: call ``torch.set_num_threads(1)`` before. Runs ``repeats`` times, and on until
    the runs have taken ``at_least`` seconds together.
    """
    times = []
    with torch.no_grad():
        function(*arguments)
        while len(times) < repeats or sum(times) < at_least:
            start = time.thread_time()
            function(*arguments)
            times.append(time.thread_time() - start)
    return min(times)
