"""Groups: no author, camera or patient on both sides of a split."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_pictures import paths
from torch import nn

from course_utils.data.groups import grouped_split
from course_utils.data.loaders import labels_of
from course_utils.data.splits import groups_of, load_splits
from course_utils.errors import ConfigError, DataError
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


@pytest.mark.parametrize("count, fraction, size", [(50, 0.14, 7), (13, 0.2, 3)])
def test_limited_grouped_validation_images_are_rounded_up_as_others_are(
    count, fraction, size, tmp_path, write_class_folders
):
    root = write_class_folders(tmp_path, {"cat": 80, "dog": 80})
    splits = load(root, groups=r"(\w+/\d+)", images_per_class=count, val_fraction=fraction)
    assert np.bincount(labels_of(splits.val)).tolist() == [size, size]


def test_without_groups_the_same_people_are_on_both_sides(photographs):
    splits = load(photographs)
    assert people_of(splits.train) & people_of(splits.test)


def test_a_column_of_a_table_names_the_groups(photographs, tmp_path):
    files = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png"))
    table = pd.DataFrame({"file": files, "owner": [file.split("/")[1].split("_")[0] for file in files]})
    table.to_csv(tmp_path / "owners.csv", index=False)
    by_table = load(photographs, groups=f"{tmp_path / 'owners.csv'}:owner")
    by_name = load(photographs, groups=BY_NAME)
    assert [paths(part) for part in by_table[:3]] == [paths(part) for part in by_name[:3]]


def test_groups_that_are_numbers_in_a_table_stay_apart(photographs, tmp_path):
    files = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png"))
    owners = [("01", "1", "NA", "2", "3", "4", "5", "6", "7", "8")[index // 3 % 10] for index in range(60)]
    pd.DataFrame({"file": files, "owner": owners}).to_csv(tmp_path / "owners.csv", index=False)
    splits = load(photographs, groups=f"{tmp_path / 'owners.csv'}:owner")
    assert len(people_of(splits.test)) == 2


@pytest.mark.parametrize(
    "groups, kind, words",
    [
        ("([", ConfigError, "regular expression"),
        (r"(\d\d\d)", DataError, "60 of 60 images have no group"),
        ("nowhere.csv:owner", DataError, "FileNotFoundError"),
        (r"\.(png)", DataError, "cannot be split"),
    ],
)
def test_groups_that_cannot_be_used_are_named(photographs, groups, kind, words):
    with pytest.raises(kind, match=words.replace("(", r"\(")):
        load(photographs, groups=groups)


def test_a_table_without_the_column_or_without_an_image_is_named(photographs, tmp_path):
    (tmp_path / "owners.csv").write_text("file,owner\ncat/anna_0.png,anna\n")
    with pytest.raises(DataError, match="KeyError: 'author'"):
        load(photographs, groups=f"{tmp_path / 'owners.csv'}:author")
    with pytest.raises(DataError, match="59 of 60 images have no group"):
        load(photographs, groups=f"{tmp_path / 'owners.csv'}:owner")


def test_three_groups_are_one_for_each_split(photographs, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for person in PEOPLE[:3]:
            (tmp_path / name / f"{person}_0.png").write_bytes(
                (photographs / name / f"{person}_0.png").read_bytes()
            )
    splits = load(tmp_path, groups=BY_NAME)
    people = [people_of(part) for part in splits[:3]]
    assert [len(group) for group in people] == [1, 1, 1] and len(set.union(*people)) == 3


@pytest.mark.parametrize("groups", [None, BY_NAME])
def test_the_groups_of_a_split_are_those_of_its_images(photographs, groups):
    settings = Settings(dataset=f"folder:{photographs}", groups=groups)
    val = load_splits(settings, transform=nn.Identity()).val
    found = groups_of(val, settings)
    if groups is None:
        assert found is None
    else:
        assert found.tolist() == [file.rsplit("/", 1)[1].split("_")[0] for file in paths(val)]


def test_a_test_folder_that_shares_a_group_with_training_is_refused(tmp_path):
    for split, people in {"train": PEOPLE[:8], "test": PEOPLE[7:]}.items():
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for person in people:
                Image.new("RGB", (8, 8)).save(tmp_path / split / name / f"{person}_0.png")
    with pytest.raises(DataError, match="1 groups have images in train and in test") as error:
        load(tmp_path, groups=BY_NAME)
    assert "hana" in error.value.found
    for name in ("cat", "dog"):
        (tmp_path / "test" / name / "hana_0.png").unlink()
    splits = load(tmp_path, groups=BY_NAME)
    assert not people_of(splits.train) & people_of(splits.val)


def test_images_without_files_cannot_be_grouped():
    with pytest.raises(ConfigError, match="cannot be grouped"):
        load_splits(Settings(groups=BY_NAME))


def test_a_group_larger_than_the_fraction_is_left_in_training():
    labels = np.tile([0, 1], 50)
    groups = np.where(np.arange(100) < 60, "large", np.arange(100).astype(str))
    left, held_out = grouped_split(labels, groups, np.arange(100), 0.2, seed=0)
    assert "large" in groups[left] and "large" not in groups[held_out]
    assert sorted([*left, *held_out]) == list(range(100))
    assert np.bincount(labels[held_out]).min() >= 3


def test_the_drawings_that_ship_are_split_by_author():
    table = pd.read_csv(shipped_data_folder() / "clipart" / "drawings.csv").set_index("file")["group"]
    for count in (None, 5):
        splits = load_splits(Settings(dataset="clipart", images_per_class=count), transform=nn.Identity())
        root = str(shipped_data_folder() / "clipart") + "/"
        train, val, test = ({table[file.removeprefix(root)] for file in paths(part)} for part in splits[:3])
        assert not train & val and not train & test and not val & test


def test_grouped_drawings_can_be_grouped_by_their_names():
    splits = load_splits(Settings(dataset="clipart", groups=r"([^/]+)$"), transform=nn.Identity())
    assert len(splits.val) == pytest.approx(0.2 * 389, abs=1)


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


def test_grouped_split_follows_the_seed():
    groups, labels = np.repeat(np.arange(30), 2), np.arange(60) % 2
    drawn = [grouped_split(labels, groups, np.arange(60), 0.2, seed)[1].tolist() for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
