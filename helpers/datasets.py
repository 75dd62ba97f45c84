"""The homework's data sets, each by one call whose result says where it came from.

A loader looks in DATA_DIR (default ``data/cache``), then downloads. Where neither helps, the
quick profile computes on a stand-in, with a warning and a ``source`` that says so, and the
full profile raises ``DataUnavailable``. ``data/README.md`` lists sources, licences and layout.

``python -m helpers.datasets`` downloads all of them; names after it choose some.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from helpers import standins
from helpers.catalogue import (
    ANALOGIES,
    FASHION_MNIST,
    FASHION_MNIST_CLASSES,
    FASHION_MNIST_SIZES,
    IMDB,
    WORD_PAIRS,
    read_idx,
    read_reviews,
    read_text8,
    read_word_pairs,
    whole_words,
)
from helpers.downloads import DataUnavailable, StandInWarning, fetch, warn

if TYPE_CHECKING:  # at run time they are imported where they are used: they take seconds
    import pandas as pd
    import torch

PROFILES = ("quick", "full")
SPLITS = {"train": "training", "test": "test"}


@dataclass(frozen=True)
class Images:
    """``images``, uint8 (N, 28, 28), and ``labels``, int64 (N,), indices of ``classes``."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Reviews:
    """``texts``, N of them, and ``labels``, int64 (N,): 0 negative, 1 positive."""

    texts: list[str]
    labels: torch.Tensor
    source: str


@dataclass(frozen=True)
class Corpus:
    """Running ``text``: lower-case words of a–z, one space apart."""

    text: str
    source: str

    @cached_property
    def words(self) -> list[str]:
        """The words in order. A hundred million characters take over a gigabyte this way."""
        return self.text.split()

    def encode(self, *, min_count: int = 1) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The words in order as numbers of four bytes, where ``words`` takes sixty for each.

        Returns the vocabulary (V words by falling count, first come first), the counts,
        int64 (V,), and the text as indices of the vocabulary, int32 (T,). Words that occur
        less than ``min_count`` times are left out of all three.
        """
        index: defaultdict[str, int] = defaultdict()
        index.default_factory = index.__len__  # a new word gets the next number
        step, start, blocks = 1 << 20, 0, []
        while start < len(self.text):
            end = self.text.find(" ", start + step)
            end = len(self.text) if end < 0 else end
            words = self.text[start:end].split()
            blocks.append(np.fromiter(map(index.__getitem__, words), np.int32, len(words)))
            start = end
        ids = np.concatenate([np.empty(0, np.int32), *blocks])
        counts = np.bincount(ids, minlength=len(index))
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= min_count]
        rank = np.full(len(index), -1, np.int32)
        rank[order] = np.arange(len(order))
        ids = rank[ids]
        names = list(index)
        return [names[i] for i in order], counts[order], ids[ids >= 0]


def fashion_mnist(split: str, *, profile: str = "quick", limit: int | None = None) -> Images:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images of 10 classes.

    ``limit`` takes the first that many; the files are in random order. Stand-in:
    scikit-learn's handwritten digits, scaled to 28×28.
    """
    import torch

    _check_arguments(split=split, profile=profile, limit=limit)
    try:
        image_file, label_file = (fetch(file) for file in FASHION_MNIST[split])
        images = read_idx(image_file, (FASHION_MNIST_SIZES[split], 28, 28), limit)
        labels = read_idx(label_file, (FASHION_MNIST_SIZES[split],), limit)
        classes, source = FASHION_MNIST_CLASSES, "Fashion-MNIST, {:,} {} images"
    except DataUnavailable as error:
        _settle_for("scikit-learn's digits", "Fashion-MNIST", "fashion_mnist", profile, error)
        images, labels = (array[:limit] for array in standins.digits(split))
        classes = tuple(f"digit {label}" for label in range(10))
        source = "scikit-learn digits (stand-in), {:,} {} images scaled to 28×28"
    labels = torch.from_numpy(labels.astype(np.int64))
    source = source.format(len(labels), SPLITS[split])
    return Images(torch.from_numpy(images), labels, classes, source)


def imdb(split: str, *, profile: str = "quick") -> Reviews:
    """The Large Movie Review Dataset (Maas et al. 2011): 25,000 reviews in each split.

    The rows come as the files hold them, all negative ones first: shuffle before taking a
    part. Stand-in: reviews generated from a small grammar.
    """
    import torch

    _check_arguments(split=split, profile=profile)
    try:
        texts, labels = read_reviews(fetch(IMDB[split]))
        source = "IMDB, {:,} {} reviews"
    except DataUnavailable as error:
        _settle_for("generated reviews", "IMDB", "imdb", profile, error)
        texts, labels = standins.reviews(split)
        source = "generated reviews (stand-in), {:,} {} reviews"
    source = source.format(len(texts), SPLITS[split])
    return Reviews(texts, torch.tensor(labels, dtype=torch.int64), source)


def corpus(*, profile: str = "quick", limit: int | None = None) -> Corpus:
    """English text: text8 (Mahoney 2006), or another file in its style under DATA_DIR.

    Any file with ``text8`` in its name serves, plain or compressed. ``limit`` takes the
    first that many bytes, less a word that it would cut, and reads no more than these.
    Stand-in: docstrings of installed packages.
    """
    _check_arguments(profile=profile, limit=limit)
    try:
        text, source = read_text8(limit)
    except DataUnavailable as error:
        _settle_for("docstrings of installed packages", "text8", "corpus", profile, error)
        text, source = standins.docstrings(limit), "docstrings of installed packages (stand-in)"
    text = whole_words(text, limit).decode("ascii")
    return Corpus(text, f"{source}, {len(text):,} characters")


def word_similarity(name: str, *, profile: str = "quick") -> pd.DataFrame | None:
    """Word pairs and how similar people find them, from 0 to 10.

    ``name`` is ``wordsim353`` (Finkelstein et al. 2002) or ``simlex999`` (Hill et al. 2015).
    Returns a frame with columns word1, word2 and score, in the files' order and letter
    case; None where it is out of reach, which raises DataUnavailable in the full profile.
    """
    import pandas as pd

    _check_arguments(profile=profile)
    if name not in WORD_PAIRS:
        raise ValueError(f"name {name!r} is not one of {', '.join(WORD_PAIRS)}")
    try:
        pairs = read_word_pairs(fetch(WORD_PAIRS[name]))
    except DataUnavailable as error:
        _settle_for(None, name, name, profile, error)
        return None
    return pd.DataFrame(pairs, columns=["word1", "word2", "score"])


def analogies(*, profile: str = "quick") -> list[tuple[str, str, str, str, str]]:
    """Google's 19,544 analogy questions (Mikolov et al. 2013), in lower case.

    Returns (section, a, b, c, d), to be read "a is to b as c is to d". Empty where it is
    out of reach, which raises DataUnavailable in the full profile.
    """
    _check_arguments(profile=profile)
    try:
        lines = fetch(ANALOGIES).read_text(encoding="utf-8").lower().splitlines()
    except DataUnavailable as error:
        _settle_for(None, "Google's analogies", "analogies", profile, error)
        return []
    questions, section = [], ""
    for line in lines:
        if line.startswith(":"):
            section = line.removeprefix(":").strip()
        else:
            questions.append((section, *line.split()))
    return questions


def _check_arguments(*, profile: str, split: str | None = None, limit: int | None = None) -> None:
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: give a positive number, or None for everything")


def _settle_for(
    standin: str | None, name: str, argument: str, profile: str, why: DataUnavailable
) -> None:
    """Warn that a stand-in (or nothing) takes the data set's place; raise in the full profile."""
    if profile == "full":
        raise DataUnavailable(
            f"the full profile needs {name}, but {why}. Run `python -m helpers.datasets "
            f"{argument}` with a network, or set DATA_DIR to a folder that holds it "
            "(data/README.md)."
        ) from None
    instead = f"Using {standin} in place of {name}" if standin else f"Going without {name}"
    warn(f"{instead}: {why}.", StandInWarning)


def main(names: list[str]) -> int:
    """Download the named data sets (all by default) and say what there is of each."""
    loaders = {
        "fashion_mnist": lambda: " and ".join(
            fashion_mnist(split, profile="full").source for split in SPLITS
        ),
        "imdb": lambda: " and ".join(imdb(split, profile="full").source for split in SPLITS),
        "corpus": lambda: corpus(profile="full").source,
        **{
            name: lambda name=name: f"{name}, {len(word_similarity(name, profile='full'))} pairs"
            for name in WORD_PAIRS
        },
        "analogies": lambda: f"Google's analogies, {len(analogies(profile='full')):,} questions",
    }
    if unknown := set(names) - set(loaders):
        print(f"no data set {', '.join(sorted(unknown))}: choose from {', '.join(loaders)}")
        return 2
    failures = 0
    for name in names or loaders:
        try:
            print(f"[OK] {loaders[name]()}")
        except DataUnavailable as error:
            failures += 1
            print(f"[FAIL] {error}")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
