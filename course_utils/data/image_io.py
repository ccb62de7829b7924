"""Image files: one way to read a picture of any kind, from a folder, a path or an upload."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course_utils.errors import DataError

HEIC = "a HEIC picture, as iPhones take them"
HEIC_ADVICE = (
    f"It is {HEIC}. Export it as JPEG in a picture viewer. Or %pip install pillow-heif, and run: import "
    "pillow_heif; pillow_heif.register_heif_opener()"
)


def load_rgb(picture: str | Path | BinaryIO | Image.Image) -> Image.Image:
    """Read one picture of any mode as RGB: upright, and with transparent areas on white.

    Of an animated picture, only the first frame is read, with a warning.

    Args:
        picture: A path, a file that is open for reading bytes, or a PIL picture (which stays open).

    Raises:
        DataError: If it is not a picture that can be decoded, has grey values of an unknown range, or has
            more than 179 million pixels (Pillow's limit).
    """
    is_pil = isinstance(picture, Image.Image)
    try:
        with nullcontext(picture) if is_pil else Image.open(picture) as image:
            return _as_rgb(image)
    except Exception as error:  # a damaged file can make Pillow raise anything
        found = f"{type(error).__name__}: {error}"
        do = "Check the path, and open it in a picture viewer; save it again, or choose another picture."
        if isinstance(error, UnidentifiedImageError) and _is_heic(picture):
            found, do = HEIC, HEIC_ADVICE
        kind = "a PIL picture" if is_pil else "the bytes of a picture"
        raise DataError(
            "A picture could not be read.",
            where=Path(picture).resolve() if isinstance(picture, (str, Path)) else kind,
            expected="a picture that can be decoded to its end (PNG, JPEG, WebP, ...)",
            found=found,
            do=do,
        ) from error


def decoding_problem(error: DataError) -> str:
    """Return in a few words, without the path, why `load_rgb` could not decode a picture."""
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):
        return HEIC if error.found == HEIC else "not a picture, or empty"
    return f"{type(cause).__name__}: {getattr(cause, 'strerror', None) or cause}"


def _is_heic(picture: str | Path | BinaryIO) -> bool:
    with open(picture, "rb") if isinstance(picture, (str, Path)) else nullcontext(picture) as file:
        file.seek(4)
        return file.read(4) == b"ftyp"


def _as_rgb(image: Image.Image) -> Image.Image:
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photograph and its preview
        warnings.warn(f"Only the first of {image.n_frames} frames is read.", stacklevel=3)
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        # Rescale greys of 0 to 65,535 to 0 to 255. Pillow's own conversion makes all above 255 white.
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values of an unknown range ({values.min():g} to {values.max():g})")
        image = Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
