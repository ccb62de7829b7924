"""One picture, in whatever form it comes, gets the answer that it would get as a sample of a dataset."""

import io

import pytest
import torch
from PIL import ExifTags, Image
from torch import nn
from torchvision.transforms import v2

from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.metrics import predict

CLASSES = ["red", "green", "blue"]
TRANSFORM = v2.Compose([v2.Resize((8, 8)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


class MeanColour(nn.Module):
    """Says which colour a picture has most of; its dropout shows whether it was asked in eval mode."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.dropout = nn.Dropout(0.9)

    def forward(self, images):
        return self.dropout(images.mean(dim=(2, 3)) * self.scale)


@pytest.fixture
def picture():
    return Image.new("RGB", (20, 10), (20, 200, 90))


def as_file(image, file_type="PNG", **options):
    content = io.BytesIO()
    image.save(content, file_type, **options)
    return content.getvalue()


def test_path_bytes_and_pil_picture_get_the_same_answer(picture, tmp_path):
    path, model = tmp_path / "a.png", MeanColour()
    picture.save(path)
    forms = [path, str(path), as_file(picture), picture]
    tables = [predict(model, form, TRANSFORM, CLASSES) for form in forms]
    assert list(tables[0].columns) == ["class", "probability"]
    assert list(tables[0]["class"]) == ["green", "blue", "red"]
    expected = (torch.tensor([20, 200, 90]) / 255 * 5).softmax(dim=0)[[1, 2, 0]]
    assert tables[0].probability.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    for table in tables[1:]:
        assert table.equals(tables[0])


def test_it_is_asked_in_eval_mode_and_gets_its_mode_back(picture):
    model = MeanColour().train()
    predict(model, picture, TRANSFORM, CLASSES)
    assert model.training and model.dropout.training
    assert model.scale.grad is None


@pytest.mark.parametrize("form", [lambda image: image, as_file], ids=["PIL", "bytes"])
@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "I;16"])
def test_picture_of_any_mode_is_read_as_the_training_pictures_were(form, mode):
    if mode == "CMYK" and form is as_file:
        pytest.skip("PNG has no CMYK")
    seen = []
    image = Image.new(mode, (9, 9))

    def spy(picture):
        seen.append(picture)
        return TRANSFORM(picture)

    predict(MeanColour(), form(image), spy, CLASSES)
    assert seen[0].mode == "RGB"
    if mode == "RGBA":  # wholly transparent
        assert seen[0].getpixel((0, 0)) == (255, 255, 255)


def test_uploaded_photograph_is_turned_upright(picture):
    exif, sizes = Image.Exif(), []
    exif[ExifTags.Base.Orientation] = 6

    def spy(upright):
        sizes.append(upright.size)
        return TRANSFORM(upright)

    predict(MeanColour(), as_file(picture, "JPEG", exif=exif), spy, CLASSES)
    assert sizes == [(10, 20)]


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_picture_are_an_error(content, assert_says_four_things):
    with pytest.raises(DataError) as caught:
        predict(MeanColour(), content, TRANSFORM, CLASSES)
    assert_says_four_things(caught.value)


@pytest.mark.parametrize("classes", [CLASSES[:2], [*CLASSES, "grey"]])
def test_names_that_do_not_fit_the_network_are_an_error(classes, picture, assert_says_four_things):
    with pytest.raises(ConfigError) as caught:
        predict(MeanColour(), picture, TRANSFORM, classes)
    assert_says_four_things(caught.value)
