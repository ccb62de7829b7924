"""Quizzes: five questions for each lesson, written once as text and exported for learning platforms.

The texts in docs/quizzes are the source, in the format of text2qti, which reads them and writes QTI, for
Canvas and others. Moodle does not read QTI: `gift` writes its own format. The site shows the same texts.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from course_teaching.lessons import write_file
from course_utils.errors import ConfigError
from course_utils.files import check_new
from course_utils.settings import REPOSITORY_FOLDER

if TYPE_CHECKING:
    from text2qti.quiz import Question, Quiz

QUIZZES_FOLDER = REPOSITORY_FOLDER / "docs" / "quizzes"


def write_quizzes(output: Path, source: Path = QUIZZES_FOLDER) -> list[Path]:
    """Write each quiz as QTI (NAME.zip) and as GIFT (NAME.gift.txt), and return the paths of the files.

    Args:
        output: The folder to write to. No file in it is replaced.
        source: The folder of the texts, one for each quiz: NAME.md.

    Raises:
        ConfigError: If a text is not a quiz, or a file already exists or cannot be written.
        ModuleNotFoundError: If text2qti is not installed.
    """
    files: dict[Path, str | bytes] = {}
    for path in sorted(source.glob("*.md")):
        quiz = read_quiz(path)
        files[output / f"{path.stem}.zip"] = qti(quiz)
        files[output / f"{path.stem}.gift.txt"] = gift(quiz)
    for path, content in files.items():
        check_new(path, ConfigError, another="folder")
        write_file(path, content, ConfigError)
    return list(files)


def read_quiz(path: Path) -> "Quiz":
    """Return the quiz of a text in the format of text2qti.

    Raises:
        ConfigError: If text2qti cannot read the text, for example because a question does not have exactly
            one right choice. It names the line.
        ModuleNotFoundError: If text2qti is not installed.
    """
    from text2qti.config import Config
    from text2qti.err import Text2qtiError
    from text2qti.quiz import Quiz

    try:
        return Quiz(path.read_text(encoding="utf-8"), config=Config(), source_name=path.name)
    except Text2qtiError as error:
        raise ConfigError(
            "A quiz cannot be read.",
            where=path,
            expected="a quiz in the format of text2qti",
            found=error,
            do="Correct the text. The quizzes in docs/quizzes show the format; so do the pages of text2qti.",
        ) from error


def questions_of(quiz: "Quiz") -> list["Question"]:
    """Return the questions of a quiz, in order, each with its `question_raw` and its `choices`."""
    return [part for part in quiz.questions_and_delims if hasattr(part, "choices")]


def qti(quiz: "Quiz") -> bytes:
    """Return a quiz as a zip file of QTI 1.2."""
    from text2qti.qti import QTI

    return QTI(quiz).zip_bytes()


def gift(quiz: "Quiz") -> str:
    """Return a quiz in GIFT, which Moodle imports: https://docs.moodle.org/en/GIFT_format.

    Texts are Markdown, as they are in the source.
    """
    parts = []
    for number, question in enumerate(questions_of(quiz), 1):
        name = _escaped(f"{quiz.title_raw}, question {number}")
        choices = "".join(
            f"\t{'=' if one.correct else '~'}{_escaped(one.choice_raw)}#{_escaped(one.feedback_raw or '')}\n"
            for one in question.choices
        )
        parts.append(f"::{name}::[markdown]{_escaped(question.question_raw)}{{\n{choices}}}\n")
    return "\n".join(parts)


def _escaped(text: str) -> str:
    """Return a text with GIFT's special characters escaped."""
    return re.sub(r"([\\~=#{}:])", r"\\\1", text).replace("\n", r"\n")
