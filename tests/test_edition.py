"""Editions, and the details on the cover."""

import pytest

from helpers.pdf.edition import (
    answer_files,
    editions,
    read_course,
    read_edition,
    read_student,
    without_comments,
)
from helpers.pdf.errors import UserError

BODY = r"""\documentclass{homework}
\begin{document}
% \question[points=9]{commented out}
\question[points=3, notebook=My rnn.v2.ipynb, asked={2021 Q1, 2022 Q2}]{A \textbf{bold} title}
text \answer{rnn} 100\% sure % \answer{no}
\question{No options} % a remark
\question [ notebook = {rnn, cnn},
  points=1, as-is, notebook=gru, checks=proofs ]{Again}\answer{rnn}\answer{other}
\end{document}
"""


def edition(folder, body, question=0):
    path = folder / "2000-hw1.tex"
    path.write_text(body, encoding="utf-8")
    return read_edition(path, question)


def test_an_edition_is_read_from_its_latex(tmp_path):
    read = edition(tmp_path, BODY)
    first, second, third = read.questions
    assert (first.number, first.title, first.points) == (1, r"A \textbf{bold} title", "3")
    assert (first.notebooks, first.answers) == (("My rnn.v2",), ("rnn",))
    assert (first.asked, second.title) == ("2021 Q1, 2022 Q2", "No options")
    assert (third.notebooks, third.checks, third.as_is) == (
        ("rnn", "cnn", "gru"),
        ("proofs",),
        True,
    )
    assert read.notebooks == ["My rnn.v2", "rnn", "cnn", "gru"]
    assert read.all_notebooks == ["My rnn.v2", "rnn", "cnn", "gru", "proofs"]
    assert r"\question[points={3},notebook={My-rnn-v2},asked={2021 Q1, 2022 Q2}]" in read.latex
    assert r"\question[points={1},notebook={rnn,cnn,gru},as-is={yes}]" in read.latex
    assert read.latex.splitlines()[-1] == BODY.splitlines()[-1]
    assert read.latex.count("\n") == BODY.count("\n"), "an error names the right line"


def test_a_percent_sign_in_an_address_begins_no_comment():
    read = without_comments(r"\url{a%20b} 5\% \verb|%| and % this" + "\n\\\\% that")
    assert read == r"\url{a%20b} 5\% \verb|%| and %" + "\n\\\\%"


def test_one_question_keeps_its_number_and_its_line(tmp_path):
    read = edition(tmp_path, BODY, 2)
    assert (read.name, [q.number for q in read.questions]) == ("2000-hw1-q2", [2])
    assert r"\setcounter{section}{1}\question[]{No options}" in read.latex
    assert "Again" not in read.latex
    lines = read.latex.splitlines()
    assert "No options" in lines[5]
    assert lines[-1] == r"\end{document}"
    with pytest.raises(UserError, match="questions 1 to 3, and no question 4"):
        edition(tmp_path, BODY, 4)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (r"\question[point=3]{x}", "unknown key 'point'"),
        (r"\question[notebook=a, b]{x}", r"unknown key 'b' .* in braces: notebook=\{a, b\}"),
        (r"\question[notebook={a b, a-b}]{x}", "'a b' and 'a-b' are too alike: rename one"),
        (r"\question[points=3] x", "needs a title"),
        ("\n\\question{50% done}\n", r"2000-hw1.tex:2: question 1 .* a percent sign in it is \\%$"),
        (r"\question[points=three]{x}", "points=three is not a number"),
        ("nothing", "has no"),
    ],
)
def test_a_wrong_edition_is_refused(tmp_path, body, message):
    with pytest.raises(UserError, match=message):
        edition(tmp_path, r"\documentclass{homework}" + body)


def test_what_is_input_is_no_edition_and_must_be_there(tmp_path):
    edition(tmp_path, BODY)
    (tmp_path / "macros.tex").write_text("% \\documentclass is elsewhere")
    assert editions(tmp_path) == ["2000-hw1"]
    with pytest.raises(UserError, match=r"answers/rnn.tex is missing: \\answer\{rnn\} wants it"):
        answer_files(tmp_path / "2000-hw1.tex", edition(tmp_path, BODY))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "rnn.tex").write_text("\n")
    with pytest.raises(UserError, match=r"answers/rnn\.tex is empty"):
        answer_files(tmp_path / "2000-hw1.tex", edition(tmp_path, BODY))
    with pytest.raises(UserError, match="HW is one of 2000-hw1"):
        read_edition(tmp_path / "macros.tex")


def test_a_student_and_a_course_are_read(tmp_path):
    file = tmp_path / "student.toml"
    file.write_text('\ufeffname = "Ada"\ncollaborators = ["Grace", "Alan"]\n')
    told = read_student(file, {"name": None, "netid": "al1"})
    wanted = {"name": "Ada", "netid": "al1", "collaborators": "Grace, Alan", "tools": ""}
    assert told == wanted
    assert read_course(tmp_path / "course.toml")["paper"] == "letter"
    file.write_text('paper = "a4"\naccent = "#00ff00"')
    assert read_course(file)["accent"] == "00FF00"


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_student, "name = Ada", 'write a line as name = "Ada Lovelace"'),
        (read_student, 'nam = "Ada"', "unknown key 'nam'; it has name, netid"),
        (read_student, "name = 3", "name must be text in quotes"),
        (read_course, 'paper = "A5"', "paper is letter or a4"),
        (read_course, 'accent = "blue"', "digits such as 0072B2"),
    ],
)
def test_a_broken_file_of_details_is_explained(tmp_path, read, content, message):
    (tmp_path / "details.toml").write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "details.toml", *[{}] * (read is read_student))
