"""Checks of lesson 06: trainable parts, learning rates, BatchNorm, and choosing a run.

Where a check looks only at names and `requires_grad`, it builds its networks on torch's `meta` device. They
hold no values, so building them takes no time.
"""

from collections.abc import Iterator

import pandas as pd
import torch
from torch import nn
from torchvision.models import resnet18

from course_utils.checks.asking import ask, ask_value
from course_utils.checks.mistakes import Mistakes
from course_utils.checks.values import as_names, as_number, close, describe, listed
from course_utils.checks.verdict import Right, Wrong, check
from course_utils.models.freezing import freeze, freeze_batchnorm, thaw


def _resnet(down_to: str | None = None) -> nn.Module:
    """Return a ResNet-18 without values, thawed down to a stage, or with only its head trainable."""
    with torch.device("meta"):
        model = resnet18(num_classes=3)
    freeze(model)
    if down_to is not None:
        thaw(model, down_to)
    return model


@check(
    begin="loop over `model.named_children()` and look for parts with a trainable parameter.",
    expects="a function from a network to a set of names of its parts",
)
def learning_parts(answer):
    """Lesson 06: the names of the parts of a network that have a trainable parameter."""
    partly, only_norms = _resnet("conv1"), _resnet()
    freeze_batchnorm(partly)
    for module in only_norms.modules():
        module.requires_grad_(isinstance(module, nn.BatchNorm2d))
    stages = {"layer1", "layer2", "layer3", "layer4"}
    one = "A part can be partly frozen: one parameter that can learn is enough."
    cases = {
        "thawed down to layer3": (
            _resnet("layer3"), {"layer3", "layer4", "fc"},
            "Look at all parameters of a part, including those of the layers inside it.",
        ),
        "with a new head on a frozen backbone": (_resnet(), {"fc"}, "Does your loop reach all parts?"),
        "thawed completely, with BatchNorm frozen again": (partly, {"conv1", *stages, "fc"}, one),
        "with only BatchNorm trainable": (only_norms, {"bn1", *stages}, one),
    }  # fmt: skip
    for words, (model, wanted, why) in cases.items():
        before = [parameter.requires_grad for parameter in model.parameters()]
        value = ask_value(answer, model)
        if before != [parameter.requires_grad for parameter in model.parameters()]:
            raise Wrong(f"Your function changed a network {words}. It should only look at it.")
        names, parts = as_names(value), dict(model.named_children())
        others = [name for name in names if not isinstance(name, str)]
        if others or isinstance(value, dict):
            raise Wrong(f"Expected a set of names such as {{'layer4'}}, got {value!r:.50}.")
        if dotted := [name for name in names if "." in name]:
            raise Wrong(
                f"'{min(dotted)}' is a parameter or layer inside a part. Return the name of the part, which "
                "comes before the first dot."
            )
        if unknown := names - parts.keys():
            raise Wrong(f"The network has no part {min(unknown)!r}. Its parts are {listed(parts)}.")
        if empty := [name for name in names if not list(parts[name].parameters())]:
            raise Wrong(
                f"No parameters, so nothing that can learn: {listed(empty)}. Note that `all` of an empty "
                "list is True."
            )
        if extra := names - wanted:
            raise Wrong(
                f"In a network {words}, you also name {listed(extra)}, which can't learn. Look at "
                "the `requires_grad` of the parameters."
            )
        if missing := wanted - names:
            why = "The head is a part like any other." if missing == {"fc"} else why
            raise Wrong(f"In a network {words}, {listed(missing)} can learn as well. {why}")
        yield Right(f"In a network {words}, you find {listed(wanted)}.")


@check(
    begin="sort the trainable parameters into three lists: the head, layer3 with layer4, and the rest.",
    expects="a function from a ResNet and a learning rate to a list of parameter groups",
)
def three_rates(answer):
    """Lesson 06: three groups of parameters, with lr, a tenth and a hundredth of it from the head down."""
    for down_to in ("conv1", "layer4", None):
        model = _resnet(down_to)
        value = ask_value(answer, model, 0.002)
        words = f"With a network thawed down to {down_to}" if down_to else "With all but the head frozen"
        if hint := _groups_mistake(model, value, 0.002):
            raise Wrong(f"{words}: {hint}")
        yield Right(f"{words}, each trainable parameter is in one group, with the right rate.")


def _groups_mistake(model: nn.Module, groups: list[dict], lr: float) -> str | None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {}
    for group in groups:
        parameters = group["params"]
        for parameter in [parameters] if isinstance(parameters, torch.Tensor) else list(parameters):
            name = names.get(id(parameter))
            if name is None:
                return f"one of your groups holds {describe(parameter)}, not a parameter of this network."
            if name in rates:
                return (
                    f"{name} is in two groups. An optimizer rejects that: which of the rates should it use?"
                )
            rates[name] = as_number(group["lr"])
            if rates[name] is None:
                return f"expected each rate to be a number, got {describe(group['lr'])}."
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if frozen := [name for name in rates if name not in trainable]:
        return (
            f"your groups hold frozen parameters, {len(frozen)} in all, for example {frozen[0]}. Leave them "
            "out."
        )
    if missing := [name for name in trainable if name not in rates]:
        return (
            f"your groups lack trainable parameters, {len(missing)} in all, for example {missing[0]}. They "
            "would never learn."
        )
    shares = {"fc": 1, "layer4": 0.1, "layer3": 0.1}
    wanted = {name: lr * shares.get(name.split(".")[0], 0.01) for name in rates}
    if len(set(rates.values())) == 1 and len(set(wanted.values())) > 1:
        return "all groups have the same rate. The lower a stage, the smaller its steps should be."
    factors = {name: rate / wanted[name] if rate else 0 for name, rate in rates.items()}
    head, lowest = rates["fc.weight"], rates.get("conv1.weight")
    if head and lowest and head < lowest:
        return f"the head has the rate {head:g} and conv1 has {lowest:g}. Is that upside down?"
    if head and not close(head, lr) and close(min(factors.values()), max(factors.values())):
        return (
            f"your rates have the right proportions, but lr is {lr:g} and your head has the rate {head:g}. "
            "Do you use `lr`?"
        )
    for name, rate in rates.items():
        if not close(factors[name], 1):
            return f"expected the rate {wanted[name]:g} for {name}, got {rate}."
    return None


class _Small(nn.Module):
    """A network with dropout and two BatchNorm layers, one of them nested, as a pretraining leaves them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.deeper = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(8, 3)
        for norm in (self.norm, self.deeper[1]):
            norm.running_mean += 1
            norm.running_var *= 2

    def features(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.norm(self.conv(images)).relu()
        return self.deeper(inner).relu().mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(self.features(images)))


@check(
    begin="call `model.train()` first, then loop over `model.modules()` and deal with each `BatchNorm2d`.",
    expects="a function that changes a network in place",
    without=("freeze_batchnorm", "set_train_mode"),
)
def batchnorm_kept(answer):
    """Lesson 06: a network that is ready for training, with every BatchNorm layer kept as it was."""
    model = _Small().eval()
    layers = [type(module) for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ask(answer, model)
    now = model.state_dict()
    if altered := [name for name in before if name not in now or not torch.equal(before[name], now[name])]:
        raise Wrong(f"{altered[0]} has changed. Leave all values as the pretraining left them.")
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    if layers != [type(module) for module in model.modules()]:
        raise Wrong(
            "Your function changed which layers the network has. Leave the layers where they are, and change "
            "only their state."
        )
    asleep = [name or "the network" for name, part in model.named_modules() if not part.training]
    hints = list(_batchnorm_mistakes(model, norms, before))
    if asleep := [name for name in asleep if name not in norms]:
        hints.append(
            f"Some parts are still in eval mode, like the network you got: {', '.join(asleep)}. Everything "
            "except BatchNorm should be in train mode."
        )
    yield from hints or [Right("BatchNorm stays as the pretraining left it, and everything else can learn.")]


def _batchnorm_mistakes(model: _Small, norms: dict[str, nn.Module], before: dict) -> Iterator[str]:
    with torch.no_grad():
        images = 2 * torch.randn(4, 3, 12, 12)
        in_a_batch = model.features(images)
        moved = max(
            (n.running_mean - before[f"{name}.running_mean"]).abs().max() for name, n in norms.items()
        )
        by_itself = model.features(images[:1])
    trainable = [name for name, norm in norms.items() if any(p.requires_grad for p in norm.parameters())]
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    others = [name for name in frozen if name.rpartition(".")[0] not in norms]
    if moved > 1e-6:
        yield (
            f"After one batch, the running mean of a BatchNorm layer has moved by {moved:.2f}. Switching off "
            "its gradients doesn't stop that. Which mode is the layer in?"
        )
    elif not torch.allclose(by_itself, in_a_batch[:1], atol=1e-4):
        yield (
            "The running mean stays the same, but the output for an image still depends on the other images "
            "in its batch. In train mode, BatchNorm uses the mean of the batch."
        )
    if trainable:
        yield f"{listed(trainable)}: weight and bias can still learn, so an optimizer would change them."
    if others:
        yield (
            f"You also froze parameters outside BatchNorm, {len(others)} in all, for example {others[0]}. "
            "They should be able to learn."
        )


RUNS = pd.DataFrame(
    [
        ["careful", 0, 0.79, 0.75], ["careful", 1, 0.81, 0.77], ["lucky on test", 0, 0.76, 0.83],
        ["lucky on test", 1, 0.78, 0.80], ["one lucky seed", 0, 0.87, 0.73],
        ["one lucky seed", 1, 0.65, 0.71], ["poor", 0, 0.60, 0.61], ["poor", 1, 0.58, 0.63],
    ],
    columns=["name", "seed", "val_accuracy", "test_accuracy"],
)  # fmt: skip


def _chosen(runs: pd.DataFrame, by: str = "val_accuracy", report: str = "test_accuracy") -> tuple[str, float]:
    means = runs.groupby("name")[["val_accuracy", "test_accuracy"]].mean()
    best = means[by].idxmax()
    return best, means[report][best]


def _accuracies_of_chosen(runs: pd.DataFrame) -> pd.Series:
    return runs[runs.name == _chosen(runs)[0]].test_accuracy


def _name_and_accuracy(value: object) -> tuple[object, float | None]:
    name, accuracy = value
    return name, as_number(accuracy)


CHOSEN_NAME = Mistakes(
    right=_chosen,
    wrong={
        "It has the best test accuracy. If you choose by it, the test images become validation images, and "
        "the accuracy that you report is too optimistic.": lambda runs: _chosen(runs, by="test_accuracy"),
        "Its first seed has the best validation accuracy, but its second has one of the worst. Choose by the "
        "mean over the seeds.": lambda runs: runs.loc[runs.val_accuracy.idxmax(), ["name", "test_accuracy"]],
        "It has the worst validation accuracy of all. Do you sort from low to high?": (
            lambda runs: _chosen(runs.assign(val_accuracy=-runs.val_accuracy))
        ),
    },
    read=_name_and_accuracy,
    agrees=lambda one, other: one[0] == other[0],
    found="You chose {value[0]!r:.50}. ",
    otherwise="The table has no such name. Return the name first, then the accuracy.",
)
REPORTED_ACCURACY = Mistakes(
    right=_chosen,
    wrong={
        "{value[1]:.2f} is its validation accuracy. You chose by it, so it is too optimistic. Report the "
        "other one.": (lambda runs: _chosen(runs, report="val_accuracy")),
        "{value[1]:.2f} is the accuracy of its better seed. Report the mean over both seeds.": (
            lambda runs: (_chosen(runs)[0], _accuracies_of_chosen(runs).max())
        ),
        "{value[1]:.2f} is the accuracy of its worse seed. Report the mean over both seeds.": (
            lambda runs: (_chosen(runs)[0], _accuracies_of_chosen(runs).min())
        ),
        "the accuracy is in per cent. Return a share from 0 to 1.": (
            lambda runs: (_chosen(runs)[0], 100 * _chosen(runs)[1])
        ),
    },
    read=_name_and_accuracy,
    agrees=lambda one, other: one[1] is not None and close(one[1], other[1]),
    found="Right choice, but ",
    otherwise="its mean test accuracy isn't {value[1]}.",
)


@check(
    begin="take the mean over the seeds for each name. Which of the two columns may you choose by?",
    expects="a function from a table of runs to a name and an accuracy",
)
def choose_run(answer):
    """Lesson 06: the best run by mean validation accuracy, and its mean test accuracy."""
    yield from CHOSEN_NAME.compare(answer, [(RUNS,)])
    yield from REPORTED_ACCURACY.compare(answer, [(RUNS,)])
    other = RUNS.assign(name=RUNS.name.str[::-1], test_accuracy=RUNS.test_accuracy - 0.1)
    other = pd.concat([other, other[other.seed == 1].assign(seed=2)])  # so that mean and median differ
    other = other.iloc[::-1].reset_index(drop=True)
    again, (name, accuracy) = ask(answer, other.copy()), _chosen(other)
    if again is None or again[0] != name or not close(as_number(again[1]) or 0, accuracy):
        raise Wrong(
            f"With other names, another order and three seeds, your function returns {again!r:.60}, which is "
            "wrong. Did you hard-code a name or a number, or take something other than the mean?"
        )
    yield Right("You choose by validation accuracy and report test accuracy, both as means over the seeds.")
