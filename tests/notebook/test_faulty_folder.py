"""Tests of the folder with faults: what is planted is there, and the course's report finds all of it."""

import numpy as np
import pytest
from PIL import Image

from course_utils.data.folder_report import check_images
from course_utils.notebook import write_faulty_folder


@pytest.fixture
def planted(tmp_path):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (5, 300, 280, 3), dtype=np.uint8)
    pictures = zip(map(Image.fromarray, noise), (0, 1, 2, 0, 1), strict=True)
    return tmp_path / "mine", write_faulty_folder(tmp_path / "mine", pictures, ["cats/dogs", "birds", "fish"])


def test_the_pictures_of_two_classes_are_written_small(planted):
    folder, _ = planted
    sound = sorted(path for name in ("birds", "cats-dogs") for path in (folder / name).glob("[0-9]*.png"))
    names = [path.relative_to(folder).as_posix() for path in sound]
    assert names == ["birds/0001.png", "birds/0004.png", "cats-dogs/0000.png", "cats-dogs/0003.png"]
    assert max(Image.open(sound[-1]).size) == 256


def test_sixteen_faults_are_planted_and_the_report_names_each(planted):
    folder, paths = planted
    assert len(set(paths)) == 16 and all(path.exists() for path in paths)
    report = check_images(folder)
    named = {*report.path, *report.detail}
    assert {path.relative_to(folder).as_posix() for path in paths} <= named
    left_out = report.path[report.action == "left out"]
    assert {path.rpartition("/")[2] for path in left_out} == {
        "truncated.png", "empty.png", "login_page.jpg", "empty_class",
    }  # fmt: skip
