"""What is published where, what it hashes to, and how its files are read.

Readers bound what they decompress, and raise DataUnavailable for a file that is not what its
name says. Sources, licences and citations: ``data/README.md``.
"""

import bz2
import gzip
import hashlib
import lzma
import os
import string
import zipfile
import zlib
from pathlib import Path

import numpy as np

from helpers.downloads import (
    DataUnavailable,
    RemoteFile,
    data_dir,
    fetch,
    find_fault,
    matches,
    shown,
    warn,
)

CORPUS_LIMIT = 1_000_000_000  # bytes that a corpus may hold, unpacked
REVIEWS_LIMIT = 200_000_000  # bytes that a file of reviews may hold, unpacked; IMDB's hold 33 MB

# Fashion-MNIST: names and MD5s as torchvision.datasets.FashionMNIST has them, from the same
# mirror and, failing that, from the authors' repository.
FASHION_MNIST_SIZES = {"train": 60_000, "test": 10_000}
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _fashion_mnist(name: str, md5: str, size: int) -> RemoteFile:
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    urls = tuple(mirror + name for mirror in mirrors)
    return RemoteFile(path=f"FashionMNIST/raw/{name}", urls=urls, digest=f"md5:{md5}", size=size)


FASHION_MNIST = {  # images, labels
    "train": (
        _fashion_mnist("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26421880),
        _fashion_mnist("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29515),
    ),
    "test": (
        _fashion_mnist("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4422102),
        _fashion_mnist("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5148),
    ),
}


def read_idx(path: Path, shape: tuple[int, ...], limit: int | None) -> np.ndarray:
    """The first ``limit`` items of a gzipped IDX file of uint8, whose shape must be ``shape``."""
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    items = shape[0] if limit is None else min(limit, shape[0])
    end = len(header) + items * int(np.prod(shape[1:]))
    # One byte more than a whole file holds shows whether it ends there.
    raw = zlib.decompressobj(wbits=31).decompress(path.read_bytes(), end + 1)
    ends_well = len(raw) == end if items == shape[0] else len(raw) >= end
    if not (raw.startswith(header) and ends_well):
        raise DataUnavailable(f"{shown(path)} is not an IDX file of shape {shape}")
    writable = bytearray(memoryview(raw)[len(header) : end])  # as torch wants it
    return np.frombuffer(writable, np.uint8).reshape(items, *shape[1:])  # (items, …)


# IMDB: the hub's Parquet files at a fixed revision, whose sha256 the hub publishes.
_HUB = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
_IMDB_FOLDER = (
    f"{_HUB}/datasets/stanfordnlp/imdb/resolve/e6281661ce1c48d982bc483cf8a173c1bbeb5d31/plain_text/"
)


def _imdb(name: str, sha256: str, size: int, content: str) -> RemoteFile:
    return RemoteFile(
        path=f"imdb/plain_text/{name}",
        urls=(_IMDB_FOLDER + name,),
        digest=f"sha256:{sha256}",
        size=size,
        also=lambda path: reviews_digest(path) == content,
    )


IMDB = {
    "train": _imdb(
        "train-00000-of-00001.parquet",
        "db47d16b5c297cc0dd625e519c81319c24c9149e70e8496de5475f6fa928342c",
        20_979_968,
        content="3b4832fe90b8387234cd26a56848db7ce1727b403af7ce38ece9ab150a2e4477",
    ),
    "test": _imdb(
        "test-00000-of-00001.parquet",
        "b52e26e2f872d282ffac460bf9770b25ac6f102cda0e6ca7158df98c94e8b3da",
        20_470_363,
        content="f12d0410c81c3f4a6aa51c23cd71a6be935246cbc64328666576cbd83522fe69",
    ),
}


def read_reviews(path: Path) -> tuple[list[str], np.ndarray]:
    """Texts and labels, (N,), of a Parquet file with columns ``text`` and ``label``."""
    import pyarrow

    try:
        table = pyarrow.Table.from_batches(_bounded_batches(path))
        return table["text"].to_pylist(), table["label"].to_numpy()
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataUnavailable(
            f"{shown(path)} is not a Parquet file of reviews ({reason})"
        ) from None


def _bounded_batches(path: Path) -> list:
    """A Parquet file's record batches, at least one and as many as ``REVIEWS_LIMIT`` allows.

    Pages are counted as the file announces them, and rows as they come: a few bytes of
    dictionary can stand for any number of long rows.
    """
    import pyarrow.parquet

    too_large = DataUnavailable(f"{shown(path)} unpacks to more than {REVIEWS_LIMIT:,} bytes")
    with pyarrow.parquet.ParquetFile(path) as file:
        groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > REVIEWS_LIMIT:
            raise too_large
        batches, size = [], 0
        for batch in file.iter_batches(batch_size=500, columns=["text", "label"]):
            size += batch.nbytes
            if size > REVIEWS_LIMIT:
                raise too_large
            batches.append(batch)
    if not batches:
        raise DataUnavailable(f"{shown(path)} holds no review")
    return batches


def reviews_digest(path: Path) -> str | None:
    """sha256 of a file's reviews, whatever their order and encoding; None if it holds none.

    The same reviews circulate in Parquet files whose bytes differ with the program that wrote
    them. What does not differ is the sorted list of the sha256 of each ``"label text"``.
    """
    try:
        texts, labels = read_reviews(path)
    except DataUnavailable:
        return None
    rows = (f"{label} {text}".encode() for text, label in zip(texts, labels, strict=True))
    digests = sorted(hashlib.sha256(row).digest() for row in rows)
    return hashlib.sha256(b"".join(digests)).hexdigest()


# text8: Mahoney publishes the MD5 of the unpacked file; the archive's sha256 is as users of it
# have recorded it beside that MD5.
_TEXT8_ZIP = RemoteFile(
    path="text8/text8.zip",
    urls=("https://mattmahoney.net/dc/text8.zip",),
    digest="sha256:a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    size=31_344_016,
)
_TEXT8 = RemoteFile(
    path="text8/text8", urls=(), digest="md5:3bea1919949baf155f99411df5fada7e", size=100_000_000
)
_PUBLISHED = {"text8": _TEXT8, "text8.zip": _TEXT8_ZIP}
_LETTERS = string.ascii_lowercase.encode()


def _open_zip(path: Path):
    archive = zipfile.ZipFile(path)
    if not archive.infolist():
        raise zipfile.BadZipFile("an archive without a file")
    return archive.open(archive.infolist()[0])


_OPENERS = {
    "": lambda path: path.open("rb"),
    ".txt": lambda path: path.open("rb"),
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
}


def read_text8(limit: int | None) -> tuple[bytes, str]:
    """The first ``limit`` bytes of the first sound corpus under DATA_DIR, and its name.

    Mahoney's own comes first, then other files with ``text8`` in their names; with none, it
    is downloaded.
    """
    faults = []
    for path in corpora():
        published = _PUBLISHED.get(path.name)
        fault = find_fault(path, published) if published else None
        try:
            if fault:
                raise DataUnavailable(f"{shown(path)} {fault}")
            text = _read_text(path, limit)
        except DataUnavailable as error:
            faults.append(str(error))
            continue
        for message in faults:
            warn(f"{message}: using {shown(path)} instead", UserWarning)
        return text, path.name.partition(".")[0]
    try:
        return _read_text(fetch(_TEXT8_ZIP), limit), "text8"
    except DataUnavailable as error:
        raise DataUnavailable("; ".join(dict.fromkeys([*faults, str(error)]))) from None


def whole_words(text: bytes, limit: int | None) -> bytes:
    """The first ``limit`` bytes without surrounding space and without a word cut short."""
    text = text.lstrip()
    if limit is not None and len(text) > limit:
        text = text[: limit + 1].rpartition(b" ")[0]
    return text.strip()


def corpora() -> list[Path]:
    """The files under DATA_DIR that may be a corpus, in the order in which they are tried."""
    found = [path for depth in ("", "*/") for path in data_dir().glob(f"{depth}*text8*")]
    found = [
        p for p in found if p.suffix in _OPENERS and not p.name.startswith(".") and p.is_file()
    ]
    return sorted(found, key=lambda path: (path.name not in _PUBLISHED, path))


def _read_text(path: Path, limit: int | None) -> bytes:
    size = CORPUS_LIMIT if limit is None else min(limit, CORPUS_LIMIT)
    try:
        with _OPENERS[path.suffix](path) as file:
            text = file.read(size + 2)  # a space before and a space after: see whole_words
    except (OSError, EOFError, RuntimeError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as e:
        raise DataUnavailable(f"{shown(path)} is broken ({e})") from None
    if limit is None and len(text) > CORPUS_LIMIT:
        raise DataUnavailable(f"{shown(path)} unpacks to more than {CORPUS_LIMIT:,} bytes")
    text = text.replace(b"\n", b" ")
    if not text or text.translate(None, _LETTERS + b" "):
        raise DataUnavailable(f"{shown(path)} is not text of a–z and spaces only, as text8 is")
    return text


# Word pairs and analogies: gensim's copies at a fixed commit and the author's own file, which
# the digests tie to the originals.
_GENSIM = (
    "https://raw.githubusercontent.com/piskvorky/gensim/"
    "a97b67942a0a3656337d394e1cfb8b8df3c78268/gensim/test/test_data/"
)
_SIMLEX = "sha256:ca00ff8515a36cde32d13c2b83def23f5a167b67db93ebfcfb7dae039ba22c0b"

WORD_PAIRS = {
    "wordsim353": RemoteFile(
        path="wordsim/wordsim353.tsv",
        urls=(_GENSIM + "wordsim353.tsv",),
        digest="sha256:f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
        size=7_186,
    ),
    "simlex999": RemoteFile(
        path="wordsim/SimLex-999.txt",
        urls=(_GENSIM + "simlex999.txt",),
        digest="sha256:d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
        size=18_126,
        also=lambda path: matches(path, _SIMLEX),  # the authors' file, which has more columns
    ),
}
ANALOGIES = RemoteFile(
    path="wordsim/questions-words.txt",
    urls=(
        "https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt",
        _GENSIM + "questions-words.txt",
    ),
    digest="sha256:8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
    size=603_955,
)


def read_word_pairs(path: Path) -> list[tuple[str, str, float]]:
    """(word, word, score) of a tab-separated file, in gensim's layout or in SimLex-999's own."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    if lines[0][0] == "word1":  # SimLex-999: a header, and the part of speech third
        return [(line[0], line[1], float(line[3])) for line in lines[1:]]
    return [(a, b, float(score)) for a, b, score in lines[2:]]  # after two lines of comment


def present() -> list[tuple[str, int]]:
    """The data sets' files that DATA_DIR holds, as (path below it, bytes)."""
    known = [file for files in FASHION_MNIST.values() for file in files]
    known += [*IMDB.values(), *WORD_PAIRS.values(), ANALOGIES]
    paths = {data_dir() / file.path for file in known} | set(corpora())
    files = sorted(path for path in paths if path.is_file())
    return [(path.relative_to(data_dir()).as_posix(), path.stat().st_size) for path in files]
