"""Reviews through the ``datasets`` library: IMDB from the hub, and a reader's own CSV file."""

import tempfile
from pathlib import Path

import torch

from helpers import datasets as loaders
from helpers.catalogue import IMDB
from helpers.datasets import Reviews
from helpers.downloads import ROOT, DataUnavailable

HUB_NAME = "stanfordnlp/imdb"
REVISION = IMDB["train"].urls[0].partition("/resolve/")[2].partition("/")[0]
REVIEWS = 25_000  # in each split, half of them positive


def imdb(split: str, *, profile: str = "quick") -> Reviews:
    """IMDB as ``helpers.datasets.imdb`` has it, or else as the ``datasets`` library has it.

    The library is asked in the full profile only. It looks in its own cache, then on the hub.
    Raises DataUnavailable where neither helps.
    """
    try:
        return loaders.imdb(split, profile=profile)
    except DataUnavailable as error:
        try:
            return _from_hub(split)
        except DataUnavailable as other:
            raise DataUnavailable(f"{error} The datasets library: {other}.") from None


def _from_hub(split: str) -> Reviews:
    from datasets import load_dataset

    try:
        table = load_dataset(HUB_NAME, split=split, revision=REVISION)
    except Exception as error:  # the layers of the network raise dozens of kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataUnavailable(reason.rstrip(".")) from None
    labels = torch.tensor(table["label"], dtype=torch.int64)
    if torch.bincount(labels.clamp(min=0), minlength=2).tolist() != 2 * [REVIEWS // 2]:
        raise DataUnavailable(f"{HUB_NAME} does not hold {REVIEWS:,} reviews, half of each class")
    name = loaders.SPLITS[split]
    return Reviews(list(table["text"]), labels, f"IMDB, {REVIEWS:,} {name} reviews (hub)")


def read_csv(file: str) -> tuple[list[str], list[int]]:
    """Texts and labels of a CSV file with columns ``text`` and ``label`` (0 or 1).

    A relative path counts from the repository's root, as DATA_DIR does. An empty cell is an
    empty review. Raises ValueError, in one line, for a file that is not like this.
    """
    from datasets import Dataset

    path = ROOT / Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        with tempfile.TemporaryDirectory() as folder:  # no copy stays in the library's cache
            how = {"keep_in_memory": True, "cache_dir": folder, "keep_default_na": False}
            table = Dataset.from_csv(str(path), **how)
    except Exception as error:  # pandas, Arrow and the library each have their own
        cause = error.__cause__ or error
        raise ValueError(f"{path} is not a CSV file: {str(cause).splitlines()[0]}") from None
    if missing := {"text", "label"} - set(table.column_names):
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
    wrong = [i for i, label in enumerate(table["label"], 1) if label not in (0, 1)]
    if wrong:
        raise ValueError(f"{path}: review {wrong[0]} has a label that is neither 0 nor 1")
    return [str(text) for text in table["text"]], [int(label) for label in table["label"]]
