"""Make the clip art that ships with the course from the drawings of the Open Clip Art Library.

    python data/clipart/make_clipart.py --source FOLDER [--output FOLDER]

FOLDER of the source is what Debian's packages `openclipart-png` and `openclipart-svg` (1:0.18+dfsg-19)
install as /usr/share/openclipart: the folder `png` with the drawings, and `svg` with the metadata of each
one. `drawings.csv` beside this script is the list of the drawings that were chosen by hand: the columns
`class`, `path`, `set` and `random_split` are read, the others are written. Given the same version of Pillow,
every file is made again byte for byte.
"""

import argparse
import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageChops, ImageStat
from scipy.optimize import Bounds, LinearConstraint, milp

SEED = 0
TEST_DRAWINGS = (15, 18)  # of each class, from and to
TRAINING_DRAWINGS = 33  # of each class, at least
SIDE = 128  # pixels, at most
COLUMNS = ["class", "split", "random_split", "file", "path", "set", "title", "author"]
COLUMNS += ["author_group", "group", "licence"]
MAX_PALETTE_ERROR = 4.0  # root mean square over the drawing on white, in levels of 0 to 255

# Names in the metadata that stand for one person (README.md says how we know).
SAME_AUTHOR = {
    "AbiClipart": "Gerald G.",
    "Andrew Fitzsimon": "Andy Fitzsimon",
    "Francesco Rollandin": "Architetto Francesco Rollandin",
    "Jean-Victor Balin (balin_j@epita.fr)": "Jean-Victor Balin",
    "Mo": "Lumen Design Studio",
    "Tlarson": "TLarson",
    "http://www.treebuilder.de": "Juliane Krug",
    "mo": "Lumen Design Studio",
}

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "cc": "http://web.resource.org/cc/",
}


def read_drawings(path: Path) -> list[dict[str, str]]:
    """Return the rows of the curated list in the order of class and path."""
    with path.open(newline="", encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: (row["class"], row["path"]))


def find_groups(rows: list[dict[str, str]]) -> list[str]:
    """Return the group of each drawing: whoever is linked by a set, or by a drawing made together, is one.

    A group is named after its author with the most drawings.
    """
    counts = Counter(row["author_group"] for row in rows)
    linked = [[author, *author.split(" and ")] for author in counts]
    for label in {(row["class"], row["set"]) for row in rows if row["set"]}:
        linked.append([row["author_group"] for row in rows if (row["class"], row["set"]) == label])
    members = {author: {author} for link in linked for author in link}
    for link in linked:
        joined = set().union(*(members[author] for author in link))
        members |= dict.fromkeys(joined, joined)
    names = {
        author: max(sorted(together), key=lambda one: counts[one]) for author, together in members.items()
    }
    return [names[row["author_group"]] for row in rows]


def choose_test_groups(rows: list[dict[str, str]], seed: int) -> set[str]:
    """Return the groups whose drawings are the test set: a seeded choice with enough drawings of each class.

    An integer program: 0 or 1 for each group, with the bounds on each class as constraints. The random
    costs choose one of the many solutions. (The greedy StratifiedGroupKFold finds no solution: two authors
    have more than a third of the drawings.)
    """
    groups, classes = (sorted({row[name] for row in rows}) for name in ("group", "class"))
    counts = np.zeros((len(classes), len(groups)))
    for row in rows:
        counts[classes.index(row["class"]), groups.index(row["group"])] += 1
    fewest, most = TEST_DRAWINGS
    solution = milp(
        np.random.default_rng(seed).normal(size=len(groups)),
        integrality=1,
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(
            counts, fewest, np.minimum(most, counts.sum(axis=1) - TRAINING_DRAWINGS)
        ),
        options={"mip_rel_gap": 0},
    )
    return {group for group, chosen in zip(groups, solution.x, strict=True) if chosen > 0.5}


def shrink(drawing: Image.Image, side: int) -> Image.Image:
    """Crop a drawing to what is visible, shrink it and centre it on a transparent square.

    The result is RGBA, at most `side` pixels high and wide. The averages are taken over premultiplied
    colours (mode RGBa), so that the unseen colour of transparent pixels does not come in at the edges.
    """
    drawing = drawing.convert("RGBA")
    drawing = drawing.crop(drawing.getchannel("A").getbbox())
    largest = max(drawing.size)
    if largest > side:
        size = [max(1, round(length * side / largest)) for length in drawing.size]
        # Hamming's filter is as sharp as the bicubic one and leaves no halo beside a hard edge.
        drawing = drawing.convert("RGBa").resize(size, Image.Resampling.HAMMING).convert("RGBA")
    # Transparent white, so that a program that ignores the transparency shows a drawing on white too.
    square = Image.new("RGBA", (max(drawing.size),) * 2, (255, 255, 255, 0))
    corner = [(square.width - length) // 2 for length in drawing.size]
    square.paste(drawing, corner, drawing.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return square


def on_white(drawing: Image.Image) -> Image.Image:
    """Return an RGBA drawing as RGB on white."""
    return Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")


def reduce_colours(drawing: Image.Image) -> Image.Image:
    """Return the drawing with a palette of 256 colours, if that changes it little, or else as it is."""
    reduced = drawing.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    difference = ImageChops.difference(on_white(drawing), on_white(reduced.convert("RGBA")))
    return reduced if max(ImageStat.Stat(difference).rms) <= MAX_PALETTE_ERROR else drawing


def read_metadata(path: Path) -> dict[str, str]:
    """Return the title, author and licence that an SVG file states in its RDF metadata."""
    found = {"title": "not stated", "author": "not stated", "licence": "not stated"}
    try:
        work = ElementTree.parse(path).find(".//cc:Work", NAMESPACES)
    except ElementTree.ParseError:
        return found
    if work is None:
        return found
    texts = {"title": "dc:title", "author": "dc:creator/cc:Agent/dc:title"}
    for name, place in texts.items():
        text = " ".join((work.findtext(place, "", NAMESPACES) or "").split())
        found[name] = text or "not stated"
    licence = work.find("cc:license", NAMESPACES)
    resource = "" if licence is None else licence.get(f"{{{NAMESPACES['rdf']}}}resource", "")
    found["licence"] = resource.removeprefix(NAMESPACES["cc"]) or "not stated"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default="/usr/share/openclipart")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    rows = read_drawings(Path(__file__).parent / "drawings.csv")
    for row in rows:
        row |= read_metadata((arguments.source / "svg" / row["path"]).with_suffix(".svg"))
        row["author_group"] = SAME_AUTHOR.get(row["author"], row["author"])
    for row, group in zip(rows, find_groups(rows), strict=True):
        row["group"] = group
    test = choose_test_groups(rows, SEED)
    for part in ("train", "test"):
        shutil.rmtree(arguments.output / part, ignore_errors=True)
    for row in rows:
        part = "test" if row["group"] in test else "train"
        path = Path(row["path"])
        file = Path(part, row["class"], path.name)
        row |= {"split": part, "file": file.as_posix()}
        (arguments.output / file).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(arguments.source / "png" / path) as drawing:
            reduce_colours(shrink(drawing, SIDE)).save(arguments.output / file, optimize=True)
    with (arguments.output / "drawings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    files = sorted(row["file"] for row in rows)
    sums = [f"{hashlib.sha256((arguments.output / name).read_bytes()).hexdigest()}  {name}" for name in files]
    (arguments.output / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
