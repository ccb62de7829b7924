"""The checks of lessons 02 and 03: what is in a network, and what happens to its head."""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torchvision import models

from course_utils.checks.verdict import Right, as_number, ask, check, describe
from course_utils.models import find_head, freeze, replace_head, trainable_parameters

__all__ = ["diagnosis", "head_parameters", "new_head", "output_shape", "parameter_count", "task_layer"]


@check(
    begin="print(model) and look for the layer that has one output for each of the old categories.",
    expects="the name of a part of the network, as text",
)
def task_layer(answer: str, model: nn.Module) -> Iterator[str]:
    """Lesson 02: which layer belongs to the old task?"""
    head = find_head(model)
    if not isinstance(answer, str):
        yield f"Give the name of the layer as text, in quotes. This is {describe(answer)}."
        return
    name = answer.strip().removeprefix("model.")
    parts = dict(model.named_modules())
    if name == head:
        yield Right(f"model.{head} has {parts[head].out_features:,} outputs, one for each old category.")
    elif name not in parts or not name:
        children = ", ".join(child for child, _ in model.named_children())
        yield f"The network has no part {name!r}. Its parts are {children}."
    elif not list(parts[name].parameters()):
        yield f"model.{name} has no parameters, so it has learned nothing of any task."
    else:
        yield f"What model.{name} finds, edges or parts of things, is of use for your pictures, too. Look on."


@check(
    begin="`model.get_submodule(stage)` gives the stage, `.parameters()` all of its tensors.",
    expects="a function from a network and the name of a stage to a whole number",
)
def parameter_count(
    answer: Callable, model: nn.Module, stages: Sequence[str] = ("layer1", "layer3")
) -> Iterator[str]:
    """Lesson 02: does a function count the numbers that a stage has learned?"""
    for stage in stages:
        part = model.get_submodule(stage)
        count = as_number(ask(answer, model, stage))
        tensors, buffers = list(part.parameters()), list(part.buffers())
        right = sum(tensor.numel() for tensor in tensors)
        kinds = {
            len(tensors): f"That is how many tensors {stage} has: count the numbers in each, `.numel()`.",
            right
            + sum(b.numel() for b in buffers): "You have counted the buffers as well, the running means "
            "and variances of BatchNorm: no training step moves them, so they are no parameters.",
            sum(p.numel() for p in model.parameters()): "That is the whole network: take one stage only.",
            _numbers_in(
                part, nn.Conv2d
            ): f"{stage} has more than convolutions: BatchNorm has parameters, too.",
            sum(p.numel() for p in part[0].parameters()): f"That is the first block of {stage} alone.",
            sum(p.numel() for p in part.parameters() if p.requires_grad): "You count only what is trainable.",
        }
        if count is None:
            yield "A whole number should come back: is there a `return`?"
        elif count == right:
            yield Right(f"{stage} has {right:,} parameters.")
            continue
        elif count in kinds:
            yield kinds[count]
        else:
            yield f"For {stage} you give {count:,.0f}, which is {count / right:.2f} times what it should be."
        return


def _numbers_in(part: nn.Module, kind: type) -> int:
    own = [module.parameters() for module in part.modules() if isinstance(module, kind)]
    return sum(parameter.numel() for parameters in own for parameter in parameters)


@check(
    begin="send `torch.zeros(1, 3, size, size)` through the network up to `layer3`, or count the steps of 2.",
    expects="a function from a size in pixels to three whole numbers",
)
def output_shape(answer: Callable, model: nn.Module, sizes: Sequence[int] = (64, 224, 100)) -> Iterator[str]:
    """Lesson 02: what shape leaves layer3, whatever the size of the picture?"""
    for size in sizes:
        right, *others = _shapes_after(model, ("layer3", "layer2", "layer4"), size)
        given = ask(answer, size)
        numbers = [as_number(number) for number in given] if hasattr(given, "__iter__") else [None]
        if None in numbers:
            yield f"Three whole numbers should come back: channels, height, width. It was {describe(given)}."
        elif numbers == right:
            yield Right(f"{size} pixels become {right}.")
            continue
        elif numbers == [1, *right]:
            yield "Leave out the number of pictures: asked are channels, height and width of one of them."
        elif numbers in others:
            yield f"{given} is what leaves another stage: stop after layer3."
        elif len(numbers) == 3 and numbers[0] != right[0]:
            yield f"layer3 does not have {numbers[0]:g} channels: see the last convolution in it."
        elif len(numbers) == 3 and numbers[1:] == [size // 16, size // 16]:
            yield (
                f"With {size} pixels it is not {given}. Each step of 2 rounds up: follow the size of the "
                "picture from step to step."
            )
        else:
            yield f"With {size} pixels it is not {given}: how many steps of 2 are there up to layer3?"
        return


def _shapes_after(model: nn.Module, stages: Sequence[str], size: int) -> list[list[int]]:
    """Run a copy of a network on the meta device, where only shapes are computed."""
    shapes, shadow = {}, copy.deepcopy(model).to("meta").eval()
    for stage in stages:
        shadow.get_submodule(stage).register_forward_hook(
            lambda module, inputs, output, stage=stage: shapes.update({stage: list(output.shape[1:])})
        )
    with torch.no_grad():
        shadow(torch.zeros(1, 3, size, size, device="meta"))
    return [shapes[stage] for stage in stages]


@check(
    begin="each class has one weight for each feature. What else does a linear layer have?",
    expects="a function from two whole numbers to one",
)
def head_parameters(
    answer: Callable, cases: Sequence[tuple[int, int]] = ((512, 10), (2048, 37))
) -> Iterator[str]:
    """Lesson 03: how many parameters does a new head have?"""
    for features, classes in cases:
        count = as_number(ask(answer, features, classes))
        case = f"for {features:,} features and {classes} classes"
        if count is None:
            yield "A whole number should come back: is there a `return`?"
        elif count == features * classes + classes:
            yield Right(f"{count:,.0f} parameters {case}.")
            continue
        elif count == features * classes:
            yield f"You have all the weights {case}. What does a linear layer add to each of its outputs?"
        elif count == features * classes + features:
            yield "A bias belongs to an output, not to a feature: how many outputs are there?"
        elif count == features * classes + 1:
            yield "There is more than one bias: each output has its own."
        else:
            yield f"It is not {count:,.0f} {case}: draw a layer with 3 features and 2 classes."
        return


@check(
    begin="print(model.classifier): which of its layers has a thousand outputs?",
    expects="a function that changes a network and is given the number of classes",
)
def new_head(answer: Callable, num_classes: int = 10, seed: int = 0) -> Iterator[str]:
    """Lesson 03: does a function put a new head on a MobileNet, and leave the rest as it is?"""
    torch.manual_seed(seed)
    model = models.mobilenet_v3_small().eval()
    names, before = [name for name, _ in model.named_modules()], {}
    for name, tensor in model.state_dict().items():
        before[name] = tensor.clone()
    old_head = model.get_submodule(find_head(model))
    ask(answer, model, num_classes)
    hung = [name for name, _ in model.named_children() if name not in names]
    images = torch.randn(2, 3, 64, 64)
    if hung:
        yield f"model.{hung[0]} is new, and nothing ever calls it: the head of this family has another name."
        return
    try:
        with torch.inference_mode():
            outputs = list(model.eval()(images).shape)
    except RuntimeError as error:
        yield f"The network no longer runs ({error}): does the new layer take as many features as come in?"
        return
    layers = sum(1 for _ in model.modules())
    if layers < len(names):
        yield (
            f"The network has {layers} layers now instead of {len(names)}: you have replaced a chain of "
            "layers, and only its last one belongs to the old task."
        )
    elif outputs[1] != num_classes:
        unchanged = " It is still the old head." if outputs[1] == old_head.out_features else ""
        yield f"The network gives {outputs[1]:,} logits, and there are {num_classes} classes.{unchanged}"
    elif layers > len(names):
        yield f"There are {layers - len(names)} layers more than before: replace the head, do not add to it."
    else:
        head = find_head(model)
        now = model.state_dict()
        changed = [n for n in before if not n.startswith(head) and not torch.equal(before[n], now[n])]
        if changed:
            yield f"The new head is in its place, but the backbone has changed, too: {changed[0]}."
        else:
            yield Right(f"model.{head} gives {num_classes} logits, and the backbone is as it was.")


FAULTS = {
    "outputs": "the network gives another number of logits than there are classes",
    "frozen": "something besides the head is trainable",
    "optimizer": "the optimizer does not hold the new head",
}


@check(
    begin="make an empty list, and append the name of each fault that you find, one `if` after the other.",
    expects="a function from a network, an optimizer and a number of classes to a list of names",
)
def diagnosis(answer: Callable, num_classes: int = 10) -> Iterator[str]:
    """Lesson 03: does a function find the mistakes that PyTorch runs silently? The check makes them."""
    for faults in ((), ("outputs",), ("frozen",), ("optimizer",), ("frozen", "optimizer")):
        model, optimizer = _patient(faults, num_classes)
        given = ask(answer, model, optimizer, num_classes)
        if given is None:
            yield "Nothing comes back: is there a `return`? A network without a fault gets an empty list."
            return
        found = {given} if isinstance(given, str) else set(given)
        unknown = found - set(FAULTS)
        if unknown:
            yield f"The names are {', '.join(FAULTS)}, and one of yours is {describe(unknown.pop())}."
            return
        told = " and ".join(FAULTS[fault] for fault in faults) or "nothing is wrong"
        if found - set(faults):
            extra = sorted(found - set(faults))[0]
            yield f"A false alarm: {told}, and your function says {extra!r}."
            return
        if set(faults) - found:
            missed = sorted(set(faults) - found)[0]
            yield f"Not noticed: {told}, and your function does not say {missed!r}. {_LOOK[missed]}"
            return
    yield Right("Four faulty networks are found out, and the sound one is left in peace.")


_LOOK = {
    "outputs": "Look at what the network gives for a picture: an attribute may hang there unused.",
    "frozen": "Count the parameters whose requires_grad is true.",
    "optimizer": "Compare what lies in optimizer.param_groups with the parameters of the head by `id`: two "
    "tensors of the same shape are not the same tensor.",
}


def _patient(faults: Sequence[str], num_classes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a small network with a head `fc` that has these faults, and its optimizer."""
    model = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=1000).eval()
    if "outputs" in faults:
        model.classifier = nn.Linear(model.fc.in_features, num_classes).requires_grad_(False)
    else:
        replace_head(model, num_classes)
    freeze(model)
    if "frozen" in faults:
        model.requires_grad_(True)
    optimizer = torch.optim.Adam(trainable_parameters(model))
    if "optimizer" in faults:
        replace_head(model, num_classes)
    return model, optimizer
