"""The numbers in which a lesson's or README's results are told are those of the stored tables.

In a sentence, # stands for a number in digits or words. Each is compared with what the tables say, in order,
as exactly as it is written; "about" allows a tenth. A claim has no number to compare, and has to be true of
the tables. Each table has its main sentences here. Where one of them fails, look for the same numbers in the
quizzes, the model answers and the docs, and write the sentence again here, too.
"""

import re

import numpy as np
import pandas as pd
import pytest
from small_notebooks import cells_of, text_of

from course_teaching.lessons import lesson_notebooks
from course_utils.evaluation.comparison import aggregate_runs, mean_interval
from course_utils.evaluation.metrics import accuracy_interval
from course_utils.settings import REPOSITORY_FOLDER

WORDS = {"two and a half": 2.5, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
STARTS = ["from scratch", "frozen", "fine-tuned"]
WAYS = ["inference only", "training and inference"]  # to make a fault of preprocessing
CLIPART, CLOTHES = "clipart", "fashion_mnist_sample"
LESSON_04, LESSON_06 = "notebooks/04_freeze_and_train.ipynb", "notebooks/06_fine_tune.ipynb"
LESSON_07, LESSON_08 = "notebooks/07_does_transfer_pay.ipynb", "notebooks/08_match_the_pretraining.ipynb"
LESSON_09, LESSON_10 = "notebooks/09_your_own_images.ipynb", "notebooks/10_can_you_trust_it.ipynb"
LESSON_11, LESSON_12 = "notebooks/11_will_it_hold.ipynb", "notebooks/12_which_network.ipynb"
LESSON_13 = "notebooks/13_adapt_a_little.ipynb"
LESSON_14, LESSON_15 = "notebooks/14_sentiment.ipynb", "notebooks/15_names_and_writing.ipynb"
LESSON_16 = "notebooks/16_scale.ipynb"


def rows_of(name, asked=None):
    table = pd.read_csv(REPOSITORY_FOLDER / "benchmarks/results" / name, comment="#")
    return table if asked is None else table.query(asked)


def percent(rows, *columns):
    """Return the values of some rows in per cent, in the order in which one reads them."""
    return (100 * rows[list(columns)]).to_numpy().ravel().tolist()


def points(rows, column, one, other, by, run="seed"):
    """Return by how many points one value of `by` is above another, paired by run, with its interval."""
    means = 100 * rows.pivot_table(column, run, by)
    return list(mean_interval(means[one] - means[other]))


def transfer(dataset):
    """Return the accuracies of lesson 07 in per cent: rows by number of images, columns by start."""
    table = aggregate_runs(rows_of("transfer_grid.csv", f"dataset == '{dataset}'"))
    return 100 * table.pivot(index="images_per_class", columns="start", values="accuracy")[STARTS]


def gains(dataset):
    """Return by how many points pretraining is above training from scratch in lesson 07."""
    return transfer(dataset)[STARTS[1:]].sub(transfer(dataset)["from scratch"], axis=0)


def paired_gain(count, start):
    """Return the same for one number of clothes and one start, paired by seed, with its interval."""
    asked = f"dataset == '{CLOTHES}' and images_per_class == {count}"
    return points(rows_of("transfer_grid.csv", asked), "test_accuracy", start, "from scratch", "start")


def gains_of_fine_tuning(dataset):
    """Return the points that each run gains over a frozen backbone: rows by images, columns by seed."""
    runs = rows_of("transfer_grid.csv", f"dataset == '{dataset}'")
    accuracy = runs.pivot(index=["images_per_class", "seed"], columns="start", values="test_accuracy")
    return 100 * (accuracy["fine-tuned"] - accuracy["frozen"]).unstack()


def costs(dataset, way, fault):
    """Return the row of lesson 08's long measurement."""
    asked = f"dataset == '{dataset}' and way == '{way}' and fault == '{fault}'"
    return rows_of("preprocessing.csv", asked).iloc[0]


def of_suspects(column, asked):
    """Return the mean over draws of a column of lesson 09's table of wrong labels."""
    return rows_of("label_suspects.csv", f"C == 1 and asked == '{asked}'")[column].mean()


def holding_out():
    """Return how many more wrong labels held-out suspects caught than in-sample ones, with the interval."""
    rows = rows_of("label_suspects.csv", "C == 1")
    return [value / 100 for value in points(rows, "caught", "held out", "in sample", "asked", "draw")]


def of_rare_classes(way, column="recall_rare"):
    """Return the mean over draws of lesson 09's table of rare classes, in per cent."""
    return 100 * rows_of("imbalance.csv", f"way == '{way}' and epochs == 10")[column].mean()


def gain_for_rare(way, column="recall_rare"):
    """Return the points that a remedy gains over the plain head, with the interval over draws."""
    return points(rows_of("imbalance.csv", "epochs == 10"), column, way, "plain", "way", "draw")


def points_between(one, other):
    """Return by how many points one column of lesson 10's table is above another, on average."""
    table = rows_of("trust.csv")
    return 100 * (table[one] - table[other]).mean()


def split_gap(first, busiest=1000):
    """Return by how many points a split is above the author split, and its interval over authors.

    Only authors of fewer drawings than `busiest` count. The interval is computed by lesson 11's own cell.
    """
    (path,) = lesson_notebooks(["11"])
    (code,) = (cell.source for cell in cells_of(path, "code") if "def interval_over_groups" in cell.source)
    tools = {"np": np}
    exec(code, tools)
    table = rows_of("author_split.csv", f"drawings < {busiest}")
    drawings = table.loc[table.index.repeat(table.drawings)]
    return tools["interval_over_groups"](100 * (drawings[first] - drawings.author_split), drawings.author)


def lost_at_strength_3():
    """Return the points of accuracy and of confidence that each corruption takes from lesson 11's heads."""
    rows = rows_of("shift.csv", "way == 'head' and shift != 'photographs' and strength in (0, 3)")
    means = 100 * rows.groupby("shift")[["accuracy", "confidence"]].mean()
    return (means.loc["none"] - means).drop("none")


def of_style(images):
    asked = f"images == '{images}' and seed == 'mean' and `class` == 'all'"
    return percent(rows_of("photographs.csv", asked), "accuracy", "low", "high")


def candidates(dataset):
    """Return the means over seeds of lesson 12's candidates in per cent."""
    rows = rows_of("which_network.csv", f"dataset == '{dataset}'")
    return 100 * rows.groupby("candidate")[["test_accuracy", "probe_accuracy"]].mean()


def lead_of_lite0(score):
    """Return by how many points EfficientNet-Lite0 leads on Drawings, with its interval over seeds."""
    rows = rows_of("which_network.csv", f"dataset == '{CLIPART}'")
    return points(rows, score, "efficientnet_lite0", "resnet18", "candidate")


def with_names(network):
    asked = f"way == 'names' and labels_per_class == '0' and network == '{network}'"
    return 100 * rows_of("without_training.csv", asked).accuracy.item()


def adapted(target, way, other="head"):
    """Return by how many points a way of training is better than another in lesson 13, and its interval."""
    return points(rows_of("adapting.csv", f"target == '{target}'"), "test_accuracy", way, other, "way")


def file_kb(way):
    return rows_of("adapting.csv", f"target == 'films' and way == '{way}'").file_kb.mean()


def forgotten(way, kind, other="head"):
    """Return by how many points a way of training is below another, with its interval over seeds."""
    kinds = {"clean": "shift == 'none'", "photographs": "shift == 'photographs'"}
    rows = rows_of("shift.csv", kinds.get(kind, "shift not in ('none', 'photographs')"))
    return points(rows, "accuracy", other, way, "way")


def excludes_0(interval):
    """Return 1 if an interval lies above 0, -1 if it lies below, and 0 if it contains 0."""
    _, low, high = interval
    return int(low > 0) - int(high < 0)


def of_texts(dataset, count):
    rows = aggregate_runs(rows_of("text_grid.csv", f"dataset == '{dataset}'"))
    return rows[rows.images_per_class == count].set_index("start")


def text_gain(dataset):
    accuracy = 100 * of_texts(dataset, 100).accuracy
    return accuracy["frozen"] - accuracy["from scratch"]


def text_fine_tuning():
    """Return the points that fine-tuning gains over the frozen encoder, with intervals over seeds."""
    table = rows_of("text_grid.csv").pivot_table(
        "test_accuracy", ["dataset", "images_per_class", "seed"], "start"
    )
    gains = 100 * (table["fine-tuned"] - table["frozen"])
    return {name: mean_interval(own) for name, own in gains.groupby(level=[0, 1])}


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


def prompted():
    """Return the accuracy of lesson 15's prompt in per cent, and its interval over the film sentences."""
    correct, of = rows_of("text_decoder.csv", "way == 'prompt'")[["correct", "test_texts"]].iloc[0]
    return [100 * value for value in (correct / of, *accuracy_interval(int(correct), int(of)))]


def with_examples():
    rows = rows_of("text_decoder.csv", "labelled_texts == 4")
    return 100 * rows.correct / rows.test_texts


def rates(column):
    """Return how many pictures a second lesson 16's network takes, and how many milliseconds each."""
    rate = rows_of("extraction.csv", "backbone == 'resnet50' and pixels == 224")[column].item()
    return [rate, 1000 / rate]


SENTENCES = [
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
        lambda: candidates(CLIPART).test_accuracy[["resnet18", "efficientnet_lite0"]],
    ),
    (
        "README.md",
        "correct preprocessing, and without normalising | # %, # % |",
        lambda: 100 * costs(CLIPART, "inference only", "not normalised")[["right_accuracy", "accuracy"]],
    ),
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
            for number in (gains(CLOTHES)[start][count], count)
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
        "On Drawings, grey costs # points even if the head was trained on it, while BGR's # points can't be "
        "distinguished from 0 (−# to #). On CIFAR-10, with more test pictures, both costs are shown, and "
        "they are alike: # points.",
        lambda: [
            costs(CLIPART, "training and inference", "grey").cost,
            *costs(CLIPART, "training and inference", "BGR")[["cost", "low", "high"]].abs(),
            costs("cifar10_jpeg", "training and inference", "BGR").cost,
        ],
    ),
    (
        LESSON_16,
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
        "Labels from another domain cost # to # points",
        lambda: [
            labels_from_elsewhere().where(lambda cost: cost != 0).min(axis=None),
            labels_from_elsewhere().max(axis=None),
        ],
    ),
    (
        LESSON_14,
        "Fine-tuning gains # points with all six hundred film sentences of each class and # with a hundred",
        lambda: [text_fine_tuning()["films", 600][0], text_fine_tuning()["products", 100][0]],
    ),
    (
        LESSON_15,
        "and it classifies # % of them correctly (# to #)",
        prompted,
    ),
    (
        LESSON_15,
        "the frozen encoder of lesson 14 is at # % (# to # over five seeds).",
        lambda: percent(of_texts("films", 100).loc[["frozen"]], "accuracy", "low", "high"),
    ),
    (
        LESSON_15,
        "Here they hurt: #, # and # %.",
        with_examples,
    ),
    (
        LESSON_10,
        "Its confidence is # points above its accuracy, which chance can explain. After training too long, "
        "it is # points above; one number, chosen on validation pictures, turns that into # points below.",
        lambda: [abs(points_between(f"{of}confidence", f"{of}accuracy")) for of in ("", "late_", "scaled_")],
    ),
    (
        LESSON_10,
        "the confidence falls by # points; cover the quarter that the map of *another* picture marks, and it "
        "still falls by #.",
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
            of_suspects("caught", "held out"),
            of_suspects("wrong_labels", "held out"),
            of_suspects("caught", "in sample"),
            *holding_out(),
        ],
    ),
    (
        LESSON_09,
        "After ten epochs, the weighted loss gains # points of rare recall (interval # to #). The missing "
        "drawings are worth # points (# to #).",
        lambda: [*gain_for_rare("weighted loss"), *gain_for_rare("all drawings")],
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
        LESSON_12,
        "the ResNet-18 reaches # % on average, and EfficientNet-Lite0 # %.",
        lambda: candidates(CLIPART).test_accuracy[["resnet18", "efficientnet_lite0"]],
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
            *candidates(CLOTHES).probe_accuracy[["resnet18 to layer3", "resnet18"]],
            candidates(CLOTHES).test_accuracy[["resnet18 to layer3", "resnet18"]].diff().iloc[1],
        ],
    ),
    (
        LESSON_12,
        "With names EfficientNet-Lite0 is clearly ahead: # % against # %.",
        lambda: map(with_names, ("efficientnet_lite0", "resnet18")),
    ),
    (
        LESSON_13,
        "LoRA gains # points over the head (# to #), in a file of # kB. "
        "Training everything gains # (# to #), in a file of # kB.",
        lambda: [value for way in ("LoRA", "everything") for value in (*adapted("films", way), file_kb(way))],
    ),
    (
        LESSON_13,
        "LoRA loses # points (# to #)",
        lambda: adapted(CLIPART, "head", "LoRA"),
    ),
    (
        LESSON_13,
        "Training everything is # points ahead of LoRA on films (# to #).",
        lambda: adapted("films", "everything", "LoRA"),
    ),
    (
        LESSON_13,
        "training everything costs # points on damaged drawings (# to #)",
        lambda: forgotten("everything", "corrupted"),
    ),
    (
        LESSON_13,
        "halfway is # points better there (# to #)",
        lambda: forgotten("head then everything", "corrupted", "line 0.5"),
    ),
]

CLAIMS = [
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
        "The other two are *not shown*",
        lambda: (
            all(paired_gain(count, "fine-tuned")[1] > 0 for count in (5, 20, 100, 300))
            and [paired_gain(count, "frozen")[1] > 0 for count in (5, 20, 100, 300)]
            == [True, True, False, False]
        ),
    ),
    (
        LESSON_11,
        "All five corruptions cost less confidence than accuracy.",
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
            [excludes_0(adapted("films", way)) for way in ("biases", "LoRA", "everything")] == [0, 1, 1]
            and [excludes_0(adapted(CLIPART, way)) for way in ("BatchNorm", "LoRA", "everything")] == [-1] * 3
        ),
    ),
    (
        LESSON_13,
        "Of the fifteen intervals, one excludes 0",
        lambda: (
            [
                excludes_0(forgotten(way, kind))
                for way in set(rows_of("shift.csv").way) - {"head"}
                for kind in ("clean", "corrupted", "photographs")
            ].count(0)
            == 14
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
    number = WORDS.get(word) or float(word.replace(",", ""))
    unit = 10 ** -len(word.partition(".")[2])
    return abs(measured - number) <= (0.1 * number if before.endswith("about ") else unit / 2 + 1e-6)


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
