"""The published data sets as they are read, where DATA_DIR holds them."""

import warnings

import pytest
import torch

from helpers import catalogue
from helpers.datasets import analogies, corpus, fashion_mnist, imdb, word_similarity
from helpers.downloads import data_dir

FOLDER = data_dir()  # before a test sets another


@pytest.fixture
def real(monkeypatch):
    """The data's own folder, no network, no stand-in; call it to skip without these files."""
    monkeypatch.setenv("DATA_DIR", str(FOLDER))
    monkeypatch.setenv("HOMEWORK_OFFLINE", "1")

    def need(*files):
        for file in files:
            if not (FOLDER / file.path).exists():
                pytest.skip(f"DATA_DIR holds no {file.path}")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield need


@pytest.mark.parametrize(("split", "number"), [("train", 60_000), ("test", 10_000)])
def test_real_fashion_mnist(real, split, number):
    real(*catalogue.FASHION_MNIST[split])
    data = fashion_mnist(split, profile="full")
    assert data.images.shape == (number, 28, 28)
    assert torch.bincount(data.labels).tolist() == [number // 10] * 10
    mean = data.images.double().mean().item() / 255
    assert mean == pytest.approx(0.2860 if split == "train" else 0.2868, abs=1e-4)
    assert data.classes[data.labels[0]] == "Ankle boot"
    part = fashion_mnist(split, profile="full", limit=10)
    assert torch.equal(part.images, data.images[:10])


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_imdb(real, split):
    real(catalogue.IMDB[split])
    data = imdb(split, profile="full")
    assert torch.bincount(data.labels).tolist() == [12_500, 12_500]
    assert torch.equal(data.labels, data.labels.sort().values)
    size = sum(len(text.encode()) for text in data.texts)
    assert size == {"train": 33_132_823, "test": 32_350_685}[split]  # the hub's, less its offsets


def test_real_corpus(real):
    if not catalogue.corpora():
        pytest.skip("DATA_DIR holds no corpus")
    data = corpus(profile="full", limit=100_000)
    assert 99_900 < len(data.text) <= 100_000
    vocabulary, counts, ids = data.encode()
    assert (vocabulary[0], counts.sum()) == ("the", len(ids))


def test_real_words(real):
    real(*catalogue.WORD_PAIRS.values(), catalogue.ANALOGIES)
    for name, number in (("wordsim353", 353), ("simlex999", 999)):
        frame = word_similarity(name, profile="full")
        assert len(frame) == number
        assert frame.score.between(0, 10).all()
    questions = analogies(profile="full")
    assert (len(questions), len({section for section, *_ in questions})) == (19_544, 14)
    assert {len(question) for question in questions} == {5}
