"""Data that is broken, too large or cut off, disks that are full; and no pickles, ever."""

import ast
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_downloads import CONTENT, PATH, folder, remote, server

from helpers.downloads import DataUnavailable, fetch
from helpers.pdf.notebook import ROOT, code_cells, read_notebook

__all__ = ["folder", "server"]  # fixtures


def test_a_download_that_fills_the_disk_goes_on_when_there_is_room(server, folder, tmpfs):
    with tmpfs(folder, "size=400k"):
        with pytest.raises(DataUnavailable, match=r"set: No space left on device") as caught:
            fetch(remote(server.url))
        assert "\n" not in str(caught.value)
        assert not (folder / PATH).exists()
        subprocess.run(["mount", "-o", "remount,size=2m", folder], check=True)
        assert fetch(remote(server.url)).read_bytes() == CONTENT
        assert int(server.ranges[-1].removeprefix("bytes=").removesuffix("-")) > 0


def test_a_disk_that_is_read_only_even_for_root_is_said_so(server, folder, tmpfs):
    read_only = pytest.raises(DataUnavailable, match=f"{folder} is read-only")
    with tmpfs(folder, "ro,size=2m"), read_only:
        fetch(remote(server.url))
    assert server.ranges == []


def test_a_download_that_is_killed_is_resumed(server, folder, monkeypatch):
    """Killed without warning while the server has sent a part and holds back the rest."""
    held, part = threading.Event(), folder / "set" / ".file.bin.part"
    handler = server.RequestHandlerClass

    class Holding(handler):
        def do_GET(self):
            if server.ranges:
                return handler.do_GET(self)
            server.ranges.append(self.headers.get("Range"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:300_000])
            held.wait(600)

    monkeypatch.setattr(server, "RequestHandlerClass", Holding)
    code = (
        "from helpers.downloads import RemoteFile, fetch\n"
        f"fetch(RemoteFile(path={PATH!r}, urls=({server.url!r},), size={len(CONTENT)},\n"
        f"                 digest={remote().digest!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    end = time.monotonic() + 300
    while not (part.exists() and part.stat().st_size > 100_000):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held.set()
    assert not (folder / PATH).exists()
    assert fetch(remote(server.url)).read_bytes() == CONTENT
    assert server.ranges[1] is not None
    assert not part.exists()


SOURCES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for name in ("helpers", "bench")
    for path in sorted((ROOT / name).rglob("*.py"))
}
SOURCES |= {
    str(path.relative_to(ROOT)): "\n".join(
        "" if line.lstrip().startswith(("%", "!")) else line
        for cell in code_cells(read_notebook(path))
        for line in cell.source.split("\n")
    )
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))
}
UNSAFE = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}  # their data are programs


def unsafe(source):
    """Calls that would run what a file holds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            yield from (name for name in names if name.split(".")[0] in UNSAFE)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name == "torch.load" and given.get("weights_only") != "True":
            yield name
        if name in ("eval", "exec", "os.system", "os.popen", "yaml.load", "torch.hub.load"):
            yield name
        if "True" in (
            given.get("allow_pickle"),
            given.get("shell"),
            given.get("trust_remote_code"),
        ):
            yield f"{name}(…=True)"


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_loads_a_file_that_can_run_code(name):
    assert list(unsafe(SOURCES[name])) == []


def test_what_can_run_code_would_be_found():
    bad = "import pickle\ntorch.load(p)\nnp.load(p, allow_pickle=True)\neval(x)"
    assert len(list(unsafe(bad))) == 4
    assert (
        len(list(unsafe("torch.load(p, weights_only=False)\nsubprocess.run(c, shell=True)"))) == 2
    )
    assert not list(unsafe("torch.load(p, weights_only=True)\nload_file(p)\nast.literal_eval(x)"))
