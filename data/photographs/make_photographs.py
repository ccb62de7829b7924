"""Make the photographs that ship with the course from the stamps of Tux Paint.

    python data/photographs/make_photographs.py --source FOLDER [--output FOLDER]

FOLDER of the source is what Debian's package `tuxpaint-stamps-default` (2025.03.31-1) installs as
/usr/share/tuxpaint/stamps. `photographs.csv` beside this script lists the photographs that were chosen by
hand, with what is known of each one; `file` and `title` are written, the other columns are read. Given the
same version of Pillow, every file is made again byte for byte.
"""

import argparse
import csv
import hashlib
import shutil
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "clipart"))
from make_clipart import SIDE, read_drawings, shrink  # noqa: E402

COLUMNS = ["class", "file", "path", "title", "author", "source", "licence", "known_from", "url"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default="/usr/share/tuxpaint/stamps")
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    rows = read_drawings(HERE / "photographs.csv")
    for name in {row["class"] for row in rows}:
        shutil.rmtree(arguments.output / name, ignore_errors=True)
        (arguments.output / name).mkdir(parents=True)
    sums = []
    for row in rows:
        path = arguments.source / row["path"]
        row["file"] = f"{row['class']}/{path.name}"
        # The first line is English, the translations follow.
        row["title"] = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0]
        file = arguments.output / row["file"]
        with Image.open(path) as photograph:
            shrink(photograph, SIDE).save(file, optimize=True)
        sums.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {row['file']}\n")
    with (arguments.output / "photographs.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (arguments.output / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    main()
