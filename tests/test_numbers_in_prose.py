"""Numbers in the prose are those of the files with results.

In a sentence, # stands for a number in digits or words. Each is compared with what the files say, in order,
as exactly as it is written; "about" allows a tenth, "more than" anything above. A claim has no number to
compare, and has to be true of the files. Who writes such a sentence again writes it again here.
"""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau
from small_notebooks import cells_of, text_of
from torch.nn.functional import one_hot

from course_teaching.lessons import lesson_notebooks
from course_utils.evaluation.comparison import aggregate_runs, mean_interval
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, paired_difference
from course_utils.settings import REPOSITORY_FOLDER

WORDS = {"two and a half": 2.5, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
WORDS |= {"nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "hundred": 100}
STARTS = ["from scratch", "frozen", "fine-tuned"]
WAYS = ["inference only", "training and inference"]  # to make a fault of preprocessing
CLIPART, CLOTHES = "clipart", "fashion_mnist_sample"
MEASUREMENTS, NEGATIVE = "docs/measurements.md", "docs/negative_results.md"
LESSON_07, LESSON_08 = "notebooks/07_does_transfer_pay.ipynb", "notebooks/08_match_the_pretraining.ipynb"
LESSON_04, LESSON_06 = "notebooks/04_freeze_and_train.ipynb", "notebooks/06_fine_tune.ipynb"
ANSWERS = "notebooks/exercises/solutions/model_answers.md"
LESSON_09 = "notebooks/09_your_own_images.ipynb"
LESSON_10 = "notebooks/10_can_you_trust_it.ipynb"
LESSON_11, LESSON_12 = "notebooks/11_will_it_hold.ipynb", "notebooks/12_which_network.ipynb"
LESSON_13 = "notebooks/13_adapt_a_little.ipynb"
LESSON_14, LESSON_15 = "notebooks/14_sentiment.ipynb", "notebooks/15_names_and_writing.ipynb"
EXERCISE_07 = "notebooks/exercises/solutions/07_does_transfer_pay.ipynb"


def rows_of(name, asked=None):
    table = pd.read_csv(REPOSITORY_FOLDER / "benchmarks/results" / name, comment="#", dtype={"right": str})
    return table if asked is None else table.query(asked)


def percent(rows, *columns):
    """Return the values of some rows in per cent, in the order in which one reads them."""
    return (100 * rows[list(columns)]).to_numpy().ravel().tolist()


def transfer(dataset):
    """Return the accuracies of lesson 07 in per cent: rows by number of images, columns by start."""
    table = aggregate_runs(rows_of("transfer_grid.csv", f"dataset == '{dataset}'"))
    return 100 * table.pivot(index="images_per_class", columns="start", values="accuracy")[STARTS]


def gains_of_fine_tuning(dataset):
    """Return the points that each run gains over a frozen backbone: rows by images, columns by seed."""
    runs = rows_of("transfer_grid.csv", f"dataset == '{dataset}'")
    accuracy = runs.pivot(index=["images_per_class", "seed"], columns="start", values="test_accuracy")
    return 100 * (accuracy["fine-tuned"] - accuracy["frozen"]).unstack()


def gain(dataset, start):
    return transfer(dataset)[start] - transfer(dataset)["from scratch"]


def gains(dataset):
    return pd.DataFrame({start: gain(dataset, start) for start in STARTS[1:]})


def paired_gain(dataset, count, start):
    """Return the gain over training from scratch in points, paired by seed, and its interval."""
    rows = rows_of("transfer_grid.csv", f"dataset == '{dataset}' and images_per_class == {count}")
    wide = 100 * rows.pivot(index="seed", columns="start", values="test_accuracy")
    return mean_interval(wide[start] - wide["from scratch"])


def intervals(count, start):
    """Return the mean of lesson 07 on clothes in per cent, and its interval."""
    asked = f"dataset == '{CLOTHES}' and start == '{start}' and images_per_class == {count}"
    return percent(aggregate_runs(rows_of("transfer_grid.csv")).query(asked), "accuracy", "low", "high")


def costs(dataset, way, fault):
    """Return the row of lesson 08's long measurement."""
    asked = f"dataset == '{dataset}' and way == '{way}' and fault == '{fault}'"
    return rows_of("preprocessing.csv", asked).iloc[0]


def of_texts(dataset, count):
    rows = aggregate_runs(rows_of("text_grid.csv", f"dataset == '{dataset}'"))
    return rows[rows.images_per_class == count].set_index("start")


def text_gain(dataset):
    accuracy = 100 * of_texts(dataset, 100).accuracy
    return accuracy["frozen"] - accuracy["from scratch"]


def prompted():
    """Return how many film sentences the prompt got right, and of how many."""
    return rows_of("text_decoder.csv", "way == 'prompt'")[["correct", "test_texts"]].iloc[0].tolist()


def text_fine_tuning():
    """Return the points that fine-tuning gains over the frozen encoder, with intervals over seeds."""
    table = rows_of("text_grid.csv").pivot_table(
        "test_accuracy", ["dataset", "images_per_class", "seed"], "start"
    )
    gains = 100 * (table["fine-tuned"] - table["frozen"])
    return {name: mean_interval(own) for name, own in gains.groupby(level=[0, 1])}


def of_decoder():
    table = rows_of("text_decoder.csv")
    means = (100 * table.correct / table.test_texts).groupby([table.way, table.labelled_texts]).mean()
    return [*means["prompt"], *means["prompt with examples"], 4, *means["frozen, new head"], 200]


def of_domains():
    """Return the accuracies of lesson 14 in per cent, by where it was trained and where it was tested."""
    table = rows_of("text_domains.csv").pivot_table("accuracy", "trained_on", "tested_on", sort=False)
    return 100 * table[["films", "products", "editorials", "tweets"]]


def labels_from_elsewhere():
    """Return the points that a network loses on a domain, by where its labels came from instead."""
    table = of_domains().loc[of_domains().columns]
    own = pd.Series({domain: table.loc[domain, domain] for domain in table})
    return table.rsub(own, axis=1)


def below_a_person():
    own = {domain: of_domains().loc[domain, domain] for domain in of_domains()}
    return of_domains().loc["one rater"] - pd.Series(own)


def split_gap(first, busiest=1000):
    """Return by how many points a split is above the author split, and its interval over authors.

    Only authors of fewer drawings than `busiest` count. The interval is computed by the lesson's own cell.
    """
    (path,) = lesson_notebooks(["11"])
    (code,) = (cell.source for cell in cells_of(path, "code") if "def interval_over_groups" in cell.source)
    tools = {"np": np}
    exec(code, tools)
    table = rows_of("author_split.csv", f"drawings < {busiest}")
    drawings = table.loc[table.index.repeat(table.drawings)]
    return tools["interval_over_groups"](100 * (drawings[first] - drawings.author_split), drawings.author)


def split_accuracies():
    table = rows_of("author_split.csv")
    return [
        100 * np.average(table[split], weights=table.drawings)
        for split in ("row_split", "author_split", "matched")
    ]


def lost_at_strength_3():
    """Return the points of accuracy and of confidence that each corruption takes from lesson 11's heads."""
    rows = rows_of("shift.csv", "way == 'head' and shift != 'photographs' and strength in (0, 3)")
    means = 100 * rows.groupby("shift")[["accuracy", "confidence"]].mean()
    return (means.loc["none"] - means).drop("none")


def forgotten(way, kind, other="head"):
    """Return by how many points a way of training is below another, with its interval over seeds."""
    kinds = {"clean": "shift == 'none'", "photographs": "shift == 'photographs'"}
    rows = rows_of("shift.csv", kinds.get(kind, "shift not in ('none', 'photographs')"))
    accuracy = 100 * rows.groupby(["way", "seed"]).accuracy.mean()
    return list(mean_interval(accuracy[other] - accuracy[way]))


def of_style(images):
    asked = f"images == '{images}' and seed == 'mean' and `class` == 'all'"
    return percent(rows_of("photographs.csv", asked), "accuracy", "low", "high")


def rates(column):
    rate = rows_of("extraction.csv", "backbone == 'resnet50' and pixels == 224")[column].item()
    return [rate, 1000 / rate]


def adapted(target):
    """Return the means over seeds of lesson 13's ways of training."""
    return rows_of("adapting.csv", f"target == '{target}'").groupby("way").mean(numeric_only=True)


def less(target, way, other="head"):
    """Return by how many points a way of training is better than another, with its interval over seeds."""
    rows = rows_of("adapting.csv", f"target == '{target}'")
    wide = 100 * rows.pivot(index="seed", columns="way", values="test_accuracy")
    return list(mean_interval(wide[way] - wide[other]))


def less_with_samples(target, way, other="head"):
    """Return the same, with an interval over seeds and test samples."""
    rows, runs = rows_of("adapting.csv", f"target == '{target}'").sort_values("seed"), {}
    for name in (way, other):
        rights = [torch.tensor([int(one) for one in right]) for right in rows[rows.way == name].right]
        runs[name] = [
            Evaluation(one_hot(right, 2).float(), torch.ones_like(right), ["no", "yes"]) for right in rights
        ]
    return [100 * value for value in paired_difference(runs[way], runs[other])]


def signs(interval):
    """Return for each way of lesson 13 whether its interval lies above 0 (1), below (-1) or around it (0)."""
    ways = [(target, way) for target in ("films", CLIPART) for way in adapted(target).index.drop("head")]
    intervals = {key: interval(*key) for key in ways}
    return {key: int(low > 0) - int(high < 0) for key, (_, low, high) in intervals.items()}


def candidates(dataset):
    """Return the means over seeds of lesson 12's candidates."""
    rows = rows_of("which_network.csv", f"dataset == '{dataset}'")
    return rows.groupby("candidate").mean(numeric_only=True)


def lead_of_lite0(score):
    """Return by how many points EfficientNet-Lite0 leads on Drawings, with its interval over seeds."""
    rows = rows_of("which_network.csv", f"dataset == '{CLIPART}'").pivot(
        index="seed", columns="candidate", values=score
    )
    return list(mean_interval(100 * (rows.efficientnet_lite0 - rows.resnet18)))


def points_between(one, other):
    """Return by how many points one column of the table on trust is above another, on average."""
    table = rows_of("trust.csv")
    return 100 * (table[one] - table[other]).mean()


def without_training(way, labels, network):
    asked = f"way == '{way}' and labels_per_class == '{labels}' and network == '{network}'"
    return 100 * rows_of("without_training.csv", asked).accuracy.item()


def of_suspects(column, penalty, asked):
    """Return the mean over draws of a column of lesson 09's table of wrong labels."""
    return rows_of("label_suspects.csv", f"C == {penalty} and asked == '{asked}'")[column].mean()


def holding_out():
    """Return how many more wrong labels held-out suspects caught than in-sample ones, with the interval."""
    caught = rows_of("label_suspects.csv", "C == 1").pivot(index="draw", columns="asked", values="caught")
    return mean_interval(caught["held out"] - caught["in sample"])


def of_rare_classes(way, column="recall_rare", epochs=10):
    """Return the mean over draws of lesson 09's table of rare classes, in per cent."""
    return 100 * rows_of("imbalance.csv", f"way == '{way}' and epochs == {epochs}")[column].mean()


def gain_for_rare(way, column="recall_rare", epochs=10):
    """Return the points that a remedy gains over the plain head, paired by draw, and the interval."""
    rows = rows_of("imbalance.csv", f"epochs == {epochs}")
    wide = 100 * rows.pivot(index="draw", columns="way", values=column)
    return mean_interval(wide[way] - wide["plain"])


def tau(dataset, score):
    return kendalltau(candidates(dataset)[score], candidates(dataset).test_accuracy).statistic


def drawings(part):
    return len(list((REPOSITORY_FOLDER / "data/clipart" / part).glob("*/*.png")))


SENTENCES = [
    (
        "README.md",
        "a pretrained network with # images of each is better than one from scratch with #.",
        lambda: [transfer(CLIPART).index.min(), transfer(CLIPART).index.max()],
    ),
    (
        "README.md",
        "5 labelled images of each class: from scratch, frozen, fine-tuned | # %, # %, # % |",
        lambda: transfer(CLIPART).loc[5],
    ),
    (
        "README.md",
        "all labelled images: from scratch, frozen, fine-tuned | # %, # %, # % |",
        lambda: transfer(CLIPART).loc[38],
    ),
    (
        "README.md",
        "100 labelled images of each class: from scratch, frozen, fine-tuned | # %, # %, # % |",
        lambda: transfer(CLOTHES).loc[100],
    ),
    (
        "README.md",
        "the shipped ResNet-18, and EfficientNet-Lite0 | # %, # % |",
        lambda: 100 * candidates(CLIPART).test_accuracy[["resnet18", "efficientnet_lite0"]],
    ),
    (
        "README.md",
        "correct preprocessing, and without normalising | # %, # % |",
        lambda: 100 * costs(CLIPART, "inference only", "not normalised")[["right_accuracy", "accuracy"]],
    ),
    ("data/README.md", "# training and # test drawings", lambda: [drawings("train"), drawings("test")]),
    (
        LESSON_04,
        "enlarged to # pixels, far from the # pixels of the pretraining, a plain loop that let BatchNorm "
        "drift reached a test accuracy of # %, and `fit` (below), which keeps it still, # %. At # pixels "
        "the order was reversed: # % with drift, # % without.",
        lambda: [
            *(224, 64),
            *rows_of("reference_loop_resnet18.csv", "pixels == 224")["accuracy, median"],
            64,
            *rows_of("reference_loop_64.csv", "pixels == 64")["accuracy, median"],
        ],
    ),
    (
        LESSON_06,
        "gains # points with # labelled pictures of each class and # with #.",
        lambda: [
            number
            for count in (100, 300)
            for number in (gains_of_fine_tuning(CLOTHES).loc[count].mean(), count)
        ],
    ),
    (LESSON_06, "at most # of each class", lambda: [gains_of_fine_tuning(CLIPART).index.max()]),
    (
        ANSWERS,
        "labelled pictures of each class. They gained #, #, #, # and # points",
        lambda: gains_of_fine_tuning(CLOTHES).loc[300],
    ),
    (
        ANSWERS,
        "the head alone had a mean test accuracy of # %, LoRA # %, everything # % and BatchNorm # %",
        lambda: 100 * adapted(CLIPART).test_accuracy[["head", "LoRA", "everything", "BatchNorm"]],
    ),
    (
        LESSON_07,
        "All six gains on Drawings are shown, # to # points.",
        lambda: [gains(CLIPART).min(axis=None), gains(CLIPART).max(axis=None)],
    ),
    (
        LESSON_07,
        "fine-tuning gains # points with # images and # with #, and still # with # and # with #. The frozen "
        "network gains # with # images and # with #.",
        lambda: [
            number
            for start, counts in (("fine-tuned", (5, 20, 100, 300)), ("frozen", (5, 20)))
            for count in counts
            for number in (gain(CLOTHES, start)[count], count)
        ],
    ),
    (
        LESSON_07,
        "the frozen network's gains with # and # images have intervals that end at # and # points,",
        lambda: [
            100,
            300,
            paired_gain(CLOTHES, 100, "frozen")[2],
            paired_gain(CLOTHES, 300, "frozen")[2],
        ],
    ),
    (
        EXERCISE_07,
        "With # images of each class, a network trained from scratch reached # % there (# % interval: # to "
        "#), and a fine-tuned pretrained one # % (# to #). A frozen pretrained network with a new head also "
        "reached # % (# to #)",
        lambda: [
            *(100, intervals(100, "from scratch")[0], 95, *intervals(100, "from scratch")[1:]),
            *(*intervals(100, "fine-tuned"), *intervals(100, "frozen")),
        ],
    ),
    (
        LESSON_08,
        "costs # points of accuracy if it happens only at inference, and # if the head was trained on the "
        "same wrong pictures. Pixel values from 0 to 255 cost # and # points.",
        lambda: [
            *(costs(CLIPART, way, "not normalised").cost for way in WAYS),
            *(costs(CLIPART, way, "0 to 255").cost for way in WAYS),
        ],
    ),
    (
        LESSON_08,
        "A forgotten normalisation costs # points on Drawings,",
        lambda: [costs(CLIPART, "inference only", "not normalised").cost],
    ),
    (
        LESSON_08,
        "and half the size costs # on Drawings.",
        lambda: [costs(CLIPART, "training and inference", "half the size").cost],
    ),
    (
        LESSON_08,
        "On Drawings, grey costs # points even if the head was trained on it, while BGR's # points can't be "
        "told from 0 (−# to #). On CIFAR-10, with more test pictures, both costs are shown, and they are "
        "alike: # points.",
        lambda: [
            costs(CLIPART, "training and inference", "grey").cost,
            *costs(CLIPART, "training and inference", "BGR")[["cost", "low", "high"]].abs(),
            costs("cifar10_jpeg", "training and inference", "BGR").cost,
        ],
    ),
    (
        LESSON_08,
        "They lose # points if the head was trained at 224 as well.",
        lambda: [costs(CLIPART, "training and inference", "224 pixels").cost],
    ),
    (
        "docs/quizzes/08_match_the_pretraining.md",
        "no fault # %, training and inference # %, inference only # %.",
        lambda: [
            100 * costs(CLIPART, "inference only", "not normalised").right_accuracy,
            *(100 * costs(CLIPART, way, "not normalised").accuracy for way in reversed(WAYS)),
        ],
    ),
    (
        "notebooks/16_scale.ipynb",
        "gives it # pictures a second in bfloat16, which is # milliseconds each, and # a second in float32, "
        "which is #.",
        lambda: [*rates("images a second, median"), *rates("images a second, plain way")],
    ),
    (
        LESSON_11,
        "measures # points more than a split by author (# % interval: # to #).",
        lambda: [split_gap("row_split")[0], 95, *split_gap("row_split")[1:]],
    ),
    (
        LESSON_11,
        "noise costs # points of accuracy but only # of confidence. Removing the colour costs # and #.",
        lambda: lost_at_strength_3().loc[["noise", "colour"]].to_numpy().ravel(),
    ),
    (
        LESSON_11,
        "Noise costs # points of accuracy and # of confidence; missing colour costs # and #.",
        lambda: lost_at_strength_3().loc[["noise", "colour"]].to_numpy().ravel(),
    ),
    (LESSON_11, "The row split is # points higher (# to #).", lambda: split_gap("row_split")),
    (
        LESSON_11,
        "Without these three the difference is # points (# to #).",
        lambda: split_gap("row_split", busiest=50),
    ),
    (LESSON_11, "# points (# to #) come from known authors.", lambda: split_gap("matched")),
    (
        LESSON_11,
        "classify # % of the photographs correctly (# to #) and # % of these drawings (# to #).",
        lambda: of_style("photographs") + of_style("drawings"),
    ),
    (
        MEASUREMENTS,
        "# % with a row split and # % with an author split, # points apart (# to #, bootstrap over authors; "
        "# without the three busiest, # to #).",
        lambda: [*split_accuracies()[:2], *split_gap("row_split"), *split_gap("row_split", busiest=50)],
    ),
    (
        MEASUREMENTS,
        "but from all authors: # %, # points more than the author split (# to #).",
        lambda: [split_accuracies()[2], *split_gap("matched")],
    ),
    (
        NEGATIVE,
        "instead of the head alone | −# points (−# to #); # worse (# to #) on corrupted ones",
        lambda: [
            *(abs(forgotten("everything", "clean")[part]) for part in (0, 2, 1)),
            *forgotten("everything", "corrupted"),
        ],
    ),
    (
        NEGATIVE,
        "(50 steps) | #, # and # points below the head",
        lambda: [-less(CLIPART, way)[0] for way in ("BatchNorm", "LoRA", "everything")],
    ),
    (
        NEGATIVE,
        "# points (−# to #) above the head, not shown; LoRA gains # (# to #)",
        lambda: [*map(abs, less("films", "biases")), *less("films", "LoRA")],
    ),
    (
        MEASUREMENTS,
        "# with a prompt, # with # examples in it, # with a new head trained on # labelled sentences",
        of_decoder,
    ),
    (
        MEASUREMENTS,
        "that by fine-tuning is # on both; by the probe it is # on Drawings and # on Clothes",
        lambda: [tau(CLIPART, "logme"), tau(CLIPART, "probe_accuracy"), tau(CLOTHES, "probe_accuracy")],
    ),
    (
        LESSON_14,
        "the frozen encoder is # points above training from scratch on films and # points on products",
        lambda: [text_gain("films"), text_gain("products")],
    ),
    (
        LESSON_14,
        "With ten film sentences of each class it reaches # % (# to #)",
        lambda: percent(of_texts("films", 10).loc[["frozen"]], "accuracy", "low", "high"),
    ),
    (
        LESSON_14,
        "On tweets the best head is # points below one rater, on editorials #, on films #.",
        lambda: below_a_person()[["tweets", "editorials", "films"]],
    ),
    (
        LESSON_14,
        "Labels from elsewhere cost # to # points",
        lambda: [
            labels_from_elsewhere().where(lambda cost: cost != 0).min(axis=None),
            labels_from_elsewhere().max(axis=None),
        ],
    ),
    (
        LESSON_14,
        "fine-tuning loses about # points with ten sentences of each class and gains # with all",
        lambda: [-text_fine_tuning()["films", 10][0], text_fine_tuning()["films", 600][0]],
    ),
    (
        LESSON_15,
        "a small one classifies # % of them correctly (# to #)",
        lambda: [of_decoder()[0], *(100 * end for end in accuracy_interval(*prompted()))],
    ),
    (LESSON_15, "The means are # and # %", lambda: [of_decoder()[0], of_decoder()[3]]),
    (
        LESSON_15,
        "Here they hurt: #, # and # %.",
        lambda: percent(
            rows_of("text_decoder.csv", "labelled_texts == 4").eval("x = correct / test_texts"), "x"
        ),
    ),
    (
        LESSON_15,
        "the frozen encoder of lesson 14 is at # % (# to #)",
        lambda: percent(of_texts("films", 100).loc[["frozen"]], "accuracy", "low", "high"),
    ),
    (
        LESSON_10,
        "Its confidence is # points above its accuracy, which chance can explain. After training too long, "
        "it is # points above; one number, chosen on validation pictures, turns that into # points below.",
        lambda: [abs(points_between(f"{of}confidence", f"{of}accuracy")) for of in ("", "late_", "scaled_")],
    ),
    (
        LESSON_10,
        "the confidence falls by # points; cover what the map of *another* picture marks, and it still falls "
        "by #.",
        lambda: [points_between("confidence", covered) for covered in ("strongest", "other")],
    ),
    (
        LESSON_09,
        "a head finds # % of their test drawings after ten epochs, and # % with a weighted loss. With all "
        "drawings, it finds # %",
        lambda: map(of_rare_classes, ("plain", "weighted loss", "all drawings")),
    ),
    (
        LESSON_09,
        "suspects included # of # wrong labels on average over ten draws, and # when ranked by a "
        "classifier that had seen the labels (difference #, interval # to #)",
        lambda: [
            of_suspects("caught", 1, "held out"),
            of_suspects("wrong_labels", 1, "held out"),
            of_suspects("caught", 1, "in sample"),
            *holding_out(),
        ],
    ),
    (
        LESSON_09,
        "with it, the two rankings found # and #.",
        lambda: [of_suspects("caught", 0.01, asked) for asked in ("held out", "in sample")],
    ),
    (
        LESSON_09,
        "# of 311 on average, among them # of the # wrong ones",
        lambda: [of_suspects(one, 1, "held out") for one in ("flagged", "flagged_wrong", "wrong_labels")],
    ),
    (
        LESSON_09,
        "After ten epochs, the weighted loss gains # points of rare recall (interval # to #). The missing "
        "drawings are worth # points (# to #).",
        lambda: [*gain_for_rare("weighted loss"), *gain_for_rare("all drawings")],
    ),
    (
        LESSON_09,
        "After five epochs, the weighted loss gains # points, after 100 only #.",
        lambda: [gain_for_rare("weighted loss", epochs=epochs)[0] for epochs in (5, 100)],
    ),
    (
        LESSON_09,
        "# % after ten epochs, and pay for it: the common classes fall from # to # %",
        lambda: [
            of_rare_classes("adjusted logits"),
            *(of_rare_classes(way, "recall_common") for way in ("plain", "adjusted logits")),
        ],
    ),
    (
        LESSON_09,
        "the weighted loss costs the common classes # points of recall (# to #). If pictures in use are as "
        "unequal as in training, accuracy *falls* by # points (# to #)",
        lambda: [
            -gain_for_rare("weighted loss", column)[end]
            for column in ("recall_common", "accuracy_at_training_frequencies")
            for end in (0, 2, 1)
        ],
    ),
    (
        LESSON_10,
        "the control lowers the confidence as well, in the ten seeds by # points instead of #",
        lambda: [points_between("confidence", covered) for covered in ("other", "strongest")],
    ),
    (
        LESSON_12,
        "the ResNet-18 reaches # % on average, and EfficientNet-Lite0 # %.",
        lambda: 100 * candidates(CLIPART).test_accuracy[["resnet18", "efficientnet_lite0"]],
    ),
    (
        LESSON_12,
        "wide interval, though: −# to # points. The probe's lead of # points (# to #)",
        lambda: [abs(end) for end in lead_of_lite0("test_accuracy")[1:]] + lead_of_lite0("probe_accuracy"),
    ),
    (
        LESSON_12,
        "puts the network that ends after layer3 level with the whole one (# and # %), but after "
        "fine-tuning the whole one is # points better",
        lambda: [
            *(100 * candidates(CLOTHES).probe_accuracy[["resnet18 to layer3", "resnet18"]]),
            100 * candidates(CLOTHES).test_accuracy[["resnet18 to layer3", "resnet18"]].diff().iloc[1],
        ],
    ),
    (
        LESSON_12,
        "With names EfficientNet-Lite0 is clearly ahead: # % against # %.",
        lambda: [without_training("names", 0, network) for network in ("efficientnet_lite0", "resnet18")],
    ),
    (
        LESSON_13,
        "LoRA gains # points over the head (# to #), in a file of # kB. "
        "Training everything gains # (# to #), in a file of # kB.",
        lambda: [
            value
            for way in ("LoRA", "everything")
            for value in (*less("films", way), adapted("films").file_kb[way])
        ],
    ),
    (
        LESSON_13,
        "LoRA loses # points (# to #)",
        lambda: [-less(CLIPART, "LoRA")[part] for part in (0, 2, 1)],
    ),
    (
        LESSON_13,
        "LoRA trains # % of the parameters",
        lambda: [100 * adapted("films").parameters["LoRA"] / adapted("films").parameters["everything"]],
    ),
    (
        LESSON_13,
        "The biases gain # points on films (−# to #)",
        lambda: map(abs, less("films", "biases")),
    ),
    (
        LESSON_13,
        "Everything is # points ahead of LoRA on films (# to #).",
        lambda: less("films", "everything", "LoRA"),
    ),
    (
        LESSON_13,
        "training everything costs # points on damaged drawings (# to #)",
        lambda: forgotten("everything", "corrupted"),
    ),
    (
        LESSON_13,
        "LP-FT loses # points there (−# to #)",
        lambda: map(abs, forgotten("head then everything", "corrupted")),
    ),
    (
        LESSON_13,
        "is back at the head's (−# points, −# to #)",
        lambda: [abs(forgotten("line 0.5", "corrupted")[part]) for part in (0, 2, 1)],
    ),
    (
        LESSON_13,
        "halfway is # points better there (# to #)",
        lambda: [-forgotten("line 0.5", "corrupted", "head then everything")[part] for part in (0, 2, 1)],
    ),
]

CLAIMS = [
    (
        LESSON_09,
        "In all ten draws of the benchmark it caught exactly as many as your order.",
        lambda: (
            rows_of("label_suspects.csv").draw.nunique() == 10
            and rows_of("label_suspects.csv").eval("caught == caught_by_cleanlab").all()
        ),
    ),
    (
        LESSON_09,
        "Most of these reports are false alarms.",
        lambda: of_suspects("flagged", 1, "held out") > 2 * of_suspects("flagged_wrong", 1, "held out"),
    ),
    (
        LESSON_09,
        "nothing else gained as much",
        lambda: (
            max(
                ("plain", "weighted loss", "sampler", "adjusted logits", "all drawings"),
                key=lambda way: of_rare_classes(way, "balanced_accuracy"),
            )
            == "all drawings"
        ),
    ),
    (
        LESSON_10,
        "In all ten seeds of the table, the error that remained was larger than the best epoch's.",
        lambda: (rows_of("trust.csv").scaled_error > rows_of("trust.csv").error).tolist() == [True] * 10,
    ),
    (
        LESSON_06,
        "With 5 or 20, the runs lie on both sides of 0.",
        lambda: all(
            run.min() < 0 < run.max() for run in gains_of_fine_tuning(CLOTHES).loc[[5, 20]].to_numpy()
        ),
    ),
    (
        LESSON_06,
        "fine-tuning loses in 14 of 15 runs",
        lambda: (gains_of_fine_tuning(CLIPART) < 0).to_numpy().sum() == 14,
    ),
    (
        "README.md",
        "a pretrained network with 5 images of each is better than one from scratch with",
        lambda: transfer(CLIPART).loc[5].max() > transfer(CLIPART)["from scratch"].max(),
    ),
    (
        LESSON_07,
        "On Drawings both pretrained starts lie far above training from scratch.",
        lambda: min(gain(CLIPART, "frozen").min(), gain(CLIPART, "fine-tuned").min()) > 10,
    ),
    (
        LESSON_07,
        "The other two are *not shown*",
        lambda: (
            all(paired_gain(CLOTHES, count, "fine-tuned")[1] > 0 for count in (5, 20, 100, 300))
            and [paired_gain(CLOTHES, count, "frozen")[1] > 0 for count in (5, 20, 100, 300)]
            == [True, True, False, False]
        ),
    ),
    (
        LESSON_08,
        "At inference only, little more than guessing is left.",
        lambda: costs(CLIPART, "inference only", "224 pixels").accuracy < 0.15,
    ),
    (
        LESSON_11,
        "Less than half of that comes from knowing an author.",
        lambda: split_gap("matched")[0] < split_gap("row_split")[0] / 2,
    ),
    (
        LESSON_11,
        "Leaving out the busiest author leaves out more than half of the birds",
        lambda: (
            pd.read_csv(REPOSITORY_FOLDER / "data/clipart/drawings.csv")
            .query("`class` == 'birds'")
            .author_group.value_counts(normalize=True)
            .iloc[0]
            > 0.5
        ),
    ),
    (
        LESSON_11,
        "All five corruptions take less confidence than accuracy.",
        lambda: (lost_at_strength_3().confidence < lost_at_strength_3().accuracy).all(),
    ),
    (
        LESSON_14,
        "In every column, the head trained on that domain has the highest mean.",
        lambda: (labels_from_elsewhere() >= 0).all(axis=None),
    ),
    (
        LESSON_14,
        "In the other four rows the interval contains 0.",
        lambda: sum(low < 0 < high for _, low, high in text_fine_tuning().values()) == 4,
    ),
    (
        LESSON_13,
        "Of six intervals, five exclude 0: LoRA and everything gain on films, and all three methods lose on "
        "Drawings.",
        lambda: (
            signs(less)
            == {("films", "biases"): 0, ("films", "LoRA"): 1, ("films", "everything"): 1}
            | {(CLIPART, way): -1 for way in ("BatchNorm", "LoRA", "everything")}
        ),
    ),
    (
        LESSON_13,
        "With it the five still exclude 0, but the lead of everything over LoRA doesn't.",
        lambda: (
            signs(less_with_samples) == signs(less)
            and less_with_samples("films", "everything", "LoRA")[1] < 0
        ),
    ),
    (
        LESSON_13,
        "the best of four on films and of five on Drawings",
        lambda: (
            [
                set(rows_of(f"adapting_rates_{target}.csv").groupby("method").lr.nunique())
                for target in ("films", CLIPART)
            ]
            == [{4}, {5}]
        ),
    ),
    (
        LESSON_13,
        "it takes almost two thirds of the time",
        lambda: (
            0.6 < adapted("films").cpu_seconds["LoRA"] / adapted("films").cpu_seconds["everything"] < 2 / 3
        ),
    ),
    (
        LESSON_13,
        "Of the fifteen intervals, one excludes 0",
        lambda: (
            sum(
                low > 0 or high < 0
                for way in rows_of("shift.csv").way.unique()
                for kind in ("clean", "corrupted", "photographs")
                if way != "head"
                for _, low, high in [forgotten(way, kind)]
            )
            == 1
        ),
    ),
]


def prose(file):
    """Return the text of a page, or of a lesson without its code, with single spaces."""
    path = REPOSITORY_FOLDER / file
    text = text_of(path, "markdown") if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return " ".join(text.split())


def agrees(word, before, measured):
    """Tell whether a number in the prose is the measured one, given the words before it."""
    number = WORDS[word] if word in WORDS else float(word.replace(",", ""))
    if before.endswith("more than "):
        return measured > number
    if before.endswith("about "):
        return abs(measured - number) <= 0.1 * number
    unit = 0.5 if number % 1 and word in WORDS else 10 ** -len(word.partition(".")[2])
    return abs(measured - number) <= unit / 2 + 1e-6


@pytest.mark.parametrize(
    "file, sentence, measure", SENTENCES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_numbers_in_the_prose_are_the_measured_ones(file, sentence, measure):
    number = "|".join([r"\d[\d,]*(?:\.\d+)?", *sorted(WORDS, key=len, reverse=True)])
    parts = sentence.split("#")
    found = re.findall(f"({number})".join(map(re.escape, parts)), prose(file))
    assert len(found) == 1, f"{file} has this sentence {len(found)} times"
    words = [found[0]] if isinstance(found[0], str) else list(found[0])
    pairs = zip(words, parts[:-1], map(float, measure()), strict=True)
    wrong = [(word, value) for word, before, value in pairs if not agrees(word, before, value)]
    assert not wrong, f"{file} and what was measured: {wrong}"


@pytest.mark.parametrize(
    "file, claim, is_true", CLAIMS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_claims_in_the_prose_are_true_of_the_measurements(file, claim, is_true):
    assert claim in prose(file)
    assert is_true()
