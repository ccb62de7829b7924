"""Slides have what the lessons have stored, in its order, and no word of their own."""

import re
from collections import Counter

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert.filters import markdown2html

from course_teaching.__main__ import main
from course_teaching.lessons import lesson_notebooks
from course_teaching.slides import CDN, PREDICTIONS, deck, write_slides

LESSONS = {path.stem[:2]: path for path in lesson_notebooks()}
each_lesson = pytest.mark.parametrize("number", ["00", "05", "06", "14"])
OUTPUT = ".jp-OutputArea-output"
ASKED = "|".join(re.escape(words) + ".*" for words in PREDICTIONS)


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decks")
    return write_slides([LESSONS[number] for number in ("00", "05", "06", "14")], folder, "package")


def read(decks, number):
    """Return a lesson's slides, parsed, and its notebook."""
    (path,) = (path for path in decks if path.name.startswith(number))
    page = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    return page.select("section > section"), nbformat.read(LESSONS[number], as_version=4)


def words(text):
    return " ".join(str(text).split())


def words_of(markdown):
    """Return the words of a text; a link to a page of the course has none but its own."""
    return words(BeautifulSoup(markdown2html(markdown), "html.parser").get_text().replace("¶", ""))


def stored(notebook, kind):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if kind in output.get("data", {})]


@each_lesson
def test_every_stored_figure_and_table_is_on_a_slide_of_its_own_with_its_text(decks, number):
    slides, notebook = read(decks, number)
    alts = [[image["alt"] for image in slide.select("img")] for slide in slides]
    texts = [output.metadata["image/png"]["alt"] for output in stored(notebook, "image/png")]
    assert [alt for own in alts for alt in own] == texts
    assert max(len(own) for own in alts) == 1
    tables = sum(len(slide.select(f"{OUTPUT} table")) for slide in slides)
    assert tables == len(stored(notebook, "text/html"))


@each_lesson
def test_every_prediction_is_shown_before_its_answer_and_not_on_the_same_slide(decks, number):
    slides, notebook = read(decks, number)
    order = []  # of the notebook: each prediction, and for each cell with outputs its number
    for cell in notebook.cells:
        order += re.findall(ASKED, cell.source) if cell.cell_type == "markdown" else []
        if any("metrics" not in str(output.get("data", {}).keys()) for output in cell.get("outputs", [])):
            order.append(cell.execution_count)
    asked = [words_of(one) for one in order if isinstance(one, str)]
    assert asked
    place = -1
    for one in order:
        if isinstance(one, str):
            place = next(n for n, s in enumerate(slides) if n > place and words_of(one) in shown(s))
            assert not slides[place].select(OUTPUT)
        else:
            place = next(n for n, s in enumerate(slides) if n > place and s.select(OUTPUT))
    assert not [slide for slide in slides[place + 1 :] if slide.select(OUTPUT)]


def shown(slide):
    """Return the words of a slide without the speaker's notes."""
    copy = BeautifulSoup(str(slide), "html.parser")
    for part in copy.select("aside.notes, style"):
        part.decompose()
    return words(copy.get_text())


@each_lesson
def test_every_word_of_the_text_is_shown_or_among_the_notes_once(decks, number):
    """Letter by letter: there are more elements than in the notebook, and so other spaces."""
    slides, notebook = read(decks, number)
    [output.decompose() for slide in slides for output in slide.select(OUTPUT)]
    texts = [words_of(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    there = " ".join(slide.get_text(" ") for slide in slides)
    assert Counter("".join(there.split())) == Counter("".join(texts).replace(" ", ""))


def test_cells_without_stored_outputs_have_no_slide(decks):
    _, notebook = read(decks, "14")
    empty = [cell for cell in notebook.cells if "output-not-stored" in cell.metadata.get("tags", [])]
    assert len(empty) == 1
    cells = [cell for cell in deck(notebook).cells if cell.cell_type == "code"]
    assert not {cell.id for cell in cells} & {cell.id for cell in empty}
    assert all(cell.outputs for cell in cells)


def test_decks_load_reveal_and_nothing_else(decks):
    for path in decks:
        page = BeautifulSoup(path.read_text("utf-8"), "html.parser")
        links = [tag.get("src") or tag.get("href") for tag in page.select("script[src], link[href]")]
        assert len(links) == 4 and all(link.startswith("package/") for link in links)


def test_command_makes_decks_that_load_reveal_from_the_network(tmp_path, capsys):
    assert main(["slides", "--only", "03", "--output", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    assert str(path) in capsys.readouterr().out and f"{CDN}/dist/reveal.js" in path.read_text("utf-8")


def test_a_heading_inside_code_is_none_and_a_cell_keeps_a_slide_type_of_its_own():
    code = "```python\nx = 1\n\n# not a heading\n```"
    question = f"{PREDICTIONS[0]} which?"
    text = f"# 90 · A\n\nOne sentence.\n\n{code}\n\nSee [there](there.ipynb).\n\n{question}"
    own = nbformat.v4.new_markdown_cell("## A\n\nB", metadata={"slideshow": {"slide_type": "fragment"}})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), own])
    cells = [(cell.metadata.slideshow.slide_type, cell.source) for cell in deck(notebook).cells]
    assert cells == [
        ("slide", "# 90 · A"),
        ("-", "One sentence."),
        ("notes", f"{code}\n\nSee there."),
        ("subslide", question),
        ("fragment", "## A\n\nB"),
    ]
