"""Folders of pictures: one folder for each class, or train, test and val folders of class folders.

Your own photographs come this way (lesson 09), and so does any dataset that you have unpacked yourself.
Nothing in a folder is ever changed. `check_images` reports what is odd in it.
"""

import os
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from torch.utils.data import Dataset
from torchvision import datasets

from course_utils.data.image_io import Decoded, load_rgb, try_to_decode
from course_utils.data.loaders import progress_bar
from course_utils.errors import DataError, printable

# Two of these beside each other are no classes. The course reads the first three as splits.
SPLIT_NAMES = {"train", "test", "val", "training", "testing", "valid", "validation"}

READ_TYPES = (*datasets.folder.IMG_EXTENSIONS, ".jfif", ".jpe")
"""torchvision's, and two more names of JPEG files."""

UNREAD_TYPE = "not a type of picture that is read"
LINK_TO_FOLDER = "a link to a folder"
LINK_OUT = "a link out of the folder"

HIDDEN = ("a hidden folder", "a hidden file", "a companion file of macOS")


class FolderOfClasses(datasets.ImageFolder):
    """torchvision's `ImageFolder`, with `load_rgb` as its loader and without hidden folders and files.

    Args:
        root: The folder with one folder for each class.
        transform: From a PIL picture (RGB) to what the dataset gives.
        pictures: The files to read. None: all that `list_entries` finds in `root`.
        classes: The names of the classes to read. None: those of all folders, of which none may be empty.

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
        super().__init__(str(root), transform=transform, loader=partial(load_rgb, warn=False))

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the names of the class folders in order, and the label of each."""
        folders = class_folders(Path(directory))
        names = [path.name for path in folders if self._classes is None or _nfc(path.name) in self._classes]
        return names, {name: label for label, name in enumerate(names)}

    def make_dataset(
        self, directory: str, class_to_idx: dict[str, int], *_: object, **__: object
    ) -> list[tuple[str, int]]:
        """Return the path and the label of every picture, class by class."""
        root = Path(directory)
        if self._pictures is None:
            self._pictures = [path for path, ignored in list_entries(root) if not ignored]
        found = pictures_by_class(root, self._pictures)
        empty = [root / name for name in class_to_idx if not found[name]]
        if empty and self._classes is None:
            raise _unusable_folder(root, {}, empty, list_entries(root))
        return [(str(path), label) for name, label in class_to_idx.items() for path in found[name]]


def folder_sources(root: Path, skip_bad_images: bool = False) -> dict[str, Callable[[Callable], Dataset]]:
    """Return, for each split in a folder ("train" at least), a function from a transform to its dataset.

    Every picture is decoded once before anything else is done with it: better now than in mid-epoch. What
    cannot be decoded is left out, or is an error that lists it. What is not read, what is left out and what
    Python warned of is printed, each time.
    """
    splits = split_folders(root)
    _check_same_classes(splits)
    entries = list_entries(root, depth=1 if splits["train"] == root else 2)
    bar = {"desc": "decode every picture", "unit": "picture", "delay": 5, "leave": False}
    pictures = [path for path, ignored in entries if not ignored]
    decoded = {path: try_to_decode(path) for path in progress_bar(pictures, **bar)}
    errors = {path: result.error for path, result in decoded.items() if result.error}
    readable = [path for path in pictures if path not in errors]
    by_class = {split: pictures_by_class(folder, readable) for split, folder in splits.items()}
    empty = [splits[split] / name for split in splits for name, found in by_class[split].items() if not found]
    if (errors or empty) and not skip_bad_images:
        raise _unusable_folder(root, errors, empty, entries)
    if os.environ.get("RANK", "0") == "0":  # of several processes the first
        _report(root, entries, decoded, empty)
    classes = {_nfc(name) for name, found in by_class["train"].items() if found}
    return {
        split: lambda transform, folder=folder: FolderOfClasses(folder, transform, readable, classes)
        for split, folder in splits.items()
    }


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders train, test and val if `root` is made of them, else `root` itself as train."""
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
            expected="the folders train and (if you have them) test and val, and no others; or classes",
            found=", ".join(sorted(names)),
            do="Name the parts train, test and val, and move other folders away; or name one part alone.",
        )
    if len(names) == 1 and names <= {"val", "test"}:
        (name,) = names
        raise DataError(
            "The folder of images has no folder train.",
            where=root,
            expected=f"the folder train beside {name}, or one folder for each class",
            found=f"{name} and no other folder",
            do=f"Add the folder train. Or name the folder that has the class folders, folder:{root / name}: "
            "then test and validation images are drawn from them.",
        )
    return {"train": root}


def list_entries(root: Path, depth: int = 1) -> list[tuple[Path, str]]:
    """Return what lies in a folder, each with the reason why it is not read: "" for what is.

    A link to a folder is not followed, so no loop can catch this. A link to a file is followed if the file
    lies in `root` and is not read at its own place, so that each file is read once. The class folders are
    `depth` folders below `root`: 1, or 2 if train and test lie between.
    """
    entries, files, read = [], [], set()
    try:
        for parent, folders, names in os.walk(root, onerror=_raise):
            for path in [Path(parent, name) for name in sorted(folders)]:
                if path.is_symlink():
                    entries.append((path, LINK_TO_FOLDER))
                elif _is_hidden(path.name):
                    entries.append((path, HIDDEN[0]))
            folders[:] = sorted(name for name in folders if not _is_hidden(name))
            files += [Path(parent, name) for name in sorted(names)]
        for path in sorted(files, key=Path.is_symlink):  # links last: a file is read at its own place
            ignored = _why_ignored(path, root, depth, read)
            entries.append((path, ignored))
            if not ignored:
                read.add(os.path.realpath(path))
    except OSError as error:
        raise DataError(
            "A folder in the folder of images cannot be read.",
            where=error.filename,
            expected="folders that you may read and enter, so that no picture is left out unnoticed",
            found=f"{type(error).__name__}: {error.strerror}",
            do="Change its permissions, or move it out of the folder of images.",
        ) from error
    return entries


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _why_ignored(path: Path, root: Path, depth: int, read: set[str]) -> str:
    is_link, file = path.is_symlink(), os.path.realpath(path)
    if path.name.startswith("."):
        return HIDDEN[2] if path.name.startswith("._") else HIDDEN[1]
    if not path.name.lower().endswith(READ_TYPES):
        return UNREAD_TYPE
    if not is_link and not path.is_file():
        return "not a regular file"  # a pipe, for example: reading from it would wait for ever
    if len(path.relative_to(root).parts) <= depth:
        return "in no class folder"
    if is_link and not os.path.isfile(file):
        return "a link that leads nowhere"
    if is_link and not Path(file).is_relative_to(os.path.realpath(root)):
        return LINK_OUT
    return "a link to a picture that is read already" if is_link and file in read else ""


def pictures_by_class(root: Path, pictures: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the pictures in each class folder of `root`, by the folder's name."""
    found = {folder.name: [] for folder in class_folders(root)}
    for path in pictures:
        if path.is_relative_to(root):
            found[path.relative_to(root).parts[0]].append(path)
    return found


def class_folders(root: Path) -> list[Path]:
    """Return the folders in `root` that are not hidden, in the order of their names."""
    try:
        folders = [folder for folder in root.iterdir() if folder.is_dir() and not _is_hidden(folder.name)]
    except OSError as error:
        raise DataError(
            "The folder of images does not exist or cannot be read.",
            where=root,
            expected="a folder that you may read",
            found=f"{type(error).__name__}: {error}",
            do="Copy the folder to a place that you can read: you have no permission for this one."
            if isinstance(error, PermissionError)
            else f"Check the path; one that does not begin with / starts from the folder {Path.cwd()}.",
        ) from error
    for folder in folders:
        if printable(folder.name) != folder.name or "\n" in folder.name:
            encoding = sys.getfilesystemencoding()
            raise DataError(
                "The name of a class folder cannot be printed.",
                where=folder,
                expected="a name that can be printed, since it is the name of the class",
                found=f"the bytes {os.fsencode(folder.name)!r}",
                do="Rename the folder."
                if encoding == "utf-8"
                else f"Set the environment variable PYTHONUTF8=1 and start again: this Python reads names of "
                f"files as {encoding}. Or rename the folder.",
            )
    return sorted(folders, key=lambda folder: _nfc(folder.name))


def _nfc(name: str) -> str:
    """Return a name in one form of Unicode: macOS and Linux write accented letters as different bytes."""
    return unicodedata.normalize("NFC", name)


def _check_same_classes(splits: dict[str, Path]) -> None:
    classes = {split: {_nfc(path.name) for path in class_folders(root)} for split, root in splits.items()}
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


def _report(
    root: Path, entries: list[tuple[Path, str]], decoded: dict[Path, Decoded], empty: list[Path]
) -> None:
    """Print what is not read, what is left out, and what Python warned of when the pictures were decoded.

    Warnings are printed here, once, and not whenever a picture is read.
    """
    if not_read := _not_read(entries):
        print(printable(f"not read: {not_read}"))
    bad = sum(bool(result.error) for result in decoded.values())
    if bad or empty:
        names = ", ".join(str(folder.relative_to(root)) for folder in empty) or "none"
        print(f"left out: {bad} pictures that cannot be decoded; classes without a picture: {names}")
    warned = defaultdict(list)
    for path, result in decoded.items():
        for message in () if result.error else result.warnings:
            warned[message].append(path)
    for message, (first, *others) in warned.items():
        more = f" and {len(others)} others" if others else ""
        print(printable(f"{message.rstrip('.')}: {first.parent.name}/{first.name}{more}"))


def _not_read(entries: Iterable[tuple[Path, str]]) -> str:
    """Return why files are not read, each reason with their number or types; "" if none is worth a word."""
    reasons = [(path, why) for path, why in entries if why and why not in HIDDEN]
    counts = Counter(why for _, why in reasons)
    types = {UNREAD_TYPE: _file_types(path for path, why in reasons if why == UNREAD_TYPE)}
    return "; ".join(f"{why} ({types.get(why, count)})" for why, count in sorted(counts.items()))


def _file_types(files: Iterable[Path]) -> str:
    types = Counter(path.suffix.lower() or "no suffix" for path in files)
    return ", ".join(f"{suffix}: {count}" for suffix, count in sorted(types.items()))


def _unusable_folder(
    root: Path, errors: dict[Path, str], empty: list[Path], entries: list[tuple[Path, str]]
) -> DataError:
    problems = [f"{path.relative_to(root)}: {error}" for path, error in errors.items()]
    for folder in empty:
        own = [(path, why) for path, why in entries if path.is_relative_to(folder)]
        unread = [path for path, why in own if why == UNREAD_TYPE]
        kind = f" of a type that is read ({_file_types(unread)})" if unread else ""
        others = _not_read(entry for entry in own if entry[1] != UNREAD_TYPE)
        more = f"; not read: {others}" if others else ""
        problems.append(f"{folder.relative_to(root)}: no picture{kind} in this class{more}")
    links = any(why in (LINK_TO_FOLDER, LINK_OUT) for _, why in entries)
    copy = " Links out of the folder are not followed: copy what they lead to into it." if links else ""
    return DataError(
        "A folder of images cannot be used as it is.",
        where=root,
        expected="pictures that can be decoded to their end, and at least one in each class",
        found="\n            ".join(problems),
        do="Repair or move them, or leave them out with skip_bad_images=True. check_images describes each."
        + copy,
    )
