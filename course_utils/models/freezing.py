"""Freezing and thawing: the head and the stages of a network, and which of them are trained.

The *head* is the last layer, which turns features into one number for each class. Everything below it is the
*backbone*: a stack of *stages* that turn a picture into a list of numbers, its *features*. Lesson 03 replaces
the head. Fine-tuning thaws the backbone from the top, and lesson 06 shows how far down that pays.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from course_utils.errors import ConfigError
from course_utils.settings import unknown_name

HEAD_NAMES = ("fc", "classifier", "heads", "head")  # as torchvision's families call theirs
# As the families call theirs; those in the second row are BERT's, DistilBERT's and GPT-2's.
STAGE_CONTAINERS = (
    *("features", "encoder", "layers", "blocks", "stages", "trunk_output"),
    *("layer", "transformer", "h"),
)


def find_head(model: nn.Module) -> str:
    """Return the name of the last layer, for example "fc" in a ResNet or "classifier.6" in a VGG.

    Raises:
        ConfigError: If the network does not end in a linear layer with one of the known names.
    """
    if hasattr(model, "get_classifier"):  # a network of timm's
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
        "The head of this network was not found.",
        where=type(model).__name__,
        expected="a last layer of type nn.Linear, alone or at the end of an nn.Sequential, "
        f"with one of the names {', '.join(HEAD_NAMES)}",
        found=f"the parts {', '.join(name for name, _ in model.named_children())}",
        do="Choose another backbone, for example resnet18, vgg16, efficientnet_b0 or vit_b_16.",
    )


def replace_head(model: nn.Module, num_classes: int) -> nn.Linear:
    """Replace the network's last layer with a new, random linear layer, and return the new one.

    The network is changed in place. The new head takes as many features as the old one did, and has a bias
    if the old one had.

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
    kind = {"bias": old.bias is not None, "device": old.weight.device, "dtype": old.weight.dtype}
    new = nn.Linear(old.in_features, num_classes, **kind)
    model.set_submodule(name, new)
    return new


@contextmanager
def without_head(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the network without its head, so that it returns the features of a picture.

    The head is put back at the end, even after an error.
    """
    name = find_head(model)
    head = model.get_submodule(name)
    model.set_submodule(name, nn.Identity())
    try:
        yield model
    finally:
        model.set_submodule(name, head)


def freeze(model: nn.Module, except_head: bool = True) -> None:
    """Freeze every parameter except those of the head; if `except_head` is False, those as well.

    This keeps the optimizer from changing them. A BatchNorm layer also changes without an optimizer, whenever
    it sees a batch in train mode, so `set_train_mode` is the other half of freezing.
    """
    model.requires_grad_(False)
    if except_head:
        model.get_submodule(find_head(model)).requires_grad_(True)


def thaw(model: nn.Module, down_to: str) -> None:
    """Make the head trainable, and every stage from the top of the backbone down to the one named.

    Stages below it stay as they are. `stage_names` lists the names: "layer4" is the top one of a ResNet.

    Raises:
        ConfigError: If the network has no stage of this name.
    """
    stages = stage_parameters(model)
    names = list(stages)
    if down_to not in names[:-1]:  # the last one is the head
        raise unknown_name("stage", down_to, names[:-1])
    for name in names[names.index(down_to) :]:
        for parameter in stages[name]:
            parameter.requires_grad = True


def freeze_batchnorm(model: nn.Module) -> None:
    """Freeze every BatchNorm layer, so that `set_train_mode` leaves it in eval mode.

    A thawed BatchNorm layer estimates its mean and variance anew from the few images of each batch. If there
    are not many images, the estimates from pretraining are often better.
    """
    for module in batchnorm_layers(model):
        module.requires_grad_(False)


def batchnorm_layers(model: nn.Module) -> list[nn.Module]:
    """Return the BatchNorm layers of a network, for inputs of any number of dimensions."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def set_train_mode(model: nn.Module) -> None:
    """Switch to train mode, but leave frozen modules in eval mode.

    A module is frozen if it has parameters but none is trainable, or if it has no parameters (dropout, for
    example) and comes before the first trainable one. So a frozen BatchNorm keeps its running mean and
    variance, and a frozen backbone gives the same features for a picture every time. If only its last part is
    trainable, the network itself stays in eval mode, because some networks call dropout between their parts.
    """
    model.train()
    thawed = False  # modules are listed in the order in which they were registered: that of the layers
    for module in model.modules():
        parameters = list(module.parameters())
        if (parameters or not thawed) and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
        thawed = thawed or any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    parts = [part for part in model.children() if list(part.parameters())]
    last = {id(parameter) for part in parts[-1:] for parameter in part.parameters()}
    if parts and all(id(parameter) in last for parameter in trainable_parameters(model)):
        model.training = False


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Switch a network to eval mode, and restore the mode of every module at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, mode in modes.items():
            module.training = mode


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimizer may change."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def only_head_trainable(model: nn.Module) -> bool:
    """Return whether the head, and nothing but the head, is trainable."""
    head = {id(parameter) for parameter in model.get_submodule(find_head(model)).parameters()}
    return {id(parameter) for parameter in trainable_parameters(model)} == head


def stage_names(model: nn.Module) -> list[str]:
    """Return the names of the backbone's stages, from the picture to the head.

    A stage is a part of the network with parameters, named as in the network. In a ResNet the stages are
    conv1, bn1 and layer1 to layer4. If a family keeps its stages in a container ("features", "encoder", ...),
    each part of the container is a stage: each layer of a VGG, each block of a vision transformer. A
    normalisation between the last stage and the head is not a stage of its own: it belongs to the last one.

    Raises:
        ConfigError: If the head is not known.
    """
    head = find_head(model)
    parts = {name: list(part.parameters()) for name, part in _parts(model, head)}
    names = [name for name, parameters in parts.items() if parameters and name != head]
    while len(names) > 1 and all(parameter.ndim == 1 for parameter in parts[names[-1]]):
        names.pop()
    return names


def _parts(module: nn.Module, head: str, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the name and the module of every part, in order, with and without parameters, and the head."""
    for name, part in module.named_children():
        if name in STAGE_CONTAINERS or head.startswith(f"{prefix}{name}."):
            yield from _parts(part, head, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def stage_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each stage, from the picture up, and last those of the head.

    Every parameter is in one of the lists. Parameters outside all stages, such as the position embedding of a
    vision transformer, are in the first list, except that a normalisation before the head belongs to the last
    stage.

    Raises:
        ConfigError: If the head is not known.
    """
    head = find_head(model)
    stages = {name: [] for name in (*stage_names(model), head)}
    first = stage = next(iter(stages))
    stage_of_part = {}
    for part, _ in _parts(model, head):
        stage = stage_of_part[part] = part if part in stages else stage
    for name, parameter in model.named_parameters():
        part = next((part for part in stage_of_part if name.startswith(f"{part}.")), None)
        stages[stage_of_part.get(part, first)].append(parameter)
    return stages


def check_head(model: nn.Module, num_classes: int) -> None:
    """Refuse what PyTorch runs without an error: a head for other classes, or nothing to train."""
    name = find_head(model)
    answers = model.get_submodule(name).out_features
    if answers != num_classes:
        raise ConfigError(
            "The head does not match the classes of the dataset.",
            where=f"model.{name}",
            expected=f"{num_classes} outputs, one for each class",
            found=f"{answers} outputs",
            do=f"Call replace_head(model, num_classes={num_classes}) first. An attribute that you set "
            "by another name is never called by the network.",
        )
    check_trainable(model)


def check_trainable(model: nn.Module) -> None:
    """Refuse a network in which everything is frozen."""
    if not trainable_parameters(model):
        raise ConfigError(
            "No parameter is trainable.",
            where=type(model).__name__,
            expected="at least one parameter with requires_grad=True",
            found="every parameter is frozen",
            do="Call freeze(model), which leaves the head trainable.",
        )


def choose_device(name: str = "auto") -> torch.device:
    """Return where the network runs: for "auto" a CUDA GPU if there is one, otherwise the CPU.

    Apple's "mps" is used only if it is named, because users report losses there that differ from a CPU's.

    Raises:
        ConfigError: If this machine does not have the device.
    """
    has_cuda = torch.cuda.is_available()
    present = {"cpu": True, "cuda": has_cuda, "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if not present.get(name):
        raise ConfigError(
            f"This machine has no device {name!r}.",
            where="device",
            expected=f"auto or {', '.join(name for name, here in present.items() if here)}",
            found=repr(name),
            do='Use device="auto".',
        )
    return torch.device(name)
