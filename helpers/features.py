"""What a frozen text encoder makes of reviews, computed once and kept on disk.

A frozen encoder gives the same features in every epoch. They are kept as one memory-mapped
array of half precision with a row per token, and no padding; what is not in memory is read
when a batch needs it. A cache is named after all that its numbers depend on: the encoder's
weights, the tokens (and with them texts, tokenizer and truncation) and the precision. An
interrupted computation goes on where it stopped.
"""

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from helpers.downloads import shown
from helpers.text_encoder import packed_layers

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerBase

FORMAT = "2"  # goes up when the numbers in a cache would come out differently
SPARE_BYTES = 1 << 30  # of disk that a cache leaves free
CHECKPOINT_TOKENS = 200_000  # computed between two notes of how far the work has come


def truncate(ids: Sequence[int], *, length: int, tail: int = 0) -> list[int]:
    """At most ``length`` of a review's tokens: the first ones, and ``tail`` of the last.

    ``ids`` begin with [CLS] and end with [SEP], and so does the result.
    """
    if not 0 <= tail <= length - 2:
        raise ValueError(f"tail = {tail}: with length {length} it lies in 0..{length - 2}")
    if len(ids) <= length:
        return list(ids)
    kept_last = tail + 1  # [SEP] is one of them
    return [*ids[: length - kept_last], *ids[-kept_last:]]


@dataclass(frozen=True)
class TokenRows:
    """Tokens of N reviews: ``ids`` (total,), int32, and ``starts`` (N + 1,), int64."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> "TokenRows":
        """From one list of token numbers for each review, none of them empty."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        if empty := [i for i, row in enumerate(arrays) if len(row) == 0]:
            raise ValueError(f"review {empty[0]} has no token at all, not even [CLS]")
        starts = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int32), *arrays]), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Tensor:
        """Tokens of each review (N,)."""
        return torch.from_numpy(np.diff(self.starts))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Token numbers of some reviews, padded with 0, which is [PAD]: (B, T), lengths (B,)."""
        parts = [torch.from_numpy(self.ids[slice(*self.span(row))]) for row in rows.tolist()]
        return _pad(parts).long(), self.lengths[rows]

    def span(self, row: int) -> tuple[int, int]:
        """Where a review's tokens begin and end."""
        return int(self.starts[row]), int(self.starts[row + 1])


@dataclass(frozen=True)
class Features:
    """Token features, float16 (total tokens, width), of the reviews of ``tokens``.

    ``seconds`` is what computing them took this time, 0 if they were in the cache.
    """

    array: np.ndarray
    tokens: TokenRows
    seconds: float = 0.0

    @property
    def lengths(self) -> Tensor:
        return self.tokens.lengths

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features of some reviews, padded with 0: float32 (B, T, width), lengths (B,)."""
        spans = [self.tokens.span(row) for row in rows.tolist()]
        parts = [torch.from_numpy(np.array(self.array[start:end])) for start, end in spans]
        return _pad(parts).float(), self.lengths[rows]


def _pad(parts: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)  # (B, T, …)


def tokenise(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", *, length: int, tail: int = 0
) -> TokenRows:
    """Reviews as token numbers, framed by [CLS] and [SEP], at most ``length`` of them.

    A longer review keeps its first ``length − tail`` tokens and ``tail`` of its last.
    """
    rows = tokenizer(list(texts), verbose=False)["input_ids"] if len(texts) else []
    return TokenRows.of(truncate(row, length=length, tail=tail) for row in rows)


def plan_batches(
    lengths: Tensor, *, tokens: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Indices of ``lengths``, each in one batch, of at most ``tokens`` padded tokens a batch.

    Reviews of similar length share a batch, so that little of it is padding. A review longer
    than ``tokens`` gets a batch of its own. With a generator, equal lengths meet in random
    company and batches come in random order; without, the longest come first.
    """
    keys = lengths.double()
    if generator is not None:  # within a tenth of one another lengths count as equal
        keys = keys * (1 + 0.1 * torch.rand(len(lengths), generator=generator))
    order = keys.argsort(descending=True, stable=True).tolist()
    batches, current, longest = [], [], 0
    for index in order:
        grown = max(longest, int(lengths[index]))
        if current and grown * (len(current) + 1) > tokens:
            batches.append(torch.tensor(current))
            current, grown = [], int(lengths[index])
        current.append(index)
        longest = grown
    if current:
        batches.append(torch.tensor(current))
    if generator is None:
        return batches
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


@torch.inference_mode()
def layer_means(
    model: "BertModel", tokens: TokenRows, rows: Tensor, *, bf16: bool = False, budget: int = 2_048
) -> Tensor:
    """Mean token vector of some reviews in each layer: (layers + 1, N, width), float32.

    Layer 0 is the embedding.
    """
    config = model.config
    means = torch.empty(config.num_hidden_layers + 1, len(rows), config.hidden_size)
    for batch in plan_batches(tokens.lengths[rows], tokens=budget):
        ids, lengths = (part.to(model.device) for part in tokens.batch(rows[batch]))
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
            layers = packed_layers(model, ids, lengths)
        states = torch.stack(layers).float()  # (layers + 1, total tokens, width)
        parts = [part.mean(1) for part in states.split(lengths.tolist(), dim=1)]
        means[:, batch] = torch.stack(parts, dim=1).cpu()
    return means


def linear_probe(x: Tensor, labels: Tensor, *, folds: int = 5) -> np.ndarray:
    """Accuracy (folds,) of logistic regression on x (N, width), cross-validated.

    What such a probe can tell, the features say plainly (Alain and Bengio 2016).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return cross_val_score(probe, x.numpy(), labels.numpy(), cv=folds)


def layer_probe(
    model: "BertModel", tokens: TokenRows, rows: Tensor, labels: Tensor, *, bf16: bool = False
) -> np.ndarray:
    """Accuracy of a linear probe of each layer, in %: (layers + 1, 5), a column for each fold."""
    means = layer_means(model, tokens, rows, bf16=bf16)
    return np.stack([100 * linear_probe(x, labels) for x in means])


def first_layers(model: "BertModel", count: int) -> "BertModel":
    """An encoder of the first ``count`` layers of another, with a copy of their weights.

    Raises ValueError if it has fewer.
    """
    if not 1 <= count <= model.config.num_hidden_layers:
        raise ValueError(f"layer {count}: the encoder has 1..{model.config.num_hidden_layers}")
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = count
    part = type(model)(config)
    part.load_state_dict(model.state_dict(), strict=False)  # the rest is left out
    return part.to(model.device).eval()


def digest_of(model: "BertModel") -> str:
    """SHA-256 of a model's weights, with their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def cache_key(model: "BertModel", tokens: TokenRows, *, bf16: bool) -> str:
    """The name of a cache: a digest of everything that its numbers depend on."""
    digest = hashlib.sha256(f"{FORMAT} {bf16} {digest_of(model)}".encode())
    digest.update(tokens.starts.tobytes())
    digest.update(tokens.ids.tobytes())
    return digest.hexdigest()[:24]


def frozen_features(
    model: "BertModel",
    tokens: TokenRows,
    *,
    folder: Path,
    bf16: bool = False,
    budget: int | None = None,
    say: Callable[[str], None] = print,
) -> Features:
    """Features of reviews from the cache in ``folder``, computed first if they are not there.

    ``budget`` is the number of padded tokens in a batch; by default small batches, which fit
    a processor's cache, or large ones on a GPU. ``say`` is told the size before anything is
    written. Raises ValueError for a model in training mode, and OSError, before the work
    begins, if the disk is too full. A cache whose checksum is wrong is made again.
    """
    if model.training:
        raise ValueError("the encoder is in training mode: its dropout would be cached; eval() it")
    budget = budget or (65_536 if model.device.type == "cuda" else 2_048)
    path = Path(folder) / f"{cache_key(model, tokens, bf16=bf16)}.npy"
    shape = (int(tokens.starts[-1]), model.config.hidden_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # who wants the same features waits for them
        if (array := _read(path, shape, say)) is not None:
            return Features(array, tokens)
        start = time.perf_counter()
        part, progress = path.with_suffix(".part"), path.with_suffix(".progress")
        plan = plan_batches(tokens.lengths, tokens=budget)
        array, done = _resume(part, progress, shape, budget, say)
        since = 0
        for number, rows in enumerate(plan[done:], done + 1):
            _fill(array, model, tokens, rows, bf16=bf16)
            since += int(tokens.lengths[rows].sum())
            if since >= CHECKPOINT_TOKENS:
                array.flush()
                progress.write_text(json.dumps({"budget": budget, "batches": number}))
                since = 0
        array.flush()
        _note(path).write_text(json.dumps({"sha256": _checksum(array), "shape": shape}))
        part.replace(path)
        progress.unlink(missing_ok=True)
    return Features(np.load(path, mmap_mode="r"), tokens, time.perf_counter() - start)


def _resume(
    part: Path, progress: Path, shape: tuple[int, int], budget: int, say: Callable[[str], None]
) -> tuple[np.ndarray, int]:
    """The array to fill, and how many of the planned batches an earlier run has put into it."""
    try:
        array = np.load(part, mmap_mode="r+")
        note = json.loads(progress.read_text())
        if array.shape == shape and note["budget"] == budget:
            say(f"going on with the features in {shown(part)} after {note['batches']:,} batches")
            return array, note["batches"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing there to go on with
    _announce(part, shape, say)
    progress.unlink(missing_ok=True)  # it tells of another file than the one that begins here
    return np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape), 0


@torch.inference_mode()
def _fill(
    array: np.ndarray, model: "BertModel", tokens: TokenRows, rows: Tensor, *, bf16: bool
) -> None:
    """Compute the features of one batch of reviews and write them to their places."""
    ids, lengths = (part.to(model.device) for part in tokens.batch(rows))
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
        found = packed_layers(model, ids, lengths)[-1]  # (total tokens, width)
    parts = found.half().cpu().split(lengths.tolist())
    for row, part in zip(rows.tolist(), parts, strict=True):
        array[slice(*tokens.span(row))] = part.numpy()


def _announce(path: Path, shape: tuple[int, int], say: Callable[[str], None]) -> None:
    """Say what will be written, and refuse if there is no room for it."""
    size, free = 2 * shape[0] * shape[1], shutil.disk_usage(path.parent).free
    say(f"writing features of {shape[0]:,} tokens × {shape[1]}, {size / 1e6:,.0f} MB")
    if size + SPARE_BYTES > free:
        raise OSError(
            f"{path.parent} has {free / 1e9:.1f} GB free, the features take {size / 1e9:.1f} GB "
            "and leave 1 GB: free some, take fewer reviews or a shorter length"
        )


def _read(path: Path, shape: tuple[int, int], say: Callable[[str], None]) -> np.ndarray | None:
    """The cached array; None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        note = json.loads(_note(path).read_text())
        array = np.load(path, mmap_mode="r")
        sound = array.shape == shape and _checksum(array) == note["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        say(f"{path.name} is damaged: it is made again")
        return None
    return array


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _checksum(array: np.ndarray) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(array), 1 << 16):
        digest.update(np.ascontiguousarray(array[start : start + (1 << 16)]).data)
    return digest.hexdigest()
