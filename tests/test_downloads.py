"""Downloads against a server of our own that misbehaves on purpose."""

import hashlib
import http.client
import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import downloads
from helpers.downloads import DataUnavailable, RemoteFile, fetch, find_fault

CONTENT = bytes(range(256)) * 2_000  # 512 kB
PATH = "set/file.bin"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content``; the fields say how it misbehaves and what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.status = 200
        self.resumes = True  # honours Range
        self.odd = ""  # to a Range, "refuses" with 416, or sends "all" as if it were a part
        self.stops_after = []  # bytes of each of the next bodies
        self.says_length = True
        self.delay = 0.0  # seconds before a body
        self.ranges = []  # the Range header of each request, or None
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        if server.status != 200:
            return self.send_error(server.status)
        if wanted and server.odd == "refuses":
            return self.send_error(416)
        resumes = wanted and server.resumes
        start = int(wanted[len("bytes=") : -1]) if resumes and not server.odd else 0
        body = server.content[start:]
        self.send_response(206 if resumes else 200)
        if resumes:
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(server.delay)
        if server.stops_after:
            body = body[: server.stops_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("HOMEWORK_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def remote(*urls: str, content: bytes = CONTENT, algorithm: str = "sha256") -> RemoteFile:
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    return RemoteFile(path=PATH, urls=urls, digest=digest, size=len(content))


def put(folder: Path, content: bytes, name: str = PATH) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_download_is_whole_and_fetched_once(server, folder, algorithm):
    file = remote(server.url, algorithm=algorithm)
    assert fetch(file) == folder / PATH
    assert fetch(file).read_bytes() == CONTENT
    assert server.ranges == [None]
    assert not (folder / "set/.file.bin.part").exists()


def test_an_earlier_part_is_resumed(server, folder):
    put(folder, CONTENT[:100_000], "set/.file.bin.part")
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-"]


def test_a_server_that_cannot_resume_sends_all(server, folder):
    server.resumes = False
    put(folder, CONTENT[:100_000], "set/.file.bin.part")
    assert fetch(remote(server.url)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("odd", "asked"), [("refuses", ["bytes=100000-", None]), ("all", ["bytes=100000-"])]
)
def test_a_part_is_begun_anew_where_the_server_sends_no_rest(server, folder, odd, asked):
    server.odd = odd
    put(folder, CONTENT[:100_000], "set/.file.bin.part")
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == asked


def test_a_connection_that_breaks_off_is_resumed(server, monkeypatch):
    read, calls = http.client.HTTPResponse.read, []

    def breaking(response, *size):
        calls.append(size)
        if len(calls) == 3:
            raise TimeoutError("timed out")
        return read(response, *size)

    monkeypatch.setattr(http.client.HTTPResponse, "read", breaking)
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=131072-"]


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(server, folder, monkeypatch):
    sync, replace, done = os.fsync, os.replace, []
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.fstat(fd).st_size) or sync(fd))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("named") or replace(*paths))
    fetch(remote(server.url))
    assert done == [len(CONTENT), "named"]


def test_a_broken_part_is_not_resumed_twice(server, folder):
    put(folder, b"x" * 100_000, "set/.file.bin.part")
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-", None]


def test_a_whole_part_needs_no_transfer(server, folder):
    put(folder, CONTENT, "set/.file.bin.part")
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("says_length", [True, False])
def test_a_truncated_body_goes_on_where_it_stopped(server, says_length):
    server.says_length = says_length
    server.stops_after = [200_000, 200_000]
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=200000-", "bytes=400000-"]


def test_a_body_that_stays_truncated_is_never_used(server, folder):
    server.stops_after = [100_000] * 9
    with pytest.raises(DataUnavailable, match="stopped after 300,000 of 512,000 bytes"):
        fetch(remote(server.url))
    assert not (folder / PATH).exists()
    server.stops_after = []
    assert fetch(remote(server.url)).read_bytes() == CONTENT  # the next run resumes


def test_wrong_bytes_are_refused(server, folder):
    server.content = CONTENT[::-1]
    with pytest.raises(DataUnavailable, match=r"sent a file that is broken \(its sha256"):
        fetch(remote(server.url))
    assert [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    ("says_length", "match"), [(True, "offers 512,000 bytes"), (False, "sends more than 100 bytes")]
)
def test_more_bytes_than_expected_are_refused(server, folder, says_length, match):
    server.says_length = says_length
    with pytest.raises(DataUnavailable, match=match):
        fetch(remote(server.url, content=CONTENT[:100]))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) == 0


def test_the_next_mirror_is_tried(server, folder):
    with Server() as bad:
        threading.Thread(target=bad.serve_forever, args=(0.01,), daemon=True).start()
        bad.status = 404
        assert fetch(remote(bad.url, server.url)).read_bytes() == CONTENT
        assert bad.ranges == [None]
        server.status = 503
        (folder / PATH).unlink()
        with pytest.raises(DataUnavailable, match=r"answers 404 .*answers 503") as caught:
            fetch(remote(bad.url, server.url))
        bad.shutdown()
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_named_and_replaced(server, folder):
    path = put(folder, CONTENT[:-1] + b"x")
    with pytest.warns(UserWarning, match=rf"{path} is broken \(its sha256 .* replaced by a fresh"):
        assert fetch(remote(server.url)).read_bytes() == CONTENT


def test_a_broken_file_without_network_is_named(folder):
    path = put(folder, CONTENT[:-1])
    with pytest.raises(DataUnavailable, match=rf"{path} is broken \(511,999 bytes instead of"):
        fetch(remote())
    assert path.read_bytes() == CONTENT[:-1]  # it is the user's: not ours to delete


@pytest.mark.parametrize("content", [b"", CONTENT[:-1]])
def test_nothing_is_put_into_a_read_only_folder(server, folder, content):
    folder.mkdir()
    if content:
        put(folder, content)
    locked = folder / "set" if content else folder
    locked.chmod(0o555)
    with pytest.raises(DataUnavailable, match=f"{locked} is read-only"):
        fetch(remote(server.url))
    assert server.ranges == []
    locked.chmod(0o755)


def test_a_full_or_odd_folder_gets_one_line(server, folder):
    folder.write_text("a file where the folder should be")
    with pytest.raises(DataUnavailable, match=r"Not a directory|File exists"):
        fetch(remote(server.url))


@pytest.mark.parametrize("switch", ["HOMEWORK_OFFLINE", "HF_HUB_OFFLINE"])
def test_switches_turn_downloads_off(server, folder, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    with pytest.raises(DataUnavailable, match=f"{PATH} is not there, .* switched off .{switch}=1"):
        fetch(remote(server.url))
    assert server.ranges == []
    assert not folder.exists()


def test_a_dead_host_is_asked_once_and_in_bounded_time(monkeypatch, server):
    asked, released = [], threading.Event()

    def hang(address, timeout):  # as the look-up of a name does without network
        asked.append(address)
        released.wait()
        raise OSError

    monkeypatch.setattr(downloads.socket, "create_connection", hang)
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.05)
    file = remote("https://data.example.invalid/file.bin")
    for _ in range(2):
        with pytest.raises(DataUnavailable, match=r"no connection to data\.example\.invalid"):
            fetch(file)
    released.set()
    assert asked == [("data.example.invalid", 443)]


def test_a_proxy_is_asked_in_the_hosts_place(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert downloads._gateway("http://data.invalid/x") == ("proxy.invalid", 3128)
    assert downloads._gateway("http://127.0.0.1:81/x") == ("127.0.0.1", 81)


def test_two_processes_share_one_download(server, folder):
    server.delay = 1.0  # all of them have started by then
    code = (
        "from helpers.downloads import RemoteFile, fetch\n"
        f"file = RemoteFile(path={PATH!r}, urls=({server.url!r},), size=512_000,\n"
        f"                  digest={remote().digest!r})\n"
        "assert fetch(file).stat().st_size == file.size"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).resolve().parents[1]
    runs = [subprocess.Popen(command, cwd=root, env=os.environ) for _ in range(3)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    assert server.ranges == [None]
    assert (folder / PATH).read_bytes() == CONTENT


def test_other_bytes_with_the_same_content_are_accepted(folder):
    path = put(folder, CONTENT[::-1])
    file = RemoteFile(
        path=PATH, urls=(), digest=remote().digest, size=1, also=lambda p: p.read_bytes() != b""
    )
    assert find_fault(path, file) is None


def test_a_relative_folder_counts_from_the_root(monkeypatch):
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    assert downloads.data_dir() == downloads.ROOT / "elsewhere"
    monkeypatch.setenv("DATA_DIR", "")
    assert downloads.shown(downloads.data_dir()) == "data/cache"
