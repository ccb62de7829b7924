"""Which stages does a backbone have, and which of them are trained?

A backbone is a pile of *stages*, from the picture up to the head. Fine-tuning thaws it from the top:
lesson 06 shows how far down that pays.
"""

from collections.abc import Iterator

from torch import nn

from course_utils.backbones import find_head
from course_utils.settings import unknown_name

# As the families call theirs; the last three are those of BERT, DistilBERT and GPT-2.
STAGE_CONTAINERS = ("features", "encoder", "layers", "blocks", "stages", "layer", "transformer", "h")


def thaw(model: nn.Module, down_to: str) -> None:
    """Make the head trainable, and every stage from the top of the backbone down to the one named.

    Stages below it are left as they are. `stage_names` lists them: "layer4" is the top one of a ResNet.

    Raises:
        ConfigError: If the network has no stage of this name.
    """
    names = stage_names(model)
    if down_to not in names:
        raise unknown_name("stage", down_to, names)
    wanted = {find_head(model), *names[names.index(down_to) :]}
    for name, parameter in model.named_parameters():
        if stage_of(name, model) in wanted:
            parameter.requires_grad = True


def freeze_batchnorm(model: nn.Module) -> None:
    """Make every BatchNorm layer untrainable, so that `set_train_mode` leaves it in eval mode.

    A thawed BatchNorm layer learns its own mean and variance anew, from the few images of each batch. If
    there are not many of them, those that it brought along from the pretraining are often the better ones.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)


def stage_names(model: nn.Module) -> list[str]:
    """Return the names of the backbone's parts that have parameters, from the picture to the head.

    In a ResNet these are conv1, bn1 and layer1 to layer4. Where a family keeps its stages in a container
    ("features", "encoder", ...), each one in it counts.
    """
    head = model.get_submodule(find_head(model))
    own = {id(parameter) for parameter in head.parameters()}
    return [
        name
        for name, module in all_parts(model)
        if any(id(parameter) not in own for parameter in module.parameters())
    ]


def all_parts(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Give the name and the module of every part, in order, with and without parameters, and the head."""
    for name, module in model.named_children():
        if name in STAGE_CONTAINERS:
            yield from all_parts(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def stage_of(parameter_name: str, model: nn.Module) -> str:
    """Return the stage that a parameter belongs to, or the name of the head if it is one of the head's.

    Parameters of no stage, such as the position embedding of a vision transformer, belong to the first.
    """
    names = stage_names(model)
    for name in (find_head(model), *names):
        if parameter_name.startswith(f"{name}."):
            return name
    return names[0]
