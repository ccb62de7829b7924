"""Exports: what a class handed in, in one zip file or a folder, as Moodle and Canvas name it.

What is unpacked lies in a temporary folder, as plain files: no link, nothing outside of it, and of files that
are neither notebooks nor zip files only their names.
"""

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_teaching.grading.workspace import locked_folder
from course_utils.errors import ConfigError

NOTEBOOK_BYTES, ZIP_BYTES = 20_000_000, 100_000_000  # of one file
CLASS_BYTES, CLASS_FILES = 4_000_000_000, 20_000
IGNORED_FOLDERS = (".ipynb_checkpoints", "__MACOSX")
# Full Name_1234567_assignsubmission_file_, with the file's name behind it where a student has no folder.
MOODLE = re.compile(r"(?P<name>[^_]*)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<rest>.*))?", re.DOTALL)
# lastnamefirstname_LATE_userid_attachmentid_name.ipynb, always a file.
CANVAS = re.compile(r"(?P<name>\w+?)(?:_LATE)?_(?P<id>[1-9]\d*)_[1-9]\d*_(?P<rest>.+\.\w+)", re.DOTALL)


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is none of a student's: hidden, or written by Jupyter or macOS."""
    return name.startswith(".") or name in IGNORED_FOLDERS


def exported_as(name: str) -> tuple[str, str, str]:
    """Return student, id and the file's own name, of a name that Moodle or Canvas gave; else "", "", name."""
    found = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
    return (found["name"], found["id"], found["rest"] or "") if found else ("", "", name)


@contextmanager
def class_folder(submissions: Path) -> Iterator[Path]:
    """Yield the folder of a class: the one given, or a temporary one with what its zip file holds.

    Where a platform's export lies in a folder of its own, it is that one. Raise a ConfigError if a zip file
    cannot be read, or is too large.
    """
    if not submissions.is_file():
        yield _export_within(submissions)
        return
    with locked_folder() as folder:
        place = folder / "class"
        place.mkdir()
        try:
            _unpack(submissions, place)
        except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            # A RuntimeError is a password that is wanted, or an uncommon way to pack.
            raise ConfigError(
                "The submissions cannot be read.",
                where=submissions,
                expected=f"a folder, or a zip file: {CLASS_FILES:,} files, {CLASS_BYTES / 1e9:g} GB at most",
                found=f"{type(error).__name__}: {error}",
                do="Download it again; or unpack it yourself, and name the folder.",
            ) from error
        yield _export_within(place)


def _export_within(folder: Path) -> Path:
    try:
        inside = [path for path in folder.iterdir() if not is_ignored(path.name)]
        wrapped = len(inside) == 1 and inside[0].is_dir() and not exported_as(inside[0].name)[1]
        if wrapped and any(exported_as(path.name)[1] for path in inside[0].iterdir()):
            return inside[0]
    except OSError:
        pass  # whoever looks into it next says so
    return folder


def _unpack(path: Path, place: Path) -> None:
    """Write the files of a zip file into an empty folder, whatever their names."""
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        kept = [(member, _most(member.filename)) for member in members]
        total = sum(min(member.file_size, most) for member, most in kept)
        if len(members) > CLASS_FILES or total > CLASS_BYTES:
            raise ValueError(f"{len(members):,} files, {total / 1e9:.1f} GB")
        folders = {(): place}
        for member, most in kept:
            # Neither absolute nor .., nor what a system takes for more than a name.
            parts = [part for part in re.split(r"[/\\]", member.filename) if part.strip(". ")]
            if not parts or any(map(is_ignored, map(_plain, parts))):
                continue
            for depth in range(1, len(parts)):
                if (inner := tuple(parts[:depth])) not in folders:
                    folders[inner] = _free_path(folders[inner[:-1]], inner[-1])
                    folders[inner].mkdir()
            with open(_free_path(folders[tuple(parts[:-1])], parts[-1]), "xb") as file:
                if member.file_size > most:  # it will be refused for its size, or is not read at all
                    file.truncate(min(member.file_size, 10 * ZIP_BYTES) if most else 0)
                elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{member.filename} is packed in an uncommon way")
                else:
                    with archive.open(member) as packed:  # which gives no more than it has announced
                        shutil.copyfileobj(packed, file)


def _most(name: str) -> int:
    """Return how many bytes of a file are unpacked at most: none of what is not read, anyway."""
    return {".ipynb": NOTEBOOK_BYTES, ".zip": ZIP_BYTES}.get(Path(name).suffix.lower(), 0)


def _free_path(folder: Path, part: str) -> Path:
    """Return a path in a folder that nothing has yet: two names may become the same, and one is numbered."""
    plain = path = folder / _plain(part)
    number = 2
    while os.path.lexists(path):
        path, number = plain.with_stem(f"{plain.stem}-{number}"), number + 1
    return path


def _plain(part: str) -> str:
    part = re.sub(r'[\x00-\x1f<>:"|?*]', "_", part).encode("utf-8", "replace").decode()
    stem, dot, suffix = part.rpartition(".")
    stem, suffix = (stem, dot + suffix[:10]) if stem else (part, "")
    return stem.encode()[:200].decode(errors="ignore") + suffix
