"""Small picture files, most of them with one fault each, how they are prepared, and what a split has read."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from course_utils.data.preprocessing import Preprocessing


def photograph(size=(48, 32)):
    pixels = np.random.default_rng(7).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def row(values, dtype="uint8"):
    """Return a picture of one row of pixels; its mode follows from the values."""
    return Image.fromarray(np.array([list(values)], dtype))


def animation(path, **options):
    """Write two frames, the first red and the second blue."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#c80000", "#0000c8")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True, **options)


def truncated(path):
    content = io.BytesIO()
    photograph().save(content, Image.registered_extensions()[path.suffix])
    path.write_bytes(content.getvalue()[:-200])


def bomb(path):
    """A PNG of a few hundred bytes that says it has 400 million pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


UNDECODABLE = {
    **{f"truncated.{kind}": truncated for kind in ("jpg", "png", "webp", "bmp")},
    "empty.png": lambda path: path.write_bytes(b""),
    "login.jpg": lambda path: path.write_bytes(b"<html>Please log in</html>"),
    "bomb.png": bomb,
    "decimal.tif": lambda path: row([0, 0.5, 1], "float32").save(path),
    "range.tif": lambda path: row([0, 100_000], "int32").save(path),
}
"""Pictures that the course refuses: by the name of the file, a function that writes it."""


def usual(size=64, resize=None):
    """Return the preprocessing of torchvision's weights, as `Preprocessing` does."""
    return Preprocessing(resize_size=resize or size, crop_size=size).transform()


def paths(split):
    """Return the files of a split of class folders in its order."""
    if hasattr(split, "indices"):
        return [split.dataset.samples[index][0] for index in split.indices]
    return [path for path, _ in split.samples]
