"""Answers to the exercises of lessons 02 to 04, as in `wrong_answers_lessons_00_and_01`."""

import copy
import functools

import numpy as np
import torch
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


# Lesson 04
def thawed_adam(model, lr):
    model.requires_grad_(True)
    return torch.optim.Adam(model.parameters(), lr=lr)


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
    "task_layer": ["fc", " model.fc "],
    "compare_rates": [compare(seeds=(2, 0, 1))],
    "output_shape": [
        shape_after(4),
        lambda size: torch.Size(shape_after(4)(size)),
    ],
    "new_head": [
        head_at_the_end,
        changed_copy,
    ],
    "diagnosis": [
        faults("outputs", "frozen", "optimizer"),
        lambda *given: (fault for fault in faults("outputs", "frozen", "optimizer")(*given)),
    ],
    "optimizer_holds": [
        adam_of(learning),
        adam_of(lambda model: ((n, p) for n, p in model.named_parameters() if p.requires_grad)),
    ],
    "frozen_by_hand": [
        frozen,
        lambda model, head: (frozen(model, head), head.train())[0],
    ],
}
WRONG = {
    "task_layer": [
        ("layer4", "edges or parts"),
        ("avgpool", "no parameters"),
        ("classifier", "no part 'classifier'"),
        (3, "as text"),
        ("fc.weight", "is a single tensor"),
        ("conv1", "model.conv1 finds edges"),
    ],
    "output_shape": [
        (shape_after(4, up=False), "rounds up"),
        (shape_after(5, channels=512), "another stage"),
        (shape_after(4, channels=512), "512 channels"),
        (shape_after(3), "how many steps of 2"),
        (lambda size: [1, *shape_after(4)(size)], "number of pictures"),
        (lambda size: 256 * 4 * 4, "Three whole numbers"),
    ],
    "new_head": [
        (lambda model, classes: setattr(model, "fc", nn.Linear(1024, classes)), "nothing ever calls it"),
        (lambda model, classes: setattr(model, "classifier", nn.Linear(576, classes)), "its last one"),
        (lambda model, classes: setattr(model, "classifier", nn.Linear(1024, classes)), "no longer runs"),
        (lambda model, classes: nn.Linear(1024, classes), "still the old head"),
        (lambda model, classes: model.classifier.append(nn.Linear(1000, classes)), "more layers than before"),
        (head_and_lost_backbone, "backbone has changed"),
    ],
    "diagnosis": [
        (faults("frozen", "optimizer"), "does not say 'outputs'"),
        (faults("outputs", "optimizer"), "requires_grad is true"),
        (faults("outputs", "frozen"), "by `id`"),
        (held_by(lambda parameter, held: parameter in held), "compare their numbers"),
        (lambda model, optimizer, classes: ["outputs"], "A false alarm: nothing is wrong"),
        (lambda model, optimizer, classes: ["head"], "The names are"),
    ],
    "optimizer_holds": [
        (adam_of(nn.Module.parameters), "holds 62 parameters but only 2 are trainable"),
        (adam_of(lambda model: [model.fc.weight]), "1 trainable parameters are not in"),
        (adam_of(lambda model: nn.Linear(512, 3).parameters()), "2 of the parameters"),
        (adam_of(learning, rate=0.5), "lr=0.02, and the optimizer has 0.5"),
        (lambda model, lr: torch.optim.SGD(learning(model), lr=lr), "It should be Adam, and this is SGD"),
        (thawed_adam, "changes what is trainable"),
    ],
    "frozen_by_hand": [
        (functools.partial(frozen, mode="train"), "60 of 60 buffers changed"),
        (functools.partial(frozen, name="require_grad"), "with its s"),
        (functools.partial(frozen, head_learns=False), "nothing that can learn"),
        (lambda model, head: None, "60 parameters below the head are trainable"),
        (frozen_and_emptied, "should not change any numbers"),
        (freeze, "`freeze` does it for you"),
    ],
    "compare_rates": [
        (compare(seeds=(0,)), "one run is one draw"),
        (compare(other_seeds=(3, 4, 5)), "use the same"),
        (compare(seeds=(4, 5, 6)), "Use the seeds 0, 1 and 2"),
        (compare(seeds=range(5)), "yours are 0, 1, 2, 3, 4"),
        (compare(decide=by_at_least), "equal is not better"),
        (compare(decide=better_by(sum)), "contradict each other"),
    ],
}
