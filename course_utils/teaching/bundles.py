"""Bundles: the course in one zip file, for a classroom without a network.

A bundle has what students get, a wheel of each package, images and weights, and a list of the SHA-256 hashes
of all these files.
"""

import hashlib
import os
import re
import shutil
import sysconfig
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.data.archives import dataset_files
from course_utils.data.splits import DOWNLOADED, fetch_images
from course_utils.downloads import FileStatus
from course_utils.errors import DataError
from course_utils.files import write_atomically
from course_utils.models.weights import fetch_weights
from course_utils.settings import Settings, downloads_folder, shipped_data_folder
from course_utils.teaching.lessons import write_file
from course_utils.teaching.packages import BUILDS, fill_wheelhouse
from course_utils.teaching.student_files import write_student_files

SUMS = "SHA256SUMS"
COMPRESSED = {".gz", ".png", ".pth", ".safetensors", ".whl"}  # already, or as good as random
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)

README = """The course, for a classroom without a network
==============================================

In the folder of this file, on a machine with the operating system, the processor and the version of Python
that the packages in `wheelhouse` are for ({python}):

    python -m venv .venv
    .venv/bin/python -m pip install --no-index --find-links wheelhouse -e .
    .venv/bin/python -m course_utils lab

(On Windows: .venv\\Scripts\\python instead of .venv/bin/python.)

For another kind of machine, fill a folder of its own on one of them that has a network:

    python -m pip wheel "setuptools>={setuptools}" -w wheelhouse .

If you have the course already, take only the images and weights, from the zip file or from a folder that it
was unpacked to. Every hash is compared first, and no file is overwritten:

    python -m course_utils fetch --from course.zip

If data/downloads is here, the images and weights of the full profile are in it. Images are found there by
themselves; for the weights, set the environment variable COURSE_MIRROR to the path of data/downloads.

SHA256SUMS holds the hash of every other file: sha256sum --check SHA256SUMS.
"""


def bundle(profile: str, out: str | Path, wheels: str | Path | None = None) -> list[str]:
    """Pack what a classroom without a network needs into a zip file. The same files give the same bytes.

    Args:
        profile: "quick": what ships with the course. "full": also CIFAR-10 and the weights of the ResNet-50,
            which are downloaded, if they are not here, and verified.
        out: The path of the zip file. An earlier bundle is replaced, as a whole.
        wheels: The folder of wheels to pack. None: pip gets those for a machine like this.

    Returns:
        The names of the files in it, sorted.

    Raises:
        ConfigError: If there is no such profile, or git or pip cannot do its part.
        DataError: If images are missing or damaged, or the file cannot be written.
        WeightsError: If weights are missing or damaged.
    """
    out = Path(out).resolve()
    if out.exists() and not _is_bundle(out):
        raise DataError(
            "The bundle would overwrite another file.",
            where=out,
            expected="a new file, or an earlier bundle",
            found="a folder" if out.is_dir() else f"{out.stat().st_size:,} bytes",
            do="Choose another name.",
        )
    paths = _downloads(Settings(profile=profile))
    with tempfile.TemporaryDirectory() as name:
        wheels = Path(wheels) if wheels else fill_wheelhouse(Path(name) / "wheels")
        paths |= {f"wheelhouse/{path.name}": path for path in wheels.glob("*.whl")}
        course = Path(name) / "course"
        write_student_files(course)
        python = f"Python {sysconfig.get_python_version()}, {sysconfig.get_platform()}"
        readme = README.format(python=python, setuptools=BUILDS)
        (course / "README.txt").write_text(readme, encoding="utf-8", newline="\n")
        paths |= {path.relative_to(course).as_posix(): path for path in course.rglob("*") if path.is_file()}
        sums = "".join(f"{_sha256(paths[name])[0]}  {name}\n" for name in sorted(paths))
        (course / SUMS).write_text(sums, encoding="utf-8", newline="\n")
        paths[SUMS] = course / SUMS
        write_atomically(out, lambda part: _write_zip(part, paths), DataError)
    return sorted(paths)


def _is_bundle(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return SUMS in archive.namelist()


def _downloads(settings: Settings) -> dict[str, Path]:
    """Verify the images and weights of a profile, and return those that do not ship by their names here."""
    for needed in (Settings(), Settings(dataset="clipart"), settings):
        fetch_images(needed)
    archives = dataset_files(DOWNLOADED[settings.dataset]) if settings.dataset in DOWNLOADED else []
    names = [content.name for archive in archives for content in archive.contents]
    weights = [row.where for row in (*fetch_weights(Settings()), *fetch_weights(settings))]
    paths = {name: downloads_folder() / name for name in names}
    paths |= {path.name: path for path in weights if not path.is_relative_to(shipped_data_folder())}
    return {f"data/downloads/{name}": path for name, path in paths.items()}


def _write_zip(out: Path, paths: dict[str, Path]) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(paths):
            member = zipfile.ZipInfo(name)  # dated 1980: nothing here depends on when it is packed
            member.create_system, member.external_attr = 3, 0o100644 << 16
            stored = paths[name].suffix in COMPRESSED
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with paths[name].open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def _sha256(path: Path | zipfile.Path) -> tuple[str, int]:
    """Return the hash of a file, and how many bytes it has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def unpack(path: str | Path, data: Path, downloads: Path) -> list[FileStatus]:
    """Put the images and weights of a bundle in place, once all of its files are known to be unaltered.

    No file that is already there is ever changed.

    Args:
        path: The zip file, or a folder that it was unpacked to.
        data: Where the files of its `data` go.
        downloads: Where those of its `data/downloads` go.

    Returns:
        For each of them its name, where it is, its bytes, and whether it was "sound" there or is "unpacked".

    Raises:
        DataError: If a file is altered, missing, too large for the disk or would leave its folder, or another
            file is in its place: then nothing was written. Or if one cannot be written.
    """
    path = Path(path).resolve()
    roots = {"data/downloads/": downloads.resolve(), "data/": data.resolve()}
    try:
        with _opened(path) as files:
            sums = _read_sums(files / SUMS)
            sizes = _verify(files, sums, path)
            found = []
            for name in sums:
                if start := next((start for start in roots if name.startswith(start)), ""):
                    where = roots[start] / name.removeprefix(start)
                    state = _state(where, roots[start], sums[name])
                    found.append(FileStatus(name, where, sizes[name], state))
            if others := [row for row in found if row.state == "another file"]:
                expected = "no file, or the same one, in the place of each file of the bundle"
                names = sorted(f"another file is {row.what}, or it would leave its folder" for row in others)
                raise _refused(others[0].where, expected, names, "Rename or move your files.")
            missing = [row for row in found if row.state == "unpacked"]
            needed, free = sum(row.bytes for row in missing), _free_space(data)
            if needed > free:
                expected = f"{needed:,} bytes of free space"
                raise _refused(data, expected, [f"{free:,} bytes"], "Make room on this disk.")
            for row in missing:
                write_file(row.where, (files / row.what).read_bytes(), DataError)
    except UNREADABLE as error:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "no file"
        expected = "a zip file that `python -m course_utils bundle` has made, or a folder of its files"
        found = f"{size} ({type(error).__name__}: {error})"
        raise _refused(path, expected, [found], "Copy it again from where you got it.") from error
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Path | zipfile.Path]:
    """Yield the folder that a bundle is, be it in a zip file or on the disk."""
    if path.is_dir():
        yield path
    else:
        with zipfile.ZipFile(path) as archive:
            yield zipfile.Path(archive)


def _read_sums(file: Path | zipfile.Path) -> dict[str, str]:
    """Return the hash of each file that the list names."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    sums = {line[66:]: line[:64] for line in lines if re.fullmatch(r"[0-9a-f]{64}  .+", line)}
    if not lines or len(sums) < len(lines):
        raise ValueError(f"{SUMS} is missing or empty, or a line of it is not a hash and a name")
    return sums


def _verify(files: Path | zipfile.Path, sums: dict[str, str], path: Path) -> dict[str, int]:
    """Compare all hashes, and return how many bytes each file has."""
    sizes, altered = {}, []
    for name, expected in sums.items():
        try:
            digest, sizes[name] = _sha256(files / name)
        except (*UNREADABLE, KeyError) as error:
            altered.append(f"{name}: {type(error).__name__}: {error}")
        else:
            if digest != expected:
                altered.append(f"{name}: {sizes[name]:,} bytes with the SHA-256 hash {digest}")
    if altered:
        do = "Copy it again from where you got it; if that does not help, ask for a new one."
        raise _refused(path, f"files with the hashes of {SUMS}", altered, do)
    return sizes


def _state(where: Path, root: Path, expected: str) -> str:
    """Return "sound" if a file is in its place, "unpacked" if it can be put there, else "another file"."""
    inside = where.resolve().is_relative_to(root)  # neither its name nor a link of yours leads elsewhere
    if inside and not os.path.lexists(where):
        blocked = any(above.exists() and not above.is_dir() for above in where.parents)
        return "another file" if blocked else "unpacked"
    return "sound" if inside and where.is_file() and _sha256(where)[0] == expected else "another file"


def _free_space(folder: Path) -> int:
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free


def _refused(where: Path, expected: str, found: list[str], do: str) -> DataError:
    more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
    failed = "The bundle cannot be unpacked. Nothing was put in place."
    return DataError(failed, where=where, expected=expected, found="; ".join(found[:10]) + more, do=do)
