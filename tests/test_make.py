"""`make pdf` as a person runs it: once, again, after a change of prose, and when it fails."""

import json
import os
import re
import shutil
import subprocess

import pytest
from pdf_fixtures import BIN, ROOT, like_a_clone, source_notebook, write
from PIL import Image
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
stamp(profile=profile, seed=0, data="counting rods", stand_in=True)
pd.DataFrame({'a_b': ['[x & y'], 'value': [1.5]})"""

EDITION = r"""\documentclass{homework}
\edition{Tiny homework}
\begin{document}
\maketitle
\question[points=2.5, notebook=first]{The first}
What is $n$?
\answer{first}
\question[points=1, notebook=my second.one, checks=first]{The second}
That $n$ is \val{tiny/n}.
\citet{ada1843}, \includegraphics{dot}
\question[notebook=absent]{The third}
\end{document}
"""
ANSWER = r"It is \val{tiny/n}. \mine \verified{tiny/holds}"
WORK = "@misc{ada1843, author={A. Lovelace}, title={{Notes Ж}}, year={1843}}"
YOU = [f"NAME={STUDENT}", "NETID=za1"]
UP_TO_DATE = "build/tiny.pdf is up to date"
RAN = "build/quick/tiny.ran"  # the notebooks alone, without TeX


def make(folder, *arguments, target="pdf", ok=True):
    arguments = ["make", target, "HW=tiny", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment["DATA_DIR"] = str(folder / "data" / "sets")
    run = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=environment)
    assert (run.returncode == 0) == ok, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of two small notebooks that uses this one's press."""
    folder = tmp_path_factory.mktemp("make") / "a folder"
    latex = folder / "solutions_latex"
    (latex / "answers").mkdir(parents=True)
    (latex / "figures").mkdir()
    like_a_clone(folder, "helpers")
    shutil.copy(ROOT / "solutions_latex" / "homework.cls", latex)
    (folder / "course.toml").write_text('course = "Tiny Course Б"\npaper = "a4"')
    (latex / "tiny.tex").write_text(EDITION)
    (latex / "macros.tex").write_text("\\newcommand\\mine{My macro.}")
    (latex / "mine.bib").write_text(WORK)
    (latex / "answers" / "first.tex").write_text(ANSWER)
    Image.new("L", (9, 9)).save(latex / "figures" / "dot.png")
    write(source_notebook(FIRST), folder / "notebooks" / "first.ipynb")
    write(source_notebook(TABLE), folder / "notebooks" / "my second.one.ipynb")
    (folder / "notebooks" / "mine=1.csv").touch()
    shown = make(folder, *YOU)
    assert "first: executed" in shown and UP_TO_DATE not in shown
    return folder


def text_of(folder, name="tiny"):
    return [page.extract_text() for page in PdfReader(folder / "build" / f"{name}.pdf").pages]


def test_the_pdf_has_everything_in_its_place(project):
    cover, *pages = text_of(project)
    everything = " ".join("\n".join(pages).split())
    assert "Tiny homework" in cover
    assert "Tiny Course Б, New York University" in cover
    assert STUDENT.replace("'", "’") in " ".join(cover.split())
    for part in ("It is 12,345. My macro.", "Question 1 The first 2.5 points", "x & y",
                 "Question 2 The second 1 point ", "\\input{/etc/passwd}", "is not written yet",
                 "notebooks/my second.one.ipynb",
                 "Lovelace (1843)", "A. Lovelace. Notes Ж"):  # fmt: skip
        assert part in everything
    questions = json.loads((project / "build" / "tiny.pages.json").read_text())["questions"]
    for question in questions:
        assert f"Question {question['number']}" in pages[question["first"] - 2]
        assert re.search(rf"pages? {question['first']}", cover)


def test_readers_are_told_title_author_language_and_what_figures_show(project):
    reader = PdfReader(project / "build" / "tiny.pdf")
    assert reader.metadata.title == "Tiny homework"
    assert reader.metadata.author == STUDENT
    assert reader.root_object["/Lang"] == "en-US"
    assert round(float(reader.pages[0].mediabox.height)) == 842  # points of A4
    contents = b"".join(page.get_contents().get_data() for page in reader.pages)
    (alt,) = re.findall(rb"/Alt *\((.*?)\)", contents)
    codes = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), alt)
    assert codes.decode("utf-16") == "β − 1"


def test_check_looks_a_pdf_over_and_prints_its_page_map(project):
    shown = make(project, target="check")
    assert "[OK]   glyphs, line widths and references\n" in shown
    assert "[WARN] there is no notebooks/absent.ipynb (is its name right?); its page" in shown
    assert "[WARN] stand-ins for missing data were used in my-second-one" in shown
    assert "[WARN] student.toml has no collaborators and no tools" in shown
    assert "[FAIL]" not in shown
    assert "The first (2.5 points)" in shown
    assert make(project, *YOU).strip() == UP_TO_DATE, "check changes nothing"
    (project / "build" / "other.pdf").write_bytes((project / "build" / "tiny.pdf").read_bytes())
    assert "`make pdf` has set no such PDF here" in make(
        project, "HW=other", target="check", ok=False
    )


def changed(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_make_knows_what_was_read(project):
    for name in ("figures/dot.png", "mine.bib", "answers/first.tex", "macros.tex", "tiny.tex",
                 "../course.toml", "../student.toml", "../notebooks/mine=1.csv"):  # fmt: skip
        file = project / "solutions_latex" / name
        before = file.stat().st_mtime_ns
        assert "homework" not in make(project, *YOU, "-n")
        os.utime(file)
        assert "homework typeset" in make(project, *YOU, "-n"), name
        os.utime(file, ns=(before, before))
    course = project / "course.toml"
    for gone in (course, project / "notebooks" / "mine=1.csv"):
        moved = gone.rename(project / "moved")
        assert "homework typeset" in make(project, *YOU, "-n"), "what is gone was read, too"
        moved.rename(gone)
    assert "homework typeset" in make(project, "NAME=Somebody else", "-n")


def test_only_what_changed_is_done_again(project):
    changed(project / "notebooks" / "my second.one.ipynb", "# Title", "# A changed title")
    shown = make(project, *YOU)
    assert "my second.one: code unchanged" in shown
    assert "first" not in shown
    assert "A changed title" in "".join(text_of(project))
    os.utime(project / "notebooks" / "first.ipynb")
    assert make(project, *YOU).strip() == UP_TO_DATE, "a new date is no change"
    (project / "notebooks" / "mine=1.csv").write_text("1")
    assert "first: executed" in make(project, *YOU, target=RAN)


def test_a_notebook_comes_as_it_was_saved_or_is_run(project):
    edition = project / "solutions_latex" / "tiny.tex"
    changed(edition, "notebook=absent", "notebook=absent, as-is")
    saved = source_notebook("print('here now')")
    for number, cell in enumerate(c for c in saved.cells if c.cell_type == "code"):
        cell.execution_count = number + 1
    write(saved, project / "notebooks" / "absent.ipynb")
    assert "absent: as it was saved" in make(project, *YOU, target=RAN)
    changed(edition, "notebook=absent, as-is", "notebook=absent")
    assert "absent: executed" in make(project, *YOU, target=RAN)


def test_new_data_call_for_what_was_run_on_stand_ins_and_for_nothing_else(project):
    (project / "data" / "sets").mkdir(parents=True)
    shown = make(project, *YOU, target=RAN)
    assert "second.one: " in shown
    assert "first" not in shown
    assert "up to date" in make(project, *YOU, target=RAN)


def test_one_question_can_be_had_alone(project):
    make(project, *YOU, "Q=2")
    cover, *pages = text_of(project, "tiny-q2")
    assert "Question 2" in pages[0]
    assert "That 𝑛 is 12,345." in pages[0], "a notebook that checks has run"
    assert "Question 1" not in cover + "".join(pages)
    assert "notebooks/first.ipynb" not in "".join(pages), "and is not printed"
    questions = json.loads((project / "build" / "tiny-q2.pages.json").read_text())["questions"]
    assert [(q["number"], q["first"]) for q in questions] == [(2, 2)]
    assert "Question 2: " in make(project, "Q=2", target="check")


def test_a_failure_shows_the_cell_and_a_draft_lets_a_wide_line_pass(project):
    path = project / "notebooks" / "my second.one.ipynb"
    good = path.read_bytes()
    write(source_notebook("1 / 0"), path)
    shown = make(project, *YOU, ok=False)
    for part in ("cell 3: ZeroDivisionError", "    1 / 0", "executed/my-second-one.failed.ipynb"):
        assert part in shown
    path.write_bytes(good)
    answer = project / "solutions_latex" / "answers" / "first.tex"
    answer.write_text(f"{ANSWER}\n\n\\mbox{{{'wide ' * 40}}}")
    shown = make(project, *YOU, ok=False)
    assert "solutions_latex/answers/first.tex:3: a line is" in shown
    assert "make pdf DRAFT=1" in shown
    assert "warning: solutions_latex/answers/first.tex:3" in make(project, *YOU, "DRAFT=1")
    answer.write_text(ANSWER)
    assert "here now" in "".join(text_of(project)).split("print")[-1], "of the notebook above"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["HW=nothing"], "there is no edition 'nothing'; HW is one of tiny"),
        (["Q=9"], "has questions 1 to 3, and no question 9"),
        (["HW="], "say HW=…: one of tiny"),
        (["tiny"], "as in make pdf HW=tiny"),
        (["HW=tiny 2"], "HW=tiny 2: say one of tiny"),
        (["hw=tiny"], "there is no hw=: what can be set is HW Q"),
        (["STUDENT=nobody.toml"], "there is no 'nobody.toml', which says whose this is"),
        (["NAME=中文"], "fonts-noto-cjk"),
        (["PROFILE=slow"], "'slow' is not one of 'quick', 'full'"),
    ],
)
def test_mistakes_are_explained_in_a_line(project, arguments, message, monkeypatch, tmp_path):
    (tmp_path / "fc-list").write_text("#!/bin/sh\n")  # a machine with no fonts but ours
    (tmp_path / "fc-list").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    os.utime(project / "notebooks" / "first.ipynb")
    shown = make(project, *arguments, ok=False)
    assert message in shown
    assert "Traceback" not in shown
    assert "first:" not in shown, "told before a notebook runs"


def test_what_new_writes_is_built_and_docs_carry_nobodys_name(project):
    for words in (["question", "odd_sums"], ["edition", "all"]):
        done = subprocess.run([BIN / "homework", "new", *words], cwd=project, capture_output=True)
        assert done.returncode == 0, done.stderr
    (project / "student.toml").write_text('name = "Ada Lovelace"\ntools = "a loom"\n')
    make(project, "PROFILE=quick", target="docs", ok=False)  # this project has no heat map
    everything = " ".join(" ".join(text_of(project, "all")).split())
    assert "The first 𝑛 odd numbers sum to 𝑛2" in everything
    assert "In this run the sum is 9." in everything
    assert "notebooks/odd_sums.ipynb" in everything
    assert "Ada" not in everything
    assert "loom" not in everything
    (project / "notebooks" / "odd_sums.ipynb").unlink()
    told = "proves 'odd-sums/square'; there is no notebooks/odd_sums.ipynb"
    assert told in make(project, "HW=all", ok=False), "what ran once proves nothing"
