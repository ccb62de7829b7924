"""Pictures in folders: one folder for each class, whatever kind of picture is in it.

Your own photographs come this way (lesson 09), and so does any dataset that you have unpacked yourself.
Nothing in a folder is ever changed. What is odd in it, `image_checks` tells.
"""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from torch.utils.data import Dataset
from torchvision import datasets

from course_utils.data.image_io import Decoded, look_at, try_to_decode
from course_utils.data.progress import progress_bar
from course_utils.errors import DataError, printable

# Two of these beside each other are no classes. The course reads the first three as parts.
PART_NAMES = {"train", "test", "val", "training", "testing", "valid", "validation"}

IGNORED_FOLDERS = {"__MACOSX"}  # besides every name that begins with a dot

UNREAD_TYPE = "not a type of picture that is read"

HIDDEN = ("a hidden folder", "a hidden file", "a companion file of macOS")


class FolderOfClasses(datasets.ImageFolder):
    """torchvision's `ImageFolder`, reading every picture with `look_at` and no hidden folder or file.

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
        self._pictures, self._only = pictures, classes
        super().__init__(str(root), transform=transform, loader=look_at)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the names of the class folders in order, and the label of each."""
        folders = [
            folder
            for folder in _visible_folders(Path(directory))
            if self._only is None or _visible_name(folder) in self._only
        ]
        classes = [folder.name for folder in folders]
        return classes, {name: label for label, name in enumerate(classes)}

    def make_dataset(
        self, directory: str, class_to_idx: dict[str, int], *_: object, **__: object
    ) -> list[tuple[str, int]]:
        """Return the path and the label of every picture, class by class."""
        root = Path(directory)
        if self._pictures is None:
            self._pictures = [path for path, ignored in list_entries(root) if not ignored]
        found = pictures_of_classes(root, self._pictures)
        empty = [name for name in class_to_idx if not found[name]]
        if empty and self._only is None:
            raise _unsound(root, {}, [root / name for name in empty])
        return [(str(path), label) for name, label in class_to_idx.items() for path in found[name]]


def list_entries(root: Path, depth: int = 1) -> list[tuple[Path, str]]:
    """Return what lies in a folder, each with the reason why it is not read: "" for what is.

    A link to a folder is not followed, so no loop can catch this. A link to a file is followed if the file
    lies in `root` and is not read at its own place, so that each file is read once.

    Args:
        root: The folder.
        depth: How far below `root` the class folders are: 1, or 2 if train and test lie between.
    """
    entries, links = [], []
    for parent, folders, files in os.walk(root):
        for path in [Path(parent, name) for name in sorted(folders)]:
            if path.is_symlink():
                entries.append((path, "a link to a folder"))
            elif _is_hidden(path.name):
                entries.append((path, HIDDEN[0]))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for path in [Path(parent, name) for name in sorted(files)]:
            kind = links if path.is_symlink() else entries
            kind.append((path, _why_ignored(path, len(path.relative_to(root).parts) > depth)))
    read = {os.path.realpath(path) for path, ignored in entries if not ignored}
    for path, ignored in links:
        file = os.path.realpath(path)
        entries.append((path, ignored or _why_not_followed(file, root, read)))
        if not entries[-1][1]:
            read.add(file)
    return entries


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in IGNORED_FOLDERS


def _why_ignored(path: Path, in_class: bool) -> str:
    if path.name.startswith("."):
        return HIDDEN[2] if path.name.startswith("._") else HIDDEN[1]
    if not path.name.lower().endswith(datasets.folder.IMG_EXTENSIONS):
        return UNREAD_TYPE
    if not path.is_file() and not path.is_symlink():
        return "not a regular file"  # a pipe, for example: reading from it would wait for ever
    return "" if in_class else "in no class folder"


def _why_not_followed(file: str, root: Path, read: set[str]) -> str:
    if not os.path.isfile(file):
        return "a link that leads nowhere"
    if not Path(file).is_relative_to(os.path.realpath(root)):
        return "a link out of the folder"
    return "a link to a picture that is read already" if file in read else ""


def pictures_of_classes(root: Path, pictures: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the pictures in each class folder of `root`, by the folder's name."""
    found = {folder.name: [] for folder in _visible_folders(root)}
    for path in pictures:
        if path.is_relative_to(root):
            found[path.relative_to(root).parts[0]].append(path)
    return found


def _visible_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(
            "The folder of images does not exist.",
            where=root,
            expected="a folder",
            found="a file" if root.exists() else "nothing",
            do='Write dataset="folder:PATH"; a PATH that does not begin with / starts from the folder '
            f"{Path.cwd()}.",
        )
    try:
        folders = [folder for folder in root.iterdir() if folder.is_dir() and not _is_hidden(folder.name)]
    except OSError as error:
        raise DataError(
            "The folder of images cannot be read.",
            where=root,
            expected="a folder that you may read",
            found=f"{type(error).__name__}: {error}",
            do="Ask its owner for permission, or copy it to a folder of your own.",
        ) from error
    for folder in folders:
        if printable(folder.name) != folder.name:
            raise DataError(
                "The name of a class folder is not written in UTF-8.",
                where=folder,
                expected="a name that can be printed, since it is the name of the class",
                found=f"the bytes {os.fsencode(folder.name)!r}",
                do="Rename the folder.",
            )
    # By the visible name, so that two spellings of one name in Unicode get the same label.
    return sorted(folders, key=_visible_name)


def _visible_name(path: Path) -> str:
    """Return a name in one spelling: macOS and Linux write accented letters as different bytes."""
    return unicodedata.normalize("NFC", path.name)


def part_folders(root: Path) -> dict[str, Path]:
    """Return the folders train, test and val if `root` is made of them, else `root` itself as train.

    Raises:
        DataError: If there is no such folder, it has no folder in it, or it has parts by other names.
    """
    names = {folder.name for folder in _visible_folders(root)}
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
    parts = sorted(name for name in names if name.lower() in PART_NAMES)
    if len(parts) > 1:
        raise DataError(
            "These folders look like parts of a dataset and not like classes.",
            where=root,
            expected="the folders train and (if you have them) test and val, and no others; or classes",
            found=", ".join(sorted(names)),
            do="Name the parts train, test and val, and move other folders away; or name one part alone.",
        )
    return {"train": root}


def folder_sources(root: Path, skip_bad_images: bool = False) -> dict[str, Callable[[Callable], Dataset]]:
    """Read class folders, or the folders train, test and (if you have one) val of class folders.

    Every picture is decoded once before anything else is done with it: better now than in mid-epoch. For
    thousands of photographs that takes minutes, and a bar shows how far it is. What is not read, what is left
    out and what Python warned of is printed, each time.

    Args:
        root: The absolute path of the folder.
        skip_bad_images: Leave out what cannot be decoded, and classes without a picture to train on.

    Raises:
        DataError: If the folder cannot be used; it lists every bad picture and every empty class.
    """
    parts = part_folders(root)
    _check_same_classes(parts)
    entries = list_entries(root, depth=1 if parts["train"] == root else 2)
    pictures = [path for path, ignored in entries if not ignored]
    decoded = _decode(pictures)
    errors = {path: found.error for path, found in decoded.items() if found.error}
    sound = [path for path in pictures if path not in errors]
    empty = [
        folder / name
        for folder in parts.values()
        for name, found in pictures_of_classes(folder, sound).items()
        if not found
    ]
    if (errors or empty) and not skip_bad_images:
        raise _unsound(root, errors, empty, entries)
    if os.environ.get("RANK", "0") == "0":
        _report(root, errors, empty, _summary_of_ignored(entries))
        _report_warnings({path: decoded[path].warnings for path in sound})
    trained = pictures_of_classes(parts["train"], sound)
    classes = {_visible_name(Path(name)) for name, found in trained.items() if found}
    return {
        part: lambda transform, folder=folder: FolderOfClasses(folder, transform, sound, classes)
        for part, folder in parts.items()
    }


def _summary_of_ignored(entries: list[tuple[Path, str]]) -> str:
    """Count what is not read, for each reason; "" if there is nothing but hidden files and folders."""
    reasons = Counter(ignored for _, ignored in entries if ignored and ignored not in HIDDEN)
    unread = {UNREAD_TYPE: _unread_types(path for path, ignored in entries if ignored == UNREAD_TYPE)}
    return "; ".join(f"{why} ({unread.get(why, number)})" for why, number in sorted(reasons.items()))


def _unread_types(files: Iterable[Path]) -> str:
    types = Counter(path.suffix.lower() or "no suffix" for path in files)
    return ", ".join(f"{kind}: {number}" for kind, number in sorted(types.items()))


def _report(root: Path, errors: dict[Path, str], empty: list[Path], not_read: str) -> None:
    if not_read:
        print(printable(f"not read: {not_read}"))
    if errors or empty:
        names = ", ".join(str(folder.relative_to(root)) for folder in empty) or "none"
        print(f"left out: {len(errors)} pictures that cannot be decoded; classes without a picture: {names}")


def _report_warnings(warned: dict[Path, tuple[str, ...]]) -> None:
    """Print what Python warned of when the pictures were decoded.

    It is said here and not when they are used: that depends on whether their features are on disk already.
    """
    pictures = defaultdict(list)
    for path, messages in warned.items():
        for message in messages:
            pictures[message].append(path)
    for message, paths in pictures.items():
        others = f" and {len(paths) - 1} others" if len(paths) > 1 else ""
        print(printable(f"{message.rstrip('.')}: {paths[0].parent.name}/{paths[0].name}{others}"))


def _decode(pictures: list[Path]) -> dict[Path, Decoded]:
    """Decode every picture once."""
    bar = progress_bar(pictures, desc="decode every picture", unit="picture", delay=5, leave=False)
    return {path: try_to_decode(path) for path in bar}


def _check_same_classes(parts: dict[str, Path]) -> None:
    classes = {part: set(map(_visible_name, _visible_folders(path))) for part, path in parts.items()}
    for part, found in classes.items():
        if found != classes["train"]:
            missing, extra = classes["train"] - found, found - classes["train"]
            raise DataError(
                f"The folders train and {part} do not have the same classes.",
                where=parts[part],
                expected=f"the classes of train: {', '.join(sorted(classes['train']))}",
                found=f"missing: {', '.join(sorted(missing)) or 'none'}; "
                f"extra: {', '.join(sorted(extra)) or 'none'}",
                do="Rename or move the folders so that each part has every class.",
            )


def _unsound(
    root: Path, errors: dict[Path, str], empty: list[Path], entries: Iterable[tuple[Path, str]] = ()
) -> DataError:
    problems = [f"{path.relative_to(root)}: {error}" for path, error in errors.items()]
    for folder in empty:
        unread = [path for path, why in entries if why == UNREAD_TYPE and path.is_relative_to(folder)]
        why = f" of a type that is read ({_unread_types(unread)})" if unread else ""
        problems.append(f"{folder.relative_to(root)}: no picture{why} in this class")
    return DataError(
        "A folder of images cannot be used as it is.",
        where=root,
        expected="pictures that can be decoded to their end, and at least one in each class",
        found="\n            ".join(problems),
        do="Mend or move these, or leave them out with skip_bad_images=True. check_images tells more.",
    )
