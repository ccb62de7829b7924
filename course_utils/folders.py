"""Pictures in folders: one folder for each class, whatever kind of picture is in it.

Your own photographs come this way (lesson 09), and so does any dataset that you have unpacked yourself.
"""

import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps
from torch.utils.data import Dataset
from torchvision import datasets

from course_utils.errors import DataError

IGNORED_FOLDERS = {"__MACOSX"}  # besides every name that begins with a dot


class FolderOfClasses(datasets.ImageFolder):
    """torchvision's `ImageFolder`, reading every picture with `load_rgb` and no hidden folder or file."""

    def __init__(self, root: str | Path, transform: Callable | None = None):
        try:
            super().__init__(
                str(root),
                transform=transform,
                loader=load_rgb,
                is_valid_file=partial(_is_image_in, Path(root)),
            )
        except FileNotFoundError as error:
            raise DataError(
                "A folder of images cannot be used.",
                where=root,
                expected="one folder for each class, with at least one image in each",
                found=str(error),
                do="Put images into the empty class folder, or remove it.",
            ) from error

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Return the names of the class folders in order, and the label of each."""
        classes = [folder.name for folder in _visible_folders(Path(directory))]
        return classes, {name: label for label, name in enumerate(classes)}


def _is_image_in(root: Path, path: str) -> bool:
    parts = Path(path).relative_to(root).parts
    visible = not any(part.startswith(".") or part in IGNORED_FOLDERS for part in parts)
    return visible and path.lower().endswith(datasets.folder.IMG_EXTENSIONS)


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
    folders = [
        folder
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in IGNORED_FOLDERS
    ]
    # By the visible name, so that two spellings of one name in Unicode get the same label.
    return sorted(folders, key=_visible_name)


def folder_sources(root: Path) -> dict[str, Callable[[Callable], Dataset]]:
    """Read class folders, or the folders train, test and (if you have one) val of class folders."""
    names = {folder.name for folder in _visible_folders(root)}
    if not names:
        raise DataError(
            "The folder of images has no class folders.",
            where=root,
            expected="one folder for each class, or the folders train and test with one for each class",
            found="no folder",
            do="Sort your images into one folder for each class.",
        )
    parts = {"train": root}
    if "train" in names and names <= {"train", "val", "test"}:
        parts = {name: root / name for name in sorted(names)}
    classes = {part: _class_names(folder) for part, folder in parts.items()}
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
    return {
        part: lambda transform, folder=folder: FolderOfClasses(folder, transform)
        for part, folder in parts.items()
    }


def _class_names(folder: Path) -> set[str]:
    return {_visible_name(entry) for entry in _visible_folders(folder)}


def _visible_name(path: Path) -> str:
    """Return a name in one spelling: macOS and Linux write accented letters as different bytes."""
    return unicodedata.normalize("NFC", path.name)


def load_rgb(path: str | Path) -> Image.Image:
    """Read one picture of any kind as RGB, upright, what is transparent on white.

    Raises:
        DataError: If the file is not a picture that can be decoded.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            "A picture could not be read.",
            where=Path(path).resolve(),
            expected="a picture that can be decoded to its end (PNG, JPEG, WebP, ...)",
            found=f"{type(error).__name__}: {error}",
            do="Open it in a picture viewer; save it again, or take it out of the folder.",
        ) from error
