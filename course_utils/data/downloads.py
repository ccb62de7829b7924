"""Verified downloads of images and weights.

A file that is here and has the right hash is used as it is, without a network and also from a folder that
cannot be written. Otherwise one process at a time downloads it, from one mirror after the other, under a
temporary name; only when its hash is right does it get its real name, which so never stands for half a file.
A mirror that is too slow to be of use is left for the next one, which goes on where it stopped.
"""

import errno
import glob
import hashlib
import math
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from time import monotonic
from typing import BinaryIO
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from course_utils.errors import CourseError, DataError

TIMEOUT = 30  # seconds without a byte
TRIES = 3  # at one mirror, as long as each brings more bytes than the one before
BLOCK = 2**18  # bytes
USEFUL_RATE = 100_000  # bytes a second: CIFAR-10 in half an hour. A mirror is left for the next below it
PATIENCE = 20  # seconds over which the rate is measured

# Numbers that only a disk's errors have. A network's errors have none, or others.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


@dataclass(frozen=True)
class KnownFile:
    """A file that can be recognised: its name, its addresses and its hashes."""

    name: str
    """Its path below the folder for downloads, with slashes."""
    urls: tuple[str, ...] = ()
    sha256: str = ""
    """Its SHA-256 in hexadecimal digits, or how that begins. "": not known."""
    md5: str = ""
    size: int | None = None
    """Bytes. None: not known."""
    contents: tuple["KnownFile", ...] = ()
    """The files that it unpacks to, if it is an archive."""
    error: type[CourseError] = DataError
    """The kind of error to raise if something is wrong with it."""
    limit: int | None = None
    """The most bytes that are taken from a mirror, where `size` is not known."""


class MirrorError(OSError):
    """A mirror sends something else than the file."""


class SlowMirrorError(Exception):
    """A mirror sends too few bytes a second to be of use; the argument is their number."""


def download(file: KnownFile, folder: Path) -> Path:
    """Return the absolute path of an intact copy of `file` in `folder`, downloaded if it is not there.

    A download that was cut is resumed where it broke. A file with a wrong hash that lies in its place is
    renamed to one that ends in .bad, once there is a right one.

    Raises:
        CourseError: Of the kind `file.error`: no mirror has it, or it cannot be written.
    """
    path = (Path(folder) / file.name).absolute()
    if not is_intact(path, file):
        with file_lock(path, file):
            if not is_intact(path, file):  # or another process has downloaded it while this one waited
                fetch(file, path)
    return path


def mirrors(file: KnownFile) -> list[str]:
    """Return the addresses of a file in their order: after one with https comes none with plain http.

    The environment variable `COURSE_MIRROR` puts a classroom's own mirror first: the address, or the path,
    of a folder in which the files lie as they do in the folder for downloads.
    """
    own, urls = os.environ.get("COURSE_MIRROR"), []
    if own:
        base = own if "://" in own else Path(own).expanduser().resolve().as_uri()
        urls.append(f"{base.rstrip('/')}/{file.name}")
    for url in file.urls:
        if url.startswith("https:") or not any(before.startswith("https:") for before in urls):
            urls.append(url)
    return urls


def is_intact(path: Path, file: KnownFile) -> bool:
    """Return whether `path` exists and has the hashes and the size of `file`, as far as they are known."""
    return not difference(path, file)


def difference(path: Path, file: KnownFile) -> str:
    """Describe what lies at `path` instead of `file`, with its bytes and its hash; "" if it is intact."""
    try:
        with path.open("rb") as content:
            size, begin = os.fstat(content.fileno()).st_size, content.read(64).lstrip().lower()
            page = " (an HTML page: a login page?)" if begin.startswith((b"<!doctype", b"<html")) else ""
            for name, expected in (("sha256", file.sha256), ("md5", file.md5)):
                content.seek(0)
                # MD5 is no protection; torchvision has no other hash of some files.
                new = partial(hashlib.new, name, usedforsecurity=False)
                found = hashlib.file_digest(content, new).hexdigest() if expected else ""
                if not found.startswith(expected):
                    return f"{size:,} bytes with the {name.upper()} hash {found}{page}"
    except FileNotFoundError:
        return "no file"
    except OSError as error:
        return f"nothing that can be read ({error})"
    return "" if file.size in (None, size) else f"{size:,} bytes{page}"


def quarantine(path: Path) -> Path:
    """Rename a file to the first of path.bad, path.bad.1, ... that does not exist, and return that."""
    names = [f"{path.name}.bad", *(f"{path.name}.bad.{number}" for number in range(1, 1000))]
    new = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    os.replace(path, new)
    return new


@contextmanager
def file_lock(path: Path, file: KnownFile) -> Iterator[None]:
    """Make the folder of `path` and hold a lock beside it: no other process works on this file meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"Another process is fetching {path.name}. Waiting for it.")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise cannot_write(path, file, error) from error
    try:
        yield
    finally:
        lock.release()


def fetch(file: KnownFile, path: Path) -> None:
    """Download `file` to `path`, whatever lies there. The caller holds its `file_lock`."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        # What your downloads that were cut have left: the largest piece is resumed.
        pieces = [Path(name) for name in glob.glob(f"{glob.escape(str(path))}.????????.part")]
        pieces = sorted(filter(_is_own_file, pieces), key=_size)
        if pieces:
            os.replace(pieces.pop(), part)
        for piece in pieces:
            piece.unlink()
        if not is_intact(part, file):
            _try_mirrors(file, path, part)
        if path.exists():
            quarantine(path)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise cannot_write(path, file, error) from error


def _try_mirrors(file: KnownFile, path: Path, part: Path) -> None:
    """Download to `part` from the first mirror that has the file and is not too slow.

    Those that were too slow come again at the end, the fastest first, and may take as long as they need.
    """
    urls, problems, slow, cause = mirrors(file), [], {}, None
    turns = [(url, USEFUL_RATE if len(urls) > 1 else 0) for url in urls]
    while turns:
        url, lowest_rate = turns.pop(0)
        host = urlsplit(url).netloc or url
        if not lowest_rate and len(urls) > 1:
            print(f"No other mirror is better: back to {host}.")
        try:
            cause = _try_mirror(url, file, part, lowest_rate)
            if not cause:
                return
            kind = "" if isinstance(cause, MirrorError) else f"{type(cause).__name__}: "
            problems.append(f"{url}: {kind}{cause}")
        except SlowMirrorError as error:
            slow[url], rate = error.args[0], f"{error.args[0] / 1000:.1f} kB/s"
            print(f"{host} sends {rate}: trying the next mirror. {_size(part):,} bytes are kept.")
        if not turns:
            turns, slow = [(url, 0) for url in sorted(slow, key=slow.get, reverse=True)], {}
    raise file.error(
        f"{path.name} could not be downloaded.",
        where=path,
        expected=f"{_description(file)}, from {' or '.join(urls)}",
        found="; ".join(problems),
        do=f"Check the network and try again; or put the file into {path.parent} by hand, or name a mirror "
        'of your own in COURSE_MIRROR; or use what ships with the course: profile="quick", with its own '
        "dataset, backbone and weights.",
    ) from cause


def _try_mirror(url: str, file: KnownFile, part: Path, lowest_rate: float) -> Exception | None:
    """Download to `part`; return the mirror's error, None if `part` is intact. A disk's error is raised."""
    for _ in range(TRIES):
        before = _size(part)
        try:
            _receive(url, file, part, lowest_rate)
            problem = difference(part, file)
            if not problem:
                return None
            part.unlink()
            failure = MirrorError(problem)
        except (OSError, HTTPException, ValueError) as error:
            if getattr(error, "errno", None) in DISK_ERRORS:
                raise
            if getattr(error, "code", None) == 416:  # the server has nothing after this piece
                part.unlink(missing_ok=True)
            failure = error
        if _size(part) == before:
            break  # no more bytes came, nor was there a piece at fault
    return failure


def _receive(url: str, file: KnownFile, part: Path, lowest_rate: float) -> None:
    """Append to `part` what is missing of it, or write it anew if the server sends only whole files."""
    begin, headers = _size(part), {"User-Agent": "course_utils"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with build_opener(StayOnHttps).open(Request(url, headers=headers), timeout=TIMEOUT) as response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        left = int(length) if length else None
        end = None if left is None else left + begin * resumed
        limit = file.size or file.limit or math.inf
        mode = "ab" if resumed else "r+b" if begin else "wb"
        if end is not None and (end > limit or (mode == "r+b" and file.size and end != file.size)):
            raise MirrorError(f"{end:,} bytes are offered, which cannot be the file")
        if left is not None and left > shutil.disk_usage(part.parent).free:
            raise OSError(errno.ENOSPC, f"No space left for {left:,} bytes")
        with open(part, mode) as out:
            _copy(response, out, limit if end is None else end, lowest_rate)
            if end and out.tell() < end:
                raise MirrorError(f"cut after {out.tell():,} of {end:,} bytes")
            out.truncate()  # a whole file was written over a longer piece
            out.flush()
            os.fsync(out.fileno())


def _copy(response: HTTPResponse, out: BinaryIO, end: float, lowest_rate: float) -> None:
    """Append what a mirror sends, up to `end` bytes, as long as `lowest_rate` bytes a second come."""
    begin, since = out.tell(), monotonic()
    options = {"total": None if end == math.inf else end, "unit": "B", "unit_scale": True}
    with tqdm(initial=begin, desc=Path(out.name).name.split(".")[0], **options) as bar:
        # `read` would lose a last block that stays incomplete.
        while out.tell() < end and (block := response.read1(min(BLOCK, end - out.tell()))):
            out.write(block)
            bar.update(len(block))
            seconds = monotonic() - since
            if seconds >= PATIENCE and out.tell() < end:
                rate = (out.tell() - begin) / seconds
                if rate < lowest_rate:
                    raise SlowMirrorError(rate)
                begin, since = out.tell(), monotonic()


class StayOnHttps(HTTPRedirectHandler):
    """Follow a redirect, but never from https to anything else, where anyone on the way could read along."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise URLError(f"redirected from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def cannot_write(path: Path, file: KnownFile, error: Exception) -> CourseError:
    """Return the error for a folder that cannot be written or a disk that is full."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    return file.error(
        f"{path.name} cannot be written.",
        where=path,
        expected=f"a folder that you may write, with room for {_description(file)}",
        found=f"{error}; {shutil.disk_usage(folder).free:,} bytes are free",
        do="Make room, or name another folder: in COURSE_DATA for images, in TORCH_HOME for weights; or use "
        'what ships with the course: profile="quick", with its own dataset, backbone and weights.',
    )


def _description(file: KnownFile) -> str:
    size = "a file" if file.size is None else f"{file.size:,} bytes"
    hashes = {"SHA-256 hash": file.sha256, "MD5 hash": file.md5}
    return f"{size} with the " + ", ".join(f"{name} {value}" for name, value in hashes.items() if value)


def _is_own_file(path: Path) -> bool:
    """Return whether a file is no link, and yours: another user may change theirs at any time."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
