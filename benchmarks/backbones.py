"""Every lesson of images with networks of several families: which runs, and which refuses them.

    python benchmarks/backbones.py [--only 02 05] [--backbones vgg11 vit_b_16] [--keep FOLDER]

The weights are random, so that nothing is downloaded; only resnet18 has those that ship. The pictures are a
few of the clothes that ship, as files. So the accuracies mean nothing, and are not kept: what counts is
whether a lesson comes to its end, or refuses the backbone in its checking cell.

Rows are written to benchmarks/results/backbones.csv, in the place of those of the same lesson and backbone.
The table in docs/setup.md is written anew. timm/NAME needs timm: pip install timm.
"""

import argparse
import itertools
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import nbformat
import pandas as pd
from storing import replace_rows
from torch import nn

from course_teaching.lessons import lesson_notebooks, plan_parameters, run_lesson
from course_utils.data.splits import load_splits
from course_utils.settings import REPOSITORY_FOLDER, Settings

DOCS = REPOSITORY_FOLDER / "docs" / "setup.md"
CLASSES, PICTURES_PER_CLASS = 5, 30
SMALL = {"images_per_class": 20, "epochs": 1, "batch_size": 8}

# The size of the pictures: small, to save time. A vision transformer takes one size only.
BACKBONES = {
    "resnet18": 64,
    "resnet50": 64,
    "vgg11": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "densenet121": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "vit_b_16": 224,
    "vit_b_32": 224,
    "timm/tf_efficientnet_lite0": 64,
    "timm/vit_tiny_patch16_224": 224,
}
LESSONS = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "11"]  # 10 is about texts


def write_pictures(folder: Path, pictures_per_class: int = PICTURES_PER_CLASS) -> str:
    """Write some of the clothes that ship as files, one folder a class; return it as a dataset."""
    pictures = load_splits(Settings(), transform=nn.Identity()).test
    written = Counter()
    for picture, label in pictures:
        if label < CLASSES and written[label] < pictures_per_class:
            path = folder / f"class {label}" / f"{written[label]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
            written[label] += 1
    return f"folder:{folder}"


def run_case(lesson: str, backbone: str, dataset: str, output: Path) -> dict:
    """Run a lesson with a backbone; return a row of the table."""
    (notebook,) = lesson_notebooks([lesson])
    weights = "default" if backbone == "resnet18" else "none"
    values = {"dataset": dataset, "backbone": backbone, "weights": weights, "image_size": BACKBONES[backbone]}
    parameters = plan_parameters([notebook], {**values, **SMALL})[notebook]
    output.mkdir(parents=True, exist_ok=True)
    run = run_lesson(notebook, parameters, output / notebook.name)
    result = "runs" if run.status == "ok" else f"cell {run.cell}"
    if run.status != "ok" and _is_refused(output / notebook.name, run.cell):
        result = "refused"
    return {
        "lesson": lesson,
        "backbone": backbone,
        "pixels": parameters.get("image_size", "weights' own"),
        "result": result,
        "error": " ".join((run.error or "").split())[:200],
        "date": date.today().isoformat(),
    }


def _is_refused(executed: Path, cell: int) -> bool:
    """Return whether it was the checking cell that failed, in the course's own words."""
    source = nbformat.read(executed, as_version=4).cells[cell - 1]
    raised = [out.ename for out in source.outputs if out.output_type == "error"]
    return "settings_from_notebook(" in source.source and raised == ["ConfigError"]


def table(rows: pd.DataFrame) -> str:
    """Return the rows as a table in Markdown: a row for each backbone, a column for each lesson."""
    wide = rows.pivot(index="backbone", columns="lesson", values="result").fillna("-")
    names = [name for name in BACKBONES if name in wide.index]
    wide = wide.reindex(index=names, columns=LESSONS, fill_value="-")
    lines = ["| backbone | " + " | ".join(wide.columns) + " |", "|---" * (len(wide.columns) + 1) + "|"]
    return "\n".join([*lines, *(f"| `{name}` | " + " | ".join(row) + " |" for name, row in wide.T.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=LESSONS, metavar="NUMBER")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), choices=BACKBONES, metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the executed notebooks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        dataset = write_pictures(Path(temporary) / "pictures")
        for backbone, lesson in itertools.product(options.backbones, options.only):
            output = (options.keep or Path(temporary)).resolve() / backbone.replace("/", "_")
            row = run_case(lesson, backbone, dataset, output)
            print(*row.values(), flush=True)
            new = pd.DataFrame([row]).astype(str)
            rows = replace_rows("backbones.csv", new, ["lesson", "backbone"], dtype=str)
    text = DOCS.read_text(encoding="utf-8")
    begin = text.index("| backbone |")
    DOCS.write_text(text[:begin] + table(rows) + text[text.index("\n\n", begin) :], encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
