"""Answers to the exercises of lessons 02 to 04, as in `wrong_answers_lessons_00_and_01`."""

import copy
import functools

import numpy as np
import torch
from table_answers import right_of
from torch import nn
from torchvision import models

from course_utils.models.freezing import freeze, replace_head


@functools.cache
def network():
    """Return a ResNet-18 with random numbers, frozen but for a head with three outputs."""
    torch.manual_seed(0)
    model = models.resnet18()
    replace_head(model, 3)
    freeze(model)
    return model.eval()


def learning(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


# Lesson 02
def shape_after(steps, channels=256, up=True):
    def shape(size):
        for _ in range(steps):
            size = (size + 1) // 2 if up else size // 2
        return [channels, size, size]

    return shape


# Lesson 03
def head_at_the_end(model, classes):
    model.classifier[-1] = nn.Linear(1024, classes)


def head_and_lost_backbone(model, classes):
    head_at_the_end(model, classes)
    model.features[0][0].reset_parameters()


def head_without_bias(model, classes):
    model.classifier[-1] = nn.Linear(1024, classes, bias=False)


def changed_copy(model, classes):
    other = copy.deepcopy(model)
    head_at_the_end(other, classes)
    return other


def held_by(look):
    """Return a diagnosis that asks whether the optimizer holds the head in its own way."""

    def diagnose(model, optimizer, classes):
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return [] if all(look(parameter, held) for parameter in model.fc.parameters()) else ["optimizer"]

    return diagnose


def faults(*looked_for, head_by_id=True):
    """Return a diagnosis that looks for some faults only."""

    def diagnose(model, optimizer, num_classes):
        key = id if head_by_id else (lambda parameter: parameter.shape)
        held = {key(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        found = {
            "outputs": model.fc.out_features != num_classes,
            "frozen": sum(p.requires_grad for p in model.parameters()) > 2,
            "optimizer": not set(map(key, model.fc.parameters())) <= held,
        }
        return [name for name in looked_for if found[name]]

    return diagnose


def count_held(model, optimizer, classes):
    """Look for faults, and judge the optimizer by how many parameters it holds."""
    others = [fault for fault in faults("outputs", "frozen")(model, optimizer, classes)]
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    return others + ["optimizer"] * (held != 2)


def frozen_but_the_last_two(model, optimizer, classes):
    """Make a list of the generator of parameters: the head's are the last two."""
    others = faults("outputs", "optimizer")(model, optimizer, classes)
    return others + ["frozen"] * any(p.requires_grad for p in list(model.parameters())[:-2])


def outputs_by_attribute(model, optimizer, classes):
    others = faults("frozen", "optimizer")(model, optimizer, classes)
    return others + ["outputs"] * hasattr(model, "classifier")


# Lesson 04
def thawed_adam(model, lr):
    model.requires_grad_(True)
    return torch.optim.Adam(model.parameters(), lr=lr)


def frozen_but(model, head, change):
    """Freeze by hand in train mode, and change each BatchNorm layer."""
    frozen(model, head, mode="train")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            change(module)


def adam_of(choose, rate=None):
    return lambda model, lr: torch.optim.Adam(choose(model), lr=rate or lr)


def frozen(model, head, *, head_learns=True, mode="eval", name="requires_grad"):
    for parameter in model.parameters():
        setattr(parameter, name, False)
    for parameter in head.parameters():
        setattr(parameter, name, head_learns)
    model.train(mode == "train")


def frozen_and_emptied(model, head):
    frozen(model, head)
    nn.init.zeros_(next(model.parameters()))


def compare(seeds=(0, 1, 2), other_seeds=None, decide=None, returned=lambda *found: found):
    """Return a comparison with these seeds; `decide` is given the accuracies, and returns the verdict."""

    def function(train, first, second):
        ones = [train(first, seed) for seed in seeds]
        others = [train(second, seed) for seed in other_seeds or seeds]
        signs = {np.sign(one - other) for one, other in zip(ones, others, strict=True)}
        fair = "first" if signs == {1} else "second" if signs == {-1} else "cannot tell"
        return returned(ones, others, decide(ones, others) if decide else fair)

    return function


def by_at_least(ones, others):
    if all(one >= other for one, other in zip(ones, others, strict=True)):
        return "first"
    return "second" if all(one <= other for one, other in zip(ones, others, strict=True)) else "cannot tell"


def better_by(number):
    return lambda ones, others: "first" if number(ones) > number(others) else "second"


GIVEN = dict.fromkeys(
    ["task_layer", "parameter_count", "output_shape", "optimizer_holds", "frozen_by_hand"],
    lambda: (network(),),
)
RIGHT = {
    "task_layer": ["fc", "model.fc"],
    "output_shape": [shape_after(4), lambda size: np.array([256, np.ceil(size / 16), np.ceil(size / 16)])],
    "new_head": [
        changed_copy,
        lambda model, classes: model.set_submodule("classifier.3", nn.Linear(1024, classes)),
        lambda model, classes: setattr(
            model, "classifier", nn.Sequential(*model.classifier[:-1], nn.Linear(1024, classes))
        ),
    ],
    "diagnosis": [
        faults("outputs", "frozen", "optimizer"),
        lambda *given: (fault for fault in faults("outputs", "frozen", "optimizer")(*given)),
        frozen_but_the_last_two,
    ],
    "optimizer_holds": [
        adam_of(learning),
        lambda model, lr: torch.optim.Adam([{"params": [p], "lr": lr} for p in learning(model)]),
    ],
    "frozen_by_hand": [
        frozen,
        lambda model, head: (frozen(model, head), head.train())[0],
        functools.partial(frozen_but, change=nn.Module.eval),
    ],
    "compare_rates": [compare(seeds=(2, 0, 1)), compare(returned=lambda *found: list(found))],
}
WRONG = {
    "task_layer": [
        ("layer4", "edges or parts"),
        ("avgpool", "no parameters"),
        ("classifier", "no part 'classifier'"),
        (3, "name of a layer as text"),
        ("fc.weight", "is a single tensor"),
    ],
    "parameter_count": [
        (lambda model, stage: 147_968, "layer3"),
        (
            lambda *given: f"{right_of('parameter_count')(*given):,}",
            "Expected one whole number, got '147,968'",
        ),
    ],
    "output_shape": [
        (shape_after(4, up=False), "rounds up"),
        (shape_after(5, channels=512), "another stage"),
        (shape_after(4, channels=512), "512 channels"),
        (shape_after(3), "How many times is the size halved"),
        (lambda size: [1, *shape_after(4)(size)], "number of pictures"),
        (lambda size: 256 * 4 * 4, "Expected three whole numbers"),
        (lambda size: shape_after(4)(size)[1:], "You return 2 numbers"),
        (lambda size: [*shape_after(4)(size)[1:], 256], "has the channels last"),
        (lambda size: [256, size / 16, size / 16], "a map has whole rows and columns"),
    ],
    "head_parameters": [
        (lambda features, classes: 5130, "5,130 is wrong for 2,048"),
        (lambda features, classes: (features * classes, classes), "Expected one whole number"),
    ],
    "new_head": [
        (lambda model, classes: setattr(model, "fc", nn.Linear(1024, classes)), "nothing ever calls it"),
        (lambda model, classes: setattr(model, "classifier", nn.Linear(576, classes)), "its last one"),
        (lambda model, classes: setattr(model, "classifier", nn.Linear(1024, classes)), "no longer runs"),
        (lambda model, classes: nn.Linear(1024, classes), "still the old head"),
        (lambda model, classes: model.classifier.append(nn.Linear(1000, classes)), "more layers than before"),
        (head_and_lost_backbone, "backbone has changed"),
        (head_without_bias, "no bias"),
        (lambda model, classes: head_at_the_end(model, 10), "returns 10 logits, but there are 13"),
        (lambda model, classes: replace_head(model, classes), "`replace_head` does it for you"),
    ],
    "diagnosis": [
        (faults("frozen", "optimizer"), "doesn't report 'outputs'"),
        (faults("outputs", "optimizer"), "whose `requires_grad` is True"),
        (faults("outputs", "frozen"), "by `id`"),
        (faults("outputs", "frozen", "optimizer", head_by_id=False), "by `id`"),
        (held_by(lambda parameter, held: parameter in held), "compare their values"),
        (lambda model, optimizer, classes: ["outputs"], "in this network, nothing is wrong"),
        (lambda model, optimizer, classes: ["head"], "The faults' names are"),
        (lambda model, optimizer, classes: None, "`return`"),
        (count_held, "in this network, something other than the head is trainable"),
        (outputs_by_attribute, "doesn't report 'outputs'"),
        (lambda *given: faults("outputs", "frozen", "optimizer")(*given)[:1], "doesn't report 'optimizer'"),
        (lambda model, optimizer, classes: {"outputs": model.fc.out_features != classes}, "got a dictionary"),
    ],
    "optimizer_holds": [
        (adam_of(nn.Module.parameters), "holds 62 parameter tensors, but only 2 are trainable"),
        (adam_of(lambda model: [model.fc.weight]), "lacks 1 of 2 trainable"),
        (adam_of(lambda model: nn.Linear(512, 3).parameters()), "of another network: 2 of 2"),
        (adam_of(learning, rate=0.5), "with lr=0.02, got 0.5"),
        (lambda model, lr: torch.optim.SGD(learning(model), lr=lr), "Expected an Adam optimizer, got SGD"),
        (thawed_adam, "changes which parameters are trainable"),
        (lambda model, lr: learning(model), "Expected an optimizer, got"),
        (adam_of(lambda model: model.fc.parameters()), "With layer4 thawed as well"),
    ],
    "frozen_by_hand": [
        (functools.partial(frozen, mode="train"), "60 of 60 buffers have changed"),
        (functools.partial(frozen, name="require_grad"), "with its s"),
        (functools.partial(frozen, head_learns=False), "so nothing can learn"),
        (lambda model, head: None, "60 of the parameter tensors below the head"),
        (frozen_and_emptied, "shouldn't change any values"),
        (
            functools.partial(frozen_but, change=lambda norm: setattr(norm, "track_running_stats", False)),
            "normalises with the mean of each batch",
        ),
        (lambda model, head: (frozen(model, head), head.bias.requires_grad_(False)), "only fc.weight"),
    ],
    "mean_loss": [
        (lambda losses, sizes: 7, "you return 7"),
        (lambda losses, sizes: losses, "Expected a number, got"),
    ],
    "compare_rates": [
        (compare(seeds=(0,)), "One run is one draw"),
        (compare(other_seeds=(3, 4, 5)), "Use the same for both"),
        (compare(seeds=(4, 5, 6)), "Use the seeds 0, 1 and 2"),
        (compare(decide=by_at_least), "equal isn't better"),
        (compare(decide=better_by(sum)), "contradict each other"),
        (compare(decide=better_by(max)), "contradict each other"),
        (compare(decide=lambda ones, others: "cannot tell"), "seed by seed"),
        (compare(decide=lambda ones, others: "high"), 'Expected the verdict "first"'),
        (compare(returned=lambda ones, others, verdict: verdict), "Expected three things"),
        (
            compare(returned=lambda ones, others, verdict: (max(ones), max(others), verdict)),
            "every accuracy that `train` returned",
        ),
        (lambda train, first, second: ([0.7] * 3, [0.8] * 3, "second"), "never calls `train`"),
        (lambda train, first, second: train(0.123, 0), "got lr=0.123"),
    ],
}
