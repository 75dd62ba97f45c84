"""The packaged encoder: its weights are the published ones, its forward pass is BERT's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import text_encoder as encoder
from helpers.text_encoder import (
    attend_by_review,
    load_encoder,
    minilm_attention_inputs,
    minilm_folder,
    token_rows,
    token_vectors,
)

TEXTS = ["A film about attention, and about time.", "Nobody saw the ending coming! " * 30]


@pytest.fixture(scope="module")
def packaged():
    return load_encoder()


def test_rows_are_full_and_framed(packaged):
    ids = token_rows(TEXTS, rows=3, length=32)
    tokenizer = packaged.tokenizer
    assert ids.shape == (3, 32)
    assert (ids[:, 0] == tokenizer.cls_token_id).all()
    assert (ids[:, -1] == tokenizer.sep_token_id).all()
    expected = tokenizer(" ".join(TEXTS), add_special_tokens=False)["input_ids"][:90]
    assert ids[:, 1:-1].flatten().tolist() == expected


def test_too_little_text_says_so():
    with pytest.raises(ValueError, match="50 rows of 32 take 1,500 tokens, the texts have"):
        token_rows(TEXTS, rows=50, length=32)


def test_attention_inputs_are_those_of_transformers(packaged):
    ids = token_rows(TEXTS, rows=2, length=40)
    seen, hooks = [], []
    for layer in packaged.model.encoder.layer:
        attention = layer.attention.self
        for part in (attention.query, attention.key, attention.value):
            see = lambda module, given, output: seen.append(output)
            hooks.append(part.register_forward_hook(see))
    with torch.no_grad():
        packaged.model(ids)
    for hook in hooks:
        hook.remove()
    ours = [x for layer in minilm_attention_inputs(ids) for x in layer]
    assert len(ours) == len(seen) == 3 * 6
    for x, reference in zip(ours, seen, strict=True):
        assert x.shape == (2, 12, 40, 32)
        torch.testing.assert_close(x.transpose(1, 2).flatten(2), reference, rtol=1e-4, atol=1e-4)


def with_masks(model, ids, inside):
    """The last layer as transformers computes it by itself, from rows with a mask."""
    model.set_attn_implementation("eager")
    try:
        return model(input_ids=ids, attention_mask=inside.long()).last_hidden_state
    finally:
        attend_by_review(model)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_reviews_in_one_row_get_what_masked_rows_get(small_bert, lengths, spare):
    lengths = torch.tensor(lengths)
    ids = torch.randint(1, 40, (len(lengths), int(lengths.max()) + spare))
    inside = torch.arange(ids.shape[1]) < lengths[:, None]
    weight = small_bert.encoder.layer[0].attention.self.key.weight
    found, expected = token_vectors(small_bert, ids, lengths), with_masks(small_bert, ids, inside)
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-5)
    assert (found[~inside] == 0).all()
    slopes = [torch.autograd.grad(x[inside].sin().sum(), weight)[0] for x in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4)
    direct = small_bert(input_ids=ids, attention_mask=inside.long()).last_hidden_state
    torch.testing.assert_close(direct[inside], expected[inside], rtol=1e-4, atol=1e-5)


def test_a_model_that_would_mix_reviews_is_refused(small_bert):
    small_bert.set_attn_implementation("sdpa")
    try:
        with pytest.raises(ValueError, match="attends across reviews: give it to attend_by_review"):
            token_vectors(small_bert, torch.tensor([[2, 3]]), torch.tensor([2]))
    finally:
        attend_by_review(small_bert)


def test_quick_takes_the_packaged_encoder(packaged):
    assert type(packaged.model).__name__ == "BertModel"
    assert not packaged.model.training
    assert "MiniLM" in packaged.source


def test_full_without_a_hub_says_what_it_uses_instead(monkeypatch):
    def load(name, source, ask=False):
        if name == encoder.BERT:
            raise OSError("no connection\nand a long explanation")
        return source

    monkeypatch.setattr(encoder, "_load", load)
    with pytest.warns(UserWarning, match="no bert-base-uncased: no connection Using all-MiniLM"):
        source = load_encoder(profile="full")
    assert "in place of bert-base-uncased" in source


@pytest.mark.parametrize("answers", [True, False])
def test_a_hub_that_does_not_answer_is_not_asked_again(monkeypatch, answers):
    def ask(hub, name, *, timeout):
        assert (name, timeout) == (encoder.BERT, encoder.HUB_SECONDS)
        if not answers:
            raise OSError("nobody there")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", ask)
    monkeypatch.setattr(encoder, "_load", lambda name, source, ask: ask)
    assert load_encoder(profile="full") is answers


def test_half_of_the_weights_are_refused_in_one_line(monkeypatch, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        content = (minilm_folder() / name).read_bytes()
        whole = name != "model.safetensors"
        (tmp_path / name).write_bytes(content if whole else content[: len(content) // 2])
    monkeypatch.setattr(encoder, "BERT", str(tmp_path))
    with pytest.raises(ValueError, match="on this disk are damaged") as caught:
        load_encoder(profile="full")
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="'fast' is not one of quick, full"):
        load_encoder(profile="fast")


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(encoder, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="not the published 000000000000…: reinstall gt-all"):
        minilm_folder.__wrapped__()


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(encoder, "MINILM_PACKAGE", "no_such_package_here")
    with pytest.raises(FileNotFoundError, match="pip install no-such-package-here"):
        minilm_folder.__wrapped__()
