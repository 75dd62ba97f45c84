"""The stand-ins: deterministic, balanced, clean, and what their docstrings say."""

import re
from collections import Counter

import numpy as np

from helpers import standins


def test_digits_are_balanced_and_split_once():
    train, labels = standins.digits("train")
    test, test_labels = standins.digits("test")
    assert (train.shape, test.shape) == ((1438, 28, 28), (359, 28, 28))
    assert train.dtype == test.dtype == np.uint8
    assert (train.min(), train.max()) == (0, 255)
    for some in (labels, test_labels):
        counts = np.bincount(some)
        assert len(counts) == 10
        assert counts.max() - counts.min() <= 7
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    assert np.array_equal(train, standins.digits("train")[0])


def test_reviews_are_balanced_sorted_deterministic_and_disjoint():
    texts, labels = standins.reviews("train")
    assert labels.tolist() == [0] * 1_000 + [1] * 1_000
    assert standins.reviews("train")[0] == texts
    assert len(set(texts)) == 2_000
    assert not set(texts) & set(standins.reviews("test")[0])


def test_most_opinions_of_a_review_agree_with_its_label():
    praise, blame = (
        re.compile(rf"\b({'|'.join(standins._CHOICES[name])})\b") for name in ("praise", "blame")
    )
    denial = re.compile(r"\b(not|never|Nobody|anything but)\b")
    for text, label in zip(*standins.reviews("test"), strict=True):
        votes = 0
        for sentence in text.split("."):
            vote = bool(praise.search(sentence)) - bool(blame.search(sentence))
            votes += -vote if denial.search(sentence) else vote
        assert votes != 0
        assert (votes > 0) == label


def test_docstrings_are_clean_deterministic_prose():
    text = standins.docstrings(200_000)
    assert 200_000 < len(text) < 1_000_000
    assert text == standins.docstrings(200_000)
    assert standins.docstrings(100_000) == text[: len(standins.docstrings(100_000))]
    assert not text.translate(None, b"abcdefghijklmnopqrstuvwxyz ")
    assert b"  " not in text
    assert Counter(text.split()).most_common(1)[0][0] == b"the"


def test_text_is_cleaned_as_text8_is():
    assert standins.as_text8(b"In 1984, O'Brien's\n caf\xc3\xa9") == (
        b"in one nine eight four o brien s caf"
    )
