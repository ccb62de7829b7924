"""Wrong answers to the exercises of lessons 05 and 06, and words of the hint that each must get."""

import numpy as np
from table_answers import right_of
from torch import nn

from course_utils.evaluation.metrics import Evaluation, accuracy_interval, most_confident_mistakes
from course_utils.models.freezing import freeze_batchnorm

true_interval, both_shares = right_of("wilson_interval"), right_of("precision_and_recall")


def used_up(batches):
    """Take the batches off the list."""
    images = right = 0
    while batches:
        answers, labels = batches.pop()
        right, images = right + int((answers == labels).sum()), images + len(labels)
    return right / images


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


def norms(model, change, walk=nn.Module.modules):
    model.train()
    for module in walk(model):
        if isinstance(module, nn.BatchNorm2d):
            change(module)


WRONG = {
    "accuracy_over_samples": [
        (used_up, "Your function changes its input, [(tensor("),
    ],
    "surest_mistakes": [
        (lambda p, _, count: p.max(dim=1).values.argsort(descending=True)[:count], "classified correctly"),
        (
            lambda p, y, count: most_confident_mistakes(Evaluation(p, y, list("abcd")), count).image,
            "`most_confident_mistakes` does it for you",
        ),
    ],
    "wilson_interval": [
        (lambda c, n: accuracy_interval(c, n), "`accuracy_interval` does it for you"),
        (lambda c, n: np.round(true_interval(c, n), 2), "Do not round"),
    ],
    "half_the_width": [
        (lambda c, n: 2 * n, "not half"),
        (lambda c, n: 3 * n, "how many images to add"),
        (lambda c, n: 16 * n, "more than enough"),
        (lambda c, n: 0.5, "One image is the least"),
        (lambda c, n: 800, "With 60 of 100 right"),
        (lambda c, n: (4 * c, 4 * n), "one number of images"),
    ],
    "learning_parts": [
        (lambda m: {n for n, p in m.named_parameters() if p.requires_grad}, "before the dot"),
        (parts(lambda flags: True), "no parameters"),
        (parts(lambda flags: bool(flags)), "cannot learn"),
        (parts(all), "`all` of nothing is True"),
        (parts(lambda flags: flags and flags[0]), "one that can learn is enough"),
        (
            lambda m: {
                n for n, p in m.named_children() for q in p.parameters(recurse=False) if q.requires_grad
            },
            "those of the layers inside it",
        ),
    ],
    "three_rates": [
        (groups(1, 1, 1), "same rate"),
        (groups(0.01, 0.1, 1), "upside down"),
        (lambda m, lr: groups(1, 0.1, 0.01)(m, 0.001), "is `lr` used?"),
        (groups(0.5, 0.1, 0.01), "fc.weight learns with 0.001"),
        (groups(1, 0.1, 0.05), "conv1.weight learns with 0.0001"),
        (groups(1, 0.1, 0.001), "conv1.weight learns with"),
    ],
    "batchnorm_kept": [
        (lambda m: norms(m, lambda norm: norm.requires_grad_(False)), "running mean of a BatchNorm"),
        (lambda m: norms(m, nn.Module.eval), "can still learn"),
        (lambda m: (norms(m, lambda norm: norm.requires_grad_(False)), m.eval()), "dropout"),
        (lambda m: (m.requires_grad_(False), norms(m, nn.Module.eval)), "outside BatchNorm"),
        (lambda m: norms(m, lambda norm: setattr(norm, "momentum", 0.0)), "other images of its batch"),
        (lambda m: (m.train(), freeze_batchnorm(m)), "`freeze_batchnorm` does it for you"),
    ],
}
