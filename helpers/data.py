"""The homework's data sets, each by one call whose result says where it came from.

A loader looks in DATA_DIR (default ``data/cache``), then asks the network through the library
that knows the data set: torchvision for Fashion-MNIST, huggingface_hub for IMDB. Where neither
helps, the quick profile computes on a stand-in, with a warning and a ``source`` that says so, and
the full profile raises ``DataUnavailable``. ``data/README.md`` lists sources, licenses and layout.
"""

import csv
import functools
import hashlib
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch.nn.functional import interpolate

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4.0  # to wait for a server that does not answer
SPLITS = {"train": "training", "test": "test"}

IMDB = "stanfordnlp/imdb"  # on the Hugging Face hub
IMDB_REVISION = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
SNIPPETS = "vaderSentiment-3.2.1"  # a source distribution on PyPI, and its SHA-256
SNIPPETS_SHA256 = "5dce530a78315563f8b3cd01033bbdd3bf4985fabf359ca68d4167728081c803"
NEUTRAL = 1.0  # a rating nearer to 0 than this is neutral


class DataUnavailable(RuntimeError):
    """A data set is neither in DATA_DIR nor to be had from the network."""


class StandInWarning(UserWarning):
    """What is computed is not computed on the data that was asked for."""


@dataclass(frozen=True)
class Images:
    """``images``, uint8 (N, 28, 28), and ``labels``, int64 (N,), indices of ``classes``."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str
    stand_in: bool = False


@dataclass(frozen=True)
class Reviews:
    """``texts``, N of them, and ``labels``, int64 (N,).

    Film reviews: 0 negative, 1 positive. App reviews: the score, 1 to 5.
    """

    texts: list[str]
    labels: torch.Tensor
    source: str
    stand_in: bool = False


def fashion_mnist(split: str, *, profile: str = "quick", limit: int | None = None) -> Images:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images of 10 classes.

    ``limit`` takes the first that many; the files are in random order. Stand-in: scikit-learn's
    handwritten digits, scaled to 28×28.
    """
    try:
        found = _fashion_mnist(train=split == "train")
        images, labels, classes = found.data, found.targets, tuple(found.classes)
        source = "Fashion-MNIST, {:,} {} images"
    except DataUnavailable as error:
        _settle_for("scikit-learn's digits", "Fashion-MNIST", profile, error)
        images, labels = _digits(split)
        classes = tuple(f"digit {label}" for label in range(10))
        source = "scikit-learn digits (stand-in), {:,} {} images scaled to 28×28"
    images, labels = images[:limit], labels[:limit]
    source = source.format(len(labels), SPLITS[split])
    return Images(images, labels, classes, source, "(stand-in)" in source)


def imdb(split: str, *, profile: str = "quick") -> Reviews:
    """The Large Movie Review Dataset (Maas et al. 2011): 25,000 reviews in each split.

    The rows come as the files hold them, all negative ones first: shuffle before taking a part.
    Stand-in: sentences from film reviews that people rated (``snippets``), without neutral ones;
    7,200 for training and 1,800 for the test.
    """
    try:
        table = _read(_imdb_file(split), ("text", "label"))
        source = f"IMDB, {len(table['text']):,} {SPLITS[split]} reviews"
        return Reviews(table["text"], torch.tensor(table["label"]), source)
    except DataUnavailable as error:
        _settle_for("sentences from film reviews", "IMDB", profile, error)
    films = snippets().query("kind == 'film'").sample(frac=1, random_state=0)
    part, count = {"train": (slice(3_600), 3_600), "test": (slice(3_600, 4_500), 900)}[split]
    negative, positive = (films["text"][films["rating"] * sign >= NEUTRAL] for sign in (-1, 1))
    labels = torch.tensor([0, 1]).repeat_interleave(count)
    source = f"film snippets (stand-in), {2 * count:,} {SPLITS[split]} sentences"
    return Reviews([*negative[part], *positive[part]], labels, source, stand_in=True)


def app_reviews() -> Reviews:
    """App-store reviews with scores 1 to 5: columns content and score of a CSV file in DATA_DIR.

    No license of that file is known, so it is never downloaded. Stand-in, in both profiles: all
    ``snippets``, where a mean rating r from −4 to 4 becomes the score round(3 + r/2), so that
    3 is what is rated between −1 and 1.
    """
    path = data_dir() / "app_reviews/reviews.csv"
    if path.is_file():
        table = _read(path, ("content", "score"), keep_default_na=False)
        with _told(f"{shown(path)} has a score that is no number"):
            scores = torch.tensor([int(score) for score in table["score"]])
        return Reviews(table["content"], scores, f"{len(scores):,} app reviews")
    _warn(
        "Using rated snippets in place of app reviews: app_reviews/reviews.csv is not in DATA_DIR."
    )
    rated = snippets().sample(frac=1, random_state=0)
    scores = torch.tensor((3 + rated["rating"] / 2).round().astype(int).to_numpy())
    source = f"review snippets (stand-in), {len(rated):,} sentences"
    return Reviews(list(rated["text"]), scores, source, stand_in=True)


def snippets() -> pd.DataFrame:
    """14,300 sentences from reviews with what people thought of them (Hutto and Gilbert 2014).

    Columns: ``kind``, "film" or "product"; ``rating``, the mean of several people's ratings from
    −4 to 4; ``text``. They come with the source distribution of vaderSentiment 3.2.1, which the
    reader's own pip fetches once; nothing of it is installed. Raises DataUnavailable.
    """
    how = {"sep": "\t", "quoting": csv.QUOTE_NONE, "names": ["id", "rating", "text"]}
    inner = f"{SNIPPETS}/additional_resources/hutto_ICWSM_2014.tar.gz"
    tables = []
    with (
        tarfile.open(_snippets_file()) as package,
        tarfile.open(fileobj=package.extractfile(inner)) as archive,
    ):
        for kind, name in {"film": "movie", "product": "amazon"}.items():
            file = archive.extractfile(f"hutto_ICWSM_2014/{name}ReviewSnippets_GroundTruth.txt")
            tables.append(pd.read_csv(file, **how).assign(kind=kind)[["kind", "rating", "text"]])
    return pd.concat(tables).drop_duplicates("text", ignore_index=True)


def data_dir() -> Path:
    """The folder of data sets: DATA_DIR, else ``data/cache``.

    A relative DATA_DIR counts from the repository's root, since notebooks run elsewhere.
    """
    return ROOT / Path(os.environ.get("DATA_DIR") or "data/cache").expanduser()


def offline() -> str:
    """Which switch of the environment forbids to ask the network; empty if none does."""
    switches, on = ("HOMEWORK_OFFLINE", "HF_HUB_OFFLINE"), ("1", "ON", "YES", "TRUE")
    return next((f"{n} is set" for n in switches if os.environ.get(n, "").upper() in on), "")


@functools.cache
def hub_answers(name: str = IMDB, kind: str = "dataset") -> bool:
    """Whether the Hugging Face hub can be asked for ``name``; once per process.

    Without this question its client tries again for half a minute.
    """
    if offline():
        return False
    from huggingface_hub import HfApi

    try:
        HfApi().repo_info(name, repo_type=kind, timeout=SECONDS)
    except Exception:  # whatever its HTTP library raises
        return False
    return True


def shown(path: Path) -> str:
    """A path as messages give it: from the repository's root if it lies there."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def download(names: Sequence[str] = ()) -> int:
    """Fetch data sets (none named: all), and print what there is now; 1 if one is not there."""
    loaders = {
        "fashion_mnist": lambda: fashion_mnist("train", profile="full").source,
        "imdb": lambda: " and ".join(imdb(split, profile="full").source for split in SPLITS),
        "snippets": lambda: f"{len(snippets()):,} snippets",
    }
    failed = 0
    for name in names or loaders:
        try:
            print(f"[OK] {loaders[name]()}")
        except DataUnavailable as error:
            print(f"[FAIL] {error}")
            failed = 1
    return failed


def _fashion_mnist(*, train: bool):
    """torchvision's data set from DATA_DIR, after downloading it if need be."""
    from torchvision.datasets import FashionMNIST

    folder = data_dir() / "FashionMNIST"
    if len([*folder.glob("raw/*-ubyte")]) < 4:
        with _told(f"{shown(folder)} is not there"), _fetching_into(data_dir()):
            FashionMNIST(data_dir(), download=True)
    with _told(f"{shown(folder)} is broken: remove it"):
        return FashionMNIST(data_dir(), train=train)


def _imdb_file(split: str) -> Path:
    """Where IMDB's reviews lie, after downloading them if need be."""
    name = f"plain_text/{split}-00000-of-00001.parquet"
    path = data_dir() / "imdb" / name
    if not path.is_file():
        with _told(f"{shown(path)} is not there"):
            if not hub_answers():
                raise OSError(offline() or "the hub does not answer")
            from huggingface_hub import hf_hub_download

            where = {"revision": IMDB_REVISION, "local_dir": data_dir() / "imdb"}
            hf_hub_download(IMDB, name, repo_type="dataset", **where)
    return path


def _snippets_file() -> Path:
    """The package that holds the snippets: in DATA_DIR or data/cache, fetched if need be."""
    places = [place / f"snippets/{SNIPPETS}.tar.gz" for place in (data_dir(), ROOT / "data/cache")]
    for path in places:
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SNIPPETS_SHA256:
            return path
    for path in places:
        try:
            with _fetching_into(path.parent), _told(f"{shown(path)} is not there"):
                _pip_download(path.parent)
            return path
        except OSError as error:  # such as a folder that cannot be written
            problem = error
    raise DataUnavailable(f"{shown(path)} is not there ({problem})")


def _pip_download(folder: Path) -> None:
    """The snippets' package by the reader's own pip, which checks the digest."""
    wanted = f"{SNIPPETS.replace('-', '==')} --hash=sha256:{SNIPPETS_SHA256}"
    how = "--quiet --no-deps --no-binary=vaderSentiment --require-hashes --retries=1".split()
    command = [sys.executable, *"-m pip download -r /dev/stdin".split(), *how, f"--dest={folder}"]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)


def _read(path: Path, columns: tuple[str, ...], **options) -> dict[str, list]:
    """Columns of a Parquet or CSV file, read by the datasets library."""
    import datasets

    datasets.disable_progress_bars()
    read = getattr(datasets.Dataset, f"from_{path.suffix[1:]}")  # from_csv or from_parquet
    with _told(f"{shown(path)} is broken"), tempfile.TemporaryDirectory() as cache:
        table = read(str(path), cache_dir=cache, keep_in_memory=True, **options)  # no copy stays
        return {name: table[name][:] for name in columns}


def _digits(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scikit-learn's 1,797 handwritten digits, from 8×8 to 28×28, bright ink on black.

    Images, uint8 (N, 28, 28), and labels, int64 (N,). The first 80 % of each class are for
    training, the rest for the test.
    """
    from sklearn.datasets import load_digits

    small, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    place = torch.stack([(labels == k).cumsum(0) for k in range(10)])[labels, range(len(labels))]
    training = place <= (0.8 * torch.bincount(labels)[labels]).round()
    rows = training if split == "train" else ~training
    gray = small[rows].view(-1, 1, 8, 8) / 16  # (N, 1, 8, 8), 0 to 1
    large = interpolate(gray, size=(28, 28), mode="bilinear").squeeze(1)  # (N, 28, 28)
    return (255 * large).round().to(torch.uint8), labels[rows].long()


def _settle_for(standin: str, name: str, profile: str, why: DataUnavailable) -> None:
    """Warn that a stand-in takes the data set's place; raise in the full profile."""
    if profile == "full":
        raise DataUnavailable(
            f"the full profile needs {name}, but {why}. Start again with a network, or set "
            "DATA_DIR to a folder that holds it (data/README.md)."
        ) from None
    _warn(f"Using {standin} in place of {name}: {why}.")


def _warn(message: str) -> None:
    """Warn without the caller's file and line, which differ from run to run in a notebook."""
    warnings.warn_explicit(message, StandInWarning, "helpers.data", 1)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever goes wrong in a library as one line: ``what`` it means, and what it said last."""
    try:
        yield
    except Exception as error:  # HTTP, Arrow, pandas and torchvision each have their own
        said = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise DataUnavailable(f"{what} ({said[-1]})") from None


@contextmanager
def _fetching_into(folder: Path) -> Iterator[None]:
    """One process at a time; the others find what it brought. Silent servers are given up."""
    from filelock import FileLock

    if offline():
        raise OSError(offline())
    folder.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)  # urllib alone would wait forever
    try:
        with FileLock(folder / ".lock"):
            yield
    finally:
        socket.setdefaulttimeout(before)
