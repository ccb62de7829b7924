"""Wrong answers to the exercises of lessons 05 and 06, and words of the hint that each must get."""

import numpy as np
import torch
from table_answers import right_of
from torch import nn

from course_utils.evaluation.metrics import accuracy_interval
from course_utils.evaluation.metrics import accuracy_interval as ready_made

true_interval, both_shares = right_of("wilson_interval"), right_of("precision_and_recall")
chosen = right_of("choose_run")


def own_function_of_that_name():
    def accuracy_interval(correct, images):
        return true_interval(correct, images)

    return accuracy_interval


def by_a_helper(correct, images):
    return ready_made(correct, images)


def used_up(batches):
    """Take the batches off the list."""
    images = right = 0
    while batches:
        answers, labels = batches.pop()
        right, images = right + int((answers == labels).sum()), images + len(labels)
    return right / images


def surest(probabilities, labels, count):
    return right_of("surest_mistakes")(probabilities, labels, count).tolist()


def missed_one(probabilities, labels, count):
    """Leave out the third of the most confident mistakes."""
    found = surest(probabilities, labels, count + 1)
    return found[:2] + found[3:]


def parts(learns):
    """Return an answer that names a part if `learns` holds for its parameters' `requires_grad`."""
    return lambda model: {
        name for name, part in model.named_children() if learns([p.requires_grad for p in part.parameters()])
    }


def groups(*shares, where=lambda name, p: p.requires_grad):
    """Return an answer with a group for the head, for layers 3 and 4, and for the rest."""

    def parameter_groups(model, lr):
        found = [[], [], []]
        for name, parameter in model.named_parameters():
            if where(name, parameter):
                part = name.split(".")[0]
                found[{"fc": 0, "layer3": 1, "layer4": 1}.get(part, 2)].append(parameter)
        return [{"params": part, "lr": lr * share} for part, share in zip(found, shares, strict=True) if part]

    return parameter_groups


def keep(norm):
    for parameter in norm.eval().parameters():
        parameter.requires_grad = False


def norms(model, change, walk=nn.Module.modules):
    model.train()
    for module in walk(model):
        if isinstance(module, nn.BatchNorm2d):
            change(module)


RIGHT = {
    "wilson_interval": [own_function_of_that_name()],
    "half_the_width": [lambda c, n: torch.tensor(round(4.1 * n)), lambda c, n: 3.99 * n],
    "three_rates": [
        lambda m, lr: [{"params": p, "lr": g["lr"]} for g in groups(1, 0.1, 0.01)(m, lr) for p in g["params"]]
    ],
    "batchnorm_kept": [
        lambda m: m.train().apply(lambda part: keep(part) if "BatchNorm" in type(part).__name__ else None)
    ],
}
WRONG = {
    "accuracy_over_samples": [
        (used_up, "Your function changes its input, [(tensor("),
        (lambda b: np.mean([bool((x == y).all()) for x, y in b]), "Count by hand"),
    ],
    "precision_and_recall": [
        (lambda m, n: (m[n, n] / m.sum(), m[n, n] / m.sum()), "all 30 images"),
        (lambda m, n: (m[n, n] / m[:, n].sum(), m[n, n] / m[n].sum()), "never predicted, so"),
        (lambda m, n: (both_shares(m, n)[0], m[n, n] / m[n].sum()), "has no image"),
        (lambda m, n: (both_shares(m, n)[1], both_shares(m, n)[1]), "Your two numbers are the same"),
        (lambda m, n: (m.diag().sum() / m.sum(), both_shares(m, n)[1]), "hides how the network does"),
        (lambda m, n: (m[n, n], m[n].sum()), "For how many images"),
    ],
    "surest_mistakes": [
        (
            lambda p, _, count: p.max(dim=1).values.argsort(descending=True)[:count],
            "of your 5 images correctly",
        ),
        (lambda p, y, count: p.max(dim=1).values[:count], "aren't positions"),
        (lambda *given: sorted(surest(*given)), "in the wrong order"),
        (missed_one, "Number 3 should be image"),
        (
            lambda p, y, count: [
                n for n in p.amax(1).argsort(descending=True)[:count] if p[n].argmax() != y[n]
            ],
            "before you take the first five",
        ),
        (lambda p, y, count: surest(p, y, len(y)), "Expected five images"),
        (lambda p, y, count: surest(p, y, min(count, 5)), "There are only"),
    ],
    "wilson_interval": [
        (lambda c, n: true_interval(c, n)[::-1], "lower end comes first"),
        (lambda c, n: (c / n - 0.06, c / n + 0.06), "0.120 wide, but with 200 images it should be narrower"),
        (accuracy_interval, "`accuracy_interval` does it for you"),
        (by_a_helper, "`accuracy_interval` does it for you"),
        (lambda c, n: np.round(true_interval(c, n), 2), "Do not round"),
        (lambda c, n: [100 * end for end in true_interval(c, n)], "not percentages"),
    ],
    "half_the_width": [
        (lambda c, n: 2 * n, "not half"),
        (lambda c, n: 3 * n, "how many images to add"),
        (lambda c, n: 16 * n, "more than enough"),
        (lambda c, n: 0.5, "Expected at least one image"),
        (lambda c, n: int(2**0.5 * n), "not half"),
        (lambda c, n: 800, "With 60 of 100 correct"),
        (lambda c, n: (4 * c, 4 * n), "Expected one number of images"),
        (lambda c, n: np.diff(true_interval(c, n)) / 2, "Expected at least one image"),
    ],
    "learning_parts": [
        (lambda m: {n for n, p in m.named_parameters() if p.requires_grad}, "before the first dot"),
        (parts(lambda flags: True), "No parameters, so nothing"),
        (parts(lambda flags: bool(flags)), "which can't learn"),
        (parts(all), "`all` of an empty list is True"),
        (parts(lambda flags: flags and flags[0]), "one parameter that can learn is enough"),
        (parts(lambda flags: flags and flags[-1]), "one parameter that can learn is enough"),
        (
            lambda m: {
                n for n, p in m.named_children() for q in p.parameters(recurse=False) if q.requires_grad
            },
            "those of the layers inside it",
        ),
        (
            lambda m: {n: any(p.requires_grad for p in c.parameters()) for n, c in m.named_children()},
            "Expected a set of names",
        ),
        (lambda m: {"layer3", "layer4", "head"}, "no part 'head'"),
        (lambda m: {"layer3", "layer4"}, "head is a part"),
        (lambda m: (m.requires_grad_(True), {"fc"})[1], "Your function changed a network"),
    ],
    "three_rates": [
        (groups(1, 1, 1), "same rate"),
        (groups(0.01, 0.1, 1), "upside down"),
        (lambda m, lr: groups(1, 0.1, 0.01)(m, 0.001), "Do you use `lr`?"),
        (groups(0.5, 0.1, 0.01), "for fc.weight, got 0.001"),
        (groups(1, 0.1, 0.05), "for conv1.weight, got 0.0001"),
        (groups(1, 0.1, 0.01, where=lambda *_: True), "frozen parameters"),
        (
            groups(1, 0.1, 0.01, where=lambda name, p: p.requires_grad and name[:2] in ("la", "fc")),
            "conv1.weight. They would never",
        ),
        (lambda m, lr: [*groups(1, 0.1, 0.01)(m, lr), *groups(1, 1, 1)(m, lr)], "in two groups"),
        (lambda m, lr: [{"params": [n for n, _ in m.named_parameters()], "lr": lr}], "holds 'conv1.weight'"),
        (
            lambda m, lr: [g | {"lr": f"{g['lr']:.4f}"} for g in groups(1, 0.1, 0.01)(m, lr)],
            "expected each rate to be a number",
        ),
    ],
    "batchnorm_kept": [
        (lambda m: norms(m, lambda norm: norm.requires_grad_(False)), "running mean of a BatchNorm"),
        (lambda m: norms(m, nn.Module.eval), "can still learn"),
        (lambda m: (norms(m, lambda norm: norm.requires_grad_(False)), m.eval()), "dropout"),
        (
            lambda m: norms(m, lambda norm: norm.eval().requires_grad_(False), walk=nn.Module.children),
            "running mean of a BatchNorm",
        ),
        (lambda m: (m.requires_grad_(False), norms(m, nn.Module.eval)), "outside BatchNorm"),
        (lambda m: norms(m, lambda norm: setattr(norm, "momentum", 0.0)), "other images in its batch"),
        (
            lambda m: norms(m, lambda n: (n.requires_grad_(False), setattr(n, "track_running_stats", False))),
            "other images in its batch",
        ),
        (
            lambda m: norms(m, lambda n: (n.reset_running_stats(), n.eval().requires_grad_(False))),
            "norm.running_mean has changed",
        ),
    ],
    "choose_run": [
        (lambda runs: ("careful", 0.76), "hard-code a name"),
        (
            lambda runs: (chosen(runs)[0], runs[runs.name == chosen(runs)[0]].test_accuracy.median()),
            "something other than the mean",
        ),
        (lambda runs: chosen(runs)[::-1], "Return the name first"),
    ],
}
