"""Wrong answers to the exercises of lessons 05 and 06, and words of the hint that each must get."""

import functools
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import torch
from torch import nn

from course_utils.evaluation.metrics import Evaluation, accuracy_interval, most_confident_mistakes
from course_utils.evaluation.metrics import accuracy_interval as ready_made
from course_utils.models.freezing import freeze_batchnorm, set_train_mode


def true_interval(correct, images, confidence=0.95):
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), correct / images
    middle = share + z**2 / (2 * images)
    reach = z * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    return (middle - reach) / (1 + z**2 / images), (middle + reach) / (1 + z**2 / images)


def own_function_of_that_name():
    def accuracy_interval(correct, images):
        return true_interval(correct, images)

    return accuracy_interval


def by_a_helper(correct, images):
    return ready_made(correct, images)


def middle_and_reach(correct, images):
    low, high = true_interval(correct, images)
    return (low + high) / 2, (high - low) / 2


def wrong_batches(batches):
    return [int((answers == labels).sum()) for answers, labels in batches], [len(b[1]) for b in batches]


def mean_of_batches(batches):
    return float(np.mean([right / images for right, images in zip(*wrong_batches(batches), strict=True)]))


def used_up(batches):
    """Take the batches off the list."""
    images = right = 0
    while batches:
        answers, labels = batches.pop()
        right, images = right + int((answers == labels).sum()), images + len(labels)
    return right / images


def overwritten(probabilities, labels, count):
    found = surest(probabilities, labels, count)
    probabilities[found] = 0
    return found


def share(one, of):
    return float(one) / float(of) if of else 0.0


def shares_of(both, called, are):
    """Return an answer that divides numbers of a matrix; each argument takes the matrix and the class."""
    return lambda m, n: (share(both(m, n), called(m, n)), share(both(m, n), are(m, n)))


def number_of_both(matrix, number):
    return matrix[number, number]


def column(matrix, number):
    return matrix[:, number].sum()


def row(matrix, number):
    return matrix[number].sum()


def without_recall_of_nothing(matrix, number):
    both, called = int(matrix[number, number]), int(matrix[:, number].sum())
    return both / called if called else 0, both / int(matrix[number].sum())


def mistakes_only(probabilities, labels, count):
    confidence, answers = probabilities.max(dim=1)
    wrong = answers != labels
    return confidence[wrong].argsort(descending=True)[:count]


def swapped_last(order):
    """Return an answer whose last two images are interchanged."""
    return lambda *given: [*order(*given)[:-2], *reversed(order(*given)[-2:])]


def surest(probabilities, labels, count):
    wrong = (probabilities.argmax(dim=1) != labels).nonzero().flatten()
    return wrong[probabilities.max(dim=1).values[wrong].argsort(descending=True)][:count].tolist()


def missed_one(probabilities, labels, count):
    """Leave out the third of the surest mistakes."""
    found = surest(probabilities, labels, count + 1)
    return found[:2] + found[3:]


def least_sure_mistakes(probabilities, labels, count):
    wrong = (probabilities.argmax(dim=1) != labels).nonzero().flatten()
    return wrong[probabilities.max(dim=1).values[wrong].argsort()][:count]


def normal_interval(correct, images, z=1.96):
    share = correct / images
    reach = z * np.sqrt(share * (1 - share) / images)
    return share - reach, share + reach


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


def chosen(runs, column="val_accuracy", report="test_accuracy", how="mean"):
    means = runs.groupby("name").agg(how)
    return means[column].idxmax(), means[report][means[column].idxmax()]


RIGHT = {
    "accuracy_over_samples": [
        lambda b: (torch.cat([x for x, _ in b]) == torch.cat([y for _, y in b])).float().mean(),
        lambda b: np.average([(x == y).float().mean() for x, y in b], weights=[len(y) for _, y in b]),
    ],
    "precision_and_recall": [
        shares_of(number_of_both, column, row),
        lambda m, n: torch.nan_to_num(torch.stack([m[n, n] / m[:, n].sum(), m[n, n] / m[n].sum()])),
    ],
    "surest_mistakes": [lambda p, y, count: torch.tensor(surest(p, y, count))],
    "wilson_interval": [
        lambda c, n: np.array(true_interval(c, n)),
        lambda c, n: torch.tensor(true_interval(c, n)),
        own_function_of_that_name(),
    ],
    "half_the_width": [
        lambda c, n: 4 * n,
        lambda c, n: 4.0 * n,
        lambda c, n: torch.tensor(round(4.1 * n)),
        lambda c, n: 3.99 * n,
        lambda c, n: Fraction(8 * n + 1, 2),
    ],
    "learning_parts": [
        lambda m: list(parts(any)(m)),
        lambda m: {n.split(".")[0] for n, p in m.named_parameters() if p.requires_grad},
    ],
    "three_rates": [
        lambda m, lr: [
            {"params": p, "lr": g["lr"]} for g in groups(1, 0.1, 0.01)(m, lr) for p in g["params"]
        ],
        lambda m, lr: tuple(groups(1, 0.1, 0.01)(m, lr)),
    ],
    "batchnorm_kept": [
        lambda m: norms(m, lambda norm: norm.eval().requires_grad_(False)),
        lambda m: m.train().apply(lambda part: keep(part) if "BatchNorm" in type(part).__name__ else None),
    ],
    "choose_run": [lambda runs: list(chosen(runs)), lambda runs: np.array(chosen(runs), dtype=object)],
}
WRONG = {
    "accuracy_over_samples": [
        (mean_of_batches, "mean of the three batches"),
        (used_up, "Your function changes its input, [(tensor("),
        (lambda b: sum(wrong_batches(b)[0]) / (len(b) * wrong_batches(b)[1][0]), "there are 18"),
        (lambda b: sum(wrong_batches(b)[0]), "divide by to get a share"),
        (lambda b: 100 * sum(wrong_batches(b)[0]) / sum(wrong_batches(b)[1]), "per cent"),
        (lambda b: 13 / 18, "anything besides its argument"),
        (lambda b: mean_of_batches(b[-1:]), "the last batch alone"),
        (lambda b: mean_of_batches(b[:1]), "Is the `return` inside the loop?"),
        (lambda b: sum(wrong_batches(b[:-1])[0]) / sum(wrong_batches(b[:-1])[1]), "leave out the last batch"),
        (lambda b: len(b) * mean_of_batches(b), "add up the accuracies"),
        (lambda b: 1 - sum(wrong_batches(b)[0]) / sum(wrong_batches(b)[1]), "the share of the wrong ones"),
        (lambda b: np.mean([bool((x == y).all()) for x, y in b]), "Count by hand"),
        (lambda b: print(wrong_batches(b)), "`return`"),
    ],
    "precision_and_recall": [
        (lambda m, n: (m[n, n] / m[n].sum(), m[n, n] / m[:, n].sum()), "swapped"),
        (lambda m, n: (m[n, n] / m.sum(), m[n, n] / m.sum()), "all 30 images"),
        (lambda m, n: (m[n, n] / m[:, n].sum(), m[n, n] / m[n].sum()), "never named, so"),
        (without_recall_of_nothing, "has no image"),
        (lambda m, n: shares_of(number_of_both, column, row)(m.clamp_(max=8), n), "Your function changes"),
        (
            lambda m, n: (m[n - 1, n - 1] / m[:, n - 1].sum(), m[n - 1, n - 1] / m[n - 1].sum()),
            "numbered from 0",
        ),
        (lambda m, n: [100 * x for x in shares_of(number_of_both, column, row)(m, n)], "Those are per cent"),
        (
            shares_of(number_of_both, lambda m, n: column(m, n) - m[n, n], lambda m, n: row(m, n) - m[n, n]),
            "by the mistakes alone",
        ),
        (shares_of(number_of_both, row, row), "Both are the same"),
        (lambda m, n: shares_of(number_of_both, column, row)(m, 0), "class 1 is not"),
        (lambda m, n: (share(m.diag().sum(), m.sum()), share(m[n, n], row(m, n))), "hides the class"),
        (lambda m, n: (number_of_both(m, n), row(m, n)), "For how many of them"),
        (lambda m, n: share(number_of_both(m, n), column(m, n)), "should give 2 numbers"),
        (lambda m, n: {"precision": 6 / 13, "recall": 0.6}, "should give 2 numbers"),
    ],
    "surest_mistakes": [
        (lambda p, _, count: p.max(dim=1).values.argsort(descending=True)[:count], "named right"),
        (overwritten, "Your function changes its input, a tensor [40, 4]"),
        (mistakes_only, "At place 3 of them, counted from 0, is image 3"),
        (least_sure_mistakes, "least sure"),
        (lambda p, y, count: p[torch.arange(len(y)), y].argsort()[:count], "right class was"),
        (lambda p, y, count: p.max(dim=1).values[:count], "not how sure"),
        (swapped_last(surest), "in another order"),
        (missed_one, "Number 3 should be image"),
        (lambda *given: [number + 1 for number in surest(*given)], "one too high"),
        (
            lambda p, y, count: [
                n for n in p.amax(1).argsort(descending=True)[:count] if p[n].argmax() != y[n]
            ],
            "before you take the first five",
        ),
        (lambda p, y, count: p.argmax(dim=1) != y, "or True and False"),
        (lambda p, y, count: surest(p, y, len(y)), "There should be five images"),
        (lambda p, y, count: (p.argmax(dim=1) != y).nonzero()[:count], "Number 1 should be image"),
        (
            lambda p, y, count: most_confident_mistakes(Evaluation(p, y, list("abcd")), count).image,
            "`most_confident_mistakes` does it for you",
        ),
    ],
    "wilson_interval": [
        (normal_interval, "p ± z"),
        (lambda c, n: true_interval(c, n, confidence=0.9), "90 %"),
        (lambda c, n: true_interval(c, n)[::-1], "lower end comes first"),
        (lambda c, n: (float("nan"), float("nan")), "should give 2 numbers"),
        (lambda c, n: (np.nan, 0.9), "should give 2 numbers"),
        (lambda c, n: (c / n - 0.06, c / n + 0.06), "0.120 wide; with 200 images it must be narrower"),
        (lambda c, n: accuracy_interval(c, n), "`accuracy_interval` does it for you"),
        (accuracy_interval, "`accuracy_interval` does it for you"),
        (by_a_helper, "`accuracy_interval` does it for you"),
        (functools.partial(ready_made), "`accuracy_interval` does it for you"),
        (lambda c, n: np.round(true_interval(c, n), 2), "Do not round"),
        (middle_and_reach, "the middle and how far"),
        (lambda c, n: [100 * end for end in true_interval(c, n)], "not per cent"),
        (lambda c, n: true_interval(c, n)[0], "should give 2 numbers"),
    ],
    "half_the_width": [
        (lambda c, n: 2 * n, "not half"),
        (lambda c, n: 3 * n, "how many images to add"),
        (lambda c, n: 16 * n, "more than enough"),
        (lambda c, n: round(4.5 * n), "more than enough"),
        (lambda c, n: round(3.6 * n), "not half"),
        (lambda c, n: 1.5 * n + 0.5, "not half"),
        (lambda c, n: 0.5, "One image is the least"),
        (lambda c, n: int(2**0.5 * n), "not half"),
        (lambda c, n: 4 * c, "not half"),
        (lambda c, n: n // 4, "not half"),
        (lambda c, n: 800, "With 60 of 100 right"),
        (lambda c, n: (4 * c, 4 * n), "one number of images"),
        (lambda c, n: np.diff(true_interval(c, n)) / 2, "One image is the least"),
        (lambda c, n: print(4 * n), "`return`"),
    ],
    "learning_parts": [
        (lambda m: {n for n, p in m.named_parameters() if p.requires_grad}, "before the dot"),
        (parts(lambda flags: True), "no parameters"),
        (parts(lambda flags: bool(flags)), "cannot learn"),
        (parts(all), "`all` of nothing is True"),
        (parts(lambda flags: flags and flags[0]), "one that can learn is enough"),
        (parts(lambda flags: flags and flags[-1]), "one that can learn is enough"),
        (
            lambda m: {
                n for n, p in m.named_children() for q in p.parameters(recurse=False) if q.requires_grad
            },
            "those of the layers inside it",
        ),
        (
            lambda m: {n: any(p.requires_grad for p in c.parameters()) for n, c in m.named_children()},
            "a set of",
        ),
        (
            lambda m: [c for c in m.children() if any(p.requires_grad for p in c.parameters())],
            "a set of names",
        ),
        (lambda m: {"layer3", "layer4", "head"}, "no part 'head'"),
        (lambda m: {"layer3", "layer4"}, "head is a part"),
        (lambda m: (m.requires_grad_(True), {"fc"})[1], "was changed"),
    ],
    "three_rates": [
        (groups(1, 1, 1), "same rate"),
        (groups(0.01, 0.1, 1), "upside down"),
        (lambda m, lr: groups(1, 0.1, 0.01)(m, 0.001), "is `lr` used?"),
        (groups(0.5, 0.1, 0.01), "fc.weight learns with 0.001"),
        (groups(1, 0.1, 0.05), "conv1.weight learns with 0.0001"),
        (groups(1, 0.1, 0.001), "conv1.weight learns with"),
        (groups(1, 0.01, 0.01), "layer3"),
        (groups(1, 0.1, 0.01, where=lambda *_: True), "frozen parameters"),
        (
            groups(1, 0.1, 0.01, where=lambda name, p: p.requires_grad and name[:2] in ("la", "fc")),
            "conv1.weight: they would never",
        ),
        (lambda m, lr: [*groups(1, 0.1, 0.01)(m, lr), *groups(1, 1, 1)(m, lr)], "in two groups"),
        (lambda m, lr: [{"params": [n for n, _ in m.named_parameters()], "lr": lr}], "holds 'conv1.weight'"),
        (
            lambda m, lr: [g | {"lr": f"{g['lr']:.4f}"} for g in groups(1, 0.1, 0.01)(m, lr)],
            "a rate should be a number",
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
        (lambda m: norms(m, lambda norm: setattr(norm, "momentum", 0.0)), "other images of its batch"),
        (
            lambda m: norms(m, lambda n: (n.requires_grad_(False), setattr(n, "track_running_stats", False))),
            "other images of its batch",
        ),
        (lambda m: (m.train(), freeze_batchnorm(m)), "`freeze_batchnorm` does it for you"),
        (
            lambda m: (norms(m, lambda norm: norm.requires_grad_(False)), set_train_mode(m)),
            "`set_train_mode` does it for you",
        ),
        (
            lambda m: norms(m, lambda n: (n.reset_running_stats(), n.eval().requires_grad_(False))),
            "norm.running_mean has other numbers",
        ),
        (
            lambda m: norms(m, lambda norm: (norm.eval(), norm.weight.requires_grad_(False))),
            "can still learn",
        ),
    ],
    "choose_run": [
        (lambda runs: chosen(runs, column="test_accuracy"), "best test accuracy"),
        (lambda runs: chosen(runs, report="val_accuracy"), "it flatters"),
        (
            lambda runs: tuple(runs.loc[runs.val_accuracy.idxmax()][["name", "test_accuracy"]]),
            "mean over the seeds",
        ),
        (lambda runs: ("careful", 0.77), "better seed"),
        (lambda runs: ("careful", 0.76), "written into it"),
        (lambda runs: chosen(runs, how="median"), "not the mean that you take"),
        (lambda runs: chosen(runs, how="min"), "worse seed"),
        (lambda runs: (chosen(runs)[0], 100 * chosen(runs)[1]), "in per cent"),
        (lambda runs: (runs.groupby("name").val_accuracy.mean().idxmin(), 0.62), "worst of all"),
        (lambda runs: chosen(runs)[::-1], "Give the name first"),
        (lambda runs: chosen(runs)[0], "to a name and an accuracy"),
        (lambda runs: print(chosen(runs)), "`return`"),
    ],
}
