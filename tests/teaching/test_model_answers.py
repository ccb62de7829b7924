"""The model answers: one for each numbered question of the lessons, for teachers alone."""

import re

import nbformat
import pytest

from course_teaching.exercises import EXERCISES_FOLDER, SOLUTIONS_FOLDER
from course_teaching.lessons import lesson_notebooks

ANSWERS = (SOLUTIONS_FOLDER / "model_answers.md").read_text(encoding="utf-8")
LESSONS = lesson_notebooks()


def questions(lesson):
    """Return the numbered questions at the end of a lesson: number, kind, text."""
    cells = nbformat.read(lesson, as_version=4).cells
    (text,) = [cell.source.split("## Exercises\n")[1] for cell in cells if "## Exercises\n" in cell.source]
    return re.findall(r"^(\d)\. \*\*(\w+)\.\*\* (.+)$", text, re.MULTILINE)


def answers(number):
    """Return the answers to a lesson's questions: number, kind, first words of the question, answer."""
    sections = re.split(r"^## (\d\d) · .+$", ANSWERS, flags=re.MULTILINE)
    section = dict(zip(sections[1::2], sections[2::2], strict=True))[number]
    parts = re.split(r"^### (\d)\. (\w+)\. (.+) …$", section, flags=re.MULTILINE)
    return list(zip(*(parts[start::4] for start in range(1, 5)), strict=True))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_numbered_question_has_its_answer(lesson):
    asked, answered = questions(lesson), answers(lesson.name[:2])
    assert len(asked) == 3
    for (number, kind, question), (n, k, words, answer) in zip(asked, answered, strict=True):
        assert (number, kind) == (n, k)
        assert question.startswith(words) and len(words.split()) > 2, words
        assert len(answer.split()) > 10, words


def test_no_answer_is_in_what_students_get():
    sentences = [line[:60] for line in ANSWERS.splitlines() if len(line) > 100]
    assert len(sentences) > 3 * len(LESSONS)
    for path in [*LESSONS, *EXERCISES_FOLDER.glob("*.ipynb")]:
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert not [sentence for sentence in sentences if sentence in text], path.name
