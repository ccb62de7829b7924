"""The quizzes: whole, fair to read, and the same for every platform that gets them."""

import io
import re
import sys
import zipfile
from xml.etree import ElementTree

import nbformat
import pytest

from course_teaching.__main__ import main
from course_teaching.lessons import lesson_notebooks
from course_teaching.quizzes import QUIZZES_FOLDER, gift, qti, questions_of, read_quiz, write_quizzes
from course_utils.errors import ConfigError
from course_utils.settings import REPOSITORY_FOLDER

TEXTS = sorted(QUIZZES_FOLDER.glob("*.md"))
each_quiz = pytest.mark.parametrize("path", TEXTS, ids=[path.stem for path in TEXTS])
SOUND = "Quiz title: A quiz\n\n1. Why?\n\n*a) So.\n\n... Right.\n\nb) Not so.\n\n... Wrong.\n"
NAMESPACE = "{http://www.imsglobal.org/xsd/ims_qtiasiv1p2}"


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


def read_gift(text):
    """Return the questions of a GIFT file: name, text, and for each choice whether it is right, text, why.

    It knows nothing of how the file was written: it goes through the characters as Moodle's manual describes.
    """
    plain = {"\\" + mark: chr(0xE000 + number) for number, mark in enumerate("\\~=#{}:n")}
    back = {kept: "\n" if mark == "\\n" else mark[1] for mark, kept in plain.items()}

    def unescaped(part):
        return "".join(back.get(character, character) for character in part.strip())

    text = re.sub(r"\\.", lambda pair: plain[pair.group()], text)
    read = []
    for question in re.split(r"\n\s*\n", text.strip()):
        name, body, inside = re.fullmatch(r"::(.+?)::\[markdown\](.*)\{(.*)\}", question, re.DOTALL).groups()
        choices = re.findall(r"([=~])([^=~#]*)#([^=~#]*)", inside)
        choices = [(mark == "=", unescaped(one), unescaped(why)) for mark, one, why in choices]
        read.append((unescaped(name), unescaped(body), choices))
    return read


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


@each_quiz
def test_qti_has_every_question_with_one_right_choice_and_its_reasons(path):
    quiz = read_quiz(path)
    with zipfile.ZipFile(io.BytesIO(qti(quiz))) as packed:
        assert "imsmanifest.xml" in packed.namelist()
        (name,) = [name for name in packed.namelist() if re.fullmatch(r"(.+)/\1\.xml", name)]
        tree = ElementTree.fromstring(packed.read(name))
    items = list(tree.iter(f"{NAMESPACE}item"))
    assert len(items) == len(questions_of(quiz))
    for item, question in zip(items, questions_of(quiz), strict=True):
        choices = [label.get("ident") for label in item.iter(f"{NAMESPACE}response_label")]
        scored = [
            condition.find(f".//{NAMESPACE}varequal").text
            for condition in item.iter(f"{NAMESPACE}respcondition")
            if condition.find(f"{NAMESPACE}setvar") is not None
        ]
        assert scored == [choices["abcd".index(right_place(question))]]
        reasons = {one.get("ident"): one for one in item.iter(f"{NAMESPACE}itemfeedback")}
        assert set(reasons) == {f"{choice}_fb" for choice in choices}
        assert all("".join(one.itertext()).strip() for one in reasons.values())


@each_quiz
def test_gift_reads_back_as_it_was_written(path):
    quiz = read_quiz(path)
    expected = [
        (
            f"{quiz.title_raw}, question {number}",
            question.question_raw,
            [(choice.correct, choice.choice_raw, choice.feedback_raw) for choice in question.choices],
        )
        for number, question in enumerate(questions_of(quiz), 1)
    ]
    assert read_gift(gift(quiz)) == expected


def test_what_means_something_to_gift_is_escaped(written):
    marks = r"a \n {b: c} = ~d # e"
    text = SOUND.replace("So.", marks).replace("Wrong.", marks).replace("Why?", f"Why?\n\n   {marks}")
    choices = [(True, marks, "Right."), (False, "Not so.", marks)]
    question = ("A quiz, question 1", f"Why?\n\n{marks}", choices)
    assert read_gift(gift(read_quiz(written(text)))) == [question]


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("", "", "No questions were found"),
        (SOUND.replace("Quiz title: A quiz\n\n", ""), "line 1", "none"),
        (SOUND.replace("*a)", "a)"), "line 11 or the question before", "must specify a correct choice"),
        (SOUND.replace("b)", "*b)"), "line 11 or the question before", "only one correct choice"),
        (SOUND.replace("\n\n... Wrong.", ""), "line 9", "none"),
        (SOUND + "\nstray words\n", "line 13 ", "stray words"),
        (SOUND.replace("1. ", "1."), "line 3 ", "Missing whitespace"),
        (SOUND + "\n```{.python .run}\nprint()\n```\n", "line 13 ", "Code execution"),
        (SOUND.replace("Why?", "![gone](gone.png)"), "line 3 ", "does not exist"),
        (
            SOUND.replace("Why?", "Why?\n\n   x = 1\n\n   y = 2") + "\nstray words\n",
            "line 17 ",
            "stray words",
        ),
    ],
)
def test_what_is_no_quiz_is_refused_with_its_line(text, place, found, written):
    path = written(text)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_quiz(path)
    assert str(path) in caught.value.where and place in caught.value.where
    assert found in caught.value.found


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "quiz.md").write_bytes(b"Quiz title: \xff")
    for path in (tmp_path / "quiz.md", tmp_path / "none.md"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_quiz(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        write_quizzes(tmp_path / "out", tmp_path / "empty")


def test_without_text2qti_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "text2qti.config", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        read_quiz(TEXTS[0])
    assert "requirements.txt" in caught.value.do


def test_command_writes_two_files_a_lesson_and_replaces_none(tmp_path, capsys):
    assert main(["quiz", "--output", str(tmp_path / "out")]) == 0
    names = [path.stem + ending for path in TEXTS for ending in (".zip", ".gift.txt")]
    written = [tmp_path / "out" / name for name in names]
    assert sorted((tmp_path / "out").iterdir()) == sorted(written)
    assert capsys.readouterr().out.split() == list(map(str, written))
    mine, *others = sorted(written)  # not the first to be written
    for path in others:
        path.unlink()
    mine.write_text("mine")
    assert main(["quiz", "--output", str(tmp_path / "out")]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["mine"]
