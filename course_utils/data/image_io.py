"""One way to read a picture, whatever kind it is: in a folder, by a path, or from an upload."""

import os
import warnings
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course_utils.errors import DataError

LONGEST = 100
"""How many times as long as the other one side of a picture may be. When the shorter side of a longer one is
resized to what a network wants, the longer side becomes gigabytes."""


class Decoded(NamedTuple):
    """What decoding a picture showed."""

    error: str
    """Why it cannot be decoded, or "" if it can."""
    warnings: tuple[str, ...]
    """What Python warned of meanwhile."""


def try_to_decode(path: Path) -> Decoded:
    """Decode a picture and forget it. A file that has not changed is read once."""
    status = path.stat()
    return _try_to_decode(path, status.st_size, status.st_mtime_ns)


@cache  # size and time are there to notice that the file has changed
def _try_to_decode(path: Path, size: int, time: int) -> Decoded:
    error = ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            load_rgb(path)
        except DataError as caught:
            error = why_undecodable(caught)
    return Decoded(error, tuple(dict.fromkeys(str(warning.message) for warning in warned)))


def why_undecodable(error: DataError) -> str:
    """Return in a few words, without the path, why `load_rgb` could not decode a picture."""
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):
        return "not a picture, or empty"
    return f"{type(cause).__name__}: {getattr(cause, 'strerror', None) or cause}"


def load_rgb(picture: str | Path | BinaryIO | Image.Image) -> Image.Image:
    """Read one picture of any kind as RGB: see `as_rgb`.

    Args:
        picture: A path, a file that is open for reading bytes, or a PIL picture.

    Raises:
        DataError: If it is not a picture that can be decoded, or one that is a hundred times as long as it
            is wide. Pillow refuses more than 179 million pixels.
    """
    try:
        if isinstance(picture, (str, Path)) and os.path.exists(picture) and not os.path.isfile(picture):
            raise OSError("not a regular file")  # reading from a pipe would wait for ever
        if isinstance(picture, Image.Image):  # it is yours: it stays open
            animated, rgb = is_animated(picture), as_rgb(picture)
        else:
            with Image.open(picture) as image:
                animated, rgb = is_animated(image), as_rgb(image)
    except Exception as error:  # Pillow raises whatever a damaged file leads it to
        kind = "a PIL picture" if isinstance(picture, Image.Image) else "the bytes of a picture"
        where = Path(picture).resolve() if isinstance(picture, (str, Path)) else kind
        raise DataError(
            "A picture could not be read.",
            where=where,
            expected="a picture that can be decoded to its end (PNG, JPEG, WebP, ...)",
            found=f"{type(error).__name__}: {error}",
            do="Open it in a picture viewer; save it again, or take it out of the folder.",
        ) from error
    if animated:  # without its path, so that Python says it once
        warnings.warn("Only the first frame of an animated picture is read.", stacklevel=2)
    return rgb


def look_at(picture: str | Path | BinaryIO) -> Image.Image:
    """Read one picture as `load_rgb` does, without a warning: for pictures that were decoded once before.

    Raises:
        DataError: As `load_rgb` does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_rgb(picture)


def is_animated(image: Image.Image) -> bool:
    """Return whether a picture has several frames. (MPO is a photograph together with its own preview.)"""
    return getattr(image, "is_animated", False) and image.format != "MPO"


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a PIL picture of any mode as RGB, upright, what is transparent on white.

    Raises:
        ValueError: If its numbers have no range that is known, or one side is over 100 times the other.
    """
    if max(image.size) > LONGEST * min(image.size):
        raise ValueError(f"{image.width} x {image.height} pixels: one side is over {LONGEST} times the other")
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        image = _in_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Bring greys from 0 to 65,535 to 0 to 255. Pillow's own conversion makes all above 255 white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values of an unknown range ({values.min():g} to {values.max():g})")
    return Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
