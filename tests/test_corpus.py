"""The corpus: found, cut between words, bounded, and turned into numbers."""

import bz2
import gzip
import lzma
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import catalogue
from helpers.datasets import Corpus, corpus
from helpers.downloads import DataUnavailable

pytestmark = pytest.mark.usefixtures("folder")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


TEXT = b" anarchism originated as a term of abuse first used against early working class radicals"


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text8", content)


WRITERS = {
    "my_text8": Path.write_bytes,
    "my_text8.txt": Path.write_bytes,
    "wiki/text8style.txt.gz": lambda path, text: path.write_bytes(gzip.compress(text)),
    "wiki/text8style.txt.bz2": lambda path, text: path.write_bytes(bz2.compress(text)),
    "wiki/text8style.txt.xz": lambda path, text: path.write_bytes(lzma.compress(text)),
    "my.text8.zip": zipped,
}


@pytest.mark.usefixtures("no_stand_in")
@pytest.mark.parametrize("name", WRITERS)
def test_a_corpus_is_found_under_any_compression(folder, name):
    (folder / "wiki").mkdir(parents=True)
    WRITERS[name](folder / name, TEXT + b"\n")
    data = corpus(profile="full")
    assert data.text == TEXT.decode().strip()
    assert data.words == TEXT.decode().split()
    assert data.source == f"{Path(name).name.partition('.')[0]}, {len(data.text)} characters"
    assert corpus(profile="full", limit=20).text == "anarchism originated"


@given(
    words=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1),
    limit=st.integers(1, 60),
    space=st.sampled_from([b"", b" "]),
)
def test_a_limit_cuts_between_words(words, limit, space):
    text = " ".join(words)
    part = catalogue.whole_words((space + text.encode())[: limit + 2], limit).decode()
    assert len(part) <= limit
    assert part.split() == words[: len(part.split())]
    rest = words[len(part.split()) :]
    assert not rest or len(part) + bool(part) + len(rest[0]) > limit  # no word less than fits


@pytest.mark.usefixtures("no_stand_in")
@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".xz", lambda text: lzma.compress(text, preset=0)),
        (".bz2", lambda text: bz2.compress(text, compresslevel=1)),
    ],
)
def test_no_more_is_unpacked_than_the_limit(folder, suffix, compress):
    letters = np.random.default_rng(0).choice(list(b"abcdefgh "), 400_000).astype(np.uint8)
    content = compress(letters.tobytes())
    path = put(folder / f"text8style{suffix}", content[: len(content) // 2])  # its end is missing
    assert len(corpus(profile="full", limit=10_000).text) > 9_900
    with pytest.raises(DataUnavailable, match=f"{path} is broken"):
        corpus(profile="full")


def test_a_corpus_that_grows_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr(catalogue, "CORPUS_LIMIT", 1_000)
    path = put(folder / "text8style.xz", lzma.compress(b"ab " * 10**6))
    with pytest.raises(DataUnavailable, match=f"{path} unpacks to more than 1,000 bytes"):
        corpus(profile="full")


def test_an_archive_without_a_file_is_refused(folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "my.text8.zip"
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(DataUnavailable, match=f"{path} is broken .an archive without a file"):
        corpus(profile="full")


@pytest.mark.parametrize("content", [b"", b"The cat", b"caf\xc3\xa9", b"a\x00b"])
def test_other_text_is_refused(folder, content):
    path = put(folder / "text8style.txt", content)
    with pytest.raises(DataUnavailable, match=f"{path} is not text of a–z and spaces"):
        corpus(profile="full")


def test_a_false_text8_gives_way_to_another_corpus(folder):
    put(folder / "text8", TEXT)
    other = put(folder / "wiki/text8style.txt", b"the other one")
    with pytest.warns(UserWarning, match=f"text8 is broken .*: using {other} instead"):
        assert corpus(profile="full").text == "the other one"
    other.unlink()
    with pytest.raises(DataUnavailable, match=r"text8 is broken .*text8\.zip is not there"):
        corpus(profile="full")


@given(st.lists(st.sampled_from(["a", "b", "cc", "ddd"])), st.integers(1, 3))
def test_words_as_numbers_agree_with_a_counter(words, min_count):
    vocabulary, counts, ids = Corpus(" ".join(words), "test").encode(min_count=min_count)
    expected = [pair for pair in Counter(words).most_common() if pair[1] >= min_count]
    assert list(zip(vocabulary, counts, strict=True)) == expected
    assert [vocabulary[i] for i in ids] == [word for word in words if word in vocabulary]


def test_words_of_equal_count_come_in_the_texts_order():
    words = [f"{a}{b}" for a in "zebra" for b in "quickly"]
    twice = words[::2]
    assert Corpus(" ".join(words + twice), "test").encode()[0] == twice + words[1::2]


def test_words_are_not_cut_between_blocks():
    words = [f"w{'x' * (i % 7)}" for i in range(300_000)]  # more than one block
    vocabulary, _, ids = Corpus(" ".join(words), "test").encode()
    assert [vocabulary[i] for i in ids] == words
