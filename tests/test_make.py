"""`make pdf` as a person runs it: once, again, after a change of prose, and when it fails."""

import json
import os
import re
import shutil
import subprocess

import nbformat
import pytest
from pdf_fixtures import BIN, ROOT, like_a_clone, source_notebook, write
from pypdf import PdfReader

STUDENT = r"Zoë Ærø & % $ # _ { } ~ ^ \ O'Neill"

FIRST = """from helpers.report import claim, record, stamp
stamp(profile=profile, seed=0)
print("✓ █ β → 😀 100% \\\\input{/etc/passwd}")
record("tiny/n", 12345)
claim("tiny/holds", n == 1, "n is 1")
import matplotlib.pyplot as plt
from helpers.report import show, use_style
use_style()
show(plt.subplots(figsize=(1, 1))[0], "A caption", alt="β − 1")
"""
TABLE = """from helpers.report import stamp
import pandas as pd
stamp(profile=profile, seed=0, data="counting rods (stand-in)")
pd.DataFrame({'a_b': ['x & y'], 'value': [1.5]})"""

EDITION = r"""\documentclass{homework}
\edition{Tiny homework}
\begin{document}
\maketitle
\question[points=2.5, notebook=first]{The first}
What is $n$?
\answer{first}
\question[points=1, notebook=second]{The second}
\question[notebook=absent]{The third}
\end{document}
"""
ANSWER = r"It is \val{tiny/n}. \verified{tiny/holds}"


def make(folder, *arguments, target="pdf", ok=True):
    arguments = ["make", target, "HW=tiny", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment["DATA_DIR"] = "data"
    run = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=environment)
    assert (run.returncode == 0) == ok, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of two small notebooks that uses this one's press."""
    folder = tmp_path_factory.mktemp("make") / "a folder"
    (folder / "solutions_latex" / "answers").mkdir(parents=True)
    like_a_clone(folder, "helpers")
    latex = folder / "solutions_latex"
    shutil.copy(ROOT / "solutions_latex" / "homework.cls", latex)
    (latex / "tiny.tex").write_text(EDITION)
    (latex / "answers" / "first.tex").write_text(ANSWER)
    write(source_notebook(FIRST), folder / "notebooks" / "first.ipynb")
    write(source_notebook(TABLE), folder / "notebooks" / "second.ipynb")
    shown = make(folder, f"NAME={STUDENT}", "NETID=za1")
    assert "first: executed" in shown
    return folder, [f"NAME={STUDENT}", "NETID=za1"]


def text_of(folder):
    return [page.extract_text() for page in PdfReader(folder / "build" / "tiny.pdf").pages]


def test_the_pdf_has_everything_in_its_place(project):
    folder, _ = project
    cover, *pages = text_of(folder)
    everything = "\n".join(pages)
    assert "Tiny homework" in cover
    assert STUDENT.replace("'", "’") in " ".join(cover.split())
    assert "It is 12,345." in everything
    assert "Question 1 The first 2.5 points" in " ".join(everything.split())
    assert "Question 2 The second 1 point " in " ".join(everything.split())
    assert "\\input{/etc/passwd}" in everything
    assert "x & y" in everything
    assert "is not written yet" in everything
    questions = json.loads((folder / "build" / "tiny.pages.json").read_text())["questions"]
    for question in questions:
        assert f"Question {question['number']}" in pages[question["first"] - 2]
        assert re.search(rf"pages? {question['first']}", cover)
    assert [q["first"] for q in questions] == sorted(q["first"] for q in questions)
    titles = [item.title for item in PdfReader(folder / "build" / "tiny.pdf").outline[0:9:1]
              if not isinstance(item, list)]  # fmt: skip
    assert "Question 1: The first" in titles


def test_readers_are_told_title_author_language_and_what_figures_show(project):
    reader = PdfReader(project[0] / "build" / "tiny.pdf")
    assert reader.metadata.title == "Tiny homework"
    assert reader.metadata.author == STUDENT
    assert reader.root_object["/Lang"] == "en-US"
    contents = b"".join(page.get_contents().get_data() for page in reader.pages)
    (alt,) = re.findall(rb"/Alt *\((.*?)\)", contents)
    codes = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), alt)
    assert codes.decode("utf-16") == "β − 1"


def test_check_looks_a_pdf_over_and_prints_its_page_map(project, tmp_path):
    folder, student = project
    shown = make(folder, target="check")
    assert "[OK]   glyphs, line widths and references\n" in shown
    assert "[WARN] absent.ipynb was not executed" in shown
    assert "[WARN] student.toml names no collaborators and no tools" in shown
    assert "[FAIL]" not in shown
    assert "  Question 1: pages 2–3 " in shown
    assert "The first (2.5 points)" in shown
    assert make(folder, *student).endswith("is up to date\n"), "check changes nothing"
    pdf = folder / "build" / "tiny.pdf"
    (tmp_path / "other.pdf").write_bytes(pdf.read_bytes())
    (tmp_path / "junk.pdf").write_text("no PDF")
    check = [BIN / "homework", "check"]
    for name, status, told in (
        ("other", 1, "no folder beside other.pdf holds other.log"),
        ("junk", 2, "is not a PDF that can be read"),
        ("absent", 2, "there is no such PDF; `make pdf` builds one"),
    ):
        done = subprocess.run([*check, tmp_path / f"{name}.pdf"], capture_output=True, text=True)
        assert done.returncode == status
        assert told in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    (tmp_path / "tiny.pdf").write_bytes(pdf.read_bytes() + b"%")
    command = [*check, tmp_path / "tiny.pdf", "--work", folder / "build" / "quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "holds another tiny.pdf: run `make pdf` again" in done.stdout


def test_check_names_the_edition_that_is_to_be_built(project):
    pdf = project[0] / "build" / "tiny.pdf"
    pdf.rename(pdf.with_suffix(".away"))
    assert "there is no such PDF; `make pdf HW=tiny` builds one" in make(
        project[0], target="check", ok=False
    )
    pdf.with_suffix(".away").rename(pdf)


def test_the_last_line_says_what_was_not_acknowledged(project):
    folder, student = project
    (folder / "build" / "tiny.pdf").unlink()
    *_, absent, data, last = make(folder, *student).strip().splitlines()
    assert "absent.ipynb was not executed" in absent
    assert "stand-ins for missing data were used in second" in data
    cover = " ".join(text_of(folder)[0].split())
    assert "Data stand-ins for missing data sets in second: the numbers there" in cover
    assert cover.count("numbers there") == 1
    assert last.startswith("homework: warning: student.toml names no collaborators and no tools")


def test_nothing_changed_nothing_runs_and_a_date_changes_nothing(project):
    folder, student = project
    assert make(folder, *student).strip() == "build/tiny.pdf is up to date"
    before = (folder / "build" / "tiny.pdf").read_bytes()
    for path in (folder / "build").glob("quick/tiny.*"):
        path.unlink()
    (folder / "build" / "tiny.pdf").unlink()
    make(folder, *student)
    assert (folder / "build" / "tiny.pdf").read_bytes() == before


def test_prose_starts_no_kernel_and_leaves_the_other_notebook_alone(project):
    folder, student = project
    path = folder / "notebooks" / "second.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[0].source = "# A changed title"
    write(notebook, path)
    shown = make(folder, *student)
    assert "second: code unchanged" in shown
    assert "first" not in shown
    assert "A changed title" in "".join(text_of(folder))


def test_new_data_call_for_what_was_run_on_stand_ins_and_for_nothing_else(project):
    folder, student = project
    (folder / "data").mkdir()
    (folder / "data" / "rods.csv").write_text("1,2,3")
    shown = make(folder, *student)
    assert "second: " in shown
    assert "first" not in shown
    assert make(folder, *student).strip() == "build/tiny.pdf is up to date"


def test_a_failure_shows_the_cell_and_leaves_no_current_pdf(project):
    folder, student = project
    path = folder / "notebooks" / "second.ipynb"
    good = path.read_bytes()
    write(source_notebook("1 / 0"), path)
    shown = make(folder, *student, ok=False)
    assert "ZeroDivisionError" in shown
    assert "    1 / 0" in shown
    assert "build/quick/executed/second.failed.ipynb" in shown
    assert not (folder / "build" / "tiny.pdf").exists()
    path.write_bytes(good)
    make(folder, *student)
    assert not (folder / "build" / "tiny.outdated.pdf").exists()


@pytest.mark.parametrize("flag", ["-n", "-q", "-t"])
def test_a_dry_run_costs_no_pdf(project, flag):
    folder, student = project
    os.utime(folder / "solutions_latex" / "tiny.tex")
    (folder / "build" / "tiny.outdated.pdf").touch()
    before = (folder / "build" / "tiny.pdf").read_bytes()
    make(folder, *student, flag, ok=flag != "-q")
    assert (folder / "build" / "tiny.pdf").read_bytes() == before
    (folder / "build" / "tiny.outdated.pdf").unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["HW=nothing"], "there is no edition 'nothing'; HW is one of tiny"),
        (["STUDENT=nobody.toml"], "there is no 'nobody.toml', which says whose this is"),
        (["NAME=中文"], "fonts-noto-cjk"),
        (["PROFILE=slow"], "PROFILE is quick or full, not 'slow'"),
    ],
)
def test_mistakes_are_explained_in_a_line(project, arguments, message, monkeypatch, tmp_path):
    folder, _ = project
    (tmp_path / "fc-list").write_text("#!/bin/sh\n")  # a machine with no fonts but ours
    (tmp_path / "fc-list").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    os.utime(folder / "notebooks" / "first.ipynb")
    shown = make(folder, *arguments, ok=False)
    assert message in shown
    assert "Traceback" not in shown
    assert "first:" not in shown, "told before a notebook runs"


def test_a_broken_student_file_or_a_missing_answer_is_told_before_a_notebook_runs(project):
    folder, _ = project
    os.utime(folder / "notebooks" / "first.ipynb")
    file = folder / "student.toml"
    before = file.read_text()
    file.write_text("name = Ada\n")
    shown = make(folder, ok=False)
    file.write_text(before)
    assert 'write a line as name = "Ada Lovelace"' in shown
    assert "first:" not in shown
    answer = folder / "solutions_latex" / "answers" / "first.tex"
    answer.rename(answer.with_suffix(".away"))
    shown = make(folder, ok=False)
    answer.with_suffix(".away").rename(answer)
    assert "first.tex is missing" in shown
    assert "first:" not in shown
    assert "first: code unchanged, outputs kept" in make(folder)


def test_another_number_of_threads_is_another_run(project):
    folder, _ = project
    target = "build/quick/executed/first.ipynb"
    assert "up to date" in make(folder, target=target)
    shown = make(folder, "-n", "THREADS=2", target=target)
    assert f"execute notebooks/first.ipynb {target}" in shown


def test_a_name_too_long_for_the_header_stands_on_the_cover(project):
    folder, _ = project
    name = "Wolfeschlegelsteinhausenbergerdorff " * 3
    make(folder, f"NAME={name}", "NETID=za1")
    cover, _, page, *_ = text_of(folder)
    assert name.split() == re.findall("Wolf[a-z]+", cover)
    assert "Question 1: The first" in page
    assert "za1" in page
    assert "Wolf" not in page


def test_docs_carry_nobodys_name(project):
    folder, _ = project
    (folder / "solutions_latex" / "all.tex").write_text(EDITION)
    (folder / "student.toml").write_text('name = "Ada Lovelace"\ntools = "a loom"\n')
    make(folder, "PROFILE=quick", target="docs", ok=False)  # this project has no heat map
    cover = PdfReader(folder / "build" / "all.pdf").pages[0].extract_text()
    assert "Tiny homework" in cover
    assert "Ada" not in cover
    assert "loom" not in cover
