"""The upload button of lesson 00: what it shows before a file is chosen, and after."""

from datetime import UTC, datetime

import ipywidgets
import pytest
from PIL import Image

from course_utils.data.image_io import load_rgb
from course_utils.figures.images import image_grid
from course_utils.notebook import upload_button
from course_utils.settings import REPOSITORY_FOLDER

PICTURE = sorted((REPOSITORY_FOLDER / "data" / "clipart" / "test").glob("*/*.png"))[0]

with_tuples = pytest.mark.skipif(
    int(ipywidgets.__version__.split(".")[0]) < 8,
    reason="ipywidgets 7 has a dictionary of files: tested further below",
)


@pytest.fixture
def asked(monkeypatch):
    """Return the button, the place for the answer, and the pictures that were asked about."""
    monkeypatch.delenv("COURSE_UPLOAD_MB", raising=False)
    pictures = []

    def tell(file):
        pictures.append(load_rgb(file))
        return image_grid(pictures, [""], 'a "picture"')

    button, answer = upload_button(tell).children
    return button, answer, pictures


def chosen(content):
    file = {"name": "x.png", "type": "image/png", "size": len(content), "content": memoryview(content)}
    return ({**file, "last_modified": datetime(2026, 1, 1, tzinfo=UTC)},)


@with_tuples
def test_a_chosen_picture_is_shown_with_the_answer(asked):
    button, answer, pictures = asked
    button.set_trait("value", ())
    assert answer.value == "No picture has been chosen yet." and not pictures
    button.set_trait("value", chosen(PICTURE.read_bytes()))
    assert pictures[0].size == Image.open(PICTURE).size
    assert answer.value.startswith('<img alt="a &quot;picture&quot;" src="data:image/png;base64,iVBOR')
    assert answer.value.endswith('style="max-width: 100%">')  # not wider than the page


@with_tuples
def test_while_a_picture_is_looked_at_no_older_answer_is_shown():
    shown, picture = [], image_grid([Image.new("RGB", (8, 8))], [""], "a picture")
    button, answer = upload_button(lambda file: shown.append(answer.value) or picture).children
    answer.value = "an older answer"
    button.set_trait("value", chosen(PICTURE.read_bytes()))
    assert shown == ["Looking at x.png …"]


@with_tuples
def test_a_picture_of_an_iphone_is_known_by_its_content_and_gets_a_remedy(asked):
    button, answer, _ = asked
    button.set_trait("value", chosen(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(500)))
    assert "HEIC" in answer.value and "Export it as JPEG" in answer.value and "pillow-heif" in answer.value
    button.set_trait("value", chosen(b"no picture"))
    assert "could not be read" in answer.value and "Traceback" not in answer.value


def test_the_dictionary_of_ipywidgets_7_is_understood(asked):
    button, answer, pictures = asked
    file = {"metadata": {}, "content": PICTURE.read_bytes()}
    button.notify_change({"name": "value", "new": {"x.png": file}, "type": "change"})
    assert len(pictures) == 1 and "<img" in answer.value
