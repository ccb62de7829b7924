"""Verified downloads of images and weights.

An existing file with the right hash is used as it is, without a network and even from a read-only folder.
Otherwise one process at a time downloads it with pooch, from the first mirror that has it, under a temporary
name; it gets its real name only after its hash has been checked.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from filelock import FileLock

from course_utils.errors import CourseError, DataError
from course_utils.files import not_written, write_atomically

if TYPE_CHECKING:
    from requests import Response

# pooch and requests are imported where they are used: a lesson whose files are here needs neither.
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 2  # at each mirror
BLOCK = 2**18  # bytes


@dataclass(frozen=True)
class KnownFile:
    """A file that can be verified: its name, addresses and hash."""

    name: str
    """Its path below the folder for downloads, with slashes."""
    urls: tuple[str, ...]
    known_hash: str
    """As pooch writes it, "md5:" or "sha256:" and hexadecimal digits; here, the first digits are enough."""
    error: type[CourseError] = DataError
    """The kind of error to raise if something is wrong with it."""


class MirrorError(Exception):
    """A mirror cannot be reached, or sends something other than the file."""


def download(file: KnownFile, folder: Path) -> Path:
    """Return the absolute path of an intact copy of `file` in `folder`; download it if necessary.

    A file with a wrong hash is replaced once an intact one has been downloaded.

    Raises:
        CourseError: Of the kind `file.error`: no mirror has it, or it cannot be written.
    """
    path = (Path(folder) / file.name).absolute()
    if not difference(path, file):
        return path
    try:
        with FileLock(f"{path}.lock"):
            # Another process may have downloaded it while this one waited.
            if (here := difference(path, file)) and (problems := _try_mirrors(file, path)):
                raise file.error(
                    f"{path.name} could not be downloaded.",
                    where=path,
                    expected=f"a file with the hash {file.known_hash}",
                    found="; ".join([f"here: {here}", *problems]),
                    do=f"Check the network and try again; or put the file into {path.parent} yourself, or "
                    "name a mirror of your own in COURSE_MIRROR; or use what ships with the course: "
                    'profile="quick", with its own dataset, backbone and weights.',
                )
    except OSError as error:
        raise not_written(path, error, file.error) from error
    return path


def _try_mirrors(file: KnownFile, path: Path) -> list[str]:
    """Download from the first mirror that has the file. If none has, return what is wrong with each."""
    problems = []
    for url in mirrors(file) * ATTEMPTS:
        try:
            write_atomically(path, partial(_receive, url, file), file.error)
            return []
        except MirrorError as error:
            problems.append(f"{url}: {error}")
    return list(dict.fromkeys(problems))


def mirrors(file: KnownFile) -> list[str]:
    """Return the addresses of a file, in the order in which they are tried.

    The environment variable `COURSE_MIRROR` puts a classroom's own mirror first. It is the address of a
    folder with the same layout as the folder for downloads.
    """
    own = os.environ.get("COURSE_MIRROR")
    return [*([f"{own.rstrip('/')}/{file.name}"] if own else []), *file.urls]


def difference(path: Path, file: KnownFile) -> str:
    """Describe what is at `path` instead of `file`, with its size and hash; "" if it is intact."""
    if not path.is_file():
        return "no file"
    kind, _, expected = file.known_hash.partition(":")
    with path.open("rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    return "" if found.startswith(expected) else f"{path.stat().st_size:,} bytes with the hash {kind}:{found}"


def _receive(url: str, file: KnownFile, part: Path) -> None:
    """Download `url` to the path `part`; raise `MirrorError` if it is not `file`."""
    from pooch import HTTPDownloader
    from requests import RequestException

    receive = HTTPDownloader(
        progressbar=True,
        chunk_size=BLOCK,
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},  # an archive must not be unpacked on the way
        hooks={"response": stay_on_https},
    )
    try:
        receive(url, str(part), None)
    except RequestException as error:
        raise MirrorError(f"{type(error).__name__}: {error}") from error
    if problem := difference(part, file):
        raise MirrorError(problem)


def stay_on_https(response: "Response", **_: object) -> None:
    """Refuse a redirect from https to anything else, which others could read."""
    target = urljoin(response.url, response.headers.get("Location", ""))
    if response.is_redirect and response.url.startswith("https:") and not target.startswith("https:"):
        raise MirrorError(f"redirected from https to {target}")
