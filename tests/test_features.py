"""The cache of frozen features: right numbers, and no wrong ones kept."""

import itertools
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from helpers import features
from helpers import sentiment_transformer as sentiment
from helpers.features import (
    TokenRows,
    first_layers,
    frozen_features,
    layer_means,
    linear_probe,
    plan_batches,
    tokenise,
    truncate,
)
from helpers.text_encoder import load_encoder, token_vectors

TEXTS = ["A fine film.", "", "Dull. " * 40, "Кино 🎬 电影!", "I would see it again, twice."]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.fixture(scope="module")
def tokens(encoder):
    return tokenise(TEXTS, encoder.tokenizer, length=24, tail=6)


@pytest.fixture
def quiet():
    said = []
    return said, said.append


@given(st.integers(2, 60), st.integers(3, 30), st.data())
def test_truncation_keeps_both_ends(count, length, data):
    tail = data.draw(st.integers(0, length - 2))
    kept = truncate(range(count), length=length, tail=tail)
    assert len(kept) == min(count, length)
    assert (kept[0], kept[-1]) == (0, count - 1)
    if count > length:
        head = length - tail - 1
        assert kept == [*range(head), *range(count - tail - 1, count)]


def test_a_tail_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match=r"tail = 9: with length 10 it lies in 0\.\.8"):
        truncate(range(20), length=10, tail=9)


def test_tokens_are_the_tokenizers(encoder, tokens):
    assert len(tokens) == len(TEXTS)
    assert tokens.lengths.tolist()[1:3] == [2, 24]  # empty: [CLS] [SEP]; long: cut
    ids, lengths = tokens.batch(torch.tensor([0, 1]))
    assert ids[0, : lengths[0]].tolist() == encoder.tokenizer(TEXTS[0])["input_ids"]
    assert ids[1].tolist()[:3] == [101, 102, 0]
    assert len(tokenise([], encoder.tokenizer, length=8)) == 0
    long = tokenise(["word " * 100_000], encoder.tokenizer, length=256)
    assert long.lengths.tolist() == [256]


def test_a_review_without_tokens_is_named():
    with pytest.raises(ValueError, match="review 1 has no token"):
        TokenRows.of([[101, 102], []])


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


def test_batches_come_longest_first_or_in_random_order():
    lengths = torch.randint(10, 257, (500,), generator=torch.Generator().manual_seed(0))
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = plan_batches(lengths, tokens=1024, generator=generator)
        longest = [int(lengths[batch].max()) for batch in batches]
        falling = sum(a >= b for a, b in itertools.pairwise(longest)) / (len(longest) - 1)
        assert falling == 1 if generator is None else 0.3 < falling < 0.7


def test_similar_lengths_share_a_batch():
    lengths = torch.randint(10, 257, (2000,), generator=torch.Generator().manual_seed(0))
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = plan_batches(lengths, tokens=4096, generator=generator)
        padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
        assert padded < 1.2 * int(lengths.sum())


def test_features_are_those_of_each_review_alone(encoder, tokens, tmp_path, quiet):
    said, say = quiet
    found = frozen_features(encoder.model, tokens, folder=tmp_path, budget=60, say=say)
    total = int(tokens.lengths.sum())
    assert said == [f"writing features of {total} tokens × 384, {2 * total * 384 / 1e6:,.0f} MB"]
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


def test_a_cut_encoder_ends_with_the_layer_asked_for(encoder, tokens):
    ids, lengths = tokens.batch(torch.arange(3))
    inside = sentiment.mask(lengths, ids.shape[1])
    with torch.no_grad():
        states = encoder.model(ids, inside.long(), output_hidden_states=True).hidden_states
    for count in (1, len(states) - 1):
        with torch.no_grad():
            found = token_vectors(first_layers(encoder.model, count), ids, lengths)
        torch.testing.assert_close(found[inside], states[count][inside], atol=1e-5, rtol=1e-5)
    for count in (0, len(states)):
        with pytest.raises(ValueError, match=rf"layer {count}: the encoder has 1\.\."):
            first_layers(encoder.model, count)


def test_means_of_layers_are_those_of_each_review_alone(encoder, tokens):
    rows = torch.tensor([2, 0])
    found = layer_means(encoder.model, tokens, rows, budget=8)
    for place, row in enumerate(rows):
        with torch.no_grad():
            states = encoder.model(tokens.batch(row[None])[0], output_hidden_states=True)
        alone = torch.stack(states.hidden_states).mean(dim=2)[:, 0]  # (layers + 1, width)
        torch.testing.assert_close(found[:, place], alone, atol=1e-5, rtol=1e-5)


def test_a_probe_finds_what_lies_on_a_line_and_nothing_else():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert linear_probe(x, (x[:, 2] > 0).long()).mean() > 0.85
    assert linear_probe(x, (x[:, 2] * x[:, 3] > 0).long()).mean() < 0.65


def test_the_second_time_nothing_is_computed(encoder, tokens, tmp_path, quiet, monkeypatch):
    said, say = quiet
    first = frozen_features(encoder.model, tokens, folder=tmp_path, say=say)
    monkeypatch.setattr(features, "_fill", None)
    again = frozen_features(encoder.model, tokens, folder=tmp_path, say=say)
    assert np.array_equal(first.array, again.array)
    assert again.seconds == 0 < first.seconds
    assert len(said) == 1
    assert isinstance(again.array, np.memmap)


def test_bfloat16_is_used_and_changes_little(encoder, tokens, tmp_path, quiet):
    exact, rough = (
        frozen_features(encoder.model, tokens, folder=tmp_path, bf16=bf16, say=quiet[1]).array
        for bf16 in (False, True)
    )
    assert exact.dtype == rough.dtype == np.float16
    assert 0 < np.abs(exact - rough).max() < 0.2
    rows = torch.arange(len(tokens))
    means = [layer_means(encoder.model, tokens, rows, bf16=bf16) for bf16 in (False, True)]
    assert 0 < (means[0] - means[1]).abs().max() < 0.2


@pytest.mark.parametrize("damage", ["bit", "cut", "note"])
def test_a_damaged_cache_is_made_again(encoder, tokens, tmp_path, quiet, damage):
    said, say = quiet
    first = frozen_features(encoder.model, tokens, folder=tmp_path, say=say)
    expected = np.array(first.array)
    (path,) = tmp_path.glob("*.npy")
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[-7] ^= 1
    del data[len(data) - (100 if damage == "cut" else 0) :]
    path.unlink()
    path.write_bytes(data)
    if damage == "note":
        path.with_suffix(".json").write_text("{")
    again = frozen_features(encoder.model, tokens, folder=tmp_path, say=say)
    assert any("is damaged: it is made again" in line for line in said)
    assert np.array_equal(again.array, expected)


def test_the_checksum_is_of_all_rows():
    array = np.zeros((70_000, 2), np.float16)
    found = {features._checksum(array)}
    for row in (0, 65_535, 65_536, 69_999):
        array[row, 1] = 1
        found.add(features._checksum(array))
    assert len(found) == 5


def test_who_wants_the_same_features_waits_for_them(encoder, tokens, tmp_path, quiet, monkeypatch):
    fill, filled, asked = features._fill, [], threading.Semaphore(0)

    class Watched(FileLock):
        def acquire(self, *arguments, **options):
            asked.release()
            return super().acquire(*arguments, **options)

    def slowly(array, model, tokens, rows, **how):
        if not filled:
            assert asked.acquire(timeout=60)  # for itself
            assert asked.acquire(timeout=60)  # and for the other, who comes in the middle
        filled.append(rows)
        fill(array, model, tokens, rows, **how)

    monkeypatch.setattr(features, "FileLock", Watched)
    monkeypatch.setattr(features, "_fill", slowly)
    with ThreadPoolExecutor(2) as pool:
        how = {"folder": tmp_path, "budget": 8, "say": quiet[1]}
        runs = [pool.submit(frozen_features, encoder.model, tokens, **how) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert sorted(row for rows in filled for row in rows.tolist()) == [*range(len(TEXTS))]
    assert np.array_equal(first.array, second.array)


def stopping_at(batch, fill, filled):
    """``fill``, but interrupted when it comes to a batch, counted from 1."""

    def stop(array, model, tokens, rows, **how):
        if len(filled) == batch - 1:
            raise KeyboardInterrupt
        filled.append(rows)
        fill(array, model, tokens, rows, **how)

    return stop


def test_an_interrupted_computation_goes_on(encoder, tokens, tmp_path, quiet, monkeypatch):
    said, say = quiet
    monkeypatch.setattr(features, "CHECKPOINT_TOKENS", 1)
    fill, filled = features._fill, []
    monkeypatch.setattr(features, "_fill", stopping_at(3, fill, filled))
    with pytest.raises(KeyboardInterrupt):
        frozen_features(encoder.model, tokens, folder=tmp_path, budget=8, say=say)
    assert list(tmp_path.glob("*.npy")) == []
    monkeypatch.setattr(features, "_fill", lambda *a, **k: (filled.append(a[3]), fill(*a, **k)))
    found = frozen_features(encoder.model, tokens, folder=tmp_path, budget=8, say=say)
    assert "after 2 batches" in said[-1]
    assert sorted(row for rows in filled for row in rows.tolist()) == [*range(len(TEXTS))]
    whole = frozen_features(encoder.model, tokens, folder=tmp_path / "other", budget=8, say=say)
    assert np.array_equal(found.array, whole.array)
    assert list(tmp_path.glob("*.part")) == list(tmp_path.glob("*.progress")) == []


def test_other_batches_do_not_go_on_where_these_stopped(
    encoder, tokens, tmp_path, quiet, monkeypatch
):
    fill, how = features._fill, {"folder": tmp_path, "say": quiet[1]}
    monkeypatch.setattr(features, "CHECKPOINT_TOKENS", 1)
    monkeypatch.setattr(features, "_fill", stopping_at(3, fill, []))
    with pytest.raises(KeyboardInterrupt):
        frozen_features(encoder.model, tokens, budget=8, **how)
    monkeypatch.setattr(features, "_fill", fill)
    found = frozen_features(encoder.model, tokens, budget=60, **how)
    whole = frozen_features(encoder.model, tokens, budget=60, **how | {"folder": tmp_path / "b"})
    assert np.array_equal(found.array, whole.array)


def test_a_note_does_not_outlive_the_file_it_tells_of(
    encoder, tokens, tmp_path, quiet, monkeypatch
):
    fill, how = features._fill, {"folder": tmp_path, "budget": 8, "say": quiet[1]}
    monkeypatch.setattr(features, "CHECKPOINT_TOKENS", 1)
    monkeypatch.setattr(features, "_fill", stopping_at(3, fill, []))
    with pytest.raises(KeyboardInterrupt):
        frozen_features(encoder.model, tokens, **how)
    for part in tmp_path.glob("*.part"):
        part.unlink()
    monkeypatch.setattr(features, "_fill", stopping_at(1, fill, []))  # before any checkpoint
    with pytest.raises(KeyboardInterrupt):
        frozen_features(encoder.model, tokens, **how)
    monkeypatch.setattr(features, "_fill", fill)
    found = frozen_features(encoder.model, tokens, **how)
    whole = frozen_features(encoder.model, tokens, **how | {"folder": tmp_path / "other"})
    assert np.array_equal(found.array, whole.array)


def test_a_remainder_of_other_work_is_not_gone_on_with(encoder, tokens, tmp_path, quiet):
    said, say = quiet
    key = features.cache_key(encoder.model, tokens, bf16=False)
    np.save(tmp_path / "part.npy", np.zeros((3, 3), np.float16))
    (tmp_path / "part.npy").rename(tmp_path / f"{key}.part")
    (tmp_path / f"{key}.progress").write_text('{"budget": 2048, "batches": 1}')
    found = frozen_features(encoder.model, tokens, folder=tmp_path, say=say)
    assert said[0].startswith("writing features")
    assert (found.array != 0).any(axis=1).all()


def test_the_key_depends_on_all_that_matters(encoder, tokens):
    key = features.cache_key(encoder.model, tokens, bf16=False)
    assert key == features.cache_key(encoder.model, tokens, bf16=False)
    other = tokenise(TEXTS, encoder.tokenizer, length=23)
    keys = {
        key,
        features.cache_key(encoder.model, tokens, bf16=True),
        features.cache_key(encoder.model, other, bf16=False),
    }
    for rows in ([[101, 5], [102]], [[101], [5, 102]]):  # the same tokens, parted otherwise
        keys.add(features.cache_key(encoder.model, TokenRows.of(rows), bf16=False))
    weight = encoder.model.pooler.dense.bias
    with torch.no_grad():
        weight[0] += 1
        keys.add(features.cache_key(encoder.model, tokens, bf16=False))
        weight[0] -= 1
    assert len(keys) == 6


def test_a_full_disk_is_seen_before_the_work(encoder, tokens, tmp_path, monkeypatch, quiet):
    usage = namedtuple("usage", "total used free")
    needed = 2 * 384 * int(tokens.lengths.sum()) + features.SPARE_BYTES
    for free, told in ((1, "0.0"), (needed - 1, "1.1")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(2**40, 9, free))
        with pytest.raises(OSError, match=rf"{told} GB free, the features take"):
            frozen_features(encoder.model, tokens, folder=tmp_path, say=quiet[1])
        assert list(tmp_path.glob("*.[np]*")) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 9, needed))
    assert len(frozen_features(encoder.model, tokens, folder=tmp_path, say=quiet[1]).array)


def test_an_encoder_in_training_mode_is_refused(encoder, tokens, tmp_path):
    encoder.model.train()
    with pytest.raises(ValueError, match="its dropout would be cached"):
        frozen_features(encoder.model, tokens, folder=tmp_path)
    encoder.model.eval()
