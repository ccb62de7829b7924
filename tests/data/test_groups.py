"""Groups: no author, camera or patient on both sides of a split."""

import numpy as np
import pandas as pd
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_pictures import paths
from torch import nn

from course_utils.data.groups import grouped_split
from course_utils.data.loaders import labels_of
from course_utils.data.splits import groups_of, load_splits
from course_utils.errors import DataError
from course_utils.settings import Settings, shipped_data_folder

pytestmark = pytest.mark.usefixtures("no_network")

PEOPLE = ("anna", "ben", "cem", "dora", "emil", "fay", "gus", "hana", "ivo", "jo")
BY_NAME = r"([^/]+)_\d+"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes, ten people, three pictures of each class by each person."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for person in PEOPLE:
            for number in range(3):
                Image.new("RGB", (8, 8)).save(root / name / f"{person}_{number}.png")
    return root


def people_of(part):
    return {file.rsplit("/", 1)[1].split("_")[0] for file in paths(part)}


def load(root, **own):
    return load_splits(Settings(dataset=f"folder:{root}", **own), transform=nn.Identity())


@pytest.mark.parametrize("count", [None, 10])
def test_no_group_is_in_two_splits(photographs, count):
    splits = load(photographs, groups=BY_NAME, images_per_class=count)
    train, val, test = (people_of(part) for part in splits[:3])
    assert not train & val and not train & test and not val & test
    sizes = [np.bincount(labels_of(part)).tolist() for part in splits[:3]]
    # Two of ten people are held out for testing, and a fifth of the other eight for validation.
    assert sizes == ([[18, 18], [6, 6], [6, 6]] if count is None else [[8, 8], [2, 2], [6, 6]])


def test_a_column_of_a_table_names_the_groups(photographs, tmp_path):
    files = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png"))
    people = [file.split("/")[1].split("_")[0] for file in files]
    numbers = dict(zip(PEOPLE, ("01", "1", "NA", *"2345678"), strict=True))
    owners = [numbers[name] for name in people]  # as numbers, "01" and "1" would be one, and "NA" none
    pd.DataFrame({"file": files, "person": people, "owner": owners}).to_csv(tmp_path / "o.csv", index=False)
    by_table = load(photographs, groups=f"{tmp_path / 'o.csv'}:person")
    by_name = load(photographs, groups=BY_NAME)
    assert [paths(part) for part in by_table[:3]] == [paths(part) for part in by_name[:3]]
    assert len(people_of(load(photographs, groups=f"{tmp_path / 'o.csv'}:owner").test)) == 2


@pytest.mark.parametrize(
    "groups, words",
    [
        ("([", "cannot be grouped"),
        (r"(\d\d\d)", "60 of 60 images have no group"),
        ("nowhere.csv:owner", "FileNotFoundError"),
        ("owners.csv:author", "KeyError: 'author'"),
        ("owners.csv:owner", "59 of 60 images have no group"),
        (r"\.(png)", "cannot be split"),
    ],
)
def test_groups_that_cannot_be_used_are_named(photographs, groups, words, tmp_path, monkeypatch):
    (tmp_path / "owners.csv").write_text("file,owner\ncat/anna_0.png,anna\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words):
        load(photographs, groups=groups)


def test_three_groups_are_one_for_each_split(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for person in PEOPLE[:3]:
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{person}_0.png")
    people = [people_of(part) for part in load(tmp_path, groups=BY_NAME)[:3]]
    assert [len(group) for group in people] == [1, 1, 1] and len(set.union(*people)) == 3


def test_the_groups_of_a_split_are_those_of_its_images(photographs):
    settings = Settings(dataset=f"folder:{photographs}", groups=BY_NAME)
    val = load_splits(settings, transform=nn.Identity()).val
    assert groups_of(val, settings).tolist() == [file.rsplit("/", 1)[1].split("_")[0] for file in paths(val)]
    assert groups_of(val, Settings(dataset=f"folder:{photographs}")) is None


def test_a_test_folder_that_shares_a_group_with_training_is_refused(tmp_path):
    for split, people in {"train": PEOPLE[:8], "test": PEOPLE[7:]}.items():
        for person in people:
            for name in ("cat", "dog"):
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8)).save(tmp_path / split / name / f"{person}_0.png")
    with pytest.raises(DataError, match="1 groups have images in train and in test") as error:
        load(tmp_path, groups=BY_NAME)
    assert "hana" in error.value.found


def test_images_without_files_cannot_be_grouped():
    with pytest.raises(DataError, match="no file names"):
        load_splits(Settings(groups=BY_NAME))


IMAGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=12, max_size=80)


@given(IMAGES, st.floats(0.05, 0.9))
@examples(30)
def test_grouped_split_divides_the_images_by_whole_groups_with_every_class_on_both_sides(images, fraction):
    labels, groups = np.array(images).T
    indices = np.arange(len(images))
    try:
        left, held_out = grouped_split(labels, groups, indices, fraction, seed=3)
    except DataError as error:
        assert "cannot be split" in str(error)
        return
    assert sorted([*left, *held_out]) == indices.tolist()
    assert not set(groups[left]) & set(groups[held_out])
    assert set(labels[left]) == set(labels[held_out]) == set(labels)
    assert np.array_equal(grouped_split(labels, groups, indices, fraction, seed=3)[1], held_out)


def test_the_drawings_that_ship_are_split_by_author():
    table = pd.read_csv(shipped_data_folder() / "clipart" / "drawings.csv").set_index("file")["group"]
    for count in (None, 5):
        splits = load_splits(Settings(dataset="clipart", images_per_class=count), transform=nn.Identity())
        root = str(shipped_data_folder() / "clipart") + "/"
        train, val, test = ({table[file.removeprefix(root)] for file in paths(part)} for part in splits[:3])
        assert not train & val and not train & test and not val & test


@pytest.mark.parametrize("fraction", [0.05, 0.14, 0.25, 0.3, 0.4, 0.6, 0.75, 0.9])
def test_grouped_split_holds_out_the_share_that_is_asked_for(fraction, capsys):
    groups = np.repeat(np.arange(40), 5)
    labels = np.arange(200) % 2
    left, held_out = grouped_split(labels, groups, np.arange(200), fraction, seed=0)
    assert not set(groups[left]) & set(groups[held_out])
    assert len(held_out) / 200 == pytest.approx(fraction, abs=0.03)
    assert np.bincount(labels[held_out]) / 100 == pytest.approx([fraction] * 2, abs=0.05)
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "sizes, fraction, share", [([40, 10, 10], 0.4, "33%"), ([30, 30], 0.2, "50%"), ([6] * 10, 0.75, None)]
)
def test_grouped_split_prints_a_share_that_the_groups_cannot_give(sizes, fraction, share, capsys):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    grouped_split(np.arange(60) % 2, groups, np.arange(60), fraction, seed=0)
    told = capsys.readouterr().out
    assert (f"hold out {fraction:.0%}: {share}" in told) if share else not told


def test_grouped_split_compares_the_share_of_each_class():
    """Two groups are a quarter of all images, but not of each class; the others are a fifth and a third."""
    of_each_class = {"a": (9, 1), "b": (1, 9), "c": (6, 6), "d": (4, 4)}
    groups = np.repeat(list(of_each_class), [sum(counts) for counts in of_each_class.values()])
    labels = np.concatenate([np.repeat([0, 1], counts) for counts in of_each_class.values()])
    _, held_out = grouped_split(labels, groups, np.arange(40), 0.25, seed=0)
    assert set(groups[held_out]) in ({"c"}, {"d"})
