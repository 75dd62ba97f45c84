"""torchtext 0.18 and we agree on real text. Runs in an environment of its own."""

import json
import os
from pathlib import Path

import pytest
import torchtext

torchtext.disable_torchtext_deprecation_warning()

from torchtext.datasets.imdb import MAP_LABELS  # noqa: E402
from torchtext.transforms import BERTTokenizer  # noqa: E402
from torchtext.vocab import build_vocab_from_iterator  # noqa: E402


@pytest.fixture(scope="module")
def ours():
    return json.loads(Path(os.environ["OURS"]).read_text(encoding="utf-8"))


def test_this_is_the_last_torchtext():
    assert torchtext.__version__.startswith("0.18.0")


def test_the_tokenizers_agree_on_every_text(ours):
    theirs = BERTTokenizer(ours["vocabulary_file"], do_lower_case=True, return_tokens=True)
    assert len(ours["texts"]) > 400
    for text, tokens in zip(ours["texts"], ours["tokens"], strict=True):
        assert theirs(text) == tokens


def test_labels_agree_and_do_not_depend_on_their_frequency(ours):
    assert {name: label - 1 for name, label in MAP_LABELS.items()} == {"neg": 0, "pos": 1}
    assert set(ours["labels"]) == {0, 1}
    # The handed-out notebook let a vocabulary number the labels by frequency: it flips.
    few_negative = build_vocab_from_iterator([["pos"]] * 3 + [["neg"]] * 2)
    few_positive = build_vocab_from_iterator([["pos"]] * 2 + [["neg"]] * 3)
    assert few_negative["pos"] == few_positive["neg"] == 0
