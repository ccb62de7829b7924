"""Folders of pictures: one folder for each class, or train, test and val folders of class folders.

Your own photographs are read this way (lesson 09), and so is any dataset that you have unpacked yourself.
Nothing in a folder is ever changed. `check_images` reports what is unusual in it.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from torch.utils.data import Dataset
from torchvision import datasets

from course_utils.data.image_io import decoding_problem, load_rgb
from course_utils.data.loaders import progress_bar
from course_utils.errors import DataError

# Two of these in one folder are splits, not classes. The course reads the first three.
SPLIT_NAMES = {"train", "test", "val", "training", "testing", "valid", "validation"}

READ_TYPES = (*datasets.folder.IMG_EXTENSIONS, ".jfif", ".jpe")
"""torchvision's extensions, and two more for JPEG files."""

NO_PICTURE = "no picture in this class"
HIDDEN = ("a hidden folder", "a hidden file", "a companion file of macOS")


class FolderOfClasses(datasets.ImageFolder):
    """torchvision's `ImageFolder`, with `load_rgb` as its loader and without hidden folders and files.

    Args:
        root: The folder with one folder for each class.
        transform: A function of a PIL picture (RGB) that returns the dataset's image.
        pictures: The files to read. None: all that `list_entries` finds in `root`.
        classes: The names of the classes to read. None: those of all folders, none of which may be empty.

    Raises:
        DataError: If there is no such folder, or a class folder without a picture.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable | None = None,
        pictures: Iterable[Path] | None = None,
        classes: set[str] | None = None,
    ):
        self._pictures, self._classes = pictures, classes
        super().__init__(str(root), transform=transform, loader=load_rgb)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the names of the class folders in order, and the label of each."""
        found = dict.fromkeys(map(class_name, class_folders(Path(directory))))
        names = [name for name in found if self._classes is None or name in self._classes]
        return names, {name: label for label, name in enumerate(names)}

    def make_dataset(
        self, directory: str, class_to_idx: dict[str, int], *_: object, **__: object
    ) -> list[tuple[str, int]]:
        """Return the path and the label of every picture, class by class."""
        root = Path(directory)
        if self._pictures is None:
            self._pictures = [path for path, ignored in list_entries(root) if not ignored]
        found = pictures_by_class(root, self._pictures)
        if self._classes is None and not all(found.values()):
            raise _unusable_folder(root, {root / name: NO_PICTURE for name in found if not found[name]})
        return [(str(path), label) for name, label in class_to_idx.items() for path in found[name]]


def folder_sources(root: Path, skip_bad_images: bool = False) -> dict[str, Callable[[Callable], Dataset]]:
    """Return, for each split in a folder ("train" at least), a function from a transform to its dataset.

    Every picture is decoded once first, so that a damaged one is found now and not in mid-epoch. Pictures
    that cannot be decoded are left out, or raise an error that lists them. Each call prints the files that
    are not read or left out.
    """
    splits = split_folders(root)
    _check_same_classes(splits)
    entries = list_entries(root, depth=1 if splits["train"] == root else 2)
    pictures = [path for path, ignored in entries if not ignored]
    bar = progress_bar(pictures, desc="decode every picture", unit="picture", delay=5, leave=False)
    bad = {path: problem for path in bar if (problem := _decode(path, path.stat().st_mtime_ns))}
    readable = [path for path in pictures if path not in bad]
    by_class = {split: pictures_by_class(folder, readable) for split, folder in splits.items()}
    empty = [splits[split] / name for split in splits for name, found in by_class[split].items() if not found]
    if (bad or empty) and not skip_bad_images:
        raise _unusable_folder(root, bad | dict.fromkeys(empty, NO_PICTURE))
    if os.environ.get("RANK", "0") == "0":  # only the first of several processes prints
        reasons = Counter(why for _, why in entries if why and why not in HIDDEN)
        if reasons:
            print("not read:", "; ".join(f"{why} ({count})" for why, count in sorted(reasons.items())))
        if bad or empty:
            names = ", ".join(str(folder.relative_to(root)) for folder in empty) or "none"
            print(f"left out: {len(bad)} pictures that cannot be decoded; classes without a picture: {names}")
    classes = {name for name, found in by_class["train"].items() if found}
    return {
        split: lambda transform, folder=folder: FolderOfClasses(folder, transform, readable, classes)
        for split, folder in splits.items()
    }


@cache  # a folder is loaded again and again; an unchanged picture need not be decoded again
def _decode(path: Path, changed: int) -> str:
    """Decode a picture, which was last `changed` at that time; return what is wrong with it, or ""."""
    try:
        load_rgb(path)
    except DataError as error:
        return decoding_problem(error)
    return ""


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders train, test and val if `root` consists of them, else `root` itself as train."""
    names = {folder.name for folder in class_folders(root)}
    if not names:
        raise DataError(
            "The folder of images has no class folders.",
            where=root,
            expected="one folder for each class, or the folders train and test with one for each class",
            found="no folder",
            do="Sort your images into one folder for each class.",
        )
    if "train" in names and names <= {"train", "val", "test"}:
        return {name: root / name for name in sorted(names)}
    if sum(name.lower() in SPLIT_NAMES for name in names) > 1:
        raise DataError(
            "These folders look like parts of a dataset and not like classes.",
            where=root,
            expected="the folders train and, if you have them, test and val, but no others; or classes",
            found=", ".join(sorted(names)),
            do="Name the parts train, test and val, and move other folders away; or use one part alone.",
        )
    return {"train": root}


def list_entries(root: Path, depth: int = 1) -> list[tuple[Path, str]]:
    """Return the entries of a folder, each with the reason why it is not read: "" if it is read.

    Links are not followed, so that each file is read once and a loop of links does no harm. The class folders
    are `depth` levels below `root`: 1, or 2 if train and test are between.
    """
    entries = []
    for parent, folders, files in os.walk(root, onerror=_unreadable):
        for path in [Path(parent, name) for name in sorted(folders)]:
            if path.is_symlink():
                entries.append((path, "a link"))
            elif _is_hidden(path.name):
                entries.append((path, HIDDEN[0]))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for path in [Path(parent, name) for name in sorted(files)]:
            entries.append((path, _why_ignored(path, len(path.relative_to(root).parts) > depth)))
    return entries


def _unreadable(error: OSError) -> None:
    raise DataError(
        "A folder of images does not exist or cannot be read.",
        where=error.filename,
        expected="a folder that you may read and open, so that no picture is left out unnoticed",
        found=f"{type(error).__name__}: {error.strerror}",
        do=f"Check your permissions and the path; without a / in front it starts from {Path.cwd()}.",
    ) from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _why_ignored(path: Path, is_in_class: bool) -> str:
    if path.name.startswith("."):
        return HIDDEN[2] if path.name.startswith("._") else HIDDEN[1]
    if path.is_symlink():
        return "a link"
    if not path.name.lower().endswith(READ_TYPES):
        return "not a type of picture that is read"
    if not os.path.isfile(path):
        return "not a file"  # a pipe: reading from it would wait for ever
    return "" if is_in_class else "in no class folder"


def pictures_by_class(root: Path, pictures: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the pictures in each class folder of `root`, by the folder's name."""
    found = {class_name(folder): [] for folder in class_folders(root)}
    for path in pictures:
        if path.is_relative_to(root):
            found[class_name(root / path.relative_to(root).parts[0])].append(path)
    return found


def class_folders(root: Path) -> list[Path]:
    """Return the folders in `root` that are not hidden, in the order of their names."""
    _, names, _ = next(os.walk(root, onerror=_unreadable))
    return sorted((root / name for name in names if not _is_hidden(name)), key=class_name)


def class_name(folder: Path) -> str:
    """Return a folder's name in one normal form, because macOS and Linux encode accents differently."""
    return unicodedata.normalize("NFC", folder.name)


def _check_same_classes(splits: dict[str, Path]) -> None:
    classes = {split: {class_name(path) for path in class_folders(root)} for split, root in splits.items()}
    for split, found in classes.items():
        if found != classes["train"]:
            missing, extra = classes["train"] - found, found - classes["train"]
            raise DataError(
                f"The folders train and {split} do not have the same classes.",
                where=splits[split],
                expected=f"the classes of train: {', '.join(sorted(classes['train']))}",
                found=f"missing: {', '.join(sorted(missing)) or 'none'}; "
                f"extra: {', '.join(sorted(extra)) or 'none'}",
                do="Rename or move the folders so that each part has every class.",
            )


def _unusable_folder(root: Path, problems: dict[Path, str]) -> DataError:
    lines = [f"{path.relative_to(root)}: {problem}" for path, problem in problems.items()]
    return DataError(
        "A folder of images cannot be used as it is.",
        where=root,
        expected="pictures that can be decoded to their end, and at least one in each class",
        found="\n            ".join(lines),
        do="Repair or move them, or leave them out with skip_bad_images=True. check_images describes each, "
        "and what is not read. Links are not followed: copy what they lead to.",
    )
