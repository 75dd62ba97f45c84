"""Reviews through the datasets library, from a local stand-in for the hub and from CSV files."""

import pandas as pd
import pytest
import torch

from helpers import reviews
from helpers.downloads import DataUnavailable, StandInWarning
from helpers.reviews import imdb, read_csv


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """No data, no network, and the library's cache in a folder that goes away."""
    import datasets

    monkeypatch.setenv("DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("HOMEWORK_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in the hub's layout in place of the hub; call it to fill a split."""
    monkeypatch.setattr(reviews, "HUB_NAME", str(tmp_path / "hub"))
    monkeypatch.setattr(reviews, "REVIEWS", 4)

    def write(split, labels):
        folder = tmp_path / "hub" / "plain_text"
        folder.mkdir(parents=True, exist_ok=True)
        texts = [f"review {i} 🎬" for i in range(len(labels))]
        frame = pd.DataFrame({"text": texts, "label": labels})
        frame.to_parquet(folder / f"{split}-00000-of-00001.parquet")

    return write


def test_full_asks_the_library_where_nothing_else_helps(hub):
    hub("train", [0, 0, 1, 1])
    hub("test", [1, 0, 1, 0])
    found = imdb("test", profile="full")
    assert found.texts == [f"review {i} 🎬" for i in range(4)]
    assert found.labels.equal(torch.tensor([1, 0, 1, 0]))
    assert found.source == "IMDB, 4 test reviews (hub)"


def test_other_reviews_on_the_hub_are_refused(hub):
    hub("train", [0, 1, 1, 1])
    with pytest.raises(DataUnavailable, match="does not hold 4 reviews, half of each class"):
        imdb("train", profile="full")


def test_without_the_hub_full_stops_with_one_line(monkeypatch):
    with pytest.raises(DataUnavailable, match=r"full profile needs IMDB.*The datasets library: "):
        imdb("train", profile="full")


def test_quick_does_not_ask_the_library(hub):
    hub("train", [0, 0, 1, 1])
    with pytest.warns(StandInWarning):
        assert "stand-in" in imdb("train").source


def test_the_revision_is_the_catalogues():
    assert len(reviews.REVISION) == 40
    assert set(reviews.REVISION) <= set("0123456789abcdef")


def test_a_readers_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('text,label,stars\n"Good, and\ncheap 😀",1,5\n,0,1\nNA,0,2\n')
    assert read_csv(path) == (["Good, and\ncheap 😀", "", "NA"], [1, 0, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("review,label\nfine,1\n", "has no column text"),
        ("text\nfine\n", "has no column label"),
        ("text,label\nfine,1\ndull,2\n", "review 2 has a label that is neither 0 nor 1"),
        ("text,label\nfine,positive\n", "review 1 has a label that is neither 0 nor 1"),
        ("text,label\nfine,\n", "review 1 has a label that is neither 0 nor 1"),
        ("", "is not a CSV file"),
        ('text,label\n"open', "is not a CSV file"),
    ],
)
def test_a_file_of_another_kind_gets_one_line(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv: there is no such file"):
        read_csv(tmp_path / "nowhere.csv")
