"""Checks of lessons 02 and 03: what is in a network, and what happens to its head."""

import copy
import operator
from collections.abc import Callable

import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from course_utils.checks.asking import ask, ask_value
from course_utils.checks.mistakes import Mistakes, one_number
from course_utils.checks.values import as_names, describe, numbers_in
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.models.freezing import find_head, freeze, replace_head, trainable_parameters

_read_whole = one_number("Give one whole number; this is {value}.")


@check(
    begin="print(model) and look for the layer that has one output for each of the old categories.",
    expects="the name of a part of the network, as text",
)
def task_layer(answer, model):
    """Lesson 02: the name of the layer that belongs to the old task."""
    if not isinstance(answer, str):
        raise Wrong(f"Give the name of the layer as text, in quotes. This is {describe(answer)}.")
    head, parts = find_head(model), dict(model.named_modules())
    name = answer.strip().removeprefix("model.")
    tensors = dict(model.named_parameters())
    if name == head:
        yield Right(f"model.{head} has {parts[head].out_features:,} outputs, one for each old category.")
    elif name in tensors:
        yield f"model.{name} is a single tensor. Give the layer that holds it: what is before the last dot."
    elif name not in parts or not name:
        children = ", ".join(child for child, _ in model.named_children())
        yield f"The network has no part {name!r}. Its parts are {children}."
    elif not list(parts[name].parameters()):
        yield f"model.{name} has no parameters, so it has learned nothing from any task."
    else:
        yield f"model.{name} finds edges or parts of things, which also help with your pictures. Look on."


def _numbers_in(choose: Callable) -> Callable:
    """Return a function that adds up how many numbers are in the tensors that `choose` takes from a stage."""
    return lambda model, stage: sum(tensor.numel() for tensor in choose(model.get_submodule(stage)))


_count = _numbers_in(nn.Module.parameters)
STAGE_SIZE = Mistakes(
    right=_count,
    wrong={
        "That is how many tensors {stage} has: count the numbers in each, `.numel()`.": (
            lambda model, stage: len(list(model.get_submodule(stage).parameters()))
        ),
        "You have counted the buffers as well, the running means and variances of BatchNorm: no "
        "training step moves them, so they are not parameters.": (
            _numbers_in(lambda part: part.state_dict().values())
        ),
        "That is the whole network: take one stage only.": lambda model, stage: _count(model, ""),
        "{stage} has more than convolutions: BatchNorm also has parameters.": (
            _numbers_in(lambda part: [tensor for tensor in part.parameters() if tensor.ndim == 4])
        ),
        "That is one block of {stage} alone.": _numbers_in(lambda part: part[0].parameters()),
        "That is the last block of {stage} alone.": _numbers_in(lambda part: part[-1].parameters()),
        "BatchNorm also has biases, and you count only what is called weight.": (
            _numbers_in(lambda part: [p for name, p in part.named_parameters() if name.endswith("weight")])
        ),
        "The part `downsample` also belongs to {stage}.": (
            _numbers_in(lambda part: [p for name, p in part.named_parameters() if "downsample" not in name])
        ),
        "You find nothing to count. The parameters are in the layers inside the stage, and those that "
        "are frozen also count.": _numbers_in(lambda part: part.parameters(recurse=False)),
        "You count only what is trainable.": _numbers_in(trainable_parameters),
        "You count bytes. Each number has four of them.": lambda model, stage: 4 * _count(model, stage),
        "You give millions: give the number itself.": lambda model, stage: _count(model, stage) / 1e6,
    },
    read=_read_whole,
    agrees=operator.eq,
    otherwise=lambda value, right, model, stage: (
        f"For {stage} you give {value:,.10g}, which is {value / right:.3g} times what it should be."
    ),
    praise="{stage} has {right:,.0f} parameters.",
)


@check(
    begin="`model.get_submodule(stage)` gives the stage, `.parameters()` all of its tensors.",
    expects="a function from a network and the name of a stage to a whole number",
)
def parameter_count(answer, model, stages=("layer1", "layer3")):
    """Lesson 02: how many numbers a stage has learned."""
    model.requires_grad_(True)
    for stage in stages:  # frozen in part, for whoever counts only what is trainable
        next(model.get_submodule(stage).parameters()).requires_grad_(False)
    yield from STAGE_SIZE.compare(answer, [(model, stage) for stage in stages])


@check(
    begin="send `torch.zeros(1, 3, size, size)` through the network up to `layer3`, or count the steps of 2.",
    expects="a function from a size in pixels to three whole numbers",
)
def output_shape(answer, model, sizes=(64, 224, 100)):
    """Lesson 02: the shape that leaves layer3, whatever the size of the picture."""
    stages = create_feature_extractor(model.to("meta").eval(), ["layer2", "layer3", "layer4"])
    for size in sizes:
        with torch.no_grad():  # on the meta device only shapes are computed
            outputs = stages(torch.zeros(1, 3, size, size, device="meta"))
        shapes = {stage: list(output.shape[1:]) for stage, output in outputs.items()}
        right = shapes.pop("layer3")
        given = ask(answer, size)
        if not (numbers := numbers_in(given)):
            raise Wrong(
                f"Three whole numbers should come back: channels, height, width. It was {describe(given)}."
            )
        if len(numbers) != 3 and numbers != [1, *right]:
            raise Wrong(f"You give {len(numbers)} numbers. Give three: channels, height and width.")
        if numbers == [1, *right]:
            raise Wrong("Leave out the number of pictures: give channels, height and width of one of them.")
        if numbers in shapes.values():
            raise Wrong(f"{given} is what leaves another stage: stop after layer3.")
        if any(number % 1 for number in numbers):
            raise Wrong(f"With {size} pixels you give {given}, and maps have whole rows and columns.")
        if numbers == [*right[1:], right[0]]:
            raise Wrong(f"{given} has the channels at its end: they come first.")
        if numbers[0] != right[0]:
            raise Wrong(f"layer3 does not have {numbers[0]:g} channels: see the last convolution in it.")
        if numbers != right and numbers[1:] == [size // 16, size // 16]:
            raise Wrong(
                f"With {size} pixels it is not {given}. Each step of 2 rounds up: follow the size of the "
                "picture from step to step."
            )
        if numbers != right:
            raise Wrong(f"With {size} pixels it is not {given}: how many steps of 2 are there up to layer3?")
        yield Right(f"{size} pixels become {right}.")


HEAD_SIZE = Mistakes(
    right=lambda features, classes: features * classes + classes,
    wrong={
        "You have all the weights for {features:,} features and {classes} classes. What does a linear layer "
        "add to each of its outputs?": lambda features, classes: features * classes,
        "A bias belongs to an output, not to a feature: how many outputs are there?": (
            lambda features, classes: features * classes + features
        ),
        "There is more than one bias: each output has its own.": (
            lambda features, classes: features * classes + 1
        ),
        "Only outputs have a bias; you gave one to each input as well.": (
            lambda features, classes: features * classes + features + classes
        ),
        "That is the number of tensors. How many numbers do they hold together?": lambda features, classes: 2,
    },
    read=_read_whole,
    agrees=operator.eq,
    otherwise="It is not {value:,.10g} for {features:,} features and {classes} classes: draw a layer with "
    "3 features and 2 classes.",
    praise="{value:,.0f} parameters for {features:,} features and {classes} classes.",
)


@check(
    begin="each class has one weight for each feature. What else does a linear layer have?",
    expects="a function from two whole numbers to one",
)
def head_parameters(answer, cases=((512, 10), (2048, 37))):
    """Lesson 03: how many parameters a new head has."""
    yield from HEAD_SIZE.compare(answer, cases)


@check(
    begin="print(model.classifier): which of its layers has a thousand outputs?",
    expects="a function of a network and a number of classes that changes the network",
    without=("replace_head",),
)
def new_head(answer, num_classes=10, seed=0):
    """Lesson 03: a MobileNet with a new head and an unchanged backbone."""
    for classes in (num_classes, num_classes + 3):
        torch.manual_seed(seed)
        model = models.mobilenet_v3_small().eval()
        before = copy.deepcopy(model)
        given = ask(answer, model, classes)
        head = _head_replaced(given if isinstance(given, type(model)) else model, before, classes)
        yield Right(f"model.{head} returns {classes} logits, and the backbone is unchanged.")


def _head_replaced(model: nn.Module, before: nn.Module, num_classes: int) -> str:
    """Return the name of the head; `Wrong` unless it is new, and the only thing that is."""
    names = [name for name, _ in before.named_modules()]
    if added := [name for name, _ in model.named_children() if name not in names]:
        raise Wrong(
            f"model.{added[0]} is new, and nothing ever calls it: the head of this family has another name."
        )
    try:
        with torch.inference_mode():
            outputs = list(model.eval()(torch.randn(2, 3, 64, 64)).shape)
    except RuntimeError as error:
        raise Wrong(
            f"The network no longer runs ({error}). Does the new layer keep the in_features of the old?"
        ) from error
    layers = len(list(model.modules()))
    if layers < len(names):
        raise Wrong(
            f"The network has {layers} layers now instead of {len(names)}: you replaced a whole chain of "
            "layers, but only its last one is the head."
        )
    if outputs[1] != num_classes:
        old_outputs = before.get_submodule(find_head(before)).out_features
        unchanged = " It is still the old head." if outputs[1] == old_outputs else ""
        raise Wrong(
            f"The network gives {outputs[1]:,} logits, and there are {num_classes} classes.{unchanged}"
        )
    if layers > len(names):
        raise Wrong(
            f"The network has more layers than before ({layers - len(names)} more): replace the head, do not "
            "add to it."
        )
    head, old, now = find_head(model), before.state_dict(), model.state_dict()
    if changed := [n for n in old if not n.startswith(head) and not torch.equal(old[n], now[n])]:
        raise Wrong(f"The new head is in its place, but the backbone has changed as well: {changed[0]}.")
    if f"{head}.bias" not in now:
        raise Wrong(f"The new head has {num_classes} outputs but no bias, and the old head had one: keep it.")
    return head


TASK_FAULTS = {
    "outputs": "the number of logits is not the number of classes",
    "frozen": "something besides the head is trainable",
    "optimizer": "the optimizer does not hold the new head",
}
_WHERE_TO_LOOK = {
    "outputs": "Look at the shape of the network's output: a layer may be attached and never called.",
    "frozen": "Count the parameters whose requires_grad is true.",
    "optimizer": "Compare what is in optimizer.param_groups with the parameters of the head by `id`: two "
    "tensors of the same shape are not the same tensor, and `in` and `==` compare their numbers.",
}


@check(
    begin="make an empty list, and append the name of each fault that you find, one `if` after the other.",
    expects="a function of a network, an optimizer and a number of classes that returns a list of names",
)
def diagnosis(answer, num_classes=10):
    """Lesson 03: mistakes that PyTorch does not report, found in deliberately broken networks."""
    nothing = "Expected a list, got None. Did you forget `return`? If nothing is wrong, return an empty list."
    cases = [(faults, faults, num_classes) for faults in (set(), {"outputs"}, {"frozen"}, {"optimizer"})]
    cases.append(({"frozen", "optimizer"}, {"frozen", "optimizer"}, num_classes))
    cases.append(({"outputs"}, set(), num_classes - 1))  # fewer outputs, without another layer
    for faults, planted, outputs in cases:
        model, optimizer = _faulty_network(planted, outputs)
        try:
            named = ask_value(answer, model, optimizer, num_classes, none=nothing)
            found = as_names(named)
        except Wrong as error:
            if isinstance(error.__cause__, RuntimeError):  # `in` and `==` compare tensors number by number
                raise Wrong(f"{error} {_WHERE_TO_LOOK['optimizer']}") from error
            raise
        if isinstance(named, dict):
            raise Wrong("Give a list with the names of the faults that you find, and not a dictionary.")
        if unknown := found - set(TASK_FAULTS):
            raise Wrong(
                f"The names are {', '.join(TASK_FAULTS)}, and one of yours is {describe(unknown.pop())}."
            )
        truth = " and ".join(TASK_FAULTS[fault] for fault in sorted(faults)) or "nothing is wrong"
        if found - faults:
            raise Wrong(f"A false alarm: {truth}, but your function reports {min(found - faults)!r}.")
        if faults - found:
            missed = min(faults - found)
            hint = _WHERE_TO_LOOK[missed]
            raise Wrong(f"Missed: {truth}, but your function does not say {missed!r}. {hint}")
    yield Right("Your function finds the faults of five networks and reports none in the correct one.")


def _faulty_network(faults: set[str], num_classes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a small network with a head `fc` that has these faults, and its optimizer."""
    model = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=1000).eval()
    if "outputs" in faults:
        head, model.fc = model.fc, None  # so that the head's parameters are still the last
        model.classifier = nn.Linear(head.in_features, num_classes).requires_grad_(False)
        del model.fc
        model.fc = head
    else:
        replace_head(model, num_classes)
    freeze(model)
    if "frozen" in faults:
        model.requires_grad_(True)
    optimizer = torch.optim.Adam(trainable_parameters(model))
    if "optimizer" in faults:
        replace_head(model, num_classes)
    return model, optimizer
