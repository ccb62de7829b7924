"""Checks of lessons 02 and 03: inspecting a network and replacing its head."""

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

_read_whole = one_number("Expected one whole number, got {value}.")


@check(
    begin="`print(model)`, then look for the layer with one output for each of the old categories.",
    expects="the name of a part of the network, as text",
)
def task_layer(answer, model):
    """Lesson 02: the name of the layer that belongs to the old task."""
    if not isinstance(answer, str):
        raise Wrong(f"Expected the name of a layer as text, got {describe(answer)}. Put it in quotes.")
    head, parts = find_head(model), dict(model.named_modules())
    name = answer.strip().removeprefix("model.")
    tensors = dict(model.named_parameters())
    if name == head:
        yield Right(f"model.{head} has {parts[head].out_features:,} outputs, one for each old category.")
    elif name in tensors:
        yield f"model.{name} is a single tensor. Give the layer that holds it: the name up to the last dot."
    elif name not in parts or not name:
        children = ", ".join(child for child, _ in model.named_children())
        yield f"The network has no part {name!r}. Its parts are {children}."
    elif not list(parts[name].parameters()):
        yield f"model.{name} has no parameters, so it has learned nothing from any task."
    else:
        yield (
            f"model.{name} detects edges or parts of objects, which also help with your pictures. "
            "Keep looking."
        )


def _numbers_in(choose: Callable) -> Callable:
    """Return a function that counts the values in the tensors that `choose` takes from a stage."""
    return lambda model, stage: sum(tensor.numel() for tensor in choose(model.get_submodule(stage)))


_count = _numbers_in(nn.Module.parameters)
STAGE_SIZE = Mistakes(
    right=_count,
    wrong={
        "That is the number of tensors in {stage}. Count the values in each of them with `.numel()`.": (
            lambda model, stage: len(list(model.get_submodule(stage).parameters()))
        ),
        "You also counted the buffers, which are BatchNorm's running means and variances. No optimizer "
        "updates them, so they aren't parameters.": (_numbers_in(lambda part: part.state_dict().values())),
        "That is the whole network. Count only one of its stages.": lambda model, stage: _count(model, ""),
        "{stage} contains more than convolutions: its BatchNorm layers also have parameters.": (
            _numbers_in(lambda part: [tensor for tensor in part.parameters() if tensor.ndim == 4])
        ),
        "That is only the first block of {stage}.": _numbers_in(lambda part: part[0].parameters()),
        "That is only the last block of {stage}.": _numbers_in(lambda part: part[-1].parameters()),
        "You count only the parameters named `weight`, but BatchNorm also has biases.": (
            _numbers_in(lambda part: [p for name, p in part.named_parameters() if name.endswith("weight")])
        ),
        "You left out `downsample`, which also belongs to {stage}.": (
            _numbers_in(lambda part: [p for name, p in part.named_parameters() if "downsample" not in name])
        ),
        "You found nothing to count. The parameters are in the layers inside the stage, and frozen "
        "parameters count as well.": _numbers_in(lambda part: part.parameters(recurse=False)),
        "You count only the trainable parameters. The others count as well.": _numbers_in(
            trainable_parameters
        ),
        "You count bytes. Each parameter takes up four.": lambda model, stage: 4 * _count(model, stage),
        "You count in millions. Return the number itself.": lambda model, stage: _count(model, stage) / 1e6,
    },
    read=_read_whole,
    agrees=operator.eq,
    otherwise=lambda value, right, model, stage: (
        f"For {stage} you return {value:,.10g}, which is {value / right:.3g} times the right number."
    ),
    praise="{stage} has {right:,.0f} parameters.",
)


@check(
    begin="`model.get_submodule(stage)` returns the stage, and `.parameters()` returns all of its tensors.",
    expects="a function from a network and the name of a stage to a whole number",
)
def parameter_count(answer, model, stages=("layer1", "layer3")):
    """Lesson 02: the number of parameters in a stage."""
    model.requires_grad_(True)
    for stage in stages:  # partly frozen, to catch answers that count only trainable ones
        next(model.get_submodule(stage).parameters()).requires_grad_(False)
    yield from STAGE_SIZE.compare(answer, [(model, stage) for stage in stages])


@check(
    begin="pass `torch.zeros(1, 3, size, size)` through the network up to `layer3`, or count how many "
    "times the size is halved.",
    expects="a function from a size in pixels to three whole numbers",
)
def output_shape(answer, model, sizes=(64, 224, 100)):
    """Lesson 02: the shape of layer3's output for a picture of any size."""
    stages = create_feature_extractor(model.to("meta").eval(), ["layer2", "layer3", "layer4"])
    for size in sizes:
        with torch.no_grad():  # on the meta device only shapes are computed
            outputs = stages(torch.zeros(1, 3, size, size, device="meta"))
        shapes = {stage: list(output.shape[1:]) for stage, output in outputs.items()}
        right = shapes.pop("layer3")
        given = ask(answer, size)
        if not (numbers := numbers_in(given)):
            raise Wrong(f"Expected three whole numbers (channels, height and width), got {describe(given)}.")
        if len(numbers) != 3 and numbers != [1, *right]:
            raise Wrong(f"You return {len(numbers)} numbers. Return three: channels, height and width.")
        if numbers == [1, *right]:
            raise Wrong(
                "Leave out the number of pictures. Return the channels, height and width of a single one."
            )
        if numbers in shapes.values():
            raise Wrong(f"{given} is the output shape of another stage. Stop after layer3.")
        if any(number % 1 for number in numbers):
            raise Wrong(f"For {size} pixels you return {given}, but a map has whole rows and columns.")
        if numbers == [*right[1:], right[0]]:
            raise Wrong(f"{given} has the channels last. They come first.")
        if numbers[0] != right[0]:
            raise Wrong(f"layer3 doesn't have {numbers[0]:g} channels. Look at its last convolution.")
        if numbers != right and numbers[1:] == [size // 16, size // 16]:
            raise Wrong(
                f"For {size} pixels, {given} is wrong. Each halving rounds up: follow the size of the "
                "picture from one halving to the next."
            )
        if numbers != right:
            raise Wrong(
                f"For {size} pixels, {given} is wrong. How many times is the size halved up to layer3?"
            )
        yield Right(f"A picture of {size} pixels becomes {right}.")


HEAD_SIZE = Mistakes(
    right=lambda features, classes: features * classes + classes,
    wrong={
        "You counted all the weights for {features:,} features and {classes} classes. What does a linear "
        "layer add to each of its outputs?": lambda features, classes: features * classes,
        "A bias belongs to an output, not to a feature. How many outputs are there?": (
            lambda features, classes: features * classes + features
        ),
        "There is more than one bias: each output has its own.": (
            lambda features, classes: features * classes + 1
        ),
        "Only outputs have a bias, but you gave one to each input as well.": (
            lambda features, classes: features * classes + features + classes
        ),
        "That is the number of tensors. How many values do they hold in total?": lambda features, classes: 2,
    },
    read=_read_whole,
    agrees=operator.eq,
    otherwise="{value:,.10g} is wrong for {features:,} features and {classes} classes. Draw a layer with "
    "3 features and 2 classes, and count its parameters.",
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
    begin="`print(model.classifier)`. Which of its layers has a thousand outputs?",
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
    """Return the head's name; raise `Wrong` unless the head is new and nothing else is."""
    names = [name for name, _ in before.named_modules()]
    if added := [name for name, _ in model.named_children() if name not in names]:
        raise Wrong(
            f"model.{added[0]} is new, but nothing ever calls it. The head of this family has another name."
        )
    try:
        with torch.inference_mode():
            outputs = list(model.eval()(torch.randn(2, 3, 64, 64)).shape)
    except RuntimeError as error:
        raise Wrong(
            f"The network no longer runs ({error}). Does the new layer have the in_features of the old one?"
        ) from error
    layers = len(list(model.modules()))
    if layers < len(names):
        raise Wrong(
            f"The network now has {layers} layers instead of {len(names)}. You replaced a whole chain of "
            "layers, but only its last one is the head."
        )
    if outputs[1] != num_classes:
        old_outputs = before.get_submodule(find_head(before)).out_features
        unchanged = " This is still the old head." if outputs[1] == old_outputs else ""
        raise Wrong(
            f"The network returns {outputs[1]:,} logits, but there are {num_classes} classes.{unchanged}"
        )
    if layers > len(names):
        raise Wrong(
            f"The network has more layers than before ({layers - len(names)} more). Replace the head instead "
            "of adding to it."
        )
    head, old, now = find_head(model), before.state_dict(), model.state_dict()
    if changed := [n for n in old if not n.startswith(head) and not torch.equal(old[n], now[n])]:
        raise Wrong(f"The new head is in place, but the backbone has changed as well: see {changed[0]}.")
    if f"{head}.bias" not in now:
        raise Wrong(f"The new head has {num_classes} outputs but no bias. The old head had one, so keep it.")
    return head


TASK_FAULTS = {
    "outputs": "the number of logits isn't the number of classes",
    "frozen": "something other than the head is trainable",
    "optimizer": "the optimizer doesn't hold the new head's parameters",
}
_WHERE_TO_LOOK = {
    "outputs": "Look at the shape of the network's output. A layer can be attached and never called.",
    "frozen": "Count the parameters whose `requires_grad` is True.",
    "optimizer": "Compare the parameters in `optimizer.param_groups` with those of the head by `id`. Two "
    "tensors of the same shape need not be the same tensor, and `in` and `==` compare their values.",
}


@check(
    begin="start with an empty list and append the name of each fault you find, with one `if` for each.",
    expects="a function of a network, an optimizer and a number of classes that returns a list of names",
)
def diagnosis(answer, num_classes=10):
    """Lesson 03: finding mistakes that PyTorch doesn't report, in deliberately broken networks."""
    nothing = "Expected a list, got None. Did you forget `return`? If nothing is wrong, return an empty list."
    cases = [(faults, faults, num_classes) for faults in (set(), {"outputs"}, {"frozen"}, {"optimizer"})]
    cases.append(({"frozen", "optimizer"}, {"frozen", "optimizer"}, num_classes))
    cases.append(({"outputs"}, set(), num_classes - 1))  # too few outputs, but no extra layer
    for faults, planted, outputs in cases:
        model, optimizer = _faulty_network(planted, outputs)
        try:
            named = ask_value(answer, model, optimizer, num_classes, none=nothing)
            found = as_names(named)
        except Wrong as error:
            if isinstance(error.__cause__, RuntimeError):  # `in` and `==` compare tensors element by element
                raise Wrong(f"{error} {_WHERE_TO_LOOK['optimizer']}") from error
            raise
        if isinstance(named, dict):
            raise Wrong("Expected a list with the names of the faults you find, got a dictionary.")
        if unknown := found - set(TASK_FAULTS):
            raise Wrong(
                f"The faults' names are {', '.join(TASK_FAULTS)}, but one of yours is "
                f"{describe(unknown.pop())}."
            )
        truth = " and ".join(TASK_FAULTS[fault] for fault in sorted(faults)) or "nothing is wrong"
        if found - faults:
            raise Wrong(
                f"False alarm: in this network, {truth}, but your function reports {min(found - faults)!r}."
            )
        if faults - found:
            missed = min(faults - found)
            hint = _WHERE_TO_LOOK[missed]
            raise Wrong(
                f"Missed: in this network, {truth}, but your function doesn't report {missed!r}. {hint}"
            )
    yield Right("Your function finds the faults of five broken networks and reports none in the correct one.")


def _faulty_network(faults: set[str], num_classes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a small network with a head `fc` that has these faults, and its optimizer."""
    model = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=1000).eval()
    if "outputs" in faults:
        head, model.fc = model.fc, None  # keep the head's parameters last
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
