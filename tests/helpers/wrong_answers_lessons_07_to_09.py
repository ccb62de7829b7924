"""Wrong answers to the exercises of lessons 07 to 09, and words of the hint that each must get."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression

from course_utils.data.folder_report import check_images
from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.metrics import per_class, predict
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
    "card_purpose": lambda: (["birds", "fruit", "vehicles"],),
}


def differing(one, other):
    return {name for name in one if one[name] != other[name]} - {"start", "lr"}


def t_interval(values, t=None, ddof=1, root=True):
    count = len(values)
    t = stats.t.ppf(0.975, count - 1) if t is None else t
    reach = t * np.std(values, ddof=ddof) / (np.sqrt(count) if root else 1)
    return np.mean(values), np.mean(values) - reach, np.mean(values) + reach


def by_means(transfer, scratch):
    return "transfer pays" if np.mean(transfer) > np.mean(scratch) else "scratch is better"


def by_intervals(transfer, scratch, **how):
    """Say whether two intervals touch; `how` is that of `t_interval`."""
    (_, low, high), (_, other_low, other_high) = (t_interval(runs, **how) for runs in (transfer, scratch))
    if low > other_high:
        return "transfer pays"
    return "scratch is better" if other_low > high else "not told apart"


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


def way(pretrained, trained, used):
    if trained == used:
        return "right" if trained == pretrained else "trained and used"
    return "used only" if trained == pretrained else "trained only"


def bootstrap(first, second, paired=True, draws=2000, ends=(0.025, 0.975)):
    random, images = np.random.default_rng(0), len(first)
    drawn = random.integers(images, size=(draws, images))
    other = drawn if paired else random.integers(images, size=(draws, images))
    means = first[drawn].mean(axis=1) - second[other].mean(axis=1)
    return first.mean() - second.mean(), *np.quantile(means, ends)


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


def one_row_too_high(images):
    table = np.full((images, 4), 0.25)
    table[7] *= 1.5
    return table


def weakest_by(column, smallest=True):
    """Return an answer that names the class with the smallest, or largest, number in a column."""

    def weakest(result):
        table = per_class(result)
        row = table.loc[table[column].idxmin() if smallest else table[column].idxmax()]
        return f"{row.name}: {round(float(row.recall) * row.images)} of {row.images:.0f} found"

    return weakest


PURPOSE = "sorting drawings of birds and fruit, as an exercise for students"
NOT_FOR = "photographs, and decisions that could do harm to somebody"


WRONG = {
    "unfair_differences": [
        (lambda a, b: {n for n in a if a[n] != b[n]}, "it has to differ"),
        (lambda a, b: {n for n in a if a[n] != b[n]} - {"start"}, "good for it"),
        (lambda a, b: {n for n in ("network",) if a[n] != b[n]}, "you call that fair"),
        (lambda a, b: set(a) - {"start", "lr"}, "the same on both sides"),
        (lambda a, b: differing(a, b) - {"seeds"}, "seeds is (0, 1, 2) on one side and (0,)"),
        (lambda a, b: differing(a, b) - {"lr_chosen_on"}, "lr_chosen_on is validation"),
    ],
    "epochs_for_budget": [
        (lambda steps, images, batch: max(1, steps // -(-images // batch)), "18 steps, fewer than 20"),
        (lambda steps, images, batch: -(-steps // (images // batch)), "epochs would do"),
        (lambda steps, images, batch: 7, "where 6 epochs would do"),
        (lambda steps, images, batch: round(steps / -(-images // batch)), "fewer than 20"),
        (lambda steps, images, batch: steps / -(-images // batch), "give a whole number"),
        (lambda steps, images, batch: float("nan"), "give one number"),
    ],
    "verdict_on_means": [
        (by_means, "the intervals overlap"),
        (by_every_run, "2.5 points"),
        (lambda a, b: "transfer pays", "scratch above"),
        (lambda a, b: "better", "is none of"),
        (lambda a, b: by_means(b, a), "with transfer above"),
        (lambda a, b: print("transfer pays"), "`return`"),
    ],
    "cases_without_gain": [
        (lambda runs, start: [], "leave it out"),
        (lambda runs, start: {("clothes", 7)}, "no runs for ('clothes', 7)"),
        (lambda runs, start: {("Clothes", 5)}, "no runs for ('Clothes', 5)"),
        (lambda runs, start: [(5, "clothes")], "the name first"),
        (
            partial(cases, touching=lambda a, b: np.mean(a) <= np.mean(b)),
            "fine-tuned, drawings, 5 images: you",
        ),
        (partial(cases, touching=lambda a, b: by_intervals(a, b) == "transfer pays"), "do they touch"),
    ],
    "fault_scope": [
        (lambda p, t, u: "right" if t == u else "used only", "What about the pretraining?"),
        (lambda p, t, u: "right" if p == u else "used only", "the pretraining"),
        (lambda p, t, u: "trained and used" if p == t != u else "used only", "All three agree"),
        (lambda p, t, u: "wrong", "is none of"),
        (lambda p, t, u: "right" if t == p else "trained only", "Where does the difference begin?"),
        (lambda p, t, u: way(u, t, p), "the difference begin"),
    ],
    "paired_interval": [
        (lambda a, b: bootstrap(a, b, paired=False), "its own images"),
        (lambda a, b: bootstrap(b, a), "sign is the wrong way round"),
        (lambda a, b: [100 * number for number in bootstrap(a, b)], "in points"),
        (lambda a, b: (bootstrap(a, b)[0],) * 3, "no width"),
        (lambda a, b: (float("nan"),) * 3, "should give 3 numbers"),
        (lambda a, b: [bootstrap(a, b)[number] for number in (0, 2, 1)], "lower end comes first"),
    ],
    "fault_found": [
        (partial(fault_without, leave_out=["undo"]), "undo it first"),
        (partial(fault_without, leave_out=["size"]), "last two numbers of the shape"),
        (partial(fault_without, leave_out=["other images"]), "if all of its pictures are"),
        (partial(fault_without, leave_out=["blue"]), "all of their three channels"),
        (partial(fault_without, leave_out=["large"]), "need not have both"),
        (lambda *_: "right", "How large can a number be"),
    ],
    "left_out_files": [
        (lambda folder: check_images(folder).path.tolist(), "ignored"),
        (lambda folder: [], "to its end shows"),
        (lambda folder: [p for p in folder.rglob("*.*") if not p.stat().st_size], "from the folder on"),
        (lambda folder: ["dogs/nothing.png", "dogs/same.png"], "the same picture twice"),
        (lambda folder: ["dogs/nothing.png", "cats/see_through_0.png"], "read with care"),
        (deleted, "leave every file as it is"),
    ],
    "handed_over": [
        ((lambda *_: None, ask_file), "no file zebra"),
        ((lambda m, p, b, c, t: save(m, p, b, sorted(c), t), ask_file), "the wrong name"),
        ((lambda m, p, b, c, t: save(m, p, b, c, None), ask_file), "how pictures are prepared"),
        ((lambda m, p, *_: torch.save(m.state_dict(), p), ask_file), "Write it with save_model"),
        ((save, partial(ask_file, head=True)), "without a new head"),
        ((save, partial(ask_file, transform=Preprocessing(256, 64).transform())), "prepared as the file"),
    ],
    "card_purpose": [
        (("many things", NOT_FOR), "different words"),
        ((PURPOSE, PURPOSE), "Both texts say the same"),
        (("a network that always finds the birds in a picture", NOT_FOR), "promise"),
        (("helping us with our daily work here", NOT_FOR), "for which pictures"),
        ((PURPOSE, "it is not for anything else at all"), "is no warning"),
        ((PURPOSE, "things that this was never made to do"), "neither other pictures"),
    ],
    "weakest_class": [
        (weakest_by("recall"), "no image of it"),
        (weakest_by("recall", smallest=False), "most often"),
        (weakest_by("images", smallest=False), "Is that what you compare"),
        (lambda result: "fox is hard to find", "how many images of fox there were"),
        (lambda result: "25 % of the 12 images of fox", "A reader needs both numbers"),
        (lambda result: f"accuracy {result.accuracy}", "does not name one of the classes"),
    ],
    "held_out_probabilities": [
        (judged_by_itself, "by heart"),
        (lambda features, labels: labels, "a row for each image"),
        (lambda features, labels: np.eye(4)[(labels + 1) % 4], "guessing gives 25 %"),
        (lambda features, labels: np.ones((len(labels), 4)), "sum to 1"),
        (lambda features, labels: one_row_too_high(len(labels)), "Row 7 sums to 1.50"),
        (lambda features, labels: np.log(np.full((len(labels), 4), 0.25)), "sums to -5.55"),
    ],
}
