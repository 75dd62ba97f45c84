"""Files of public data sets: looked up in DATA_DIR, else downloaded, and always verified."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class DataUnavailable(RuntimeError):
    """A data set is neither in DATA_DIR nor on a network that can be reached."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A published file: where it lies below DATA_DIR, where it comes from, what it hashes to."""

    path: str
    url: str
    digest: str  # "md5:…", "sha1:…" or "sha256:…"
    size: int  # bytes


def data_dir() -> Path:
    """The folder of data sets: DATA_DIR (a relative one is under the repository's root)."""
    return ROOT / Path(os.environ.get("DATA_DIR") or "data/cache").expanduser()


def fetch(file: RemoteFile) -> bytes:
    """The verified bytes of ``file``."""
    path = data_dir() / file.path
    if not path.exists():
        raise DataUnavailable(f"{path} is missing")
    content = path.read_bytes()
    if not matches(content, file.digest):
        raise DataUnavailable(f"{path} is broken (its {file.digest.split(':')[0]} is wrong)")
    return content


def matches(content: bytes, digest: str) -> bool:
    """Whether ``content`` hashes to ``digest``, given as ``algorithm:hexadecimal``."""
    algorithm, _, expected = digest.partition(":")
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == expected
