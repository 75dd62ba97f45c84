"""Published files: looked up in DATA_DIR, else downloaded, and verified on every use.

A download is resumed where the server allows it, checked against its published digest, and
only then moved into place, so that a file under its own name is always whole. A lock lets
processes that want the same file share one download.
"""

import functools
import hashlib
import os
import socket
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from helpers.data import ROOT, DataUnavailable, StandInWarning, data_dir, shown  # noqa: F401

CONNECT_SECONDS = 4  # to find a host and connect to it, once per process
READ_SECONDS = 20  # without a byte from the server
LOCK_SECONDS = 900  # for another process that downloads the same file
TRIES = 3  # transfers from one server, each resuming the last
_OFFLINE_SWITCHES = ("HOMEWORK_OFFLINE", "HF_HUB_OFFLINE")


class _Interrupted(Exception):
    """A transfer that may go on where it stopped."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A published file.

    ``path`` is where it lies below DATA_DIR, ``digest`` what it hashes to (``md5:…`` or
    ``sha256:…``), ``size`` its length in bytes. ``also`` accepts a file with other bytes
    and the same content, another encoding of the data set say.
    """

    path: str
    urls: tuple[str, ...]
    digest: str
    size: int
    also: Callable[[Path], bool] | None = None


def fetch(file: RemoteFile) -> Path:
    """Where a verified copy of ``file`` lies, after downloading it if need be.

    A broken copy is replaced, with a warning that names it. Raises DataUnavailable, saying
    what is wrong with the copy and why there is no other.
    """
    path = data_dir() / file.path
    fault = find_fault(path, file)
    if fault is None:
        return path
    broken = path.exists()
    try:
        _download(file, path)
    except DataUnavailable as error:
        raise DataUnavailable(f"{shown(path)} {fault}, and {error}") from None
    if broken:
        warn(f"{shown(path)} {fault}: replaced by a fresh download", UserWarning)
    return path


def find_fault(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with a copy of ``file``, as a predicate, or None."""
    try:
        if not path.is_file():
            return "is not there"
        if matches(path, file.digest) or (file.also and file.also(path)):
            return None
        size = path.stat().st_size
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size != file.size:
        return f"is broken ({size:,} bytes instead of {file.size:,})"
    return f"is broken (its {file.digest.partition(':')[0]} is not the published one)"


def matches(path: Path, digest: str) -> bool:
    """Whether a file hashes to ``digest``, given as ``algorithm:hexadecimal``."""
    algorithm, _, expected = digest.partition(":")
    with path.open("rb") as content:
        new = functools.partial(hashlib.new, algorithm, usedforsecurity=False)
        return hashlib.file_digest(content, new).hexdigest() == expected


def warn(message: str, category: type[Warning]) -> None:
    """Warn without the caller's file and line, which differ from run to run in a notebook."""
    warnings.warn_explicit(message, category, "helpers.datasets", 1)


def _download(file: RemoteFile, path: Path) -> None:
    """Put a verified copy of ``file`` at ``path``, or raise DataUnavailable with the reason."""
    from filelock import FileLock, Timeout

    for switch in _OFFLINE_SWITCHES:
        if os.environ.get(switch, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise DataUnavailable(f"downloads are switched off ({switch}={os.environ[switch]})")
    _check_writable(path.parent)
    urls = [url for url in file.urls if _reachable(*_gateway(url))]
    if not urls:
        hosts = " or ".join(dict.fromkeys(_host(url) for url in file.urls)) or "any source"
        raise DataUnavailable(f"there is no connection to {hosts}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS):
            if find_fault(path, file) is not None:  # another process may have been faster
                _transfer(urls, file, path)
    except Timeout as error:
        raise DataUnavailable(f"another process holds {error.lock_file}") from None
    except OSError as error:
        raise DataUnavailable(f"{shown(path.parent)}: {error.strerror or error}") from None


def _check_writable(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    # The mode counts even for root, whom the system would let write anywhere.
    if not (folder.stat().st_mode & 0o222 and os.access(folder, os.W_OK)):
        raise DataUnavailable(f"{shown(folder)} is read-only, so that nothing can be put there")


def _transfer(urls: list[str], file: RemoteFile, path: Path) -> None:
    """Download from the first server that sends the right bytes."""
    part = path.with_name(f".{path.name}.part")
    problems = []
    for url in urls:
        for _ in range(TRIES):
            have = part.stat().st_size if part.exists() else 0
            try:
                if have != file.size:
                    _append(url, part, have, file.size)
            except _Interrupted as problem:
                problems.append(str(problem))
                continue
            except DataUnavailable as problem:
                problems.append(str(problem))
                break
            fault = find_fault(part, file)
            if fault is None:
                os.replace(part, path)
                return
            part.unlink()
            problems.append(f"{_host(url)} sent a file that {fault}")
            if have == 0:  # else the older part may be to blame: once more from the start
                break
    raise DataUnavailable("; ".join(dict.fromkeys(problems)))


def _append(url: str, part: Path, have: int, size: int) -> None:
    """Transfer what ``part`` lacks; the server may send all of it anew.

    Raises _Interrupted if the rest can follow later, DataUnavailable if it can't.
    """
    from tqdm.auto import tqdm

    headers = {"User-Agent": "homework"} | ({"Range": f"bytes={have}-"} if have else {})
    with _open(urllib.request.Request(url, headers=headers), part) as response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if response.status == 206 and resumed else 0
        offered = have + int(response.headers.get("Content-Length") or size - have)
        if offered != size:
            raise DataUnavailable(f"{_host(url)} offers {offered:,} bytes instead of {size:,}")
        name = part.name.removeprefix(".").removesuffix(".part")
        with (
            part.open("ab" if have else "wb") as sink,
            tqdm(
                desc=name, total=size, initial=have, unit="B", unit_scale=True, leave=False
            ) as bar,
        ):
            for chunk in _chunks(response, url):
                have += len(chunk)
                if have > size:
                    sink.truncate(0)
                    raise DataUnavailable(f"{_host(url)} sends more than {size:,} bytes")
                sink.write(chunk)
                bar.update(len(chunk))
            sink.flush()
            os.fsync(sink.fileno())
    if have < size:
        raise _Interrupted(f"{_host(url)} stopped after {have:,} of {size:,} bytes")


def _open(request: urllib.request.Request, part: Path):
    try:
        return urllib.request.urlopen(request, timeout=READ_SECONDS)
    except HTTPError as error:
        if error.code == 416:  # the server has nothing after our part: start over
            part.unlink()
            raise _Interrupted(f"{request.host} cannot resume") from None
        raise DataUnavailable(f"{request.host} answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise DataUnavailable(f"{request.host}: {getattr(error, 'reason', error)}") from None


def _chunks(response, url: str) -> Iterator[bytes]:
    """The body as it arrives; network errors are told from those of our own disk."""
    while True:
        try:
            chunk = response.read(1 << 16)
        except (OSError, HTTPException) as error:
            raise _Interrupted(f"{_host(url)} broke off ({error})") from None
        if not chunk:
            return
        yield chunk


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _gateway(url: str) -> tuple[str, int]:
    """Host and port to connect to for ``url``: its own, or the proxy's."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


@functools.cache
def _reachable(host: str, port: int) -> bool:
    """Whether a host answers soon; asked once per process.

    In a thread of its own, because no time-out bounds the look-up of a name.
    """
    connected = threading.Event()

    def connect():
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
            connected.set()
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return connected.is_set()
