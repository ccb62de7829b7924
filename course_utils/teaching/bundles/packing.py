"""How does the course reach a classroom without a network?

`bundle` packs what students get, the packages that it needs, images and weights into one zip file, with a
hash of each file in it. `unpacking` puts these files where they belong.
"""

import hashlib
import stat
import sysconfig
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from course_utils.data import dataset_files, is_intact, write_atomically
from course_utils.errors import DataError
from course_utils.settings import Settings, downloads_folder, shipped_data_folder
from course_utils.teaching.bundles.content import write_content
from course_utils.teaching.bundles.unpacking import SUMS, blocks
from course_utils.teaching.packages import BUILDS

STORED = {".gz", ".png", ".pth", ".safetensors", ".whl"}  # compressed already, or as good as random

README = """The course, for a classroom without a network
==============================================

In the folder of this file, on a machine with the operating system, the processor and the version of Python
that the packages in `wheelhouse` are for ({python}):

    python -m venv .venv
    .venv/bin/python -m pip install --no-index --find-links wheelhouse -r requirements.txt
    .venv/bin/jupyter lab notebooks/00_start_here.ipynb

(On Windows: .venv\\Scripts\\python instead of .venv/bin/python.)

For another kind of machine, fill a folder of its own on one of them that has a network:

    python -m pip wheel "setuptools>={setuptools}" -r requirements.txt -w wheelhouse

Who has the course already takes only the images and weights from the zip file, or from a folder that it was
unpacked to. Every hash is compared first, and no file is overwritten:

    python -m course_utils fetch --from course.zip

If data/downloads is here, the images and weights of the full profile are in it. Images are found there by
themselves; for the weights, set the environment variable COURSE_MIRROR to the path of data/downloads.

SHA256SUMS holds the hash of every other file: sha256sum --check SHA256SUMS.
"""


def bundle(profile: str, out: str | Path, wheels: str | Path) -> list[str]:
    """Pack what a classroom without a network needs into a zip file. The same files give the same bytes.

    Args:
        profile: "quick": what ships with the course. "full": also CIFAR-10 and the weights of the ResNet-50,
            which are downloaded, if they are not here, and verified.
        out: The path of the zip file. An earlier bundle is replaced, as a whole.
        wheels: The folder of wheels to pack (see `packages.fill_wheelhouse`). An empty one: no packages.

    Returns:
        The names of the files in it, sorted.

    Raises:
        ConfigError: If there is no such profile, or git cannot give the files of the course.
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
    paths = _data_files(Settings(profile=profile))
    paths |= {f"wheelhouse/{path.name}": path for path in Path(wheels).glob("*.whl")}
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder)
        write_content(course)
        readme = README.format(
            python=f"Python {sysconfig.get_python_version()}, {sysconfig.get_platform()}", setuptools=BUILDS
        )
        (course / "README.txt").write_text(readme, encoding="utf-8", newline="\n")
        paths |= {path.relative_to(course).as_posix(): path for path in course.rglob("*") if path.is_file()}
        names = sorted(paths)
        write_atomically(out, lambda part: _write_zip(part, names, paths), DataError)
    return sorted([*names, SUMS])


def _data_files(settings: Settings) -> dict[str, Path]:
    """Verify the images and weights of a profile; return those that do not ship, named as in a mirror."""
    from course_utils.data import DOWNLOADED, fetch_images, fetch_weights

    for own in (Settings(), Settings(dataset="clipart"), settings):
        fetch_images(own)
    root, paths = downloads_folder(), []
    if settings.dataset in DOWNLOADED:
        for file in dataset_files(DOWNLOADED[settings.dataset]):
            # An archive may have been deleted once it was unpacked.
            packed = is_intact(root / file.name, file)
            paths += [root / one.name for one in ((file,) if packed else file.contents)]
    found = {f"data/downloads/{path.relative_to(root).as_posix()}": path for path in paths}
    for row in (*fetch_weights(Settings()), *fetch_weights(settings)):
        if not row.where.is_relative_to(shipped_data_folder() / "weights"):
            found[f"data/downloads/{row.where.name}"] = row.where
    return found


def _write_zip(out: Path, names: list[str], paths: dict[str, Path]) -> None:
    sums = []
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            digest = hashlib.sha256()
            with archive.open(_member(name), "w", force_zip64=True) as member:
                for block in blocks(paths[name].open("rb")):
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
