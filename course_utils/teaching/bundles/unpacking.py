"""How do the files of a bundle get to their places?

Every hash is compared before anything is written, and no file that is already there is ever changed.
"""

import hashlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from course_utils.data import FileStatus, write_atomically
from course_utils.errors import DataError
from course_utils.settings import REPOSITORY_FOLDER

SUMS = "SHA256SUMS"
MOST_BYTES = 8 * 2**30
BLOCK = 2**20


def unpack(
    path: str | Path,
    folder: str | Path = REPOSITORY_FOLDER,
    only: str = "",
    downloads: Path | None = None,
) -> list[FileStatus]:
    """Put the files of a bundle in place, once all of them are known to be whole.

    Args:
        path: The zip file, or a folder that it was unpacked to. Other files of such a folder are left alone.
        folder: Where the course is to be, or is.
        only: How the names begin of the files to put in place, for example "data/". All are verified.
        downloads: Where the files of data/downloads go. None: into that folder below `folder`.

    Returns:
        For each file its name, where it is, its bytes, and whether it was "sound" there or is "unpacked".

    Raises:
        DataError: If a file is altered, missing, not listed, too large or would leave the folder, or another
            file is in its place: then nothing was written. Or if one cannot be written.
    """
    path, folder = Path(path).resolve(), Path(folder).resolve()
    with _opened(path) as (names, read):
        sums = _read_sums(path, names, read)
        _refuse(path, "whole and unaltered files", list(_altered(sums, names, read)))
        wanted, found = {}, {}
        for name in sums:
            if name.startswith(only):
                below = name.removeprefix("data/downloads/")
                apart = downloads is not None and below != name
                root = Path(downloads).resolve() if apart else folder
                wanted[name] = root / (below if apart else name)
                found[name] = _state(wanted[name], root, sums[name])
        _refuse_conflicts({name: wanted[name] for name in wanted if found[name] == "another"})
        _refuse_full_disk(folder, sum(names[name] for name in wanted if found[name] == "missing"))
        for name, target in wanted.items():
            if found[name] == "missing":
                write_atomically(
                    target, lambda part, name=name: _copy(read(name), part, sums[name]), DataError
                )
        states = {"missing": "unpacked", "same": "sound"}
        return [FileStatus(name, wanted[name], names[name], states[found[name]]) for name in wanted]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, int], Callable[[str], BinaryIO]]]:
    """Give the names and bytes of the files in a zip file or a folder, and a function that opens one."""
    try:
        if path.is_dir():
            yield _listed_files(path), lambda name: (path / name).open("rb")
            return
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            names = [member.filename for member in members]
            odd = [f"{name}: twice" for name in sorted({n for n in names if names.count(n) > 1})]
            for member in members:
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
                    odd.append(f"{member.filename}: a link, a device or encrypted")
                elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    odd.append(f"{member.filename}: packed in a way that is not used here")
            _refuse(path, "plain files, each once", odd)
            yield {member.filename: member.file_size for member in members}, archive.open
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "no file"
        raise DataError(
            "The bundle cannot be read.",
            where=path,
            expected="a zip file that `python -m course_utils bundle` has made, or a folder of its files",
            found=f"{size} ({type(error).__name__}: {error})",
            do="Copy it again from where you got it.",
        ) from error


def _listed_files(folder: Path) -> dict[str, int]:
    """Return the names and bytes of the listed files of a folder. A link is none: it may lead anywhere."""
    sums = folder / SUMS
    if not sums.is_file():
        return {}
    listed = {line[66:] for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()}
    names = [SUMS, *(name for name in listed if _is_inside(name))]
    plain = [name for name in names if (folder / name).resolve() == folder / name]
    return {name: (folder / name).stat().st_size for name in plain if (folder / name).is_file()}


def _read_sums(path: Path, names: dict[str, int], read: Callable[[str], BinaryIO]) -> dict[str, str]:
    """Return the hash of each name, once the list fits the files and no name leaves the folder."""
    sums, odd = {}, []
    if 0 < names.get(SUMS, 0) < 2**26:
        with read(SUMS) as file:
            text = file.read().decode("utf-8", errors="replace")
        for line in text.splitlines():
            digest, name = line[:64], line[66:]
            if not re.fullmatch(r"[0-9a-f]{64}  .+", line) or name in sums:
                odd.append(f"{SUMS}: the line {line[:100]!r}")
            elif not _is_inside(name):
                odd.append(f"{name[:200]!r}: would leave the folder")
            sums[name] = digest
    else:
        odd.append(f"{SUMS}: missing, empty or too large")
    odd += [f"{name}: missing" for name in sums if name not in names]
    odd += [f"{name[:200]!r}: not listed" for name in names if name not in sums and name != SUMS]
    fuse_conv_bn = [name.casefold() for name in sums]
    if len(set(fuse_conv_bn)) < len(fuse_conv_bn):
        odd.append("names that differ only in upper and lower case")
    if sum(names.values()) > MOST_BYTES:
        odd.append(f"{sum(names.values()):,} bytes, more than {MOST_BYTES:,}")
    _refuse(path, f"a {SUMS} that lists every file, all of them below the folder", odd)
    return sums


def _is_inside(name: str) -> bool:
    """Tell whether a name is a plain path downwards, on every system."""
    parts = name.split("/")
    return not re.search(r"[\\:\x00-\x1f]", name) and all(
        part and not part.endswith((" ", ".")) and part.strip(".") for part in parts
    )


def _altered(sums: dict[str, str], names: dict[str, int], read: Callable) -> Iterable[str]:
    for name, expected in sums.items():
        digest = hashlib.sha256()
        try:
            for block in blocks(read(name)):
                digest.update(block)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            yield f"{name}: {error}"
            continue
        if digest.hexdigest() != expected:
            yield f"{name}: {names[name]:,} bytes with the SHA-256 hash {digest.hexdigest()}"


def _state(target: Path, root: Path, expected: str) -> str:
    """Return "same", "missing" or "another" for what lies where a file is to be."""
    parent = target.parent.resolve()
    if parent != root and root not in parent.parents:
        return "another"  # a link in the student's folder leads out of it
    if not os.path.lexists(target):
        blocked = any(above.exists() and not above.is_dir() for above in target.parents)
        return "another" if blocked else "missing"
    try:
        with target.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == expected
    except OSError:
        same = False
    return "same" if same else "another"


def _copy(source: BinaryIO, out: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with out.open("wb") as file:
        for block in blocks(source):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != expected:
        raise OSError(f"it has changed since it was verified: SHA-256 {digest.hexdigest()}")


def _refuse(path: Path, expected: str, odd: list[str]) -> None:
    if odd:
        more = f"; and {len(odd) - 10} more" if len(odd) > 10 else ""
        raise DataError(
            "The bundle is damaged or altered. Nothing was put in place.",
            where=path,
            expected=expected,
            found="; ".join(odd[:10]) + more,
            do="Copy it again from where you got it; if that does not help, tell who made it.",
        )


def _refuse_conflicts(targets: dict[str, Path]) -> None:
    if targets:
        more = f" and {len(targets) - 20} more" if len(targets) > 20 else ""
        raise DataError(
            "Files of the bundle have the names of other files here. Nothing was put in place.",
            where=next(iter(targets.values())),
            expected="no file, or the same one",
            found=f"other files: {', '.join(sorted(targets)[:20])}{more}",
            do="Rename or move your files, or unpack into another folder.",
        )


def _refuse_full_disk(folder: Path, needed: int) -> None:
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            "The bundle does not fit on this disk. Nothing was put in place.",
            where=folder,
            expected=f"{needed:,} bytes of free space",
            found=f"{free:,} bytes",
            do="Make room, or choose a folder on another disk.",
        )


def blocks(source: BinaryIO) -> Iterator[bytes]:
    """Read a file to its end, a piece at a time, and close it."""
    with source:
        while block := source.read(BLOCK):
            yield block
