"""Each notebook in a real JupyterLab and a real browser: ``make test-browser``.

Not named ``test_…``, since it needs a browser and runs every notebook once more.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MINUTES = 10  # for one notebook
SETTINGS = {
    # Cells outside the window stay in the page, so that all of them can be looked at.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on copies of the notebooks: its folder and its address with {name}."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name, content in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    command = [Path(sys.executable).with_name("jupyter"), "lab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", "--ServerApp.ip=127.0.0.1"]
    own = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    own |= {"JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(folder / path) for name, path in own.items()}
    environment["OMP_NUM_THREADS"] = "1"  # two notebooks run side by side
    environment["DATA_DIR"] = str(Path(os.environ.get("DATA_DIR", ROOT / "data/cache")).absolute())
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, folder / "log")
        yield folder / "notebooks", f"http://127.0.0.1:{port}/lab/tree/{{name}}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(120):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(1)
    pytest.fail(f"JupyterLab does not answer: {log.read_text()}")


@pytest.fixture
def page():
    """An empty page of the machine's Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "there is no Chromium: `apt-get install chromium` brings one"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield chromium.new_page(viewport={"width": 1200, "height": 900})
        chromium.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_the_browser(lab, page, name):
    folder, address = lab
    path = folder / f"{name}.ipynb"
    page.goto(address.format(name=path.name))
    try:
        _run_all(page, code_cells=sum(c.cell_type == "code" for c in nbformat.read(path, 4).cells))
    finally:
        (ROOT / "build" / "browser").mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ROOT / "build" / "browser" / f"{name}.png")
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    page.keyboard.press("Control+s")
    unsaved = page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-dirty")
    expect(unsaved).to_have_count(0, timeout=60_000)
    outputs = _saved_outputs(path)
    assert not [output for output in outputs if output.output_type == "error"]
    figures = [o for o in outputs if "image/svg+xml" in o.get("data", {})]
    drawn = page.locator(".jp-RenderedSVG img").evaluate_all(
        "images => images.filter(image => image.complete && image.naturalWidth > 50).length"
    )
    assert drawn == len(figures) > 0
    widgets = [
        o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})
    ]
    assert page.locator(".jp-OutputArea .jupyter-widgets.widget-container").count() >= len(widgets)


def _run_all(page: Page, code_cells: int) -> None:
    """Run all cells from the menu and wait for the last one."""
    # Where the server is slow, Lab asks for a kernel before it has heard of the notebook's.
    select = page.locator(".jp-Dialog button.jp-mod-accept")
    page.add_locator_handler(select, lambda button: button.click(), no_wait_after=True)
    expect(page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(code_cells, timeout=120_000)
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    expect(idle).to_have_count(1, timeout=120_000)  # before that, nothing would run
    # A cell that is folded away has a placeholder in place of its input, without a number.
    folded = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPlaceholder")
    prompts = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea .jp-InputPrompt")
    begun = prompts.filter(has_text=re.compile(r"[*\d]"))
    for _ in range(10):  # a kernel that has just come may let the first requests fall
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_timeout(3000)
        if begun.count():
            break
    deadline = time.monotonic() + MINUTES * 60
    while time.monotonic() < deadline:
        texts = prompts.all_inner_texts()
        done = all(text.strip("[]: \n").isdigit() for text in texts) and idle.count() == 1
        if done and len(texts) + folded.count() == code_cells:
            return
        if page.locator("[data-mime-type='application/vnd.jupyter.error']").count():
            pytest.fail(
                page.locator("[data-mime-type='application/vnd.jupyter.error']").inner_text()
            )
        page.wait_for_timeout(500)
    pytest.fail(f"not done after {MINUTES} minutes: {texts}")


def _saved_outputs(path: Path) -> list:
    """The outputs in the file, once JupyterLab has written it."""
    for _ in range(60):
        cells = nbformat.read(path, 4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        if outputs:
            return outputs
        time.sleep(0.5)
    pytest.fail(f"JupyterLab did not save {path.name}")
