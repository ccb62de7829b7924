"""The quizzes: whole, fair to read, and the same for every platform that gets them."""

import io
import re
import zipfile

import nbformat
import pytest

from course_teaching.__main__ import main
from course_teaching.lessons import lesson_notebooks
from course_teaching.quizzes import QUIZZES_FOLDER, gift, qti, questions_of, read_quiz
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

TEXTS = sorted(QUIZZES_FOLDER.glob("*.md"))
each_quiz = pytest.mark.parametrize("path", TEXTS, ids=[path.stem for path in TEXTS])
SOUND = "Quiz title: A quiz\n\n1. Why?\n\n*a) So.\n\n... Right.\n\nb) Not so.\n\n... Wrong.\n"


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the text of a quiz and gives its path."""

    def write(text):
        path = tmp_path / "a quiz.md"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def right_place(question):
    return "abcd"[[choice.correct for choice in question.choices].index(True)]


def headings(lesson):
    cells = nbformat.read(lesson, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return {heading.replace("*", "") for heading in re.findall(r"^###? (.+)$", text, re.MULTILINE)}


def test_every_lesson_has_a_quiz():
    assert [path.stem for path in TEXTS] == [path.stem for path in lesson_notebooks()]


@each_quiz
def test_quiz_has_five_questions_of_four_choices_with_a_reason_each(path):
    questions = questions_of(read_quiz(path))
    assert [len(question.choices) for question in questions] == [4] * 5
    texts = [choice.feedback_raw for question in questions for choice in question.choices]
    assert len(set(texts)) == len(texts) and min(map(len, texts)) > 30
    assert len({right_place(question) for question in questions}) >= 3


@each_quiz
def test_wrong_choices_say_where_to_look_and_it_is_there(path):
    there = headings(REPOSITORY_FOLDER / "notebooks" / f"{path.stem}.ipynb")
    for question in questions_of(read_quiz(path)):
        for choice in question.choices:
            named = re.findall(r"\(\*(.+?)\*\)\.$", choice.feedback_raw)
            assert named or choice.correct, choice.feedback_raw
            assert set(named) <= there, named


def test_the_right_choice_cannot_be_guessed_from_its_place_or_length():
    questions = [question for path in TEXTS for question in questions_of(read_quiz(path))]
    places = [right_place(question) for question in questions]
    assert all(places.count(letter) > len(places) / 6 for letter in "abcd")
    longest = [max(question.choices, key=lambda choice: len(choice.choice_raw)) for question in questions]
    assert sum(choice.correct for choice in longest) < 0.4 * len(longest)


def test_quiz_becomes_qti_and_gift_in_which_nothing_else_means_anything(written):
    marks = r"a \n {b: c} = ~d # e"
    quiz = read_quiz(written(SOUND.replace("Why?", f"Why?\n\n   {marks}").replace("Wrong.", marks)))
    with zipfile.ZipFile(io.BytesIO(qti(quiz))) as packed:
        assert "imsmanifest.xml" in packed.namelist()
    escaped = r"a \\n \{b\: c\} \= \~d \# e"
    assert gift(quiz).splitlines() == [
        rf"::A quiz, question 1::[markdown]Why?\n\n{escaped}{{",
        "\t=So.#Right.",
        f"\t~Not so.#{escaped}",
        "}",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "No questions were found"),
        (SOUND.replace("*a)", "a)"), "must specify a correct choice"),
        (SOUND + "\n```{.python .run}\nprint()\n```\n", "Code execution"),
    ],
)
def test_what_is_no_quiz_is_refused(text, found, written):
    path = written(text)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_quiz(path)
    assert caught.value.where == str(path) and found in caught.value.found


def test_command_writes_two_files_a_lesson_and_replaces_none(tmp_path, capsys):
    assert main(["quiz", "--output", str(tmp_path / "out")]) == 0
    names = [path.stem + ending for path in TEXTS for ending in (".zip", ".gift.txt")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    (tmp_path / "out" / names[0]).write_text("mine")
    assert main(["quiz", "--output", str(tmp_path / "out")]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert (tmp_path / "out" / names[0]).read_text() == "mine"
