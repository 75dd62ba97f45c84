"""What may be used how: the licences of packages, data sets and models."""

import re
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from helpers.pdf.licences import licence

ROOT = Path(__file__).parents[1]


class Package(Distribution):
    """A package that states no more than ``fields`` about itself."""

    def __init__(self, *fields):
        self.fields = Message()
        for name, value in fields:
            self.fields[name] = value

    metadata = property(lambda self: self.fields)

    def read_text(self, filename):
        return None

    def locate_file(self, path):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("License-Expression", "MIT"), ("License", "other")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: BSD License")], "BSD License"),
        ([("Classifier", "Topic :: X"), ("License", "Apache 2.0\nlong text")], "Apache 2.0"),
        ([("License", " \n ")], "not stated"),
        ([], "not stated"),
    ],
)
def test_a_licence_is_read_wherever_the_package_states_it(fields, expected):
    assert licence(Package(*fields)) == expected


def test_no_locked_package_would_bind_what_imports_it():
    names = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert len(names) > 100
    found = {d.name.lower().replace("_", "-"): licence(d) for d in distributions()}
    stated = {name: found[name] for name in names & set(found)}
    assert len(stated) > 100
    assert not {n: text for n, text in stated.items() if re.search(r"\bA?GPL", text)}


def test_each_data_set_and_model_has_a_source_and_a_licence():
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    listed = {row[0]: row[1:] for row in rows if len(row) == 4}
    for name in (
        "Fashion-MNIST", "IMDB", "text8", "WordSim-353", "SimLex-999",
        "analogies", "digits", "bert-base-uncased", "all-MiniLM-L6-v2",
    ):  # fmt: skip
        source, terms, citation = listed[name]
        assert "https://" in source
        assert terms
        assert re.search(r"\((19|20)\d\d\)", citation)
