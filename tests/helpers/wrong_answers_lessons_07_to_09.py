"""Wrong answers to the exercises of lessons 07 to 09, and words of the hint that each must get."""

import operator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.utils.class_weight import compute_class_weight
from table_answers import right_of, wrong_of

from course_utils.data.folder_report import check_images
from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.metrics import predict
from course_utils.models.freezing import replace_head
from course_utils.models.saving import load_model, save_model


def grid() -> pd.DataFrame:
    """Return runs of which some show a gain and some do not."""
    accuracies = {
        "frozen": (0.60, 0.61, 0.62),
        "from scratch": (0.30, 0.31, 0.32),
        "fine-tuned": (0.4, 0.6, 0.8),
    }
    rows = [["drawings", 5, start, run] for start, runs in accuracies.items() for run in runs]
    rows += [["clothes", 5, start, run] for start in accuracies for run in (0.7, 0.72, 0.74)]
    return pd.DataFrame(rows, columns=["dataset", "images_per_class", "start", "test_accuracy"])


GIVEN = {
    "cases_without_gain": lambda: (grid(),),
}


divided_by_n = wrong_of("student_interval", "Yours is a little too narrow")
of_single_runs = wrong_of("student_interval", "Yours is too wide")
t_interval, mend, suspicious = map(right_of, ("student_interval", "rgb_restored", "suspicious_labels"))


def differing(one, other):
    return {name for name in one if one[name] != other[name]} - {"start", "lr"}


def by_means(transfer, scratch):
    return "transfer pays" if np.mean(transfer) > np.mean(scratch) else "scratch is better"


def by_intervals(transfer, scratch, interval=t_interval):
    (_, low, high), (_, other_low, other_high) = interval(transfer), interval(scratch)
    if low > other_high:
        return "transfer pays"
    return "scratch is better" if other_low > high else "not told apart"


def by_test(transfer, scratch):
    differ = stats.ttest_ind(transfer, scratch).pvalue <= 0.05
    return by_means(transfer, scratch) if differ else "not told apart"


def cases(runs, start, touching=lambda *two: by_intervals(*two) != "transfer pays"):
    """Return the pairs of data set and number of images for which `touching` holds."""
    found = set()
    for case, group in runs.groupby(["dataset", "images_per_class"]):
        by_start = group.groupby("start").test_accuracy.apply(list)
        if touching(by_start[start], by_start["from scratch"]):
            found.add(case)
    return found


def by_every_run(transfer, scratch):
    if min(transfer) > max(scratch):
        return "transfer pays"
    return "scratch is better" if max(transfer) < min(scratch) else "not told apart"


def way(pretrained, trained, used, same=operator.eq):
    if same(trained, used):
        return "right" if same(trained, pretrained) else "training and inference"
    return "inference only" if same(trained, pretrained) else "training only"


def mend_in_8_bits(images, mean, std):
    """Undo the normalisation, and round to the 256 steps of a picture."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    pixels = (255 * (images * std + mean)).round().clamp(0, 255) / 255
    return (pixels.flip(1) - mean) / std


def bootstrap(first, second, paired=True, draws=2000, ends=(0.025, 0.975)):
    random, images = np.random.default_rng(0), len(first)
    drawn = random.integers(images, size=(draws, images))
    other = drawn if paired else random.integers(images, size=(draws, images))
    means = first[drawn].mean(axis=1) - second[other].mean(axis=1)
    return first.mean() - second.mean(), *np.quantile(means, ends)


def of_half(first, second):
    """Draw half of the images, each once, again and again."""
    random, difference = np.random.default_rng(0), first.astype(float) - second
    means = [random.permutation(difference)[: len(difference) // 2].mean() for _ in range(2000)]
    return difference.mean(), *np.quantile(means, (0.025, 0.975))


def by_formula(first, second, ddof=0):
    difference = first.astype(float) - second
    reach = 1.96 * difference.std(ddof=ddof) / np.sqrt(len(difference))
    return difference.mean(), difference.mean() - reach, difference.mean() + reach


def fault_without(images, mean, std, size, leave_out=()):
    """Find a fault as the solution does, but for the steps that are left out."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    pixels = images if "undo" in leave_out else images * std + mean
    sides = images.shape[-2:] if "width" not in leave_out else images.shape[-2:-1]
    if (max(sides) > size and "larger" not in leave_out) or (min(sides) < size and "size" not in leave_out):
        return "another size"
    if images.max() > (1 if "large" in leave_out else 20):
        return "0 to 255"
    if (images.min() >= 0 and images.max() <= 1) if "range" not in leave_out else images.max() <= 1:
        return "not normalised"
    looked_at = (
        pixels[:1] if "other images" in leave_out else pixels[:, :2] if "blue" in leave_out else pixels
    )
    return "grey" if (looked_at - looked_at[:, :1]).abs().max() < 1e-3 else "right"


def by_steps(images, mean, std, size):
    """Find a fault by where the numbers lie: those of pictures are multiples of 1/255."""
    pixels = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)

    def in_steps(numbers):
        steps = 255 * numbers
        return bool((steps - steps.round()).abs().max() < 1e-2 and -0.1 < steps.min() <= steps.max() < 255.1)

    if tuple(images.shape[-2:]) != (size, size):
        return "another size"
    if in_steps(images):
        return "not normalised"
    if not in_steps(pixels):
        return "0 to 255"
    return "grey" if torch.allclose(pixels, pixels.roll(1, 1), atol=1e-3) else "right"


def save(model, path, backbone, classes, transform):
    save_model(model, path, backbone=backbone, classes=classes, image_size=None, transform=transform)


def ask_file(path, picture, head=False, transform=None):
    network, card = load_model(path)
    if head:
        replace_head(network, len(card["classes"]))
    return predict(
        network,
        picture,
        transform or Preprocessing.from_dict(card["preprocessing"]).transform(),
        card["classes"],
    )


def deleted(folder):
    names = check_images(folder).query("action == 'left out'").path.tolist()
    for name in names:
        (folder / name).unlink()
    return names


def judged_by_itself(features, labels):
    return LogisticRegression(max_iter=2000).fit(features, labels).predict_proba(features)


def held_out(features, labels, folds=5):
    classifier = LogisticRegression(C=0.01, max_iter=2000)
    return cross_val_predict(classifier, features, labels, cv=folds, method="predict_proba")


RIGHT = {
    "cases_without_gain": [
        lambda runs, start: np.array([["clothes", 5], ["drawings", 5]])[: 1 + (start == "fine-tuned")]
    ],
    "rgb_restored": [mend_in_8_bits],
    "fault_found": [by_steps],
    "left_out_files": [lambda folder: map(Path, check_images(folder).query("action == 'left out'").path)],
    "handed_over": [(save, lambda path, picture: ask_file(str(path), picture)[::-1])],
    "class_weights": [
        lambda labels, classes: compute_class_weight("balanced", classes=np.arange(classes), y=labels.numpy())
    ],
    "balanced_accuracy": [lambda predictions, labels: balanced_accuracy_score(labels, predictions)],
    "held_out_probabilities": [lambda features, labels: held_out(features, labels, folds=10)],
}
WRONG = {
    "unfair_differences": [
        (lambda a, b: {n for n in a if a[n] != b[n]}, "it has to differ"),
        (lambda a, b: {n for n in a if a[n] != b[n]} - {"start"}, "works best for it"),
        (lambda a, b: {n for n in ("network",) if a[n] != b[n]}, "you do not list it as unfair"),
        (lambda a, b: differing(a, b) | {"lr_chosen_on"}, "do not differ there"),
        (lambda a, b: differing(a, b) - {"lr_chosen_on"}, "lr_chosen_on` is validation"),
    ],
    "epochs_for_budget": [
        (lambda steps, images, batch: max(1, steps // -(-images // batch)), "18 steps, fewer than 20"),
        (lambda steps, images, batch: -(-steps // (images // batch)), "epochs would be enough"),
        (lambda steps, images, batch: round(steps / -(-images // batch)), "fewer than 20"),
        (lambda steps, images, batch: steps / -(-images // batch), "return a whole number"),
        (lambda steps, images, batch: steps, "epochs would be enough"),
        (lambda steps, images, batch: float("nan"), "Expected one number of epochs"),
    ],
    "student_interval": [
        (lambda values: t_interval([100 * value for value in values]), "The mean of"),
    ],
    "verdict_on_means": [
        (by_means, "the intervals overlap"),
        (by_every_run, "2.5 points"),
        (lambda a, b: "transfer pays", "from scratch is higher"),
        (lambda a, b: "better", "or 'not told apart', got 'better'"),
        (lambda a, b: by_means(b, a), "transfer is higher"),
        (partial(by_intervals, interval=divided_by_n), "n − 1 in the standard deviation"),
        (partial(by_intervals, interval=of_single_runs), "The means are six points apart"),
        (by_test, "2.5 points"),
    ],
    "cases_without_gain": [
        (lambda runs, start: [], "leave this case out"),
        (lambda runs, start: {("clothes", 7)}, "no runs for ('clothes', 7)"),
        (lambda runs, start: [(5, "clothes")], "the name first"),
        (
            partial(cases, touching=lambda a, b: np.mean(a) <= np.mean(b)),
            "fine-tuned, drawings, 5 images of each class: you",
        ),
        (partial(cases, touching=lambda a, b: by_intervals(a, b) == "transfer pays"), "do they touch"),
    ],
    "fault_scope": [
        (lambda p, t, u: "right" if t == u else "inference only", "Do they agree with pretraining?"),
        (lambda p, t, u: "right" if p == u else way(p, t, u), "Which of the three is different?"),
        (lambda p, t, u: "training and inference" if p == t != u else "inference only", "formats agree"),
        (lambda p, t, u: "wrong", "Expected one of inference only"),
        (lambda p, t, u: "right" if t == p else "training only", "Where does the difference start?"),
        (lambda p, t, u: way("RGB", t, u), "No format is wrong by itself"),
        (lambda p, t, u: "right" if p == t == u else None, "It happens for pretraining"),
        (partial(way, same=operator.is_), "not with `is`"),
    ],
    "rgb_restored": [
        (lambda images, mean, std: mend(images, mean, std).numpy(), "Keep its type and shape"),
        (lambda images, mean, std: mend(images, mean, std).roll(1, 1), "do you undo the same mean"),
    ],
    "paired_interval": [
        (lambda a, b: bootstrap(a, b, paired=False), "its own images"),
        (lambda a, b: bootstrap(b, a), "sign is the wrong way round"),
        (lambda a, b: [100 * number for number in bootstrap(a, b)], "in percentage points"),
        (lambda a, b: (bootstrap(a, b)[0],) * 3, "no width"),
        (lambda a, b: [bootstrap(a, b)[number] for number in (0, 2, 1)], "lower end of the interval first"),
        (lambda a, b: bootstrap(a, b, ends=(0.05, 0.95)), "too narrow"),
        (lambda a, b: (a.mean(), *bootstrap(a, b)[1:]), "the fraction that the first head got right minus"),
        (lambda a, b: (bootstrap(a, b)[0], *bootstrap(b, a)[1:]), "outside its own interval"),
        (of_half, "with replacement"),
        (by_formula, "1.96 standard errors"),
        (lambda a, b: bootstrap(a - b, b), "NumPy cannot subtract booleans"),
    ],
    "fault_found": [
        (partial(fault_without, leave_out=["undo"]), "undo it first"),
        (partial(fault_without, leave_out=["size"]), "last two numbers of the shape"),
        (partial(fault_without, leave_out=["width"]), "last two numbers of the shape"),
        (partial(fault_without, leave_out=["larger"]), "last two numbers of the shape"),
        (partial(fault_without, leave_out=["other images"]), "all its pictures"),
        (partial(fault_without, leave_out=["blue"]), "all three"),
        (partial(fault_without, leave_out=["large"]), "need not have both"),
        (partial(fault_without, leave_out=["range"]), "need not have both"),
        (lambda *_: "right", "How large can a number get"),
        (lambda *given: fault_without(*given).capitalize(), "Expected one of right"),
    ],
    "left_out_files": [
        (lambda folder: check_images(folder).path.tolist(), "ignores it anyway"),
        (lambda folder: [], "decode every picture to the end"),
        (lambda folder: [p for p in folder.rglob("*.*") if not p.stat().st_size], "relative to the folder"),
        (lambda folder: ["dogs/nothing.png", "dogs/same.png"], "a copy of a picture in the other class"),
        (lambda folder: ["dogs/nothing.png", "cats/see_through_0.png"], "It can be used with care"),
        (deleted, "leave every file unchanged"),
        (lambda folder: ["cats/0.png"], "The other class has a copy of it"),
        (lambda folder: ["dogs/1.png"], "It is a readable picture"),
        (lambda folder: ["cats/5.png"], "there is no such file"),
        (lambda folder: check_images(folder).query("action == 'left out'"), "got a table"),
    ],
    "handed_over": [
        ((lambda *_: None, ask_file), "no file zebra"),
        ((lambda m, p, b, c, t: save(m, p, b, sorted(c), t), ask_file), "the wrong name"),
        ((lambda m, p, b, c, t: save(m, p, b, c, None), ask_file), "how to preprocess pictures"),
        ((lambda m, p, *_: torch.save(m.state_dict(), p), ask_file), "Write it with `save_model`"),
        ((save, partial(ask_file, head=True)), "without a new head"),
        ((save, lambda path, picture: ask_file(path.with_name("zebra.safetensors"), picture)), "given path"),
    ],
    "class_weights": [
        (lambda labels, classes: 0.5, "Expected one weight for each class"),
        (lambda labels, classes: torch.ones(classes), "These products should be equal"),
        (lambda labels, classes: [1.0, 2.0], "Expected 3 weights"),
    ],
    "balanced_accuracy": [
        (lambda predictions, labels: (predictions == labels).double(), "should return one number"),
        (lambda predictions, labels: 0.5, "Take the recall of each class"),
    ],
    "held_out_probabilities": [
        (judged_by_itself, "memorised"),
        (lambda features, labels: labels, "a row for each image"),
        (lambda features, labels: np.eye(4)[(labels + 1) % 4], "guessing would get 25 %"),
        (lambda features, labels: np.ones((len(labels), 4)), "sum to 1"),
        (
            lambda features, labels: np.tile([1.2, -0.2, 0.0, 0.0], (len(labels), 1)),
            "A probability is never below 0",
        ),
    ],
    "suspicious_labels": [
        (lambda table, labels, count: table[:count, 0], "not the probabilities of their labels"),
        (lambda table, labels, count: suspicious(table, labels, 50), "Expected 6 images"),
        (lambda *given: suspicious(*given)[[0, 1, 2, 3, 5, 4]], "Number 5 should be image"),
    ],
}
