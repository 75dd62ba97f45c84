"""Data to compute on when a real data set is out of reach: small, offline, deterministic.

A stand-in lets every notebook run anywhere; its numbers say nothing about the real data.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

REVIEWS = 2_000  # generated reviews in each split
TRAINING_SHARE = 0.8  # of the digits of each class
CORPUS_PACKAGES = (
    "numpy",
    "scipy",
    "sklearn",
    "pandas",
    "sympy",
    "matplotlib",
    "networkx",
    "torch",
)
CORPUS_BYTES = 20_000_000

_DOCSTRING = re.compile(r'[rR]?"""(.*?)"""', re.DOTALL)
_EXAMPLE = re.compile(r"^\s*(>>>|\.\.\.|\.\. |:).*$", re.MULTILINE)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's handwritten digits, scaled from 8×8 to 28×28.

    Returns images, uint8 (N, 28, 28) with ink bright on black as in Fashion-MNIST, and
    labels, int64 (N,). The first 80 % of each class train; the rest, by other writers, test.
    """
    import torch
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    training = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        training[rows[: round(TRAINING_SHARE * len(rows))]] = True
    rows = np.flatnonzero(training if split == "train" else ~training)
    grey = torch.from_numpy(small[rows]).reshape(-1, 1, 8, 8) / 16  # (N, 1, 8, 8) in [0, 1]
    large = torch.nn.functional.interpolate(grey, size=(28, 28), mode="bilinear")
    images = (large.squeeze(1) * 255).round().to(torch.uint8)  # (N, 28, 28)
    return images.numpy(), labels[rows].astype(np.int64)


_THINGS = [
    "the acting",
    "the script",
    "the plot",
    "the ending",
    "the dialogue",
    "the camera work",
    "the music",
    "the direction",
    "the pacing",
    "the supporting cast",
    "the opening scene",
    "the humour",
    "the editing",
    "the main character",
    "the villain",
    "the love story",
    "the second half",
    "the set design",
]
_PRAISE = [
    "wonderful",
    "moving",
    "brilliant",
    "fresh",
    "gripping",
    "clever",
    "charming",
    "honest",
    "superb",
    "touching",
    "beautiful",
    "memorable",
    "sharp",
    "delightful",
    "convincing",
    "a joy to watch",
]
_BLAME = [
    "dull",
    "awful",
    "wooden",
    "tedious",
    "clumsy",
    "predictable",
    "lazy",
    "silly",
    "unbearable",
    "shallow",
    "forgettable",
    "annoying",
    "confused",
    "lifeless",
    "unconvincing",
    "a waste of time",
]
_NEUTRAL = [
    "I saw this with my {friend} on a {day}.",
    "It runs for about {number} minutes.",
    "The story is set in {place}.",
    "I had read the book {number} years ago.",
    "My {friend} chose it.",
    "It came out on a {day} and I went to {place} to see it.",
]
_OPINIONS = [
    "{thing} was {word}.",
    "I found {thing} {word}.",
    "Honestly, {thing} is {word}.",
    "If you ask me, {thing} was {word} from start to finish.",
    "{thing} is {word}, and it shows.",
    "I thought that {thing} was quite {word}.",
    "What stays with me is that {thing} was {word}.",
]
_DENIALS = ["{thing} was not {word} at all.", "I never found {thing} {word}."]
_FRIENDS = ["sister", "brother", "wife", "husband", "neighbour", "flatmate", "mother", "class"]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_PLACES = ["Paris", "Chicago", "a small town", "the desert", "Tokyo", "an old hotel", "the suburbs"]


def reviews(split: str) -> tuple[list[str], np.ndarray]:
    """Generated film reviews, half of them negative, sorted by label as IMDB's files are.

    A review holds five to nine opinions, most of them of its label and at least a fifth of
    the other, some by negation ("not dull at all"), between neutral sentences: telling
    them apart takes counting opinions, not spotting one word.
    """
    rng = np.random.default_rng([2011, split == "test"])
    labels = np.repeat([0, 1], REVIEWS // 2)
    return [_review(rng, bool(label)) for label in labels], labels.astype(np.int64)


def _review(rng: np.random.Generator, positive: bool) -> str:
    opinions = int(rng.integers(5, 10))
    against = int(rng.integers(1, (opinions - 1) // 2 + 1))  # fewer than half
    sentences = [_opinion(rng, positive) for _ in range(opinions - against)]
    sentences += [_opinion(rng, not positive) for _ in range(against)]
    for _ in range(int(rng.integers(1, 4))):
        sentences.append(
            str(rng.choice(_NEUTRAL)).format(
                friend=rng.choice(_FRIENDS),
                day=rng.choice(_DAYS),
                place=rng.choice(_PLACES),
                number=rng.integers(2, 200),
            )
        )
    return " ".join(sentences[i] for i in rng.permutation(len(sentences)))


def _opinion(rng: np.random.Generator, positive: bool) -> str:
    denied = rng.random() < 0.2
    words = _PRAISE if positive != denied else _BLAME
    sentence = str(rng.choice(_DENIALS if denied else _OPINIONS))
    sentence = sentence.format(thing=rng.choice(_THINGS), word=rng.choice(words))
    return sentence[0].upper() + sentence[1:]


def docstrings(limit: int | None = None) -> str:
    """Docstrings of installed packages, cleaned as text8 is: a–z and single spaces.

    Reads sources as text, imports nothing. ``limit`` bounds the length in characters.
    """
    limit = CORPUS_BYTES if limit is None else min(limit, CORPUS_BYTES)
    pieces, length = [], 0
    for path in _sources():
        source = path.read_text(encoding="utf-8", errors="ignore")
        for match in _DOCSTRING.finditer(source):
            piece = as_text8(_EXAMPLE.sub(" ", match[1]))
            if len(piece) > 40:  # a sentence, not a label
                pieces.append(piece)
                length += len(piece) + 1
        if length > limit:
            break
    return " ".join(pieces)


def _sources():
    """Python files that document: installed packages first, then the standard library."""
    site = Path(sysconfig.get_path("purelib"))
    for package in CORPUS_PACKAGES:
        for path in sorted((site / package).rglob("*.py")):
            if "tests" not in path.parts:
                yield path
    yield from sorted(Path(sys.modules["os"].__file__).parent.glob("*.py"))


def as_text8(text: str) -> str:
    """Lower-case words of a–z one space apart, digits spelled out (Mahoney's text8)."""
    text = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit[0])]} ", text.lower())
    return " ".join(re.findall("[a-z]+", text))
