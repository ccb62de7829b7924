"""Compare what a recipe for lesson 05 reports with what it did, and name its mistakes."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

from course_utils.checks.recipe_report import Report, inputs_of, try_transform
from course_utils.checks.tracing import Pass, Trace
from course_utils.checks.values import close
from course_utils.checks.verdict import Wrong


def recipe_hints(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    """Yield a hint for each mistake; skip those that follow from an earlier one."""
    try_transform(report.transform)
    for hints in (_about_training, _about_pictures, _about_numbers):
        found = list(hints(report, trace, backbone))
        yield from found
        if found:
            return


def _about_training(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    if not trace.passes:
        raise Wrong(
            f"Expected a head that ends in an `nn.Linear` with {len(report.classes)} outputs, got none that "
            "a batch has gone through."
        )
    if not trace.steps:
        raise Wrong("Expected steps of an optimizer from `torch.optim`, got none. What changes the weights?")
    trained = [one for one in trace.passes if one.trained]
    evaluated = [one for one in trace.passes if not one.trained]
    if changed := _changed(report.model, backbone):
        yield changed
    if any("BatchNorm" in one.training_layers for one in trained):
        yield (
            "Expected a frozen backbone that stays as it is, got BatchNorm layers in train mode while the "
            "head learns: their running statistics move without a gradient. In which mode is the backbone "
            "in your loop?"
        )
    if trace.extracted_in_train_mode or any(one.training_layers for one in evaluated):
        yield (
            "Expected a network in eval mode where nothing is learned, got layers in train mode: a "
            "prediction then depends on chance or on the rest of its batch. Which line comes before you "
            "predict?"
        )
    if trace.steps_of_head < trace.steps:
        yield (
            f"Expected an optimizer that holds the head, got {trace.steps - trace.steps_of_head} of "
            f"{trace.steps} steps without it: the head never learns. Which came first, the optimizer or the "
            "new head?"
        )
    elif trace.steps_without_gradient:
        yield (
            "Expected a gradient in each step, got none: the head never learns. What stands between "
            "`backward()` and `step()`?"
        )
    elif trace.stale_gradient:
        yield (
            "Expected the gradient of one batch in each step, got the sum of all batches so far. What has "
            "to happen to `.grad` between two steps?"
        )
    if trace.softmax_in_loss:
        yield (
            "Expected logits in the cross-entropy, got probabilities: each row sums to 1, and the loss "
            "cannot come near 0. What does `cross_entropy` do to its input itself?"
        )


def _changed(model: nn.Module, backbone: nn.Module) -> str:
    """Return a hint if the parameters of the backbone are not those that ship."""
    found = {}
    for tensor in model.state_dict().values():
        found.setdefault(tensor.shape, []).append(tensor.cpu())
    own = {name: p.detach() for name, p in backbone.named_parameters() if not name.startswith("fc.")}
    if missing := [name for name, tensor in own.items() if tensor.shape not in found]:
        return f"Expected a network with its backbone, got one without {missing[0]}."
    moved = [name for name, t in own.items() if not any(torch.equal(t, one) for one in found[t.shape])]
    if not moved:
        return ""
    first = own[next(iter(own))]
    alike = max(float(torch.cosine_similarity(first.flatten(), t.flatten(), 0)) for t in found[first.shape])
    if alike < 0.5:
        return "Expected the weights that ship, got other ones. Were they loaded into this network?"
    return (
        f"Expected a frozen backbone, got {len(moved)} of {len(own)} parameters that changed, for example "
        f"{moved[0]}. For which parameters does `requires_grad` hold?"
    )


def _about_pictures(report: Report, trace: Trace, backbone: nn.Module) -> Iterator[str]:
    """Yield hints about which pictures were used for what, and with which labels."""
    _match(report, trace, backbone)
    trained = [n for one in trace.passes if one.trained for n in one.rows if n >= 0]
    for name in ("test", "val"):
        own = report.numbers(name)
        if used := set(trained) & set(own):
            raise Wrong(
                f"Expected to train without the {name} pictures, got {len(used)} of {len(own)} in the "
                "training batches. From which set does your training loader take its pictures?"
            )
    last = max((n for n, one in enumerate(trace.passes) if one.trained), default=0)
    test, evaluated = set(report.numbers("test")), [one for one in trace.passes if not one.trained]
    if early := {one.epoch for one in trace.passes[:last] if not one.trained and test & {*one.rows}}:
        yield (
            "Expected test pictures that are used once, after the last choice, got predictions for them "
            f"{len(early)} times while the training still went on. Which set chooses the epoch?"
        )
    if any(set(one.rows) == {-1} for one in evaluated if one.epoch):
        yield (
            "Expected validation and test pictures as `transform` makes them, got other inputs: for example "
            "augmented ones. Which transform does each set have?"
        )
    if pairs := [pair for one in trace.passes for pair in _labels_of(one, report)]:
        meant = {label: {true for other, true in pairs if other == label} for label in set(dict(pairs))}
        if any(label != true for label, true in pairs) and all(len(true) == 1 for true in meant.values()):
            label = next(label for label, true in pairs if label != true)
            (true,) = meant[label]
            yield (
                f"Expected classes in the order of the labels, got {report.classes[label]!r} for label "
                f"{label}, with which you train on pictures of {report.classes[true]!r}. Where does the "
                "order come from?"
            )
        elif wrong := sum(label != true for label, true in pairs):
            yield (
                f"Expected the label of its own folder for each picture, got another one for {wrong} of "
                f"{len(pairs)}. Look at some pictures with their labels."
            )


def _labels_of(one: Pass, report: Report) -> list[tuple[int, int]]:
    """Return the label that each known picture of a batch got, and its true one."""
    labels = [] if one.labels is None else one.labels.tolist()
    rows = one.rows if labels else []
    return [(label, report.truth[n]) for label, n in zip(labels, rows, strict=True) if n >= 0]


def _match(report: Report, trace: Trace, backbone: nn.Module) -> None:
    """Give each pass its rows: the place of each picture in the report, -1 for an unknown one."""
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
    """Yield hints about the losses and accuracies that a recipe reports, and the epoch that it chose."""
    if found := [*_about_losses(report, trace), *_about_validation(report, trace)]:
        yield from found
        return
    best, accuracies = report.best_epoch, report.val_accuracy
    if accuracies[best - 1] < max(accuracies):
        yield (
            f"Expected the epoch with the highest validation accuracy, got epoch {best} of "
            f"{_listed(accuracies)}. Epochs count from 1."
        )
        return
    kept = [t.cpu() for t in report.model.state_dict().values()]
    own = {
        one.epoch
        for one in _evaluations(trace, report, "val")
        if any(t.shape == one.weight.shape and torch.equal(t, one.weight) for t in kept)
    }
    if own and best not in own:
        what = "the last one" if trace.epochs in own else f"epoch {min(own)}"
        yield (
            f"Expected the head of the best epoch, {best}, got that of {what}. (The check spoils the last "
            "epoch on purpose.) When do you keep the weights, and does your copy change with the network?"
        )
        return
    yield from _about_test(report, trace)


def _evaluations(trace: Trace, report: Report, name: str) -> list[Pass]:
    """Return the batches without training that have pictures of a set."""
    own = set(report.numbers(name))
    return [one for one in trace.passes if not one.trained and one.epoch and own & set(one.rows)]


def _mean_over_images(means: list[float], sizes: list[int]) -> float:
    """Return the mean over the images of an epoch, from those of its batches and their sizes."""
    return sum(mean * size for mean, size in zip(means, sizes, strict=True)) / sum(sizes)


# What a recipe may report by mistake, from the losses, or the accuracies, and the sizes of an epoch's batches
_WRONG_LOSSES = {
    "that of the last batch": lambda losses, sizes: losses[-1],
    "the sum over the images": lambda losses, sizes: sum(sizes) * _mean_over_images(losses, sizes),
    "the sum over the batches": lambda losses, sizes: sum(losses),
    "the sum over the batches, divided by the images": lambda losses, sizes: sum(losses) / sum(sizes),
    "the mean over batches, in which a small last one counts as much as the others": (
        lambda losses, sizes: sum(losses) / len(losses)
    ),
}
_WRONG_ACCURACIES = {
    ". Give it as a share from 0 to 1.": lambda shares, sizes: 100 * _mean_over_images(shares, sizes),
    ", that of the last batch alone. What do you add up, and where?": lambda shares, sizes: shares[-1],
    ", the mean over batches. Count pictures instead.": lambda shares, sizes: sum(shares) / len(shares),
}


def _agree(given: list[float], epochs: list[tuple], number: Callable) -> bool:
    """Say whether a function of the batches gives what is reported, in every epoch."""
    return all(close(one, number(*own)) for one, own in zip(given, epochs, strict=True))


def _about_losses(report: Report, trace: Trace) -> Iterator[str]:
    """Yield a hint if the losses are those of a known mistake in every epoch."""
    epochs = []
    for epoch in range(1, trace.epochs + 1):
        own = [one for one in trace.passes if one.trained and one.epoch == epoch]
        epochs.append(([one.loss for one in own], [len(one.rows) for one in own]))
    given = report.train_loss
    if any(not losses or None in losses for losses, _ in epochs) or _agree(given, epochs, _mean_over_images):
        return  # the loss is another one, or the check has not seen it; or all is right
    if known := [words for words, loss in _WRONG_LOSSES.items() if _agree(given, epochs, loss)]:
        right = _mean_over_images(*epochs[0])
        yield (
            f"Expected the mean loss over the images of an epoch, {right:.3f} in epoch 1, got "
            f"{known[0]}: {given[0]:.3f}."
        )


def _about_validation(report: Report, trace: Trace) -> Iterator[str]:
    by_epoch = []
    for epoch in range(1, trace.epochs + 1):
        passes = [one for one in _evaluations(trace, report, "val") if one.epoch == epoch]
        # After the last epoch the best network may predict for them once more.
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
            f"{report.test_accuracy:.3f}. Which weights did it have when you tested it?"
        ]


def _wrong_accuracies(
    given: list[float], by_epoch: list[list[Pass]], report: Report, name: str
) -> Iterator[str]:
    """Yield what is wrong with the accuracies of a set, one for each epoch given."""
    words = {"val": "the validation accuracy of epoch {}", "test": "the test accuracy"}[name]
    order, epochs, seen = report.numbers(name), [], []
    for number, passes in enumerate(by_epoch, start=1):
        seen.append([n for one in passes for n in one.rows if n in order])
        if missed := set(order) - set(seen[-1]):
            words = words.format(number)
            yield f"Expected {words} over {len(order)} pictures, got {len(missed)} left out. Which ones?"
            return
        truths = [torch.tensor([report.truth[n] for n in one.rows]) for one in passes]
        right = [(one.predictions == true).tolist() for one, true in zip(passes, truths, strict=True)]
        epochs.append(([sum(batch) / len(batch) for batch in right], list(map(len, right))))
    means = [_mean_over_images(*own) for own in epochs]
    place = next((n for n, pair in enumerate(zip(given, means, strict=True)) if not close(*pair)), None)
    if place is None:
        return
    words = f"{words.format(place + 1)}, {means[place]:.3f} over {len(order)} pictures"
    other = ". Count by hand for one batch."
    if seen[place] != order:
        other = (
            ". The pictures reach the network in another order than in your list of files: do "
            "predictions and labels still belong together?"
        )
    known = [end for end, number in _WRONG_ACCURACIES.items() if _agree(given, epochs, number)]
    yield f"Expected {words}, got {given[place]:.3f}{[*known, other][0]}"


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.2f}" for number in numbers)
