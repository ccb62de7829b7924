"""Show the quizzes: a heading for each question, its choices, and the answer, which is folded.

Their source is text in the format of text2qti, which learning platforms get, too. Here it becomes Markdown.
"""

import re
from pathlib import Path
from string import ascii_lowercase

from sphinx.application import Sphinx

from course_teaching.quizzes import questions_of, read_quiz

PAGE = re.compile(r"docs/quizzes/(\d\d_\w+)")


def page_of(quiz, lesson: str) -> str:
    """Return the page of a quiz as Markdown; `lesson` is the name of its notebook."""
    parts = [
        f"# Quiz: {quiz.title_raw}",
        f"{quiz.description_raw or ''} They belong to [this lesson](../../notebooks/{lesson}.ipynb). "
        "Make your choice before you unfold an answer, and read why the other choices are wrong.",
    ]
    for number, question in enumerate(questions_of(quiz), 1):
        lettered = list(zip(ascii_lowercase, question.choices, strict=False))
        parts += [
            f"## Question {number}",
            question.question_raw,
            "\n".join(item(letter, choice.choice_raw) for letter, choice in lettered),
            f"<details>\n<summary>Answer to question {number}</summary>",
            "\n".join(
                item(letter, f"{'**Right.**' if choice.correct else 'Wrong.'} {choice.feedback_raw}")
                for letter, choice in lettered
            ),
            "</details>",
        ]
    return "\n\n".join(parts) + "\n"


def item(letter: str, text: str) -> str:
    return f"- **{letter})** " + text.replace("\n", "\n  ")


def write_page(app: Sphinx, name: str, source: list[str]) -> None:
    if page := PAGE.fullmatch(name):
        source[0] = page_of(read_quiz(Path(app.env.doc2path(name))), page[1])


def setup(app: Sphinx) -> dict:
    app.connect("source-read", write_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
