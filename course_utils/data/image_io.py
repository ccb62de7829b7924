"""Image files: one way to read a picture of any kind, from a folder, a path or an upload."""

import hashlib
import os
import warnings
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course_utils.errors import DataError

MAX_ASPECT_RATIO = 100
"""When the shorter side of a longer picture is resized to what a network wants, the longer side becomes
gigabytes."""

HEIC = "a HEIC picture, as iPhones take them"
HEIC_ADVICE = (
    f"It is {HEIC}. Export it as JPEG in a picture viewer. Or %pip install pillow-heif, and run: import "
    "pillow_heif; pillow_heif.register_heif_opener()"
)
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"msf1"}


class Decoded(NamedTuple):
    """Result of decoding a picture: why it failed ("" if it did not), and what Python warned of."""

    error: str
    warnings: tuple[str, ...]
    picture: str
    """A hash of its size and of its pixels, reduced to 64 x 64: copies have the same."""


_hashes: dict[tuple, str] = {}


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file. One that has not changed since is not read again.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        version = _version(path)
        if version not in _hashes:
            with path.open("rb") as file:
                _hashes[version] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            "A file cannot be read.",
            where=path.resolve(),
            expected="a file that you may read",
            found=f"{type(error).__name__}: {error}",
            do="Look whether it was moved or deleted meanwhile, and start again.",
        ) from error
    return _hashes[version]


def try_to_decode(path: Path) -> Decoded:
    """Decode a picture and forget it. A file that has not changed since is not decoded again."""
    return _try_to_decode(*_version(path))


def _version(path: Path) -> tuple[Path, int, int, int]:
    """Return what changes with a file: its path, its size, and when it and its description were changed."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@cache
def _try_to_decode(*version: object) -> Decoded:
    error, picture = "", ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with version[0].open("rb") as file:
                _hashes[version] = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                image = load_rgb(file)
            small = image.resize((64, 64), Image.Resampling.BOX).tobytes()
            picture = hashlib.sha256(f"{image.size}".encode() + small).hexdigest()
        except DataError as caught:
            error = decoding_problem(caught)
        except OSError as caught:
            error = f"{type(caught).__name__}: {caught.strerror}"
    return Decoded(error, tuple(dict.fromkeys(str(warning.message) for warning in warned)), picture)


def decoding_problem(error: DataError) -> str:
    """Return in a few words, without the path, why `load_rgb` could not decode a picture."""
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):
        return HEIC if error.found == HEIC else "not a picture, or empty"
    return f"{type(cause).__name__}: {getattr(cause, 'strerror', None) or cause}"


def load_rgb(picture: str | Path | BinaryIO | Image.Image, *, warn: bool = True) -> Image.Image:
    """Read one picture of any mode as RGB: upright, and what is transparent on white.

    Args:
        picture: A path, a file that is open for reading bytes, or a PIL picture (which stays open).
        warn: Whether warnings are shown, for example that only the first frame of an animation is read.

    Raises:
        DataError: If it is not a picture that can be decoded, has grey values of an unknown range, has more
            than 179 million pixels (Pillow's limit), or is over 100 times as long as wide.
    """
    is_pil = isinstance(picture, Image.Image)
    with nullcontext() if warn else warnings.catch_warnings(action="ignore"):
        try:
            if isinstance(picture, (str, Path)) and os.path.exists(picture) and not os.path.isfile(picture):
                raise OSError("not a regular file")  # reading from a pipe would wait for ever
            with nullcontext(picture) if is_pil else Image.open(picture) as image:
                animated, rgb = is_animated(image), _as_rgb(image)
        except Exception as error:  # Pillow raises whatever a damaged file leads it to
            kind = "a PIL picture" if is_pil else "the bytes of a picture"
            found = f"{type(error).__name__}: {error}"
            do = "Open it in a picture viewer; save it again, or choose another picture."
            if isinstance(error, FileNotFoundError):
                do = "Check the path."
            elif isinstance(error, UnidentifiedImageError) and _is_heic(picture):
                found, do = HEIC, HEIC_ADVICE
            raise DataError(
                "A picture could not be read.",
                where=Path(picture).resolve() if isinstance(picture, (str, Path)) else kind,
                expected="a picture that can be decoded to its end (PNG, JPEG, WebP, ...)",
                found=found,
                do=do,
            ) from error
        if animated:  # without its path, so that Python shows the warning once
            warnings.warn("Only the first frame of an animated picture is read.", stacklevel=2)
    return rgb


def _is_heic(picture: str | Path | BinaryIO) -> bool:
    with open(picture, "rb") if isinstance(picture, (str, Path)) else nullcontext(picture) as file:
        file.seek(0)
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS


def is_animated(image: Image.Image) -> bool:
    """Return whether a picture has several frames. (MPO is a photograph together with its own preview.)"""
    return getattr(image, "is_animated", False) and image.format != "MPO"


def _as_rgb(image: Image.Image) -> Image.Image:
    if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
        raise ValueError(
            f"{image.width} x {image.height} pixels: one side is over {MAX_ASPECT_RATIO} times the other"
        )
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        # Greys from 0 to 65,535 to 0 to 255. Pillow's own conversion makes all above 255 white.
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values of an unknown range ({values.min():g} to {values.max():g})")
        image = Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
