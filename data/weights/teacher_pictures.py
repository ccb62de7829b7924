"""The pictures that the network is taught with: no labels, only images.

Three kinds of source go in: the CIFAR-10 training images, a folder of photographs, and folders of
drawings (PNG or SVG files, or npm packages of emoji in Iconify's form, with an ``icons.json``). Drawings
may be left out: then the others have their share.
Out comes an endless, numbered row of augmented views. Each view is made twice from the same crop:
large for the teacher, small for the student.
"""

import io
import json
import multiprocessing
import random
from pathlib import Path

import cairosvg
import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.utils.data import Dataset

TEACHER_SIZE = 160  # pixels; the teacher knows more at 160 than at 96
STUDENT_SIZE = 72  # pixels; 8 more than the student sees, so that it can be shifted
DRAWING_SIZE = 144  # pixels; the longer side of a drawing
SHARES = {"cifar10": 0.27, "photograph": 0.25, "drawing": 0.33, "grey object": 0.15}
LEFT_OUT = ("flag", "people", "smiley", "symbol", "modifier")  # categories of emoji


def load_cifar10(folder):
    """The CIFAR-10 training images, uint8, shape (50000, 32, 32, 3).

    ``folder`` holds ``train/<class>/*.jpg``; where it does not, torchvision's CIFAR-10 is read from
    it, or downloaded into it. The class names are never looked at.
    """
    files = sorted(Path(folder, "train").glob("*/*"))
    if files:
        return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    from torchvision.datasets import CIFAR10

    return CIFAR10(folder, train=True, download=True).data


def load_photographs(folder):
    """The JPEG photographs in ``folder`` as a list of RGB images; file names are not used."""
    files = sorted(Path(folder).rglob("*.jp*g"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no JPEG photographs.")
    return [Image.open(file).convert("RGB") for file in files]


def list_drawings(folders):
    """Everything to draw under ``folders``: a list of paths (PNG, SVG) and SVG texts (emoji)."""
    packages, found, wanted = [], [], set()
    for folder in map(Path, folders):
        if (folder / "icons.json").exists():
            packages.append(folder)
        else:
            found += sorted(file for end in ("png", "svg") for file in folder.rglob(f"*.{end}"))
    for folder in packages:  # names of things, plants, animals, food and places, in any set
        if (folder / "metadata.json").exists():
            metadata = json.loads((folder / "metadata.json").read_text())
            for category, names in metadata.get("categories", {}).items():
                if not category.lower().startswith(LEFT_OUT):
                    wanted.update(names)
    for folder in packages:
        icons = json.loads((folder / "icons.json").read_text())
        for name, icon in sorted(icons["icons"].items()):
            if name in wanted and "skin-tone" not in name:
                width = icon.get("width", icons.get("width", 16))
                height = icon.get("height", icons.get("height", 16))
                found.append(
                    '<svg xmlns="http://www.w3.org/2000/svg" '
                    'xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
                )
    return found


def draw(source):
    """One drawing, trimmed and centred: uint8 RGBA, (144, 144, 4); None if it cannot be read."""
    try:
        if isinstance(source, str):
            source = io.BytesIO(cairosvg.svg2png(source.encode(), output_width=DRAWING_SIZE))
        elif source.suffix == ".svg":
            png = cairosvg.svg2png(url=str(source), output_width=2 * DRAWING_SIZE)
            source = io.BytesIO(png)
        image = Image.open(source).convert("RGBA")
        image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
        image.thumbnail((DRAWING_SIZE, DRAWING_SIZE), Image.Resampling.BOX)
        if max(image.size) < DRAWING_SIZE:
            image = ImageOps.contain(image, (DRAWING_SIZE, DRAWING_SIZE))
        square = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
        square.paste(image, ((DRAWING_SIZE - image.width) // 2, (DRAWING_SIZE - image.height) // 2))
        return np.asarray(square)
    except Exception:  # whatever the readers cannot read is passed over
        return None


def load_drawings(folders, cache, processes=2):
    """All drawings, uint8 RGBA, shape (N, 144, 144, 4), kept in the file ``cache`` (.npy)."""
    if not Path(cache).exists():
        with multiprocessing.Pool(processes) as pool:
            drawn = pool.map(draw, list_drawings(folders), chunksize=32)
        drawn = [image for image in drawn if image is not None and image[..., 3].any()]
        if not drawn:
            raise FileNotFoundError(f"No drawings were found under {list(map(str, folders))}.")
        np.save(cache, np.stack(drawn))
    return np.load(cache, mmap_mode="r")


class Views(Dataset):
    """Numbered augmented views; number and seed alone decide what a view is.

    An item is a pair of uint8 tensors: (3, 160, 160) for the teacher, (3, 72, 72) for the student.
    """

    def __init__(self, cifar10, photographs, drawings, start, stop, seed):
        self.cifar10, self.photographs, self.drawings = cifar10, photographs, drawings
        self.numbers, self.seed = range(start, stop), seed
        self.shares = {kind: share for kind, share in SHARES.items() if kind != "drawing" or len(drawings)}

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        number = self.numbers[index]
        dice = random.Random(f"{self.seed}-{number}")
        kind = dice.choices(list(self.shares), self.shares.values())[0]
        if kind == "cifar10":
            view = self.cifar10_view(dice)
        elif kind == "photograph":
            view = self.photograph_view(dice)
        elif kind == "drawing":
            view = self.drawing_view(dice)
        else:
            view = self.grey_object_view(dice)
        if dice.random() < 0.5:
            view = ImageOps.mirror(view)
        if kind != "grey object":
            if dice.random() < 0.08:
                view = view.convert("L").convert("RGB")
            if dice.random() < 0.3:
                view = ImageEnhance.Brightness(view).enhance(dice.uniform(0.6, 1.4))
            if dice.random() < 0.2:
                view = ImageEnhance.Color(view).enhance(dice.uniform(0.3, 1.7))
        small = view.resize((STUDENT_SIZE, STUDENT_SIZE), Image.Resampling.BILINEAR)
        return tuple(
            torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous() for image in (view, small)
        )

    def cifar10_view(self, dice):
        image = Image.fromarray(self.cifar10[dice.randrange(len(self.cifar10))])
        return random_crop(image, dice, 0.7)

    def photograph_view(self, dice):
        return random_crop(dice.choice(self.photographs), dice, 0.08)

    def cut_out(self, dice, smallest):
        """A turned, scaled and moved drawing: RGBA, 160 pixels, transparent around it."""
        image = Image.fromarray(np.array(self.drawings[dice.randrange(len(self.drawings))]))
        if dice.random() < 0.4:
            image = image.rotate(dice.uniform(-20, 20), Image.Resampling.BILINEAR, expand=True)
        side = dice.uniform(smallest, 1.0) * TEACHER_SIZE
        width, height = (round(side * 1.15 ** dice.uniform(-1, 1)) for _ in range(2))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        scene = Image.new("RGBA", (TEACHER_SIZE, TEACHER_SIZE))
        room_x, room_y = TEACHER_SIZE - width, TEACHER_SIZE - height
        scene.paste(image, (round(room_x * dice.random()), round(room_y * dice.random())))
        return scene

    def drawing_view(self, dice):
        ground = dice.choices(("white", "colour", "black", "photograph"), (60, 22, 6, 12))[0]
        if ground == "colour":
            ground = tuple(dice.randrange(256) for _ in range(3))
        if ground == "photograph":
            scene = random_crop(dice.choice(self.photographs), dice, 0.1)
        else:
            scene = Image.new("RGB", (TEACHER_SIZE, TEACHER_SIZE), ground)
        drawing = self.cut_out(dice, 0.5)
        scene.paste(drawing, mask=drawing.getchannel("A"))
        return scene

    def grey_object_view(self, dice):
        """Low resolution and no colour, mostly one thing on black: as in old scans and sensors."""
        source = dice.random()
        if source < 0.2 or not len(self.drawings):
            scene = self.photograph_view(dice) if dice.random() < 0.5 else self.cifar10_view(dice)
            scene = scene.convert("L")
        else:
            drawing = self.cut_out(dice, 0.7)
            scene = Image.new("L", (TEACHER_SIZE, TEACHER_SIZE), 0)
            filling = drawing.convert("L")
            if source < 0.45:  # the outline of a drawing, the surface of a photograph
                surface = random_crop(dice.choice(self.photographs), dice, 0.02).convert("L")
                filling = Image.blend(filling, surface, dice.uniform(0.4, 1.0))
            if dice.random() < 0.3:
                filling = ImageOps.invert(filling)
            scene.paste(filling, mask=drawing.getchannel("A"))
        if dice.random() < 0.15:
            scene = ImageOps.invert(scene)
        if dice.random() < 0.5:
            scene = ImageEnhance.Brightness(scene).enhance(dice.uniform(0.6, 1.6))
        if dice.random() < 0.8:
            side = dice.randrange(24, 41)
            scene = scene.resize((side, side), Image.Resampling.BOX)
            scene = scene.resize((TEACHER_SIZE, TEACHER_SIZE), Image.Resampling.BILINEAR)
        return scene.convert("RGB")


def random_crop(image, dice, smallest):
    """A crop of ``smallest`` to all of the area, sides 3:4 to 4:3, resized to 160 pixels."""
    area = image.width * image.height * dice.uniform(smallest, 1.0)
    ratio = (4 / 3) ** dice.uniform(-1, 1)
    width = min(image.width, (area * ratio) ** 0.5)
    height = min(image.height, (area / ratio) ** 0.5)
    left, top = dice.random() * (image.width - width), dice.random() * (image.height - height)
    return image.resize(
        (TEACHER_SIZE, TEACHER_SIZE),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
