"""How does the course reach a classroom without a network?

`bundle` packs lessons, package, images and weights into one zip file, with a hash of each file in it. The
next room, `unpacking`, puts these files where they belong.
"""

import hashlib
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

from course_utils.archives import dataset_files
from course_utils.bundles.unpacking import SUMS, blocks
from course_utils.bundles.wheels import wheel_list
from course_utils.downloads import is_sound
from course_utils.errors import DataError
from course_utils.files import write_atomically
from course_utils.settings import REPOSITORY_FOLDER, Settings, downloads_folder, shipped_data_folder

# What of the course goes in. Named one by one: other things in these folders may be somebody's own.
FILES = ("README.md", "pyproject.toml", "requirements.txt", "environment.yml", "data/README.md")
LESSONS = ("notebooks/*.ipynb", "notebooks/exercises/*.ipynb")
# `benchmarks/results` has the tables that lessons 07, 10 and 11 read.
FOLDERS = ("course_utils", "benchmarks/results")
FOLDERS += ("data/clipart", "data/fashion_mnist_sample", "data/text", "data/weights")
STORED = {".gz", ".png", ".pth", ".safetensors"}  # compressed already, or as good as random

README = """The course, for a classroom without a network
==============================================

wheels.txt lists the Python packages that it needs, in the versions that it was packed with. Before the class,
on a machine with a network, the same operating system and the same version of Python (3.11 or newer), fill a
folder with them:

    pip download -r wheels.txt -d wheelhouse

(On Linux, to have the smaller torch without CUDA, add
--extra-index-url https://download.pytorch.org/whl/cpu)

In the classroom, in the folder of this file:

    python -m venv .venv
    .venv/bin/python -m pip install --no-index --find-links wheelhouse -r wheels.txt
    .venv/bin/python -m pip install --no-index --no-build-isolation --no-deps -e .
    .venv/bin/jupyter lab notebooks/00_start_here.ipynb

(On Windows: .venv\\Scripts\\python instead of .venv/bin/python.)

Who has the course already takes only the images and weights from the zip file, or from a folder that it was
unpacked to. Every hash is compared first, and no file is overwritten:

    python -m course_utils fetch --from course.zip

If data/downloads is here, the images and weights of the full profile are in it. Images are found there by
themselves; for the weights, set the environment variable COURSE_MIRROR to the path of data/downloads.

SHA256SUMS holds the hash of every other file: sha256sum --check SHA256SUMS.
"""


def bundle(profile: str, out: str | Path) -> list[str]:
    """Pack what a classroom without a network needs into a zip file. The same files give the same bytes.

    Args:
        profile: "quick": what ships with the course. "full": also CIFAR-10 and the weights of the ResNet-50,
            which are downloaded, if they are not here, and verified.
        out: The path of the zip file. An earlier bundle is replaced, as a whole.

    Returns:
        The names of the files in it, sorted.

    Raises:
        ConfigError: If there is no such profile, or packages of the course are not installed.
        DataError: If images are missing or damaged, or the file cannot be written.
        WeightsError: If weights are missing or damaged.
    """
    out = Path(out).resolve()
    if out.exists() and not _is_bundle(out):
        raise DataError(
            "The bundle would overwrite a file that is none.",
            where=out,
            expected="a new file, or an earlier bundle",
            found="a folder" if out.is_dir() else f"{out.stat().st_size:,} bytes",
            do="Choose another name.",
        )
    paths = {**_course_files(REPOSITORY_FOLDER), **_data_files(Settings(profile=profile))}
    wheels = "\n".join(wheel_list(REPOSITORY_FOLDER / "requirements.txt")) + "\n"
    texts = {"README.txt": README.encode(), "wheels.txt": wheels.encode()}
    names = sorted([*paths, *texts])
    write_atomically(out, lambda part: _write_zip(part, names, paths, texts), DataError)
    return sorted([*names, SUMS])


def _course_files(root: Path) -> dict[str, Path]:
    """Return the names and paths of what ships, without solutions, caches and hidden files."""
    found = [root / name for name in FILES]
    for pattern in LESSONS:
        found += root.glob(pattern)
    for name in FOLDERS:
        found += (root / name).rglob("*")
    names = {path.relative_to(root).as_posix(): path for path in found if path.is_file()}
    return {
        name: path
        for name, path in names.items()
        if not re.search(r"(^|/)(\.|__pycache__/|solutions/)|\.py[co]$", name)
        and not (path.suffix == ".ipynb" and b"BEGIN SOLUTION" in path.read_bytes())
    }


def _data_files(settings: Settings) -> dict[str, Path]:
    """Verify the images and weights of a profile; return those that do not ship, named as in a mirror."""
    from course_utils.data import DOWNLOADED, fetch_images
    from course_utils.weights import fetch_weights

    for own in (Settings(), Settings(dataset="clipart"), settings):
        fetch_images(own)
    root, paths = downloads_folder(), []
    if settings.dataset in DOWNLOADED:
        for file in dataset_files(DOWNLOADED[settings.dataset]):
            # An archive may have been deleted once it was unpacked.
            packed = is_sound(root / file.name, file)
            paths += [root / one.name for one in ((file,) if packed else file.contents)]
    found = {f"data/downloads/{path.relative_to(root).as_posix()}": path for path in paths}
    for row in (*fetch_weights(Settings()), *fetch_weights(settings)):
        if not row.where.is_relative_to(shipped_data_folder() / "weights"):
            found[f"data/downloads/{row.where.name}"] = row.where
    return found


def _write_zip(out: Path, names: list[str], paths: dict[str, Path], texts: dict[str, bytes]) -> None:
    sums = []
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            digest = hashlib.sha256()
            with archive.open(_member(name), "w", force_zip64=True) as member:
                for block in blocks(paths[name].open("rb")) if name in paths else (texts[name],):
                    digest.update(block)
                    member.write(block)
            sums.append(f"{digest.hexdigest()}  {name}\n")
        archive.writestr(_member(SUMS), "".join(sums))


def _member(name: str) -> zipfile.ZipInfo:
    """Describe a file of a zip without anything that depends on when and by whom it is packed."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    stored = PurePosixPath(name).suffix in STORED
    member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    return member


def _is_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return SUMS in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError):
        return False
