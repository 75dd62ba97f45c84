"""Data to compute on where a real data set is out of reach: small, offline, deterministic.

A stand-in lets every notebook run anywhere. Its numbers say nothing about the real data.
"""

import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TRAINING_SHARE = 0.8  # of the digits of each class
REVIEWS = 2_000  # generated reviews in each split, half of them positive
DENIED = 0.1  # share of opinions that say the opposite by a negation
CORPUS_BYTES = 10_000_000  # of docstrings at most
# Large packages that explain themselves in whole sentences; the standard library follows.
CORPUS_PACKAGES = (
    "sympy",
    "scipy",
    "sklearn",
    "networkx",
    "pandas",
    "numpy",
    "matplotlib",
    "torch",
)


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's 1,797 handwritten digits, scaled from 8×8 to 28×28.

    Returns images, uint8 (N, 28, 28), ink bright on black as in Fashion-MNIST, and labels,
    int64 (N,). The first 80 % of each class are for training, the rest for the test.
    """
    import torch
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    training = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        training[rows[: round(TRAINING_SHARE * len(rows))]] = True
    rows = np.flatnonzero(training if split == "train" else ~training)
    grey = torch.from_numpy(small[rows]).reshape(-1, 1, 8, 8) / 16  # (N, 1, 8, 8), 0 to 1
    large = torch.nn.functional.interpolate(grey, size=(28, 28), mode="bilinear")
    images = (255 * large.squeeze(1)).round().to(torch.uint8)  # (N, 28, 28)
    return images.numpy(), labels[rows].astype(np.int64)


_GRAMMAR = {
    "thing": (
        "the acting / the script / the plot / the ending / the dialogue / the camera work / "
        "the music / the direction / the pacing / the supporting cast / the opening scene / "
        "the humour / the editing / the main character / the villain / the love story / "
        "the second half / the set design"
    ),
    "praise": (
        "wonderful / moving / brilliant / fresh / gripping / clever / charming / honest / superb / "
        "touching / beautiful / memorable / sharp / delightful / convincing / a joy to watch"
    ),
    "blame": (
        "dull / awful / wooden / tedious / clumsy / predictable / lazy / silly / unbearable / "
        "shallow / forgettable / annoying / confused / lifeless / unconvincing / a waste of time"
    ),
    "opinion": (
        "{thing} was {word}. / I found {thing} {word}. / Honestly, {thing} is {word}. / "
        "If you ask me, {thing} was {word} from start to finish. / "
        "{thing} is {word}, and it shows. / I thought {thing} quite {word}. / "
        "What stays with me is that {thing} was {word}."
    ),
    "denial": (
        "{thing} was not {word} at all. / I never found {thing} {word}. / "
        "Nobody could call {thing} {word}. / {thing} is anything but {word}."
    ),
    "aside": (
        "I saw this with my {friend} on a {day}. / The story is set in {place}. / "
        "My {friend} chose it. / It came out on a {day}, and I went to {place} to see it. / "
        "I had read the book years ago. / There is a long scene in {place}."
    ),
    "friend": "sister / brother / wife / husband / neighbour / flatmate / mother / class",
    "day": "Monday / Tuesday / Wednesday / Thursday / Friday / Saturday / Sunday",
    "place": "Paris / Chicago / a small town / the desert / Tokyo / an old hotel / the suburbs",
}
_CHOICES = {name: choices.split(" / ") for name, choices in _GRAMMAR.items()}


def reviews(split: str) -> tuple[list[str], np.ndarray]:
    """Generated film reviews and their labels, int64 (N,), sorted by label as IMDB's files are.

    A review holds five to nine opinions. The smaller part of them speaks against its label,
    and some speak by negation ("not dull at all"), so that it takes counting opinions, and
    more than single words, to tell a positive review from a negative one.
    """
    rng = random.Random(f"reviews for {split}")
    labels = np.repeat([0, 1], REVIEWS // 2)
    return [_review(rng, positive=label == 1) for label in labels], labels


def _review(rng: random.Random, *, positive: bool) -> str:
    opinions = rng.randint(5, 9)
    against = rng.randint(1, (opinions - 1) // 2)
    sentences = [_opinion(rng, positive=positive) for _ in range(opinions - against)]
    sentences += [_opinion(rng, positive=not positive) for _ in range(against)]
    sentences += [_expand(rng, "aside") for _ in range(rng.randint(1, 3))]
    rng.shuffle(sentences)
    return " ".join(sentences)


def _opinion(rng: random.Random, *, positive: bool) -> str:
    denied = rng.random() < DENIED
    word = _expand(rng, "praise" if positive != denied else "blame")
    return _expand(rng, "denial" if denied else "opinion", word=word)


def _expand(rng: random.Random, symbol: str, **given: str) -> str:
    """One of the symbol's sentences or words, with its {symbols} expanded in turn."""
    text = rng.choice(_CHOICES[symbol])
    for inner in re.findall(r"{(\w+)}", text):
        text = text.replace(f"{{{inner}}}", given.get(inner) or _expand(rng, inner))
    return text[0].upper() + text[1:] if text.endswith(".") else text


_DOCSTRING = re.compile(rb'"""(.*?)"""', re.DOTALL)
_EXAMPLE = re.compile(rb"^\s*>>>.*?(\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)  # with its output
_MARKUP = re.compile(rb"^\s*(\.\. |:).*$", re.MULTILINE)  # directives and fields
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_BLANK_OTHERS = bytes(byte if byte in _LETTERS else 32 for byte in range(256))
_DIGITS = (b"zero", b"one", b"two", b"three", b"four", b"five", b"six", b"seven", b"eight", b"nine")


def docstrings(limit: int | None = None) -> bytes:
    """Docstrings of installed packages, cleaned as text8 is: ``limit`` bytes and some more.

    Fewer if the packages hold fewer; CORPUS_BYTES at most. The sources are read, not imported.
    The text depends on the packages' versions alone.
    """
    limit = CORPUS_BYTES if limit is None else min(limit, CORPUS_BYTES)
    pieces, length = [], 0
    for path in _sources():
        for docstring in _DOCSTRING.findall(path.read_bytes()):
            piece = as_text8(_MARKUP.sub(b" ", _EXAMPLE.sub(b" ", docstring)))
            if len(piece) > 40:  # a sentence, not a label
                pieces.append(piece)
                length += len(piece) + 1
        if length > limit:
            break
    return b" ".join(pieces)


def as_text8(text: bytes) -> bytes:
    """Lower-case words of a–z, one space apart, with digits spelled out (Mahoney's text8)."""
    text = text.lower()
    for digit, word in enumerate(_DIGITS):
        text = text.replace(b"%d" % digit, b" %s " % word)
    return b" ".join(text.translate(_BLANK_OTHERS).split())


def _sources() -> Iterator[Path]:
    site, library = (Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib"))
    for package in CORPUS_PACKAGES:
        yield from (p for p in sorted((site / package).rglob("*.py")) if "tests" not in p.parts)
    yield from sorted(library.glob("*.py"))
