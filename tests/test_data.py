"""Data: what is at hand is read, what is not is told in one line, stand-ins are real and marked."""

import re
import socket
import subprocess
import time
import warnings

import numpy as np
import pytest
import torch

from helpers import data
from helpers.data import DataUnavailable, StandInWarning, app_reviews, fashion_mnist, imdb

REAL = data.data_dir()  # before a test sets another


@pytest.fixture(scope="session")
def rated():
    """The snippets, fetched before a test forbids the network."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("DATA_DIR", raising=False)  # later tests look in the cache alone
            return data.snippets()
    except DataUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def online(monkeypatch, folder):
    monkeypatch.delenv("HOMEWORK_OFFLINE")
    data.hub_answers.cache_clear()
    yield
    data.hub_answers.cache_clear()


@pytest.fixture
def real(monkeypatch, no_stand_in):
    """The data sets of the machine, if it has any."""
    if not (REAL / "FashionMNIST").exists() or not (REAL / "imdb").exists():
        pytest.skip("DATA_DIR holds no real data")
    monkeypatch.setenv("DATA_DIR", str(REAL))


def put(folder, name, content=b""):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def refused(load, *arguments, **how):
    """The one line that says what is wrong."""
    with pytest.raises(DataUnavailable) as caught:
        load(*arguments, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_real_fashion_mnist(real):
    for split, number, mean in (("train", 60_000, 0.2860), ("test", 10_000, 0.2868)):
        found = fashion_mnist(split, profile="full")
        assert found.images.shape == (number, 28, 28)
        assert torch.bincount(found.labels).tolist() == [number // 10] * 10
        assert found.images.double().mean().item() / 255 == pytest.approx(mean, abs=1e-4)
        assert found.classes[found.labels[0]] == "Ankle boot"
        part = fashion_mnist(split, limit=10)
        assert part.images.equal(found.images[:10])
        assert part.source == f"Fashion-MNIST, 10 {data.SPLITS[split]} images"


def test_real_imdb(real):
    for split, characters in {"train": 33_132_823, "test": 32_350_685}.items():
        found = imdb(split, profile="full")
        assert found.labels.equal(torch.tensor([0, 1]).repeat_interleave(12_500))
        assert found.source == f"IMDB, 25,000 {data.SPLITS[split]} reviews"
        size = sum(len(text.encode()) for text in found.texts)
        assert size == characters  # the hub's, less its offsets


def test_without_files_quick_stands_in_and_full_stops(folder, rated):
    for load in (fashion_mnist, imdb):
        with pytest.warns(StandInWarning, match=r"in place of .* is not there .HOMEWORK_OFF"):
            found = load("test")
        assert found.stand_in
        assert "(stand-in)" in found.source
        told = refused(load, "test", profile="full")
        assert re.search("full profile needs .* is not there .HOMEWORK_OFFLINE is set", told)


@pytest.mark.filterwarnings("ignore::helpers.data.StandInWarning")
def test_the_digits_are_parted_by_class_and_scaled(folder):
    parts = [fashion_mnist(split) for split in ("train", "test")]
    counts = [torch.bincount(part.labels) for part in parts]
    assert (sum(counts).sum(), counts[0].sum()) == (1_797, 1_438)
    assert (counts[0] / sum(counts)).sub(0.8).abs().max() < 0.005
    assert parts[0].images.shape[1:] == (28, 28)
    assert (parts[0].images.max(), parts[0].classes[7]) == (255, "digit 7")


@pytest.mark.filterwarnings("ignore::helpers.data.StandInWarning")
def test_film_snippets_stand_in_without_the_neutral_ones(folder, rated):
    train, test = (imdb(split) for split in ("train", "test"))
    ratings = dict(zip(rated["text"], rated["rating"], strict=True))
    kinds = dict(zip(rated["text"], rated["kind"], strict=True))
    for part, number in ((train, 3_600), (test, 900)):
        assert part.labels.equal(torch.tensor([0, 1]).repeat_interleave(number))
        values = np.array([ratings[text] for text in part.texts])
        assert (values[:number].max(), values[number:].min()) == (-1, 1)
        assert {kinds[text] for text in part.texts} == {"film"}
    assert set(train.texts).isdisjoint(test.texts)


def test_snippets_become_scores_by_the_written_rule(folder, rated):
    with pytest.warns(StandInWarning, match=r"app reviews: .*reviews.csv is not in DATA_DIR"):
        found = app_reviews()
    ratings = dict(zip(rated["text"], rated["rating"], strict=True))
    assert (len(found.texts), found.stand_in) == (len(rated), True)
    for text, score in zip(found.texts, found.labels.tolist(), strict=True):
        low, high = {1: (-4, -3), 2: (-3, -1), 3: (-1, 1), 4: (1, 3), 5: (3, 4)}[score]
        assert low <= ratings[text] <= high
        assert score != 3 or -1 < ratings[text] < 1


def test_app_reviews_are_read_from_the_readers_file(folder, no_stand_in):
    text = 'id,content,score\n1,"Good, but\nslow",4\n2,,1\n3,NA,3\n'
    put(folder, "app_reviews/reviews.csv", text.encode())
    found = app_reviews()
    assert found.texts == ["Good, but\nslow", "", "NA"]
    assert (found.labels.tolist(), found.stand_in) == ([4, 1, 3], False)


def test_a_broken_file_is_told_in_one_line(folder):
    content = b"PAR1 and no more"
    put(folder, "imdb/plain_text/test-00000-of-00001.parquet", content)
    assert "test-00000-of-00001.parquet is broken" in refused(imdb, "test", profile="full")
    put(folder, "app_reviews/reviews.csv", b"text,score\nFine,5\n")
    assert re.search(r"reviews\.csv is broken .*content", refused(app_reviews))
    put(folder, "app_reviews/reviews.csv", b"content,score\nFine,good\n")
    assert re.search(r"reviews\.csv has a score that is no number .*good", refused(app_reviews))
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        put(folder, f"FashionMNIST/raw/{name}-ubyte", content)
    assert "FashionMNIST is broken: remove it" in refused(fashion_mnist, "test", profile="full")


def test_a_silent_server_is_given_up_soon(folder, online, monkeypatch):
    from torchvision.datasets import FashionMNIST

    with socket.create_server(("127.0.0.1", 0)) as server:  # it never answers
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [address])
        monkeypatch.setattr(data, "SECONDS", 0.3)
        start = time.monotonic()
        assert "timed out" in refused(fashion_mnist, "test", profile="full")
    assert time.monotonic() - start < 30
    assert socket.getdefaulttimeout() is None


def test_a_hub_that_does_not_answer_is_asked_once(folder, online, monkeypatch):
    asked = []

    def ask(hub, name, *, repo_type, timeout):
        asked.append((name, repo_type, timeout))
        raise OSError("nobody there")

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", ask)
    for _ in range(2):
        assert "(the hub does not answer)" in refused(imdb, "test", profile="full")
    assert asked == [("stanfordnlp/imdb", "dataset", data.SECONDS)]


def test_snippets_are_fetched_by_pip_with_their_digest(folder, online, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "ROOT", tmp_path)  # whose cache is empty
    put(folder, "snippets/vaderSentiment-3.2.1.tar.gz", b"something else")
    commands = []

    def run(command, *, input, **how):
        commands.append((command, input))
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no index\n")

    monkeypatch.setattr(subprocess, "run", run)
    told = refused(data.snippets)
    assert told.endswith("vaderSentiment-3.2.1.tar.gz is not there (ERROR: no index)")
    [(command, wanted)] = commands
    assert f"--dest={folder / 'snippets'}" in command
    assert {"--no-deps", "--no-binary=vaderSentiment", "--require-hashes"} < set(command)
    assert wanted == f"vaderSentiment==3.2.1 --hash=sha256:{data.SNIPPETS_SHA256}"


def test_all_is_fetched_and_told(folder, rated, capsys):
    assert data.download() == 1
    fashion, reviews, snippets = capsys.readouterr().out.splitlines()
    assert fashion.startswith("[FAIL]") and reviews.startswith("[FAIL]")
    assert snippets == f"[OK] {len(rated):,} snippets"
    assert data.download(["snippets"]) == 0


def test_warnings_do_not_name_paths_of_this_machine(folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fashion_mnist("test")
    assert caught[0].filename == "helpers.data"
