"""Running notebooks: real kernels, real failures."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import pytest
from pdf_fixtures import BIN, source_notebook, write

from helpers import mime
from helpers.cli import main
from helpers.pdf.errors import UserError
from helpers.pdf.execute import execute
from helpers.pdf.notebook import MARK, read_notebook

SHOWN = "from IPython.display import display\ndisplay({{{!r}: {}}}, raw=True)"  # as helpers.report
CLAIM = SHOWN.format(mime.CLAIM, '{"name": "a/b", "holds": n == 2, "evidence": f"n is {n}"}')


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


def output_of(path):
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]
    return cells[-1].outputs[0].text


def needs_kernel(*arguments, **how):
    return execute(*arguments, **how, kernel=False) is None


def test_new_prose_needs_no_kernel_and_new_code_does(notebooks):
    notebook = source_notebook("1 / 0", "print('n is', n, profile)")
    notebook.cells[-2].metadata["tags"] = ["raises-exception"]
    notebook.metadata = {}
    source, target = write(notebook, notebooks / "a.ipynb"), notebooks / "../executed/a.ipynb"
    assert execute(source, target, profile="full", given={"n": "7"})[1]
    assert output_of(target) == "n is 7 full\n"
    notebook = read_notebook(source)
    notebook.cells[0].source = "# New title"
    write(notebook, source)
    assert not execute(source, target, profile="full", given={"n": "7"})[1]
    assert read_notebook(target).cells[0].source == "# New title"
    assert output_of(target) == "n is 7 full\n"
    assert needs_kernel(source, target, profile="full", given={"n": "8"})


def test_what_changes_while_a_notebook_runs_is_newer_and_counts(notebooks, tmp_path):
    code = "from mine import x\nprint(x)\nopen('mine.py', 'w').write('x = 20')\nopen('new', 'w')"
    (notebooks / "mine.py").write_text("x = 1")
    source, target = write(source_notebook(code), notebooks / "a.ipynb"), tmp_path / "a.ipynb"
    assert execute(source, target)[1]
    assert execute(source, target)[1], "the first may have read either"
    assert output_of(target) == "20\n"
    assert not execute(source, target)[1], "a file that a run writes alike changes nothing"


def test_a_tuple_stays_a_tuple(notebooks, tmp_path):
    given = {"pair": "(3, [4, (5,)])"}
    source = write(source_notebook("print(pair[1][1][0])", parameters="pair = (1, 2)"),
                   notebooks / "pair.ipynb")  # fmt: skip
    execute(source, tmp_path / "pair.ipynb", given=given)
    assert output_of(tmp_path / "pair.ipynb") == "5\n"


def test_elsewhere_nobody_knows_what_a_notebook_reads(tmp_path):
    source, target = write(source_notebook("1"), tmp_path / "a.ipynb"), tmp_path / "out.ipynb"
    assert execute(source, target)[1] and needs_kernel(source, target)


def test_a_failing_cell_is_shown_and_the_notebook_kept(notebooks, tmp_path):
    source = write(source_notebook("1", "1 / 0", "never = 1"), notebooks / "bad.ipynb")
    earlier = source_notebook()
    earlier.metadata[MARK] = {"key": "of earlier code"}
    target = write(earlier, tmp_path / "out" / "bad.ipynb")
    with pytest.raises(UserError) as caught:
        execute(source, target)
    kept = target.with_suffix(".failed.ipynb")
    for part in ("cell 4: ZeroDivisionError: division by zero", "    1 / 0", str(kept)):
        assert part in str(caught.value)
    assert kept.exists()
    assert not target.exists()
    execute(write(source_notebook("1"), source), target)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(1)", "kernel died"),
        ("import absent.part", r"`%pip install absent` in a cell brings it"),
        ("import time; time.sleep(99)", "longer than 1 s"),
        ("import time\nwhile True: print('x' * 9999); time.sleep(.01)", "printed more than 0.1 MB"),
    ],
)
def test_what_goes_wrong_is_told_with_what_helps(notebooks, tmp_path, monkeypatch, code, message):
    monkeypatch.setattr("helpers.pdf.kernels.MAX_OUTPUT", 100_000)
    source = write(source_notebook(code), notebooks / "a.ipynb")
    with pytest.raises(UserError, match=message):
        execute(source, tmp_path / "out.ipynb", timeout=1 if "sleep(99)" in code else 200)


def test_a_claim_that_fails_is_told_when_its_notebook_ends(notebooks, tmp_path, capsys):
    shown = SHOWN.format(mime.STAMP, {"stand_in": True})
    write(source_notebook(shown, CLAIM), notebooks / "a.ipynb")
    command = ["execute", str(notebooks / "a.ipynb"), str(tmp_path / "out.ipynb")]
    assert main(command) == 2
    told = "the claim 'a/b' does not hold in this run on a stand-in for missing data: n is 1\n"
    assert f"out: {told}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("*.ipynb")] == ["out.failed.ipynb"]
    assert main([*command, "-p", "n", "2"]) == 0


def test_a_notebook_is_taken_as_it_was_saved(notebooks, tmp_path):
    notebook = source_notebook("never run here")
    notebook.metadata.kernelspec.language = "R"
    output = nbformat.v4.new_output("stream", text="from a GPU\n")
    notebook.cells[-1] |= {"outputs": [output], "execution_count": 3}
    source = write(notebook, notebooks / "a.ipynb")
    with pytest.raises(UserError, match=r"a notebook in R, .*as-is"):
        execute(source, tmp_path / "a.ipynb")
    _, ran = execute(source, tmp_path / "a.ipynb", as_is=True)
    assert not ran
    assert output_of(tmp_path / "a.ipynb") == "from a GPU\n"
    before = (tmp_path / "a.ipynb").read_bytes()
    (notebooks / "picture.png").write_text("new")
    execute(source, tmp_path / "a.ipynb", as_is=True)
    assert (tmp_path / "a.ipynb").read_bytes() != before, "what it shows may be another picture"


def test_a_kernel_has_its_environment_first_and_nothing_of_its_user(
    notebooks, tmp_path, monkeypatch
):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("mine = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    before = dict(os.environ)
    code = "import os\nprint('mine' in globals(), os.environ['PYTHONHASHSEED'], os.environ['PATH'])"
    execute(write(source_notebook(code), notebooks / "a.ipynb"), tmp_path / "out.ipynb")
    assert output_of(tmp_path / "out.ipynb").startswith(f"False 0 {BIN}:")
    assert dict(os.environ) == before


def _run(folder, name):
    return execute(Path(folder, f"{name}.ipynb"), Path(folder, "..", "out", f"{name}.ipynb"))[1]


def test_kernels_at_once_do_not_meet_and_the_same_run_is_waited_for(notebooks):
    for name in "ab":
        code = f"import time; time.sleep(0.3); print({name!r})"
        write(source_notebook(code), notebooks / f"{name}.ipynb")
    with ProcessPoolExecutor(3) as pool:
        runs = [pool.submit(_run, str(notebooks), name) for name in "aab"]
        assert sorted(run.result() for run in runs) == [False, True, True]
    for name in "ab":
        assert output_of(notebooks.parent / "out" / f"{name}.ipynb") == f"{name}\n"


def test_no_target_costs_a_notebook(tmp_path):
    source = write(source_notebook("1"), tmp_path / "a.ipynb")
    other = write(source_notebook("2"), tmp_path / "b.ipynb")  # as if a shell had expanded *.ipynb
    for target in (source, other):
        before = target.read_bytes()
        with pytest.raises(UserError, match=r"was made by no run of ours: name another file"):
            execute(source, target)
        assert target.read_bytes() == before


def test_a_run_on_stand_ins_gives_way_to_data_that_come(notebooks, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for stand_in in (True, False):
        shown = SHOWN.format(mime.STAMP, {"stand_in": stand_in})
        source = write(source_notebook(shown), notebooks / "a.ipynb")
        target = tmp_path / "executed" / "a.ipynb"
        assert execute(source, target)[1]
        assert not needs_kernel(source, target)
        (tmp_path / "data" / f"set {stand_in}").mkdir(parents=True)
        assert needs_kernel(source, target) == stand_in


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing_half_written(tmp_path, tmpfs, capfd):
    with tmpfs(tmp_path / "small", "size=1m") as small:
        source = write(source_notebook("print('x' * 3_000_000)"), tmp_path / "big.ipynb")
        assert main(["execute", str(source), str(small / "out.ipynb")]) == 2
        assert "No space left on device" in capfd.readouterr().err
        assert [path.name for path in small.iterdir()] == [".out.ipynb.lock"]
