"""Checks of lesson 09: a network that is handed over, and the card that goes with it.

The networks are the check's own and small, and the files are in a temporary folder that is gone afterwards.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_utils.checks.values import listed
from course_utils.checks.verdict import Right, Wrong, ask, ask_value, check
from course_utils.data.preprocessing import Preprocessing
from course_utils.errors import CheckpointError
from course_utils.evaluation.metrics import Evaluation, predict
from course_utils.models.backbones import build_backbone
from course_utils.models.freezing import replace_head
from course_utils.models.saving import load_model


@check(
    begin="`save_model` writes the file; `load_model` and `Preprocessing.from_dict` bring back what "
    "`predict` needs.",
    expects="two functions: one that writes a network to a path, and one that asks the network at a path",
    answers=2,
)
def handed_over(keep, answer):
    """Lesson 09: two functions that save a network, and ask the saved one: the answers must be the same."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    picture = picture.resize((80, 60), Image.Resampling.BICUBIC)
    # No network is prepared for in this way by default, so that another preprocessing shows
    unusual = {"crop_size": 48, "resize_size": 48, "mean": (0.2, 0.5, 0.7), "std": (0.4, 0.3, 0.2)}
    transform = Preprocessing(**unusual).transform()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for classes in (["zebra", "apple", "moth"], ["tree", "shrub", "herb"]):
            model = _small_network(len(classes))
            path = Path(folder) / f"{classes[0]}.safetensors"
            files[path] = predict(model, picture, transform, classes)
            ask(keep, model, path, "shufflenet_v2_x0_5", list(classes), transform)
            if hint := _file_mistake(path, classes):
                raise Wrong(hint)
        yield Right("The files hold weights, names and preprocessing.")
        for number, (path, wanted) in enumerate(files.items(), start=1):
            table = ask_value(answer, path, picture)
            given, true = (dict(zip(t["class"], t["probability"], strict=True)) for t in (table, wanted))
            if set(given) != set(true):
                raise Wrong(
                    f"The file is about {listed(true)}, and the answer about {listed(given)}. Do you read "
                    "this path?"
                )
            off = max(abs(given[name] - true[name]) for name in true)
            if off > 1e-4:
                raise Wrong(
                    f"File {number} is sound, but a probability is off by {off:.2f}. Is the picture "
                    "prepared as the file says, by the network in the file, without a new head and in eval "
                    "mode?"
                )
        yield Right("Both files answer just as the networks did that they were saved from.")


def _small_network(num_classes: int) -> torch.nn.Module:
    """Return a small random network whose answers depend clearly on the picture."""
    model = build_backbone("shufflenet_v2_x0_5")
    head = replace_head(model, num_classes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # so that one batch is enough for its mean and variance
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 48, 48))
        head.weight.mul_(3)
    return model.eval()


def _file_mistake(path: Path, classes: list[str]) -> str | None:
    if not path.is_file():
        return f"There is no file {path.name}: your function has to write to the path that it is given."
    try:
        _, card = load_model(path)
    except CheckpointError as error:
        return (
            f"There is a file, but load_model cannot read it ({error.found[:80]}). Write it with save_model."
        )
    if card["classes"] != classes:
        return (
            f"The network's outputs are called {classes}, in this order, and the file says "
            f"{card['classes']}: each probability would get the wrong name."
        )
    if not card["preprocessing"]:
        return "The file does not say how pictures are prepared. Without that nobody can use it correctly."
    return None


PROMISES = r"\b(?<!not )(always|never wrong|perfect\w*|any picture|any image|everything|guarantee\w*|100 ?%)"

# What a warning is about: pictures of another kind, or people who could come to harm.
WARNINGS = (
    r"\b(photo\w*|cameras?|real|eat\w*|health\w*|people|person\w*|faces?|medic\w*|safety|decisions?|other|outside|unknown|police|danger\w*"
    r"|harm\w*|poison\w*|child\w*|diagnos\w*|identif\w*)"
)


@check(
    begin="say in a sentence who would ask the network what, and in another where its answer could do harm.",
    expects="two texts: what the network is for, and what it is not for",
    answers=2,
)
def card_purpose(purpose, not_for, classes):
    """Lesson 09: the two sentences of a model card that only a person can write."""
    mistakes = list(_card_mistakes(purpose, not_for, classes))
    right = Right("Both texts can be read by a stranger. Whether they are true, only you know.")
    yield from mistakes or [right]


def _card_mistakes(purpose: str, not_for: str, classes: list[str]) -> Iterator[str]:
    for name, text in (("purpose", purpose), ("not_for", not_for)):
        count = len(set(re.findall(r"\w+", text)))
        if count < 5:
            raise Wrong(f"{name} has {count} different words. Write a sentence that a stranger can act on.")
    purpose, not_for = purpose.lower(), not_for.lower()
    words = set(re.findall(r"\w+", purpose))
    if words == set(re.findall(r"\w+", not_for)):
        yield "Both texts say the same. What would you not use the network for?"
    if found := re.search(PROMISES, purpose):
        yield f"'{found[0]}' is a promise that a test on some images cannot keep. Say what was measured on."
    kinds = {word for name in classes for word in re.findall(r"[a-z]{3,}", name.lower())}
    stems = {re.sub(r"(?<=...)(ies|y|s)$", "", word) for word in [*kinds, "drawing", "clip", "illustration"]}
    if not any(word.startswith(tuple(stems)) for word in words):
        yield "purpose does not say for which pictures it is: what do they show, and of which kind are they?"
    if re.search(r"\banything else\b", not_for) and len(not_for.split()) < 12:
        yield (
            "'Anything else' is no warning. Name one use that somebody might think of and that would go "
            "wrong."
        )
    elif not re.search(WARNINGS, not_for):
        yield "not_for names neither other pictures (photographs?) nor people whom a wrong answer could harm."


@check(
    begin="take the table of `per_class(result)`, drop the classes without an image, and sort by recall.",
    expects="a function from an Evaluation to a sentence",
)
def weakest_class(answer):
    """Lesson 09: which class is found least often, in a sentence: its name, how many of how many."""
    for counts, weakest in (
        ({"owl": (9, 10), "fox": (3, 12), "elk": (4, 15), "eel": (0, 0)}, "fox"),
        ({"cup": (7, 8), "pan": (6, 9), "jug": (5, 7)}, "pan"),
    ):
        text = ask_value(answer, _result(counts))
        words = re.findall(r"\w+", text.lower())
        found, images = counts[weakest]
        named = [name for name in counts if name in words]
        if not named:
            raise Wrong(f"'{text:.60}' does not name one of the classes {listed(counts)}.")
        if named != [weakest]:
            measured = ", ".join(f"{name} {right} of {of}" for name, (right, of) in counts.items())
            why = _why_not_weakest(named, counts)
            raise Wrong(f"What was found: {measured}. You name {listed(named)}. {why}")
        if str(images) not in words:
            raise Wrong(
                f"'{text:.60}' does not say how many images of {weakest} there were. With few, a share says "
                "little."
            )
        if str(found) not in words:
            raise Wrong(
                f"'{text:.60}' does not say how many images of {weakest} were found. A reader needs both "
                "numbers."
            )
        if re.search(rf"\b{images} ?(of|/|out of) ?{found}\b", text.lower()):
            raise Wrong(
                f"'{text:.60}' has the two numbers the wrong way round: first how many were found, then of "
                "how many."
            )
        yield Right(text)


def _why_not_weakest(named: list[str], counts: dict[str, tuple[int, int]]) -> str:
    if len(named) > 1:
        return "Name one class only, the one with the lowest recall."
    right, images = counts[named[0]]
    if images == 0:
        return "There is no image of it, so nothing was measured: leave such classes out."
    if right / images == max(right / of for right, of in counts.values() if of):
        return "It is the one that is found most often. Do you sort from high to low?"
    return "Recall is the share of its own images that were found. Is that what you compare?"


def _result(counts: dict[str, tuple[int, int]]) -> Evaluation:
    """Return answers in which so many of so many images of each class are named right."""
    labels, named = [], []
    for number, (right, images) in enumerate(counts.values()):
        labels += [number] * images
        named += [number] * right + [0 if number else 1] * (images - right)
    probabilities = torch.nn.functional.one_hot(torch.tensor(named), len(counts)).float()
    return Evaluation(probabilities, torch.tensor(labels), list(counts))
