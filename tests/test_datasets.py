"""The loaders on small files of the published layouts, on the stand-ins, and on real data."""

import ast
import gzip
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from helpers import catalogue, datasets
from helpers.datasets import (
    DataUnavailable,
    StandInWarning,
    analogies,
    corpus,
    fashion_mnist,
    imdb,
    word_similarity,
)

pytestmark = pytest.mark.usefixtures("folder")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def published(file, content: bytes):
    """``file`` as if ``content`` were what is published."""
    return replace(file, digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))


# Fashion-MNIST.


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def fashion(folder, monkeypatch):
    """Seven test images in the published layout; call it to change what the files hold."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 28, 28), dtype=np.uint8)
    labels = np.arange(7, dtype=np.uint8)

    def write(image_bytes: bytes = idx(images), label_bytes: bytes = idx(labels)):
        files = []
        for file, raw in zip(
            catalogue.FASHION_MNIST["test"], (image_bytes, label_bytes), strict=True
        ):
            content = gzip.compress(raw)
            put(folder / file.path, content)
            files.append(published(file, content))
        monkeypatch.setitem(catalogue.FASHION_MNIST, "test", tuple(files))

    monkeypatch.setitem(catalogue.FASHION_MNIST_SIZES, "test", 7)
    write()
    write.images, write.labels = images, labels
    return write


@pytest.mark.usefixtures("no_stand_in")
@pytest.mark.parametrize("limit", [None, 1, 3, 7, 100])
def test_images_are_read_as_published(fashion, limit):
    data = fashion_mnist("test", profile="full", limit=limit)
    assert torch.equal(data.images, torch.from_numpy(fashion.images[:limit]))
    assert torch.equal(data.labels, torch.from_numpy(fashion.labels[:limit]).long())
    assert data.images.dtype == torch.uint8
    assert data.source == f"Fashion-MNIST, {min(limit or 7, 7)} test images"
    data.images[0] = 0  # writable memory of their own


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(lambda images: idx(images)[:-1], id="truncated"),
        pytest.param(lambda images: idx(images) + bytes(10**6), id="bomb"),
        pytest.param(lambda images: idx(images[:6]), id="too few"),
        pytest.param(lambda images: idx(images.reshape(7, 14, 56)), id="other shape"),
        pytest.param(lambda images: b"<html>not found</html>", id="no IDX at all"),
    ],
)
def test_images_of_another_shape_are_refused(fashion, raw):
    fashion(image_bytes=raw(fashion.images))
    with pytest.raises(DataUnavailable, match=r"t10k-images.* is not an IDX file of shape"):
        fashion_mnist("test", profile="full")


def test_a_limit_asks_for_no_more_than_its_images(fashion):
    fashion(image_bytes=idx(fashion.images)[: 16 + 3 * 28 * 28 + 1])
    assert len(fashion_mnist("test", profile="full", limit=3).images) == 3
    with pytest.raises(DataUnavailable, match="is not an IDX file of shape"):
        fashion_mnist("test", profile="full", limit=4)


def test_a_corrupted_image_file_is_named_and_not_used(fashion, folder):
    path = folder / catalogue.FASHION_MNIST["test"][0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(StandInWarning, match=rf"{path} is broken \(its sha256") as caught:
        assert "stand-in" in fashion_mnist("test").source
    assert len(caught) == 1
    with pytest.raises(DataUnavailable, match="is broken"):
        fashion_mnist("test", profile="full")


def test_names_and_checksums_are_those_of_torchvision():
    [package] = find_spec("torchvision").submodule_search_locations
    tree = ast.parse(Path(package, "datasets/mnist.py").read_text(encoding="utf-8"))
    [body] = [node.body for node in tree.body if getattr(node, "name", "") == "FashionMNIST"]
    theirs = {n.targets[0].id: ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign)}

    ours = [file for split in ("train", "test") for file in catalogue.FASHION_MNIST[split]]
    assert [(Path(f.path).name, f.digest.removeprefix("md5:")) for f in ours] == (
        theirs["resources"]
    )
    assert [f.urls[0] for f in ours] == [
        theirs["mirrors"][0] + name for name, _ in theirs["resources"]
    ]
    assert list(catalogue.FASHION_MNIST_CLASSES) == theirs["classes"]


# IMDB.


def parquet(path: Path, texts: list[str], labels: list[int], **options) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path, **options)
    return path.read_bytes()


@pytest.fixture
def reviews(folder, monkeypatch):
    """Four reviews; returns the path, the texts and the labels."""
    file = catalogue.IMDB["train"]
    texts, labels = ["bad é", "worse", "fine", "good"], [0, 0, 1, 1]
    content = parquet(folder / file.path, texts, labels, compression="snappy")
    digest = catalogue.reviews_digest(folder / file.path)
    changed = replace(
        published(file, content), also=lambda path: catalogue.reviews_digest(path) == digest
    )
    monkeypatch.setitem(catalogue.IMDB, "train", changed)
    return folder / file.path, texts, labels


@pytest.mark.usefixtures("no_stand_in")
def test_reviews_are_read_in_the_files_order(reviews):
    _, texts, labels = reviews
    data = imdb("train", profile="full")
    assert (data.texts, data.labels.tolist()) == (texts, labels)
    assert data.labels.dtype == torch.int64
    assert data.source == "IMDB, 4 training reviews"


@pytest.mark.usefixtures("no_stand_in")
def test_the_same_reviews_in_another_encoding_are_accepted(reviews):
    path, texts, labels = reviews
    before = path.read_bytes()
    assert parquet(path, texts[::-1], labels[::-1], compression="gzip") != before
    assert imdb("train", profile="full").texts == texts[::-1]


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        pytest.param(["bad e", "worse", "fine", "good"], [0, 0, 1, 1], id="a letter changed"),
        pytest.param(["bad é", "worse", "fine", "good"], [0, 1, 1, 1], id="a label flipped"),
        pytest.param(["bad é", "worse", "fine"], [0, 0, 1], id="a review missing"),
        pytest.param(["bad é", "worse", "fine", "fine"], [0, 0, 1, 1], id="a review doubled"),
    ],
)
def test_other_reviews_are_refused(reviews, texts, labels):
    parquet(reviews[0], texts, labels)
    with pytest.raises(DataUnavailable, match=r"train-00000-of-00001.parquet is broken"):
        imdb("train", profile="full")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_parquet_file_is_refused(reviews, keep):
    path = reviews[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataUnavailable, match="is broken"):
        imdb("train", profile="full")


def test_a_file_without_the_columns_of_reviews_is_refused(folder):
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"word": ["a"]}), folder / "x.parquet")
    with pytest.raises(DataUnavailable, match=r"x\.parquet is not a Parquet file of reviews"):
        catalogue.read_reviews(folder / "x.parquet")


def test_a_file_of_no_reviews_is_refused(folder):
    parquet(folder / "x.parquet", [], [])
    with pytest.raises(DataUnavailable, match=r"x\.parquet holds no review"):
        catalogue.read_reviews(folder / "x.parquet")
    assert catalogue.reviews_digest(folder / "x.parquet") is None


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"use_dictionary": True}, id="one long row, repeated by reference"),
        pytest.param(
            {"use_dictionary": False, "compression": "zstd"}, id="a page of little entropy"
        ),
    ],
)
def test_a_bomb_of_reviews_is_refused_before_it_is_unpacked(folder, monkeypatch, options):
    monkeypatch.setattr(catalogue, "REVIEWS_LIMIT", 10_000_000)
    path = folder / "x.parquet"
    small = parquet(path, ["a" * 50_000] * 2_000, [0] * 2_000, **options)
    assert len(small) < 200_000  # and 100 MB unpacked
    peak = pyarrow.default_memory_pool().max_memory
    before = peak()
    with pytest.raises(DataUnavailable, match="unpacks to more than 10,000,000 bytes"):
        catalogue.read_reviews(path)
    assert peak() <= max(before, 60_000_000)


# Word similarity and analogies.


@pytest.mark.usefixtures("no_stand_in")
def test_word_pairs_are_read_in_both_layouts(folder, monkeypatch):
    short = b"# one line\n# Word 1\tWord 2\tHuman (mean)\nlove\tsex\t6.77\nFBI\tnull\t6.94\n"
    long = (
        b"word1\tword2\tPOS\tSimLex999\tconc(w1)\r\nlove\tsex\tN\t6.77\t2\r\n"
        b"FBI\tnull\tN\t6.94\t3\r\n"
    )
    for name, content in (("wordsim353", short), ("simlex999", long), ("simlex999", short)):
        file = published(catalogue.WORD_PAIRS[name], content)
        monkeypatch.setitem(catalogue.WORD_PAIRS, name, file)
        put(folder / file.path, content)
        frame = word_similarity(name, profile="full")
        assert frame.to_dict("list") == {
            "word1": ["love", "FBI"],
            "word2": ["sex", "null"],
            "score": [6.77, 6.94],
        }


@pytest.mark.usefixtures("no_stand_in")
def test_analogies_are_read_by_section(folder, monkeypatch):
    content = b": capitals\nAthens Greece Oslo Norway\n: family\nboy girl man woman\n"
    file = published(catalogue.ANALOGIES, content)
    monkeypatch.setattr(datasets, "ANALOGIES", file)
    put(folder / file.path, content)
    assert analogies(profile="full") == [
        ("capitals", "athens", "greece", "oslo", "norway"),
        ("family", "boy", "girl", "man", "woman"),
    ]


# Without any data.

LOADERS = [
    pytest.param(lambda profile: fashion_mnist("train", profile=profile), id="fashion_mnist"),
    pytest.param(lambda profile: imdb("test", profile=profile), id="imdb"),
    pytest.param(lambda profile: corpus(profile=profile, limit=1_000), id="corpus"),
    pytest.param(lambda profile: word_similarity("wordsim353", profile=profile), id="wordsim353"),
    pytest.param(lambda profile: word_similarity("simlex999", profile=profile), id="simlex999"),
    pytest.param(lambda profile: analogies(profile=profile), id="analogies"),
]


@pytest.mark.parametrize("load", LOADERS)
def test_full_without_data_stops_with_one_line_and_a_command(load):
    with pytest.raises(DataUnavailable) as caught:
        load("full")
    message = str(caught.value)
    assert "\n" not in message
    assert "is not there, and downloads are switched off (HOMEWORK_OFFLINE=1)" in message
    name = re.search(r"`python -m helpers.datasets (\w+)`", message)[1]
    assert name in ("fashion_mnist", "imdb", "corpus", "wordsim353", "simlex999", "analogies")


@pytest.mark.parametrize("load", LOADERS)
def test_quick_without_data_warns_once_and_says_so_in_the_source(load, folder):
    with pytest.warns(StandInWarning, match=r"(Using .* in place of|Going without) ") as caught:
        data = load("quick")
    assert len(caught) == 1
    assert caught[0].filename == "helpers.datasets"  # not a path of this machine
    if data is not None and data != []:
        assert "(stand-in)" in data.source
    assert not folder.exists()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fashion_mnist("validation"), "split 'validation' is not one of train, test"),
        (lambda: imdb("train", profile="Full"), "profile 'Full' is not one of quick, full"),
        (lambda: corpus(limit=0), "limit is 0: give a positive number"),
        (lambda: fashion_mnist("test", limit=-5), "limit is -5: give a positive number"),
        (lambda: word_similarity("men"), "name 'men' is not one of wordsim353, simlex999"),
    ],
)
def test_a_mistake_gets_one_line(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_the_command_reports_each_data_set(fashion, capsys):
    assert datasets.main(["imdb", "analogies"]) == 1
    assert capsys.readouterr().out.count("[FAIL] the full profile needs") == 2
    assert datasets.main(["imdb", "mnist"]) == 2
    assert "no data set mnist: choose from fashion_mnist, imdb" in capsys.readouterr().out


def test_importing_the_loaders_is_cheap():
    code = "import sys, helpers.datasets; print(*sys.modules)"
    root = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    heavy = {"torch", "torchvision", "datasets", "pandas", "pyarrow", "sklearn"}
    assert heavy.isdisjoint(run.stdout.split())


def test_the_readme_names_every_file():
    text = (Path(__file__).resolve().parents[1] / "data/README.md").read_text(encoding="utf-8")
    files = [*catalogue.FASHION_MNIST["train"], *catalogue.FASHION_MNIST["test"]]
    files += [*catalogue.IMDB.values(), *catalogue.WORD_PAIRS.values(), catalogue.ANALOGIES]
    for file in files:
        for part in Path(file.path).parts:
            assert part in text, file.path
