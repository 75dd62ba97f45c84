"""The data sets of the homework, each by one call that says where its data came from.

A loader looks in DATA_DIR (default ``data/cache``), then downloads. Where neither helps, the
quick profile computes on a stand-in, with a warning and a ``source`` that says so; the full
profile raises ``DataUnavailable``. ``data/README.md`` lists sources, licences and layout.
"""

import gzip
import io
import lzma
import warnings
import zipfile
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from helpers import standins
from helpers.downloads import DataUnavailable, RemoteFile, data_dir, fetch

PROFILES = ("quick", "full")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Images:
    """``images`` uint8 (N, 28, 28), ``labels`` int64 (N,), and what the labels mean."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Reviews:
    """``texts`` and ``labels`` int64 (N,), 0 negative and 1 positive, sorted by label."""

    texts: list[str]
    labels: torch.Tensor
    source: str


@dataclass(frozen=True)
class Corpus:
    """Running ``text`` of a–z and single spaces, and its ``words`` in order."""

    text: str
    source: str

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()


_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_FASHION = {
    "train": (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26421880),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29515),
    ),
    "test": (
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4422102),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5148),
    ),
}


def fashion_mnist(split: str, *, profile: str = "quick", limit: int | None = None) -> Images:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images, 10 classes.

    ``limit`` takes the first that many; the files' order is already random. The stand-in
    is scikit-learn's handwritten digits, scaled to 28×28.
    """
    _check(split, profile)
    kind = "training" if split == "train" else "test"
    try:
        images, labels = (_read_idx(fetch(file)) for file in _fashion_files(split))
        classes, source = _FASHION_CLASSES, "Fashion-MNIST, {} {} images"
    except DataUnavailable as error:
        _settle_for("scikit-learn's digits", profile, error)
        images, labels = standins.digits(split)
        classes = tuple(f"digit {i}" for i in range(10))
        source = "scikit-learn digits (stand-in), {} {} images scaled to 28×28"
    images, labels = torch.from_numpy(images[:limit]), torch.from_numpy(labels[:limit])
    source = source.format(f"{len(labels):,}", kind)
    return Images(images, labels.to(torch.int64), classes, source)


def _fashion_files(split: str) -> list[RemoteFile]:
    return [
        RemoteFile(
            path=f"FashionMNIST/raw/{name}", url=_FASHION_URL + name, digest=f"md5:{md5}", size=size
        )
        for name, md5, size in _FASHION[split]
    ]


def imdb(split: str, *, profile: str = "quick") -> Reviews:
    """The Large Movie Review Dataset (Maas et al. 2011): 25,000 reviews in each split.

    Rows come in the files' order, all negative reviews first: shuffle before taking a part.
    """
    _check(split, profile)
    path = data_dir() / f"imdb/plain_text/{split}-00000-of-00001.parquet"
    try:
        if not path.exists():
            raise DataUnavailable(f"{path} is missing")
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        texts, labels = table["text"].to_pylist(), table["label"].to_numpy()
        source = "IMDB, {} {} reviews"
    except DataUnavailable as error:
        _settle_for("generated reviews", profile, error)
        texts, labels = standins.reviews(split)
        source = "generated reviews (stand-in), {} for {}"
    source = source.format(f"{len(texts):,}", "training" if split == "train" else "test")
    return Reviews(texts, torch.tensor(labels, dtype=torch.int64), source)


def corpus(*, profile: str = "quick", limit: int | None = None) -> Corpus:
    """Running English text: text8 (Mahoney 2006), or a file in its style under DATA_DIR.

    ``limit`` takes the first that many bytes, less a word that it would cut.
    """
    _check("train", profile)
    paths = sorted(data_dir().glob("*text8*")) + sorted(data_dir().glob("*/*text8*"))
    try:
        if not paths:
            raise DataUnavailable(f"no text8 in {data_dir()}")
        text, source = _read_text(paths[0], limit), paths[0].name.split(".")[0]
    except DataUnavailable as error:
        _settle_for("docstrings of installed packages", profile, error)
        text, source = standins.docstrings(limit), "docstrings of installed packages (stand-in)"
    if limit is not None and len(text) > limit:
        text = text[: limit + 1].rpartition(" ")[0]
    return Corpus(text, f"{source}, {len(text):,} characters")


def word_similarity(name: str, *, profile: str = "quick"):
    """Human similarity scores of word pairs: ``wordsim353`` or ``simlex999``.

    Returns a frame with columns word1, word2 and score, or None where it can't be had.
    """
    import pandas as pd

    path = (
        data_dir()
        / {"wordsim353": "wordsim/wordsim353.tsv", "simlex999": "wordsim/SimLex-999.txt"}[name]
    )
    if not path.exists():
        _settle_for("no scores", profile, DataUnavailable(f"{path} is missing"))
        return None
    if name == "wordsim353":
        return pd.read_csv(path, sep="\t", skiprows=2, names=["word1", "word2", "score"])
    frame = pd.read_csv(path, sep="\t")[["word1", "word2", "SimLex999"]]
    return frame.rename(columns={"SimLex999": "score"})


def analogies(*, profile: str = "quick") -> list[tuple[str, str, str, str, str]]:
    """Google's analogy questions (Mikolov et al. 2013): (section, a, b, c, d), lower case."""
    path = data_dir() / "wordsim/questions-words.txt"
    if not path.exists():
        _settle_for("no questions", profile, DataUnavailable(f"{path} is missing"))
        return []
    questions, section = [], ""
    for line in path.read_text().lower().splitlines():
        if line.startswith(":"):
            section = line[1:].strip()
        else:
            questions.append((section, *line.split()))
    return questions


def _check(split: str, profile: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")


def _settle_for(standin: str, profile: str, why: DataUnavailable) -> None:
    """Warn that a stand-in is used; in the full profile, let the error stand."""
    if profile == "full":
        raise why
    warnings.warn(f"{why}: using {standin} instead.", stacklevel=3)


def _read_idx(content: bytes) -> np.ndarray:
    raw = gzip.decompress(content)
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(bytearray(raw), np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def _read_text(path, limit: int | None) -> str:
    size = -1 if limit is None else limit + 1
    if path.suffix == ".xz":
        with lzma.open(path) as file:
            return file.read(size).decode("ascii")
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            return archive.open(archive.namelist()[0]).read(size).decode("ascii")
    with path.open("rb") as file:
        return file.read(size).decode("ascii")
