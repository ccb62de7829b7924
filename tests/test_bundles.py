"""The course goes into one file, all of it and nothing else, and comes out as it was."""

import errno
import hashlib
import shutil
import subprocess
import zipfile

import pytest

from course_utils.archives import Found
from course_utils.bundles import bundle, packing
from course_utils.bundles.unpacking import SUMS, unpack
from course_utils.bundles.wheels import wheel_list
from course_utils.errors import ConfigError, DataError
from course_utils.settings import REPOSITORY_FOLDER, Settings, downloads_folder


@pytest.fixture(scope="module", autouse=True)
def course(tmp_path_factory):
    """Pack a copy of the course, which nobody works on meanwhile; give its folder."""
    folder = tmp_path_factory.mktemp("course")
    for name, path in packing._course_files(REPOSITORY_FOLDER).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "REPOSITORY_FOLDER", folder)
        yield folder


@pytest.fixture(scope="module")
def packed(course, tmp_path_factory):
    """Give the bundle of the quick profile, and the names in it."""
    out = tmp_path_factory.mktemp("bundle") / "course.zip"
    return out, bundle("quick", out)


def test_everything_that_ships_is_packed_and_nothing_else(packed):
    out, names = packed
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == names
        assert archive.testzip() is None
    assert {"README.txt", "wheels.txt", SUMS, "requirements.txt", "pyproject.toml"} <= set(names)
    assert {"notebooks/00_start_here.ipynb", "course_utils/__main__.py"} <= set(names)
    assert "data/weights/resnet18_64px.safetensors" in names
    for part in ("data/downloads", "/solutions", "__pycache__", "data/features", ".pyc", ".git", "runs/"):
        assert not [name for name in names if part in name]


def test_every_file_of_the_repository_that_belongs_to_the_course_is_packed(packed):
    listed = subprocess.run(
        ["git", "ls-files", "data", "course_utils", "notebooks", "benchmarks/results"],
        **{"cwd": REPOSITORY_FOLDER, "capture_output": True, "text": True, "check": False},
    )
    if listed.returncode:
        pytest.skip("this is no git repository")
    tracked = {name for name in listed.stdout.splitlines() if (REPOSITORY_FOLDER / name).exists()}
    assert {name for name in tracked if "/solutions/" not in name} <= set(packed[1])


def test_bundle_comes_out_as_it_went_in_and_again_without_a_change(course, packed, tmp_path):
    out, names = packed
    rows = unpack(out, tmp_path / "class")
    assert {row.state for row in rows} == {"unpacked"}
    assert sorted([*(row.what for row in rows), SUMS]) == names
    for row in rows:
        source = course / row.what
        assert row.where == (tmp_path / "class" / row.what).resolve()
        assert row.where.stat().st_size == row.bytes
        if source.exists():
            assert row.where.read_bytes() == source.read_bytes()
    times = {row.where: row.where.stat().st_mtime_ns for row in rows}
    assert {row.state for row in unpack(out, tmp_path / "class")} == {"sound"}
    assert times == {row.where: row.where.stat().st_mtime_ns for row in rows}


def test_same_files_give_the_same_bytes(packed, tmp_path):
    bundle("quick", tmp_path / "other name.zip")
    again = hashlib.sha256((tmp_path / "other name.zip").read_bytes()).hexdigest()
    assert again == hashlib.sha256(packed[0].read_bytes()).hexdigest()


def test_list_of_sums_is_one_that_sha256sum_reads(packed, tmp_path):
    with zipfile.ZipFile(packed[0]) as archive:
        sums = archive.read(SUMS).decode().splitlines()
    assert [line[66:] for line in sums] == [name for name in packed[1] if name != SUMS]
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum here")
    shutil.unpack_archive(packed[0], tmp_path)
    check = ["sha256sum", "--check", "--quiet", "--strict", SUMS]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0


def test_solutions_and_caches_stay_at_home(tmp_path, monkeypatch):
    for name in (
        *("notebooks/00_a.ipynb", "notebooks/.ipynb_checkpoints/00_a.ipynb", "notebooks/mine.txt"),
        *("notebooks/exercises/00_a.ipynb", "notebooks/exercises/solutions/00_a.ipynb"),
        *(
            "course_utils/a.py",
            "course_utils/__pycache__/a.pyc",
            "data/weights/.hidden",
            "data/photos/me.png",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notebooks/exercises/01_b.ipynb").write_text('"### BEGIN SOLUTION"')
    assert sorted(packing._course_files(tmp_path)) == [
        *("course_utils/a.py", "notebooks/00_a.ipynb", "notebooks/exercises/00_a.ipynb")
    ]


def test_bundle_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, assert_says_four_things):
    with zipfile.ZipFile(tmp_path / "course.zip", "w") as archive:
        archive.writestr(SUMS, "an earlier one")
    old = (tmp_path / "course.zip").read_bytes()

    def fill_up(out, *_):
        out.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "_write_zip", fill_up)
    with pytest.raises(DataError, match="No space left") as error:
        bundle("quick", tmp_path / "course.zip")
    assert_says_four_things(error.value)
    assert (tmp_path / "course.zip").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["course.zip"]


def test_bundle_is_never_written_over_another_file(tmp_path, assert_says_four_things):
    (tmp_path / "thesis.zip").write_text("mine")
    for name in ("thesis.zip", "."):
        with pytest.raises(DataError, match="overwrite") as error:
            bundle("quick", tmp_path / name)
        assert_says_four_things(error.value)
    assert (tmp_path / "thesis.zip").read_text() == "mine"
    with pytest.raises(ConfigError, match="profile"):
        bundle("quik", tmp_path / "course.zip")


def test_full_profile_brings_images_and_weights_to_where_they_are_found(
    cifar10_server, tmp_path, monkeypatch, no_network
):
    from course_utils import weights
    from course_utils.data import fetch_images

    archive, stop = cifar10_server
    pretrained = tmp_path / "hub" / "resnet50-0123.pth"
    pretrained.parent.mkdir()
    pretrained.write_bytes(b"weights")
    fetch = weights.fetch_weights

    def stand_in(settings):
        own = settings.backbone == "resnet18"
        return fetch(settings) if own else [Found("ResNet50", pretrained, 7, "sound")]

    monkeypatch.setattr(weights, "fetch_weights", stand_in)
    names = bundle("full", tmp_path / "course.zip")
    assert [name for name in names if name.startswith("data/downloads/")] == [
        *("data/downloads/cifar-10-python.tar.gz", "data/downloads/resnet50-0123.pth")
    ]
    packed = archive.read_bytes()
    stop()
    monkeypatch.delenv("COURSE_MIRROR")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "shared"))
    unpack(tmp_path / "course.zip", tmp_path / "class", "data/", downloads_folder())
    assert (tmp_path / "shared" / "cifar-10-python.tar.gz").read_bytes() == packed
    assert [row.state for row in fetch_images(Settings(profile="full"))] == ["unpacked"]


def test_list_of_wheels_names_what_is_installed_and_what_that_needs():
    wheels = wheel_list(REPOSITORY_FOLDER / "requirements.txt")
    names = [line.split("==")[0] for line in wheels]
    assert names == sorted(set(names))
    assert {"torch", "numpy", "papermill", "nbclient", "ipykernel"} <= set(names)
    assert "course-utils" not in names
    assert not [line for line in wheels if "+" in line]
    torch = next(line for line in wheels if line.startswith("torch=="))
    assert torch.split("==")[1] == __import__("torch").__version__.split("+")[0]


@pytest.mark.parametrize("line, told", [("no-such-package-0>=1", "no no-such-package-0"), ("a b c", "a b c")])
def test_list_of_wheels_that_cannot_be_made_is_told(tmp_path, assert_says_four_things, line, told):
    (tmp_path / "requirements.txt").write_text(f"numpy>=2.0  # fine\n# nothing\n-e .\n{line}\n")
    with pytest.raises(ConfigError, match=told) as error:
        wheel_list(tmp_path / "requirements.txt")
    assert_says_four_things(error.value)
