"""What is in a pretrained network, which part is its head, and what is frozen?

The *backbone* turns a picture into a list of numbers, its *features*. The *head*, the last layer, turns
the features into one number for each class. Lessons 02 to 04 take them apart, exchange the head and
freeze the backbone.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.transforms import v2

from course_utils.errors import ConfigError, WeightsError
from course_utils.weights import (
    FileWeights,
    RandomWeights,
    TimmWeights,
    backbone_name,
    hub_state_dict,
    refuse_unfit,
)

HEAD_NAMES = ("fc", "classifier", "heads", "head")  # as torchvision's families call theirs

# These two have extra heads in the middle, which only training from scratch uses; they are left out.
AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def load_backbone(weights: WeightsEnum) -> nn.Module:
    """Build the network that the weights belong to and fill it with them.

    Returns:
        torchvision's (or timm's) own network: float32, on the CPU, every parameter trainable.

    Raises:
        WeightsError: If the weights are missing, damaged, altered, or do not fit the network.
    """
    name = backbone_name(weights)
    if isinstance(weights, RandomWeights):
        print(f"RANDOM WEIGHTS: this {name} has learned nothing yet, because weights is 'none'.")
        return build_backbone(name)
    if isinstance(weights, TimmWeights):
        return _timm_model(name, pretrained=True)
    state = weights.get_state_dict() if isinstance(weights, FileWeights) else hub_state_dict(weights)
    extra = AUXILIARY_HEADS.get(name, ())
    state = {entry: tensor for entry, tensor in state.items() if entry.split(".")[0] not in extra}
    model = build_backbone(name)
    refuse_unfit(state, model, getattr(weights, "path", weights.url))
    head = find_head(model) if isinstance(weights, FileWeights) else None
    try:
        if head and f"{head}.weight" in state:
            replace_head(model, state[f"{head}.weight"].shape[0])  # a local file may know other classes
        model.load_state_dict(state)
    except (RuntimeError, IndexError, ConfigError) as error:
        raise WeightsError(
            f"The weights do not belong to a {name}.",
            where=getattr(weights, "path", weights.url),
            expected=f"the {len(model.state_dict())} entries of a {name}",
            found=" ".join(str(error).split())[:300],
            do="Name the backbone that these weights were saved from.",
        ) from error
    return model


def build_backbone(name: str) -> nn.Module:
    """Build a network by its name ("resnet18", "timm/NAME", ...) with random parameters."""
    if name.startswith("timm/"):
        return _timm_model(name, pretrained=False)
    if name in AUXILIARY_HEADS:
        # transform_input: as torchvision builds these two for its pretrained weights.
        return models.get_model(name, init_weights=True, aux_logits=False, transform_input=True)
    return models.get_model(name)


def _timm_model(name: str, pretrained: bool) -> nn.Module:
    import timm

    try:
        return timm.create_model(name.removeprefix("timm/"), pretrained=pretrained)
    except Exception as error:  # whatever the hub's client raises without a network
        raise WeightsError(
            f"timm could not load {name}.",
            where=name,
            expected="weights in timm's cache, or a network to download them",
            found=f"{type(error).__name__}: {error}",
            do='Use a torchvision backbone, or weights="none" for a random network.',
        ) from error


def backbone_transform(weights: WeightsEnum, image_size: int | None = None) -> v2.Transform:
    """Return the preprocessing that the weights were made with, from any picture.

    Args:
        weights: Their own `.transforms()` are used, unchanged but for the size.
        image_size: Height and width of the result in pixels. None: the weights' own.

    Returns:
        A transform from a PIL picture of any mode to a tensor: float32, [3, height, width], normalised
        with the weights' own mean and standard deviation.

    Raises:
        ConfigError: If the network cannot take pictures of this size.
    """
    if image_size is not None:
        with suppress(StopIteration):  # an entry of somebody's own need not name a network
            _check_size(backbone_name(weights), image_size)
    own_size = {} if image_size is None else {"crop_size": image_size, "resize_size": image_size}
    return v2.Compose([v2.RGB(), weights.transforms(**own_size)])


@cache
def _check_size(name: str, image_size: int) -> None:
    """Send a picture without numbers through a network without numbers: only the shapes count."""
    try:
        with torch.device("meta"), torch.inference_mode():
            build_backbone(name).eval()(torch.empty(1, 3, image_size, image_size))
    except NotImplementedError:
        return  # a RegNet cannot be built without numbers; it takes every size
    except Exception as error:  # each network says it in its own way
        raise ConfigError(
            f"{name} cannot take pictures of this size.",
            where="image_size",
            expected="a size that the network was made for: a vision transformer takes one only, and a deep "
            "network nothing too small",
            found=f"{image_size} pixels ({' '.join(str(error).split())[:150]})",
            do="Leave image_size out, which is None: the size that the weights were made for.",
        ) from error


def find_head(model: nn.Module) -> str:
    """Return the name of the last layer, for example "fc" in a ResNet or "classifier.6" in a VGG.

    Raises:
        ConfigError: If the network does not end in a linear layer that this course knows to find.
    """
    if hasattr(model, "get_classifier"):  # timm's own way to ask
        classifier = model.get_classifier()
        names = [name for name, module in model.named_modules() if module is classifier]
        if names and isinstance(classifier, nn.Linear):
            return names[0]
    for name in () if hasattr(model, "get_classifier") else HEAD_NAMES:
        module = getattr(model, name, None)
        if isinstance(module, nn.Linear):
            return name
        if isinstance(module, nn.Sequential) and len(module):
            last, layer = list(module.named_children())[-1]
            if isinstance(layer, nn.Linear):
                return f"{name}.{last}"
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
    put(model, name, new)
    return new


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the part with this name, for example "layer4" or "classifier.6"."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def freeze(model: nn.Module, except_head: bool = True) -> None:
    """Make every parameter untrainable, but for those of the head (unless `except_head` is False).

    This stops the optimizer. A BatchNorm layer also changes without an optimizer, whenever it sees a
    batch in train mode: `set_train_mode` is the other half of freezing.
    """
    model.requires_grad_(False)
    if except_head:
        model.get_submodule(find_head(model)).requires_grad_(True)


def set_train_mode(model: nn.Module) -> None:
    """Switch to train mode, but leave in eval mode what is frozen.

    Frozen is a module with parameters of which none is trainable, and every module without parameters
    (dropout, for example) that comes before the first trainable one. So a frozen BatchNorm keeps its
    running mean and variance, and a frozen backbone says the same about a picture every time.
    """
    model.train()
    thawed = False  # modules are listed in the order in which they were registered: that of the layers
    for module in model.modules():
        own = list(module.parameters())
        trainable = any(parameter.requires_grad for parameter in own)
        if not trainable and (own or not thawed):
            module.eval()
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            thawed = True


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimizer may change."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def frozen_below_head(model: nn.Module) -> bool:
    """Return whether the head, and nothing but the head, is trainable."""
    head = {id(parameter) for parameter in model.get_submodule(find_head(model)).parameters()}
    return {id(parameter) for parameter in trainable_parameters(model)} == head


@contextmanager
def without_head(model: nn.Module) -> Iterator[nn.Module]:
    """Lend the network with its head taken off: what goes in is a picture, what comes out its features.

    The head is put back at the end, also after an error.
    """
    name = find_head(model)
    head = model.get_submodule(name)
    put(model, name, nn.Identity())
    try:
        yield model
    finally:
        put(model, name, head)


def choose_device(name: str = "auto") -> torch.device:
    """Return where the network runs: "auto" is CUDA's graphics card if there is one, else the CPU.

    Apple's "mps" is used only if it is named: the course was never tested there, and others report other
    losses than on a CPU.

    Raises:
        ConfigError: If a device is asked for that this machine does not have.
    """
    present = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    if name == "auto":
        return torch.device(present[0])
    if torch.backends.mps.is_available():
        present.append("mps")
    if name not in present:
        raise ConfigError(
            f"This machine has no device {name!r}.",
            where="device",
            expected=f"auto or {', '.join(present)}",
            found=repr(name),
            do='Use device="auto".',
        )
    return torch.device(name)
