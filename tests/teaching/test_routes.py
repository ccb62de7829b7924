"""The routes for a class keep to the lessons' own *Know first* lines, and to the table of times."""

import functools
import re

import nbformat
import pytest

from course_teaching.lessons import lesson_notebooks
from course_utils.settings import REPOSITORY_FOLDER

DOCS = REPOSITORY_FOLDER / "docs"
ROUTES = {path.stem: path.read_text("utf-8") for path in sorted((DOCS / "routes").glob("*.md"))}
GUIDE = DOCS / "instructors.md"
LESSONS = [path.stem[:2] for path in lesson_notebooks()]
lines = functools.partial(re.findall, flags=re.MULTILINE)
each_route = pytest.mark.parametrize("text", ROUTES.values(), ids=ROUTES)


def know_first():
    """Return the lessons that each lesson's *Know first* line names."""
    named = {}
    for path in lesson_notebooks():
        text = nbformat.read(path, as_version=4).cells[0].source
        named[path.stem[:2]] = set(re.findall(r"\b\d\d\b", re.search(r"\*\*Know first:\*\* (.*)", text)[1]))
    return named


def rows(text):
    """Return each lesson of a route in order, with its minutes and seconds."""
    row = r"^\|.*\[(\d\d) [^]]+\]\(\S*/(\d\d)_\w+\.ipynb\) \| (\d+) min \| (\d+) s \|"
    found = lines(row, text)
    assert all(number == file for number, file, *_ in found)
    return {number: (int(minutes), int(seconds)) for number, _, minutes, seconds in found}


def part(text, heading):
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def missing(order, bridges, needed):
    """Return each pair of a lesson and one that it needs, which has neither come before nor has a bridge."""
    return [
        (lesson, other)
        for number, lesson in enumerate(order)
        for other in sorted(needed[lesson])
        if other not in order[:number] and (lesson, other) not in bridges
    ]


def test_there_are_three_routes_and_the_site_names_each():
    listed = lines(r"^docs/routes/(\w+)$", (DOCS / "index.md").read_text("utf-8"))
    assert listed == ["three_hours", "one_day", "semester"] and set(listed) == set(ROUTES)


@each_route
def test_every_lesson_comes_after_what_it_needs_or_has_a_bridge(text):
    needed, order = know_first(), list(rows(text))
    told = lines(r"^- \*\*Instead of lesson (\d\d)\*\*, before lesson (\d\d): “.{40}", part(text, "Bridges"))
    bridges = [(lesson, other) for other, lesson in told]
    assert missing(order, [], needed) == bridges  # no more than are needed, too
    at_home = re.findall(r"\[[Ll]esson (\d\d)\]", part(text, "Homework"))
    assert missing([*order, *at_home], bridges, needed) == []


@each_route
def test_minutes_are_those_of_the_table_of_times(text):
    table = lines(r"^\| (\d\d) [^|]+ \| (\d+) min \| (\d+) s \|", GUIDE.read_text("utf-8"))
    times = {lesson: (int(minutes), int(seconds)) for lesson, minutes, seconds in table}
    assert list(times) == LESSONS
    taken = rows(text)
    assert taken == {lesson: times[lesson] for lesson in taken}


def test_the_guide_and_the_lessons_name_the_same_things_to_know_first():
    """Directly or by way of another lesson."""
    guide = part(GUIDE.read_text("utf-8"), "What to know first").replace("\n", " ")
    named = {lesson: set(LESSONS[:number]) for number, lesson in enumerate(LESSONS[:6])}
    many = r"\d\d(?:(?:, | and )\d\d)*"
    for lessons, needed in re.findall(rf"({many}) needs? ({many})", guide):
        named |= {lesson: set(re.findall(r"\d\d", needed)) for lesson in re.findall(r"\d\d", lessons)}

    def reached(needed):
        everything = {}
        for lesson in LESSONS:
            everything[lesson] = needed[lesson].union(*(everything[other] for other in needed[lesson]))
        return everything

    assert reached(named) == reached(know_first())
