"""Running notebooks: real kernels, real failures."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from pdf_fixtures import source_notebook, write

from helpers.cli import main
from helpers.pdf.errors import UserError
from helpers.pdf.execute import MARK, _private_folders, _short, execute
from helpers.pdf.notebook import (
    components,
    differing,
    helper_modules,
    identity,
    read_notebook,
    records,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    source = write(source_notebook("print('n is', n, profile)"), folder / "a.ipynb")
    target = folder / "executed" / "a.ipynb"
    ran = execute(source, target, profile="full", given={"n": "7"})
    return source, target, ran


def output_of(path):
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]
    return cells[-1].outputs[0].text


def test_a_notebook_runs_with_its_parameters(done):
    _, target, ran = done
    assert ran
    assert output_of(target) == "n is 7 full\n"
    assert not list(target.parent.glob("*running*"))


def test_new_prose_needs_no_kernel_and_new_code_does(done):
    source, target, _ = done
    notebook = read_notebook(source)
    notebook.cells[0].source = "# New title"
    write(notebook, source)
    assert not execute(source, target, profile="full", given={"n": "7"})
    assert read_notebook(target).cells[0].source == "# New title"
    assert output_of(target) == "n is 7 full\n"
    assert execute(source, target, profile="full", given={"n": "8"})
    assert output_of(target) == "n is 8 full\n"


def test_what_changes_while_a_notebook_runs_is_newer_than_the_run(tmp_path):
    source = write(source_notebook(f"open({str(tmp_path / 'late')!r}, 'w')"), tmp_path / "a.ipynb")
    target = tmp_path / "executed" / "a.ipynb"
    execute(source, target)
    dates = [path.stat().st_mtime for path in (source, target, tmp_path / "late")]
    assert dates == sorted(set(dates))


EDITS = """from pathlib import Path
path = Path("a.ipynb")
path.write_text(path.read_text().replace({}))
print("old")
"""


def test_a_run_whose_code_changed_meanwhile_counts_for_no_version(tmp_path):
    code = EDITS.format("'old', 'new'")
    source, target = write(source_notebook(code), tmp_path / "a.ipynb"), tmp_path / "out.ipynb"
    before = source.read_bytes()
    assert execute(source, target)
    assert output_of(target) == "old\n"
    changed = source.read_bytes()
    source.write_bytes(before)  # taken back
    assert execute(source, target)
    source.write_bytes(changed)
    assert execute(source, target)
    assert output_of(target) == "new\n"


def test_prose_that_changes_meanwhile_is_put_in_next_time(tmp_path):
    code = EDITS.format("'# ' + 'Title', '# Other'")
    source, target = write(source_notebook(code), tmp_path / "a.ipynb"), tmp_path / "out.ipynb"
    assert execute(source, target)
    assert source.stat().st_mtime > target.stat().st_mtime
    assert not execute(source, target)
    assert read_notebook(target).cells[0].source == "# Other"


def test_who_waited_runs_what_is_there_after_the_wait(tmp_path, monkeypatch):
    source, target = write(source_notebook("1"), tmp_path / "a.ipynb"), tmp_path / "out.ipynb"

    class Late(FileLock):
        def acquire(self, *arguments, **options):
            write(source_notebook("print('new')"), source)
            return super().acquire(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("helpers.pdf.execute.FileLock", Late)
        assert execute(source, target)
    assert output_of(target) == "new\n"
    assert not execute(source, target)
    write(source_notebook("1"), source)
    assert execute(source, target)


def test_only_what_a_run_may_change_itself_is_no_difference():
    before = {"helpers/a.py": "1", "helpers/plotting.py": "1", "the data sets": "none"}
    after = {"helpers/a.py": "1", "helpers/plotting.py": "2", "the data sets": "all", "new": "1"}
    assert differing(before, after) == ["helpers/plotting.py", "new"]
    assert differing(before, after, ("helpers/plot",)) == ["new"]


def test_a_failing_cell_is_shown_and_the_notebook_kept(tmp_path):
    source = write(source_notebook("before = 1", "1 / 0", "never = 1"), tmp_path / "bad.ipynb")
    earlier = source_notebook()
    earlier.metadata[MARK] = {"identity": "of earlier code"}
    target = write(earlier, tmp_path / "out" / "bad.ipynb")
    with pytest.raises(UserError) as caught:
        execute(source, target)
    message = str(caught.value)
    assert "ZeroDivisionError: division by zero" in message
    assert "    1 / 0" in message
    kept = target.with_suffix(".failed.ipynb")
    assert str(kept) in message
    assert kept.exists()
    assert not target.exists()
    assert execute(write(source_notebook("before = 1"), source), target)
    assert not kept.exists()


def test_a_run_takes_nothing_from_its_user_and_leaves_nothing(tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("mine = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    before = dict(os.environ)
    shown = "print('mine' in globals(), *map(os.environ.get, {}))"
    names = ("PYTHONHASHSEED", "SOURCE_DATE_EPOCH")
    source = write(source_notebook("import os\n" + shown.format(names)), tmp_path / "a.ipynb")
    execute(source, tmp_path / "out.ipynb")
    assert output_of(tmp_path / "out.ipynb") == "False 0 315532800\n"
    assert dict(os.environ) == before


def test_a_notebook_that_takes_too_long_is_stopped(tmp_path):
    cells = ["import time; time.sleep(2)"] * 9  # each cell by itself is in time
    source = write(source_notebook(*cells), tmp_path / "slow.ipynb")
    with pytest.raises(UserError, match="longer than 5 s"):
        execute(source, tmp_path / "out.ipynb", timeout=5)


def test_a_kernel_that_dies_is_reported(tmp_path):
    source = write(source_notebook("import os; os._exit(1)"), tmp_path / "dies.ipynb")
    with pytest.raises(UserError, match="kernel died"):
        execute(source, tmp_path / "out.ipynb")


def test_identity_follows_code_and_helpers_but_not_prose(tmp_path):
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    (helpers / "__init__.py").write_text("")
    (helpers / "used.py").write_text("from . import deeper")
    (helpers / "deeper.py").write_text("x = 1")
    (helpers / "other.py").write_text("x = 1")
    notebook = source_notebook("%matplotlib inline\nfrom helpers.used import x")
    names = [path.name for path in helper_modules(notebook, tmp_path)]
    assert names == ["__init__.py", "deeper.py", "used.py"]

    def now():
        return identity(notebook, {"n": 1}, tmp_path)

    first = now()
    notebook.cells[0].source = "# Other prose"
    (helpers / "other.py").write_text("x = 2")
    assert now() == first
    (helpers / "deeper.py").write_text("x = 2")
    second = now()
    assert second != first
    notebook.cells[-1].source += "\n"
    assert now() != second
    assert identity(notebook, {"n": 2}, tmp_path) != now()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("{}", True),
        ("files = !ls\n{}", True),
        ("print?\n{}", True),
        ("if True:\n    %time 1\n{}", True),
        ("!echo \\\n  word\n{}", True),
        ("%%time\n{}\n%time 1", True),
        ("{}\nthis is no Python", False),
    ],
)
def test_helpers_are_found_beside_what_only_ipython_reads(tmp_path, code, found):
    (tmp_path / "helpers").mkdir()
    used = tmp_path / "helpers" / "used.py"
    used.write_text("x = 1")
    notebook = source_notebook(code.format("from helpers.used import x"))
    assert helper_modules(notebook, tmp_path) == [used] * found


def test_a_tag_that_says_how_a_cell_is_run_counts(tmp_path):
    notebook = source_notebook("print(n)")
    notebook.cells[-1].metadata["tags"] = ["skip-execution"]
    source, target = write(notebook, tmp_path / "a.ipynb"), tmp_path / "out" / "a.ipynb"
    assert execute(source, target)
    assert not execute(source, target)
    assert read_notebook(target).cells[-1].outputs == []
    notebook.cells[-1].metadata["tags"] = []
    assert execute(write(notebook, source), target)
    assert output_of(target) == "1\n"


def test_identity_follows_the_records_that_are_shown_and_no_others(tmp_path):
    notebook = source_notebook('runs = recorded("topic")')
    before = identity(notebook, {}, tmp_path), components(notebook, tmp_path)
    folder = tmp_path / "data" / "results"
    for name in ("topic", "other"):
        (folder / name).mkdir(parents=True)
    (folder / "other" / "a.json").write_text("{}")
    assert identity(notebook, {}, tmp_path) == before[0]
    (folder / "topic" / "a.json").write_text("{}")
    assert identity(notebook, {}, tmp_path) != before[0]
    assert components(notebook, tmp_path) == before[1]


def test_a_file_of_records_and_single_quotes_count_too(tmp_path):
    results = tmp_path / "data" / "results"
    for path in (results / "bench.json", results / "topic" / "a.json", results / "other.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    code = "runs = recorded('topic')", 'text = (ROOT / "data/results/bench.json").read_text()'
    notebook = source_notebook(*code, "absent = 'data/results/absent.json'")
    assert records(notebook, tmp_path) == [results / "bench.json", results / "topic" / "a.json"]
    before = identity(notebook, {}, tmp_path)
    (results / "bench.json").write_text("{ }")
    assert identity(notebook, {}, tmp_path) != before


def test_identity_follows_the_number_of_threads(tmp_path, monkeypatch):
    found = set()
    for threads in "12":
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.add(identity(source_notebook("1"), {}, tmp_path))
    assert len(found) == 2


def test_two_kernels_at_once_do_not_meet(tmp_path):
    for name in "ab":
        write(source_notebook(f"print({name!r})"), tmp_path / f"{name}.ipynb")
    with ProcessPoolExecutor(2) as pool:
        runs = [pool.submit(_run, str(tmp_path), name) for name in "ab"]
        assert all(run.result() for run in runs)
    for name in "ab":
        assert output_of(tmp_path / "out" / f"{name}.ipynb") == f"{name}\n"


def _run(folder, name):
    return execute(Path(folder, f"{name}.ipynb"), Path(folder, "out", f"{name}.ipynb"))


def test_who_wants_the_same_run_at_the_same_time_waits_for_it(tmp_path):
    write(source_notebook("import time; time.sleep(1); print(n)"), tmp_path / "a.ipynb")
    with ProcessPoolExecutor(2) as pool:
        runs = [pool.submit(_run, str(tmp_path), "a") for _ in range(2)]
        assert sorted(run.result() for run in runs) == [False, True]
    assert output_of(tmp_path / "out" / "a.ipynb") == "1\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.ipynb", "is the notebook itself"),
        ("b.ipynb", "b.ipynb is a notebook that no run of ours made: name another file"),
        ("out", r"ends in \.ipynb"),
    ],
)
def test_no_target_costs_a_file(tmp_path, name, message):
    source = write(source_notebook("1"), tmp_path / "a.ipynb")
    write(source_notebook("2"), tmp_path / "b.ipynb")  # as if the shell had expanded *.ipynb
    (tmp_path / "out").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.glob("*.ipynb")}
    with pytest.raises(UserError, match=message):
        execute(source, tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.ipynb")} == before


@pytest.mark.parametrize(
    "content",
    [
        '{"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": []}',
        '{"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {"kernelspec": '
        '{"name": "ir", "display_name": "R", "language": "R"}}}',
        '{"nbformat": 4, "metadata": null}',
        "[1, 2]",
    ],
)
def test_a_file_that_we_can_not_run_is_not_ours_to_replace(tmp_path, content):
    source = write(source_notebook("1"), tmp_path / "a.ipynb")
    target = tmp_path / "mine.ipynb"
    target.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="no run of ours made: name another file"):
        execute(source, target)
    assert target.read_text(encoding="utf-8") == content


def test_only_folders_of_runs_that_were_killed_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.pdf.execute._SHORT", str(tmp_path))
    for name in ("hw-2025-q1", "homework-kernel-solutions", "homework-kernel-999999-killed"):
        (tmp_path / name).mkdir()
    (tmp_path / "homework-kernel-999999-killed" / "owner.lock").touch()
    with _private_folders() as alive, _private_folders() as other:
        left = {str(path) for path in tmp_path.iterdir()}
        mine = {str(tmp_path / name) for name in ("hw-2025-q1", "homework-kernel-solutions")}
        assert left == {alive, other} | mine
    assert {str(path) for path in tmp_path.iterdir()} == mine


def test_a_tmp_that_takes_no_files_is_left_alone(tmp_path, monkeypatch):
    assert _short(str(tmp_path)) == str(tmp_path)
    assert _short(str(tmp_path / "absent")) is None
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)  # root may do all
    assert _short(str(tmp_path)) is None


def test_cells_copied_with_their_id_are_told_apart(tmp_path):
    notebook = source_notebook("x = 1")
    notebook.cells[1].id = notebook.cells[2].id
    path = tmp_path / "double.ipynb"
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    assert len({cell.id for cell in read_notebook(path).cells}) == 3


def test_cells_of_an_older_format_have_no_ids_and_are_run_and_reused(tmp_path):
    notebook = source_notebook("print(n)")
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]
    source, target = tmp_path / "colab.ipynb", tmp_path / "out.ipynb"
    source.write_text(json.dumps(notebook), encoding="utf-8")
    assert execute(source, target)
    assert not execute(source, target)
    assert output_of(target) == "1\n"


def test_a_run_on_stand_ins_depends_on_the_data_at_hand(tmp_path):
    shown = "from helpers.report import stamp\nstamp(profile=profile, seed=0, data={!r})"
    (tmp_path / ".data").touch()
    for data in ("the digits (stand-in)", "the real ones"):
        source = write(source_notebook(shown.format(data)), tmp_path / "a.ipynb")
        execute(source, tmp_path / "executed" / "a.ipynb")
        rule = (tmp_path / "executed" / "a.d").read_text()
        assert (f"{tmp_path}/.data" in rule) == ("stand-in" in data)


def test_a_notebook_that_prints_without_end_is_stopped(tmp_path, monkeypatch):
    from helpers.pdf import kernel

    monkeypatch.setattr(kernel, "MAX_OUTPUT", 1_000_000)
    source = write(source_notebook("while True: print('x' * 1000)"), tmp_path / "prints.ipynb")
    with pytest.raises(UserError, match="put out more than 1 MB"):
        execute(source, tmp_path / "out.ipynb", timeout=300)
    kept = (tmp_path / "out.failed.ipynb").stat().st_size
    assert kept < 2_000_000


def test_a_broken_run_of_before_is_replaced_and_a_missing_kernelspec_is_no_matter(tmp_path):
    notebook = source_notebook("print(n)")
    notebook.metadata = {}
    source, target = write(notebook, tmp_path / "a.ipynb"), tmp_path / "out.ipynb"
    target.write_text('{"nbformat": 4, "cel')
    assert execute(source, target, given={"n": "3"})
    assert output_of(target) == "3\n"


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing_half_written(tmp_path, tmpfs, capfd):
    with tmpfs(tmp_path / "small", "size=1m") as small:
        source = write(source_notebook("print('x' * 3_000_000)"), tmp_path / "big.ipynb")
        assert main(["execute", str(source), str(small / "out.ipynb")]) == 2
        assert "No space left on device" in capfd.readouterr().err
        assert [path.name for path in small.iterdir()] == [".out.ipynb.lock"]
