"""Checks of lesson 09: files that cannot be used, and labels that are probably wrong.

The checks write their own pictures into a temporary folder and delete it afterwards.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.checks.asking import NO_RETURN, ask, ask_value
from course_utils.checks.mistakes import Mistakes, some_numbers
from course_utils.checks.values import as_names, first_difference
from course_utils.checks.verdict import Right, Wrong, check

_LEFT_OUT = {
    "cats/half.png": "its second half is missing",
    "dogs/nothing.png": "it is empty",
    "dogs/page.jpg": "it is a web page with the file extension of a picture",
}


def _write_spoiled_folder(folder: Path) -> None:
    """Write pictures of two classes, the unusable files of `_LEFT_OUT`, and two that only look unusable."""
    cats, dogs = folder / "cats", folder / "dogs"
    random = np.random.default_rng(5)
    for number, class_folder in enumerate([cats, dogs, cats, dogs]):
        class_folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (24, 24, 4), dtype=np.uint8)
        Image.fromarray(pixels[..., :3].copy()).save(class_folder / f"{number}.png")
        Image.fromarray(pixels).save(class_folder / f"see_through_{number}.png")
    whole = (cats / "0.png").read_bytes()
    (cats / "half.png").write_bytes(whole[: len(whole) // 2])
    (cats / "notes.txt").write_text("to be sorted")
    (dogs / "nothing.png").touch()
    (dogs / "page.jpg").write_text("<html>Please log in</html>" * 20)
    (dogs / "same.png").write_bytes(whole)


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@check(
    begin="look at the columns of `check_images(folder)`. Which one says what the course does with a file?",
    expects="a function from a folder to a list of paths",
)
def left_out_files(answer):
    """Lesson 09: the unusable files in a folder, found without changing any file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        _write_spoiled_folder(folder)
        before = _contents(folder)
        value = ask(answer, folder)
        after = _contents(folder)
        if before != after:
            name = next(name for name in {**before, **after} if before.get(name) != after.get(name))
            raise Wrong(
                f"{name} was changed, added or deleted. Only return paths, and leave every file unchanged: "
                "the owner of the files decides what to do with them."
            )
        if value is None:
            raise Wrong(NO_RETURN)
        if hasattr(value, "columns"):
            raise Wrong("Expected a list of paths, got a table. The paths are in its column `path`.")
        names = {str(name) for name in as_names(value)}
        if extra := names - set(_LEFT_OUT):
            raise Wrong(_why_not_left_out(min(extra), folder))
        if missing := set(_LEFT_OUT) - names:
            name = min(missing)
            raise Wrong(
                f"{name} is not in your list of {len(names)}. It cannot be used: {_LEFT_OUT[name]}. To "
                "find all such files, you have to decode every picture to the end."
            )
        yield Right(
            f"You list the {len(_LEFT_OUT)} files that cannot be used and leave all {len(before)} unchanged."
        )


def _why_not_left_out(name: str, folder: Path) -> str:
    short = Path(name).name
    if not list(folder.rglob(f"*/{short}")):
        return f"You list {name!r:.40}, but there is no such file. Expected paths of files in the folder."
    if name.startswith(("/", str(folder))) or not (folder / name).is_file():
        return (
            f"You list {short} under a different path. Write its path relative to the folder, beginning with "
            "the class, as the report does."
        )
    reasons = {
        "notes": "It is not a picture, so the course ignores it anyway, and you need not leave it out.",
        "same": "It is a copy of a picture in the other class. Both are kept, because only you know which "
        "label is right.",
        "see": "It can be used with care: it is partly transparent, so the course puts it on white.",
        "0": "The other class has a copy of it. Both are kept, because only you know which label is right.",
    }
    return f"You list {name}. {reasons.get(short.split('.')[0].split('_')[0], 'It is a readable picture.')}"


@check(
    begin="`cross_val_predict` trains five classifiers, and each predicts images that it has not seen.",
    expects="a function from features and labels to a table of probabilities",
)
def held_out_probabilities(answer):
    """Lesson 09: the probability of each class, from classifiers that have not seen the image."""
    features, given, spoiled = _spoiled_labels()
    table = np.asarray(ask_value(answer, features.copy(), given.copy()), dtype=float)
    if table.shape != (len(given), 4):
        raise Wrong(
            f"Expected probabilities for {len(given)} images of 4 classes, got shape {list(table.shape)}. "
            "Return a row for each image and a column for each class."
        )
    sums = table.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3):
        row = int(np.nanargmax(abs(sums - 1))) if np.isfinite(sums).any() else 0
        raise Wrong(f"Row {row} sums to {sums[row]:.2f}. The probabilities of all classes must sum to 1.")
    if table.min() < 0:
        raise Wrong(f"One of your probabilities is {table.min():.2f}. A probability is never below 0.")
    agrees = table.argmax(axis=1) == given
    believed, sound = int(agrees[spoiled].sum()), np.delete(agrees, spoiled).mean()
    if believed > 0.3 * len(spoiled):
        raise Wrong(
            f"{len(spoiled)} labels are wrong on purpose, and your classifier predicts {believed} of them, "
            "because it has memorised them. Use one that has not seen the image."
        )
    if sound < 0.6:
        raise Wrong(
            f"Your classifier predicts only {sound:.0%} of the correct labels; guessing would get 25 %. Does "
            "row 0 belong to image 0?"
        )
    yield Right(
        f"Your classifier predicts {believed} of {len(spoiled)} wrong labels and {sound:.0%} of the correct "
        "ones."
    )


def _spoiled_labels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels of which some are wrong, and the positions of the wrong labels.

    There are more features than images, enough to memorise every label.
    """
    random = np.random.default_rng(2)
    truth = random.permutation(np.arange(160) % 4)
    centres = random.normal(size=(4, 600))
    features = (centres[truth] + 4 * random.normal(size=(160, 600))).astype(np.float32)
    spoiled = random.choice(160, size=16, replace=False)
    given = truth.copy()
    given[spoiled] = (given[spoiled] + random.integers(1, 4, size=16)) % 4
    return features, given, spoiled


def _of_labels(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return table[np.arange(len(labels)), labels]


def _first_other_image(
    value: list[int], right: list[int], table: np.ndarray, labels: np.ndarray, count: int
) -> str:
    if len(value) != count:
        return f"Expected {count} images, got {len(value)}."
    place = first_difference(value, right)
    image = right[place - 1]
    return (
        f"Number {place} should be image {image}, whose label has a probability of "
        f"{_of_labels(table, labels)[image]:.4f}, but you return image {value[place - 1]}."
    )


SUSPICIOUS_LABELS = Mistakes(
    right=lambda table, labels, count: _of_labels(table, labels).argsort()[:count],
    wrong={
        "Those are the most probable labels. Which end of the order do you take?": (
            lambda table, labels, count: _of_labels(table, labels).argsort()[::-1][:count]
        ),
        "Those are the least confident predictions. Look at the probabilities of the labels instead: a label "
        "is suspicious if another class is more probable.": (
            lambda table, labels, count: table.max(axis=1).argsort()[:count]
        ),
        "You sort by the lowest probability in each row, whichever class it belongs to. Use the probability "
        "of the image's own label.": lambda table, labels, count: table.min(axis=1).argsort()[:count],
    },
    read=some_numbers(
        "Expected positions of images, not the probabilities of their labels, got {value}.", whole=True
    ),
    otherwise=_first_other_image,
)


@check(
    begin="for each image, take the probability of its own label, and sort the images by it.",
    expects="a function from probabilities, labels and a count to positions of images",
)
def suspicious_labels(answer):
    """Lesson 09: the images whose own labels are least probable, the least probable first."""
    random = np.random.default_rng(9)
    table = random.dirichlet([0.6, 0.6, 0.6], size=50)
    yield from SUSPICIOUS_LABELS.compare(answer, [(table, random.integers(3, size=50), 6)])
    yield Right("You sort the images by the probability of their own labels, the least probable first.")
