"""Compare the report of a recipe for lesson 05 with the training it ran, and name its mistakes."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

from course_utils.checks.recipe_report import Report, inputs_of, try_transform
from course_utils.checks.tracing import Pass, Trace
from course_utils.checks.values import close
from course_utils.checks.verdict import Wrong


def recipe_hints(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    """Yield a hint for each mistake, but skip mistakes that follow from an earlier one."""
    try_transform(report.transform)
    for hints in (_about_training, _about_pictures, _about_numbers):
        found = list(hints(report, trace, backbone))
        yield from found
        if found:
            return


def _about_training(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    if not trace.passes:
        raise Wrong(
            f"Expected a head that ends in an `nn.Linear` with {len(report.classes)} outputs, but no batch "
            "passed through one."
        )
    if not trace.steps:
        raise Wrong("Expected steps of an optimizer from `torch.optim`, got none. What updates the weights?")
    trained = [one for one in trace.passes if one.trained]
    evaluated = [one for one in trace.passes if not one.trained]
    if changed := _changed(report.model, backbone):
        yield changed
    if any("BatchNorm" in one.training_layers for one in trained):
        yield (
            "Expected a frozen backbone that does not change, got BatchNorm layers in train mode while the "
            "head learns. Their running statistics change even without a gradient. Which mode is the "
            "backbone in during your training loop?"
        )
    if trace.extracted_in_train_mode or any(one.training_layers for one in evaluated):
        yield (
            "Expected a network in eval mode whenever it does not learn, got layers in train mode. A "
            "prediction then depends on chance or on the rest of the batch. Which line has to come before "
            "you predict?"
        )
    if trace.steps_of_head < trace.steps:
        yield (
            "Expected an optimizer with the parameters of the head, got "
            f"{trace.steps - trace.steps_of_head} of {trace.steps} steps without them. These steps cannot "
            "train the head. Which came first, the optimizer or the new head?"
        )
    elif trace.steps_without_gradient:
        yield (
            f"Expected a gradient in each step, got {trace.steps_without_gradient} of {trace.steps} steps "
            "without one. These steps cannot train the head. What happens between `backward()` and `step()`?"
        )
    elif trace.stale_gradient:
        yield (
            "Expected the gradient of one batch in each step, got the sum over all batches so far. What has "
            "to happen to `.grad` between two steps?"
        )
    if trace.softmax_in_loss:
        yield (
            "Expected logits as input to the cross-entropy, got probabilities: each row sums to 1, so "
            "the loss cannot come close to 0. Which step does `cross_entropy` already apply to its input?"
        )


def _changed(model: nn.Module, backbone: nn.Module) -> str:
    """Return a hint if the parameters of the backbone differ from the pretrained ones."""
    found = {}
    for tensor in model.state_dict().values():
        found.setdefault(tensor.shape, []).append(tensor.cpu())
    own = {name: p.detach() for name, p in backbone.named_parameters() if not name.startswith("fc.")}
    if missing := [name for name, tensor in own.items() if tensor.shape not in found]:
        return f"Expected a network that includes its backbone, but {missing[0]} is missing."
    moved = [name for name, t in own.items() if not any(torch.equal(t, one) for one in found[t.shape])]
    if not moved:
        return ""
    first = own[next(iter(own))]
    alike = max(float(torch.cosine_similarity(first.flatten(), t.flatten(), 0)) for t in found[first.shape])
    if alike < 0.5:
        return (
            "Expected the weights that come with the course, got different ones. Did you load them into "
            "this network?"
        )
    return (
        f"Expected a frozen backbone, but {len(moved)} of its {len(own)} parameters changed, for example "
        f"{moved[0]}. Which parameters have `requires_grad` set to True?"
    )


def _about_pictures(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    """Yield hints about the use of each set of pictures, and about the labels."""
    _match(report, trace, backbone)
    trained = [n for one in trace.passes if one.trained for n in one.rows if n >= 0]
    for name in ("test", "val"):
        own = report.numbers(name)
        if used := set(trained) & set(own):
            raise Wrong(
                f"Expected training batches without {name} pictures, but they contain {len(used)} of "
                f"{len(own)}. Which set does your training loader take its pictures from?"
            )
    last = max((n for n, one in enumerate(trace.passes) if one.trained), default=0)
    test, evaluated = set(report.numbers("test")), [one for one in trace.passes if not one.trained]
    if early := {one.epoch for one in trace.passes[:last] if not one.trained and test & {*one.rows}}:
        yield (
            "Expected test pictures that are used once, after the last choice, but your recipe predicts for "
            f"them {len(early)} times before training is over. Which set should decide on the epoch?"
        )
    if any(set(one.rows) == {-1} for one in evaluated if one.epoch):
        yield (
            "Expected validation and test inputs made by `transform`, got different ones. They might be "
            "augmented. Which transform does each set have?"
        )
    if pairs := [pair for one in trace.passes for pair in _labels_of(one, report)]:
        meant = {label: {true for other, true in pairs if other == label} for label in set(dict(pairs))}
        if any(label != true for label, true in pairs) and all(len(true) == 1 for true in meant.values()):
            label = next(label for label, true in pairs if label != true)
            (true,) = meant[label]
            yield (
                f"Expected `classes` in the order of the labels, got {report.classes[label]!r} for label "
                f"{label}. But you train with this label on pictures of {report.classes[true]!r}. Where "
                "does your order come from?"
            )
        elif wrong := sum(label != true for label, true in pairs):
            yield (
                f"Expected each picture to have the label of its folder, but {wrong} of {len(pairs)} have "
                "another one. Look at some pictures with their labels."
            )


def _labels_of(one: Pass, report: Report) -> list[tuple[int, int]]:
    """Return the label that the recipe used for each known picture of a batch, and the true one."""
    labels = [] if one.labels is None else one.labels.tolist()
    rows = one.rows if labels else []
    return [(label, report.truth[n]) for label, n in zip(labels, rows, strict=True) if n >= 0]


def _match(report: Report, trace: Trace, backbone: nn.Module) -> None:
    """Set the rows of each pass: the index of each picture in the report, or -1 for an unknown one."""
    body, parts = copy.deepcopy(backbone), torch.arange(len(report.paths)).split(16)
    body.fc = nn.Identity()
    with torch.no_grad():
        known = torch.cat([body(inputs_of(report, part.tolist())) for part in parts])
    for one in trace.passes:
        one.rows = [-1] * len(one.predictions)
        if one.features is not None and len(one.features) == len(one.predictions):
            distance = torch.cdist(one.features.float(), known, compute_mode="donot_use_mm_for_euclid_dist")
            nearest, number = distance.min(dim=1)
            near = nearest < 1e-3 * known.norm(dim=1)[number] + 1e-6
            one.rows = torch.where(near, number, -1).tolist()


def _about_numbers(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    """Yield hints about the losses and accuracies that a recipe reports, and about the epoch it chose."""
    if found := [*_about_losses(report, trace), *_about_validation(report, trace)]:
        yield from found
        return
    best, accuracies = report.best_epoch, report.val_accuracy
    if accuracies[best - 1] < max(accuracies):
        yield (
            f"Expected the epoch with the highest validation accuracy, got epoch {best}. The accuracies are "
            f"{_listed(accuracies)}, and epochs count from 1."
        )
        return
    kept = [t.cpu() for t in report.model.state_dict().values()]
    own = {
        one.epoch
        for one in _evaluations(trace, report, "val")
        if any(t.shape == one.weight.shape and torch.equal(t, one.weight) for t in kept)
    }
    if own and best not in own:
        what = "the last epoch" if trace.epochs in own else f"epoch {min(own)}"
        yield (
            f"Expected the head from the best epoch, {best}, got the one from {what}. (The check spoils the "
            "last epoch on purpose.) When do you save the weights? Does your copy change with the network?"
        )
        return
    yield from _about_test(report, trace)


def _evaluations(trace: Trace, report: Report, name: str) -> list[Pass]:
    """Return the evaluation batches that contain pictures of a set."""
    own = set(report.numbers(name))
    return [one for one in trace.passes if not one.trained and one.epoch and own & set(one.rows)]


def _mean_over_images(means: list[float], sizes: list[int]) -> float:
    """Return the mean over the images of an epoch, given the mean and the size of each batch."""
    return sum(mean * size for mean, size in zip(means, sizes, strict=True)) / sum(sizes)


# Numbers that a recipe might report by mistake, from the losses or accuracies and sizes of the batches
_WRONG_LOSSES = {
    "the loss of the last batch": lambda losses, sizes: losses[-1],
    "the sum over the images": lambda losses, sizes: sum(sizes) * _mean_over_images(losses, sizes),
    "the sum over the batches": lambda losses, sizes: sum(losses),
    "the sum over the batches, divided by the number of images": lambda losses, sizes: (
        sum(losses) / sum(sizes)
    ),
    "the mean over the batches, in which a small last batch counts as much as the others": (
        lambda losses, sizes: sum(losses) / len(losses)
    ),
}
_WRONG_ACCURACIES = {
    ". Report it as a share from 0 to 1.": lambda shares, sizes: 100 * _mean_over_images(shares, sizes),
    ", that of the last batch only. What do you add up, and where?": lambda shares, sizes: shares[-1],
    ", the mean over the batches. Count pictures instead.": lambda shares, sizes: sum(shares) / len(shares),
}


def _agree(given: list[float], epochs: list[tuple], number: Callable) -> bool:
    """Return whether a function of the batches reproduces the reported number of every epoch."""
    return all(close(one, number(*own)) for one, own in zip(given, epochs, strict=True))


def _about_losses(report: Report, trace: Trace) -> Iterator[str]:
    """Yield a hint if the losses match a known mistake in every epoch."""
    epochs = []
    for epoch in range(1, trace.epochs + 1):
        own = [one for one in trace.passes if one.trained and one.epoch == epoch]
        epochs.append(([one.loss for one in own], [len(one.rows) for one in own]))
    given = report.train_loss
    if any(not losses or None in losses for losses, _ in epochs) or _agree(given, epochs, _mean_over_images):
        return  # another loss, one that the check has not seen, or the right one
    if known := [words for words, loss in _WRONG_LOSSES.items() if _agree(given, epochs, loss)]:
        right = _mean_over_images(*epochs[0])
        yield (
            f"Expected the mean loss over the images of an epoch, which is {right:.3f} in epoch 1, got "
            f"{known[0]}: {given[0]:.3f}."
        )


def _about_validation(report: Report, trace: Trace) -> Iterator[str]:
    by_epoch = []
    for epoch in range(1, trace.epochs + 1):
        passes = [one for one in _evaluations(trace, report, "val") if one.epoch == epoch]
        # The best network may predict for them again after the last epoch.
        by_epoch.append([one for one in passes if torch.equal(one.weight, passes[0].weight)])
    yield from _wrong_accuracies(report.val_accuracy, by_epoch, report, "val")


def _about_test(report: Report, trace: Trace) -> Iterator[str]:
    numbers = report.numbers("test")
    with torch.no_grad():
        predictions = report.model(inputs_of(report, numbers)).argmax(dim=1).tolist()
    own = sum(report.truth[n] == guess for n, guess in zip(numbers, predictions, strict=True)) / len(numbers)
    if not close(report.test_accuracy, own):
        passes = _evaluations(trace, report, "test")
        yield from [*_wrong_accuracies([report.test_accuracy], [passes], report, "test")] or [
            f"Expected the test accuracy of the network that you return, {own:.3f}, got "
            f"{report.test_accuracy:.3f}. Which weights did the network have when you tested it?"
        ]


def _wrong_accuracies(
    given: list[float], by_epoch: list[list[Pass]], report: Report, name: str
) -> Iterator[str]:
    """Yield a hint if the accuracies of a set, one for each given epoch, are wrong."""
    words = {"val": "the validation accuracy of epoch {}", "test": "the test accuracy"}[name]
    order, epochs, seen = report.numbers(name), [], []
    for number, passes in enumerate(by_epoch, start=1):
        seen.append([n for one in passes for n in one.rows if n in order])
        if missed := set(order) - set(seen[-1]):
            words = words.format(number)
            yield f"Expected {words} over {len(order)} pictures, but {len(missed)} are left out. Which ones?"
            return
        truths = [torch.tensor([report.truth[n] for n in one.rows]) for one in passes]
        right = [(one.predictions == true).tolist() for one, true in zip(passes, truths, strict=True)]
        epochs.append(([sum(batch) / len(batch) for batch in right], list(map(len, right))))
    means = [_mean_over_images(*own) for own in epochs]
    place = next((n for n, pair in enumerate(zip(given, means, strict=True)) if not close(*pair)), None)
    if place is None:
        return
    words = f"{words.format(place + 1)}, {means[place]:.3f} over {len(order)} pictures"
    other = ". Count the correct predictions of one batch by hand."
    if seen[place] != order:
        other = (
            ". The pictures reach the network in a different order than in your list of files. Do "
            "predictions and labels still belong together?"
        )
    known = [end for end, number in _WRONG_ACCURACIES.items() if _agree(given, epochs, number)]
    yield f"Expected {words}, got {given[place]:.3f}{[*known, other][0]}"


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.2f}" for number in numbers)
