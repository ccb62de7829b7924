"""Verified downloads of images and weights.

A file that is here and has the right hash is used as it is, without a network and also from a folder that
cannot be written. Otherwise one process at a time downloads it with pooch, from the first mirror that has it,
under a temporary name; only when its hash is right does it get its real name.
"""

import errno
import glob
import hashlib
import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from course_utils.errors import CourseError, DataError
from course_utils.files import set_usual_permissions

if TYPE_CHECKING:
    from requests import Response

# pooch and requests are imported where they are used: a lesson whose files are here needs neither.
TIMEOUT = 30  # seconds without a byte
RETRIES = 2  # at each mirror, after a connection that failed or broke
BLOCK = 2**18  # bytes


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


class FileStatus(NamedTuple):
    """A row of what `python -m course_utils fetch` prints."""

    what: str
    where: Path
    bytes: int
    state: str
    """"sound" (it was there), "fetched" or "unpacked"."""


class MirrorError(Exception):
    """A mirror sends something else than the file, and would do so again."""


def download(file: KnownFile, folder: Path) -> Path:
    """Return the absolute path of an intact copy of `file` in `folder`, downloaded if it is not there.

    A file with a wrong hash that lies in its place is renamed to one that ends in .bad, once there is a right
    one.

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


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, which is removed at the end. The caller holds its `file_lock`."""
    prefix = f".{path.name}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*/"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fetch(file: KnownFile, path: Path) -> None:
    """Download `file` to `path` from the first mirror that has it. The caller holds its `file_lock`."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("ERROR")  # the progress bar and our errors say what its messages would
    problems, cause = [], None
    try:
        if (file.size or file.limit or 0) > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, "No space left on device")
        with scratch_folder(path) as scratch:
            for url in mirrors(file):
                # `_receive` compares the hashes: of weights only the first digits are known, pooch needs all.
                source = pooch.create(
                    scratch, "", registry={path.name: None}, urls={path.name: url}, retry_if_failed=RETRIES
                )
                try:
                    new = Path(source.fetch(path.name, downloader=partial(_receive, file=file)))
                except (RequestException, MirrorError, ValueError) as error:
                    kind = "" if isinstance(error, MirrorError) else f"{type(error).__name__}: "
                    problems.append(f"{url}: {kind}{error}")
                    cause = error
                    continue
                set_usual_permissions(new)
                if path.exists():
                    quarantine(path)
                os.replace(new, path)
                return
    except OSError as error:
        raise cannot_write(path, file, error) from error
    raise file.error(
        f"{path.name} could not be downloaded.",
        where=path,
        expected=f"{_description(file)}, from {' or '.join(mirrors(file))}",
        found="; ".join(problems),
        do=f"Check the network and try again; or put the file into {path.parent} by hand, or name a mirror "
        'of your own in COURSE_MIRROR; or use what ships with the course: profile="quick", with its own '
        "dataset, backbone and weights.",
    ) from cause


def _receive(url: str, output: str, _: object, file: KnownFile) -> None:
    """Download `url` to the path `output`, as pooch asks for it; raise `MirrorError` if it is not `file`."""
    from pooch import HTTPDownloader

    if url.startswith("file:"):
        local = Path(url2pathname(urlsplit(url).path))
        if not local.is_file():
            raise MirrorError("no such file")
        shutil.copyfile(local, output)
    else:
        receive = HTTPDownloader(
            progressbar=True,
            chunk_size=BLOCK,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # an archive comes as it is
            hooks={"response": stay_on_https},
        )
        with LimitedFile(output, file.size or file.limit or math.inf) as out:
            receive(url, out, None)
    if problem := difference(Path(output), file):
        raise MirrorError(problem)


class LimitedFile(io.BufferedWriter):
    """A file that takes only so many bytes, whatever a mirror sends."""

    def __init__(self, path: str, limit: float):
        super().__init__(io.FileIO(path, "wb"))
        self.limit = limit

    def write(self, block: bytes) -> int:
        if self.tell() + len(block) > self.limit:
            raise MirrorError(f"more than {self.limit:,} bytes come, which cannot be the file")
        return super().write(block)


def stay_on_https(response: "Response", **_: object) -> None:
    """Refuse a redirect from https to anything else, where anyone on the way could read along."""
    target = urljoin(response.url, response.headers.get("Location", ""))
    if response.is_redirect and response.url.startswith("https:") and not target.startswith("https:"):
        raise MirrorError(f"redirected from https to {target}")


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
