"""Small folders of pictures on which a check trains: shapes of two classes, and drawings of ten."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from course_utils.settings import REPOSITORY_FOLDER

DRAWINGS = REPOSITORY_FOLDER / "data" / "clipart" / "train"
ODD_SIZES = ((64, 64), (90, 50), (41, 77), (128, 40))
MODES = ("RGB", "L", "RGBA", "P", "LA")


def write_shapes(folder: Path, modes: tuple = ("RGB",), sizes: tuple = ((64, 64),), each: int = 12) -> Path:
    """Write `each` pictures of warm stripes and of cold dots. Modes and sizes take turns."""
    random = np.random.default_rng(0)
    for name in ("stripes", "dots"):  # not in alphabetical order
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture = _shape(name, random)
            picture = picture.resize(sizes[number % len(sizes)]).convert(modes[number % len(modes)])
            picture.save(folder / name / f"{number}.png")
    return folder


def _shape(name: str, random: np.random.Generator) -> Image.Image:
    picture = Image.new("RGBA", (64, 64), tuple(random.integers(200, 256, 3)))
    draw, (strong, weak) = ImageDraw.Draw(picture), random.integers((160, 0), (256, 100))
    if name == "stripes":
        for left in range(int(random.integers(0, 8)), 64, int(random.integers(8, 16))):
            draw.rectangle((left, 0, left + 4, 63), fill=(strong, weak, weak, 255))
    else:
        for x, y in random.integers(4, 60, (6, 2)).tolist():
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=(weak, weak, strong, 255))
    return picture


def write_drawings(folder: Path, each: int = 6) -> Path:
    """Write `each` drawings of all ten classes, in odd sizes, grey and transparent."""
    for class_folder in sorted(DRAWINGS.iterdir(), reverse=True):
        (folder / class_folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(class_folder.iterdir())[:each]):
            with Image.open(path) as drawing:
                picture = drawing.convert("RGBA").resize(ODD_SIZES[number % len(ODD_SIZES)])
            mode = MODES[number % len(MODES)]
            if mode not in ("RGBA", "LA"):
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
                picture = picture.convert("RGB")
            picture.convert(mode).save(folder / class_folder.name / f"{number}.png")
    return folder
