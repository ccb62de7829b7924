"""The head: the last layer, which turns features into one number for each class.

Everything below it is the *backbone*, which turns a picture into a list of numbers, its *features*. Lesson 03
takes the head off and puts a new one in its place.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from course_utils.errors import ConfigError

HEAD_NAMES = ("fc", "classifier", "heads", "head")  # as torchvision's families call theirs


def find_head(model: nn.Module) -> str:
    """Return the name of the last layer, for example "fc" in a ResNet or "classifier.6" in a VGG.

    Raises:
        ConfigError: If the network does not end in a linear layer that this course knows to find.
    """
    if hasattr(model, "get_classifier"):  # timm's own way to ask
        classifier = model.get_classifier()
        for name, module in model.named_modules():
            if module is classifier and isinstance(module, nn.Linear):
                return name
    else:
        for name in HEAD_NAMES:
            module = getattr(model, name, None)
            if isinstance(module, nn.Sequential) and len(module):
                last, module = list(module.named_children())[-1]
                name = f"{name}.{last}"
            if isinstance(module, nn.Linear):
                return name
    raise ConfigError(
        "The head of this network is not known.",
        where=type(model).__name__,
        expected="a last layer of type nn.Linear, alone or at the end of an nn.Sequential, "
        f"with one of the names {', '.join(HEAD_NAMES)}",
        found=f"the parts {', '.join(name for name, _ in model.named_children())}",
        do="Choose another backbone, for example resnet18, vgg16, efficientnet_b0 or vit_b_16.",
    )


def replace_head(model: nn.Module, num_classes: int) -> nn.Linear:
    """Put a new, random linear layer in the place of the network's last layer, and return it.

    The network is changed in place. The new head takes as many features as the old one did.

    Raises:
        ConfigError: If the head is not known, or `num_classes` is less than 2.
    """
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ConfigError(
            "A head needs at least two classes to choose from.",
            where="num_classes",
            expected="a whole number from 2",
            found=repr(num_classes),
            do="Give the number of classes of your dataset: len(splits.classes).",
        )
    name = find_head(model)
    old = model.get_submodule(name)
    new = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
    model.set_submodule(name, new)
    return new


@contextmanager
def without_head(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the network with its head taken off, so that it returns the features of a picture.

    The head is put back at the end, also after an error.
    """
    name = find_head(model)
    head = model.get_submodule(name)
    model.set_submodule(name, nn.Identity())
    try:
        yield model
    finally:
        model.set_submodule(name, head)
