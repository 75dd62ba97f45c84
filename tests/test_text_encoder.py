"""Text encoders: the packaged weights are the published ones; features are each review's own."""

import itertools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import text_encoder
from helpers.text_encoder import (
    first_layers,
    frozen_features,
    layer_means,
    linear_probe,
    load_encoder,
    minilm_folder,
    plan_batches,
    token_vectors,
    tokenize,
    truncate,
)

TEXTS = ["A fine film.", "", "Dull. " * 40, "Кино 🎬 电影!", "I would see it again, twice."]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.fixture(scope="module")
def tokens(encoder):
    return tokenize(TEXTS, encoder.tokenizer, length=24, tail=6)


# Loading


def test_quick_takes_the_packaged_encoder(encoder):
    assert type(encoder.model).__name__ == "BertModel"
    assert not encoder.model.training
    assert (encoder.source, encoder.name) == ("all-MiniLM-L6-v2 (packaged)", "all-MiniLM-L6-v2")


@pytest.mark.parametrize("answers", [True, False])
def test_full_asks_the_hub_or_says_what_it_uses_instead(monkeypatch, answers):
    def load(name, source, ask=False):
        if name == "bert-base-cased" and not ask:
            raise OSError("no connection\nand a long explanation")
        return source

    monkeypatch.setattr(text_encoder, "hub_answers", lambda name, kind: answers)
    monkeypatch.setattr(text_encoder, "_load", load)
    if answers:
        assert load_encoder(profile="full", name="bert-base-cased") == "bert-base-cased"
    else:
        with pytest.warns(UserWarning, match="no bert-base-cased: no connection Using all-MiniLM"):
            source = load_encoder(profile="full", name="bert-base-cased")
        assert "in place of bert-base-cased" in source


def test_other_weights_are_told(monkeypatch):
    monkeypatch.setattr(text_encoder, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="other weights than those published"):
        minilm_folder.__wrapped__()


# Tokens and batches


@given(st.integers(2, 60), st.integers(3, 30), st.data())
def test_truncation_keeps_both_ends(count, length, data):
    tail = data.draw(st.integers(0, length - 2))
    kept = truncate(range(count), length=length, tail=tail)
    assert len(kept) == min(count, length)
    assert (kept[0], kept[-1]) == (0, count - 1)
    if count > length:
        head = length - tail - 1
        assert kept == [*range(head), *range(count - tail - 1, count)]
    with pytest.raises(ValueError, match=r"lies in 0\.\."):
        truncate(range(count), length=length, tail=length - 1)


def test_tokens_are_the_tokenizers(encoder, tokens):
    assert tokens.lengths.tolist()[1:3] == [2, 24]  # empty: [CLS] [SEP]; long: cut
    ids, lengths = tokens.batch(torch.tensor([0, 1]))
    assert ids[0, : lengths[0]].tolist() == encoder.tokenizer(TEXTS[0])["input_ids"]
    assert ids[1].tolist()[:3] == [101, 102, 0]


@given(
    st.lists(st.integers(1, 300), max_size=80), st.integers(1, 600), st.booleans(), st.integers(0)
)
def test_batches_hold_all_once_within_the_budget(lengths, budget, shuffled, seed):
    lengths = torch.tensor(lengths, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed % 2**32) if shuffled else None
    batches = plan_batches(lengths, tokens=budget, generator=generator)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * int(lengths[batch].max()) <= budget


@pytest.mark.parametrize("seed", [None, 0])
def test_similar_lengths_share_a_batch_and_batches_are_shuffled(seed):
    lengths = torch.randint(10, 257, (2000,), generator=torch.Generator().manual_seed(0))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = plan_batches(lengths, tokens=4096, generator=generator)
    longest = [int(lengths[batch].max()) for batch in batches]
    padded = sum(len(batch) * most for batch, most in zip(batches, longest, strict=True))
    assert padded < 1.2 * int(lengths.sum())
    falling = sum(a >= b for a, b in itertools.pairwise(longest)) / (len(longest) - 1)
    assert falling == 1 if seed is None else 0.3 < falling < 0.7


# Features


def test_features_are_those_of_each_review_alone(encoder, tokens, tmp_path):
    found = frozen_features(encoder.model, tokens, folder=tmp_path)
    for row in range(len(TEXTS)):
        ids, lengths = tokens.batch(torch.tensor([row]))
        with torch.no_grad():
            alone = encoder.model(input_ids=ids).last_hidden_state
        values, length = found.batch(torch.tensor([row]))
        torch.testing.assert_close(values, alone, rtol=2e-3, atol=2e-3)
        assert length.equal(lengths)
    padded, lengths = found.batch(torch.tensor([1, 2]))
    assert padded.shape == (2, 24, 384)
    assert (padded[0, 2:] == 0).all()
    rough = frozen_features(encoder.model, tokens, folder=tmp_path, bf16=True)
    assert 0 < np.abs(found.array - rough.array).max() < 0.2


def test_layers_are_cut_and_averaged_as_they_should_be(encoder, tokens):
    rows = torch.tensor([2, 0])
    means = layer_means(encoder.model, tokens, rows, budget=60)
    for place, row in enumerate(rows):
        ids, lengths = tokens.batch(row[None])
        with torch.no_grad():
            states = encoder.model(ids, output_hidden_states=True).hidden_states
            cut = token_vectors(first_layers(encoder.model, 2), ids, lengths)
        torch.testing.assert_close(cut, states[2], atol=1e-5, rtol=1e-5)
        alone = torch.stack(states).mean(dim=2)[:, 0]  # (layers + 1, width)
        torch.testing.assert_close(means[:, place], alone, atol=1e-5, rtol=1e-5)


def test_a_probe_finds_what_lies_on_a_line_and_nothing_else():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert linear_probe(x, (x[:, 2] > 0).long()).mean() > 0.85
    assert linear_probe(x, (x[:, 2] * x[:, 3] > 0).long()).mean() < 0.65


def test_a_file_serves_again_only_for_the_same_numbers(encoder, tokens, tmp_path, monkeypatch):
    model, keep = encoder.model, {"folder": tmp_path}
    first = frozen_features(model, tokens, **keep)
    with monkeypatch.context() as patch:
        patch.setattr(text_encoder, "token_vectors", None)  # nothing is computed
        assert np.array_equal(frozen_features(model, tokens, **keep).array, first.array)
    other = tokenize([TEXTS[0]], encoder.tokenizer, length=24)
    frozen_features(model, other, **keep)
    frozen_features(model, tokens, bf16=True, **keep)
    bias = model.encoder.layer[0].output.dense.bias
    with torch.no_grad():
        bias[0] += 1
        changed = frozen_features(model, tokens, **keep)
        bias[0] -= 1
    assert not np.array_equal(changed.array, first.array)
    assert len(list(tmp_path.iterdir())) == 4  # and nothing half done


def test_an_interrupted_computation_leaves_no_features(encoder, tokens, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(text_encoder, "token_vectors", stop)
        with pytest.raises(KeyboardInterrupt):
            frozen_features(encoder.model, tokens, folder=tmp_path)
    assert list(tmp_path.glob("*.npy")) == []
    assert (frozen_features(encoder.model, tokens, folder=tmp_path).array != 0).any(1).all()


def test_a_full_disk_is_told_before_the_work(encoder, tokens, tmp_path, monkeypatch):
    needed = 2 * 384 * int(tokens.lengths.sum()) + text_encoder.SPARE_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    with pytest.raises(OSError, match="No space left"):
        frozen_features(encoder.model, tokens, folder=tmp_path)
