"""Numbers in the prose are those of the files with results.

In a sentence, # stands for a number in digits or words. Each is compared with what the files say, in order,
as exactly as it is written; "about" allows a tenth, "more than" anything above. A claim has no number to
compare, and has to be true of the files. Who writes such a sentence again writes it again here.
"""

import re

import pandas as pd
import pytest
import torch
from prose_numbers import WORDS, allowed, sentence_pattern, sources_of_numbers
from scipy.stats import kendalltau
from small_notebooks import text_of
from torch.nn.functional import one_hot

from course_teaching.lessons import lesson_notebooks
from course_utils.evaluation.comparison import aggregate_runs, mean_interval
from course_utils.evaluation.metrics import Evaluation, paired_difference
from course_utils.settings import REPOSITORY_FOLDER

STARTS = ["from scratch", "frozen", "fine-tuned"]
CLIPART, CLOTHES, PHOTOGRAPHS = "clipart", "fashion_mnist_sample", "cifar10_jpeg"
MEASUREMENTS, CARD = "docs/measurements.md", "data/weights/MODEL_CARD.md"
NEGATIVE = "docs/negative_results.md"
LESSON_04 = "notebooks/04_freeze_and_train.ipynb"
LESSON_10 = "notebooks/10_text.ipynb"
LESSON_13 = "notebooks/13_adapt_a_little.ipynb"
LESSON_07, LESSON_08 = "notebooks/07_does_transfer_pay.ipynb", "notebooks/08_match_the_pretraining.ipynb"


def results(name):
    return pd.read_csv(REPOSITORY_FOLDER / "benchmarks" / "results" / name, comment="#", dtype={"right": str})


def transfer(dataset):
    """Return the accuracies of lesson 07 in per cent: rows by number of images, columns by start."""
    table = aggregate_runs(results("transfer_grid.csv")).query("dataset == @dataset")
    return 100 * table.pivot(index="images_per_class", columns="start", values="accuracy")


def intervals(dataset, start, count, *level):
    """Return the mean of lesson 07 in per cent, and its interval."""
    rows = aggregate_runs(results("transfer_grid.csv")).query(
        "dataset == @dataset and start == @start and images_per_class == @count"
    )
    mean, low, high = (100 * rows[["accuracy", "low", "high"]]).to_numpy().ravel()
    return [mean, *level, low, high]


def best_transfer(dataset):
    return transfer(dataset)[["frozen", "fine-tuned"]].max(axis=1)


def gain(dataset, start):
    return transfer(dataset)[start] - transfer(dataset)["from scratch"]


def tries(dataset, start):
    """Return the mean validation accuracy of each setting of the random search."""
    rows = results("settings_search.csv").query("dataset == @dataset and start == @start")
    return rows.groupby("setting").val_accuracy.mean()


def costs(dataset, way, *faults):
    """Return the rows of lesson 08's long measurement, in the order of the faults."""
    table = results("preprocessing.csv").query("dataset == @dataset and way == @way")
    return table.set_index("fault").loc[list(faults)]


def head_less_regression(dataset):
    rows = results("frozen_head.csv").query("dataset == @dataset and label_smoothing == 0")
    return [rows.difference.mean(), rows.difference.sem(), len(rows)]


def of_texts(dataset, count):
    rows = aggregate_runs(results("text_grid.csv")).query(
        "dataset == @dataset and images_per_class == @count"
    )
    return (100 * rows[["accuracy", "low", "high"]]).to_numpy().ravel()


def text_gain(domain):
    rows = aggregate_runs(results("text_grid.csv")).query("dataset == @domain and images_per_class == 100")
    accuracy = 100 * rows.set_index("start").accuracy
    return accuracy["frozen"] - accuracy["from scratch"]


def below_a_person():
    own = pd.Series({domain: of_domains(domain)[domain] for domain in of_domains("films").index})
    return of_domains("one rater") - own


def of_decoder():
    table = results("text_decoder.csv")
    means = (100 * table.correct / table.test_texts).groupby([table.way, table.labelled_texts]).mean()
    return [*means["prompt"], *means["prompt with examples"], 4, *means["frozen, new head"], 200]


def of_domains(trained_on):
    table = results("text_domains.csv").pivot_table("accuracy", "trained_on", "tested_on", sort=False)
    return 100 * table.loc[trained_on, ["films", "products", "editorials", "tweets"]]


def of_extraction(backbone):
    rows = results("extraction.csv").query("backbone == @backbone")
    shares = [100 * rows["share of the limit"], 100 * rows["preprocessing, share of the time"]]
    return pd.concat([rows["images a second, median"], *shares, rows["times as fast as the plain way"]])


def forgotten(way, kind):
    """Return by how many points a way of lesson 12 is below the head, with its interval over seeds."""
    kinds = {"clean": "shift == 'none'", "photographs": "shift == 'photographs'"}
    rows = results("shift.csv").query(kinds.get(kind, "shift not in ('none', 'photographs')"))
    accuracy = 100 * rows.groupby(["way", "seed"]).accuracy.mean()
    return mean_interval(accuracy["head"] - accuracy[way])


def of_style(images):
    """Return the mean accuracy of the head on all photographs or drawings in per cent, and its interval."""
    rows = results("photographs.csv").query("images == @images and seed == 'mean'")
    row = rows[rows["class"] == "all"]
    return (100 * row[["accuracy", "low", "high"]]).to_numpy().ravel().tolist()


def rates(column):
    row = results("extraction.csv").query("backbone == 'resnet50' and pixels == 224")
    return row[column].item(), 1000 / row[column].item()


def of_loop(name, candidate, column):
    row = results(name).set_index("candidate").loc[candidate]
    names = [f"{column}, {one}" for one in ("median", "minimum", "maximum")]
    return [row["seconds, median"], *row[names]] if "fast" in column else row[names]


def adapted(target, way, column):
    """Return the mean of a column of lesson 13's long measurement, over the seeds."""
    return results("adapting.csv").query("target == @target and way == @way")[column].mean()


def adapted_accuracies(target):
    """Return the mean test accuracy in per cent of each way of training in lesson 13."""
    return 100 * results("adapting.csv").query("target == @target").groupby("way").test_accuracy.mean()


def less_the_head(target, way):
    """Return by how many points a way of training is better than the head, with its paired interval."""
    rows, runs = results("adapting.csv").sort_values("seed"), {}
    for name in (way, "head"):
        rights = rows.query("target == @target and way == @name").right
        given = [torch.tensor([int(one) for one in right]) for right in rights]
        runs[name] = [
            Evaluation(one_hot(right, 2).float(), torch.ones_like(right), ["no", "yes"]) for right in given
        ]
    return [100 * value for value in paired_difference(runs[way], runs["head"])]


def starts(dataset):
    """Return the means over seeds of lesson 13's candidates, a row for each."""
    return (
        results("which_network.csv").query("dataset == @dataset").groupby("candidate").mean(numeric_only=True)
    )


def row_of_start(dataset, candidate):
    row = starts(dataset).loc[candidate]
    judging = row.features_seconds + row.logme_seconds + row.probe_seconds
    return [abs(row.logme), 100 * row.probe_accuracy, 100 * row.test_accuracy, judging, row.tuning_seconds]


def tau(dataset, score):
    return kendalltau(starts(dataset)[score], starts(dataset).test_accuracy).statistic


def cost_of_labels_from_elsewhere():
    """Return the points that lesson 10's network loses on a domain, by where its labels came from instead."""
    table = pd.DataFrame({domain: of_domains(domain) for domain in of_domains("films").index})
    own = {domain: table.loc[domain, domain] for domain in table}
    return table.rsub(pd.Series(own), axis=0)


def row_of_adapting(target, way):
    numbers = [adapted(target, way, column) for column in ("parameters", "file_kb", "cpu_seconds")]
    accuracy = results("adapting.csv").query("target == @target and way == @way").test_accuracy
    return [*numbers, *(100 * value for value in mean_interval(accuracy))]


def on_card(network, task, count, method):
    table = pd.read_csv(REPOSITORY_FOLDER / "data" / "weights" / "results.csv")
    asked = "network == @network and task == @task and images_per_class == @count and method == @method"
    return table.query(asked).accuracy


def drawings(*parts):
    return sum(len(list((REPOSITORY_FOLDER / "data" / CLIPART).glob(f"{part}/*/*.png"))) for part in parts)


SENTENCES = [
    (
        "README.md",
        "a pretrained network with # images of each is better than one from scratch with #.",
        lambda: [transfer(CLIPART).index.min(), transfer(CLIPART).index.max()],
    ),
    *[
        (
            "README.md",
            f"{words} | # %, # %, # % |",
            lambda asked=asked: transfer(asked[0]).loc[asked[1], STARTS],
        )
        for words, asked in {
            "5 labelled images of each class: from scratch, frozen, fine-tuned": (CLIPART, 5),
            "all labelled images: from scratch, frozen, fine-tuned": (CLIPART, 38),
            "100 labelled images of each class: from scratch, frozen, fine-tuned": (CLOTHES, 100),
        }.items()
    ],
    (
        "README.md",
        "the shipped ResNet-18, and EfficientNet-Lite0 | # %, # % |",
        lambda: 100 * starts(CLIPART).test_accuracy[["resnet18", "efficientnet_lite0"]],
    ),
    (
        "README.md",
        "correct preprocessing, and without normalising | # %, # % |",
        lambda: (
            100
            * costs(CLIPART, "used only", "not normalised")[["right_accuracy", "accuracy"]].to_numpy().ravel()
        ),
    ),
    ("data/README.md", "# training and # test drawings", lambda: [drawings("train"), drawings("test")]),
    ("docs/setup.md", "and # drawings", lambda: [drawings("train", "test")]),
    (
        LESSON_07,
        "On drawings a frozen network gains about # points, with # images of each class and with all",
        lambda: [gain(CLIPART, "frozen")[5], 5],
    ),
    (
        LESSON_07,
        "With twice as many steps it ends at # %",
        lambda: [100 * results("transfer_longer.csv").test_accuracy.mean()],
    ),
    (
        LESSON_07,
        "On clothes fine-tuning gains # points at # images, and # at the end.",
        lambda: [gain(CLOTHES, "fine-tuned")[5], 5, gain(CLOTHES, "fine-tuned")[300]],
    ),
    (
        "notebooks/exercises/solutions/07_does_transfer_pay.ipynb",
        "On clothes with # images of each class the means are # points apart",
        lambda: [5, gain(CLOTHES, "frozen")[5]],
    ),
    (
        "notebooks/exercises/solutions/07_does_transfer_pay.ipynb",
        "With # images of each class, a network from scratch reached # % there (# % interval: # to #), and a "
        "pretrained one that was trained on as a whole # % (# to #). A pretrained network that stays frozen, "
        "with only a new head, also had # % (# to #)",
        lambda: [
            100,
            *intervals(CLOTHES, "from scratch", 100, 95),
            *intervals(CLOTHES, "fine-tuned", 100),
            *intervals(CLOTHES, "frozen", 100),
        ],
    ),
    (
        "notebooks/12_will_it_hold.ipynb",
        "gets # % of the photographs right (# to #), and # % of the test drawings of the same seven classes "
        "(# to #",
        lambda: of_style("photographs") + of_style("drawings"),
    ),
    (
        LESSON_04,
        "enlarged to # pixels, far from the # pixels of the pretraining, a plain loop that let BatchNorm "
        "drift reached a test accuracy of # %, and `fit` (below), which keeps it still, # %. At # pixels "
        "the order was reversed: # % with drift, # % without.",
        lambda: [
            *(224, 64),
            *results("reference_loop_resnet18.csv").query("pixels == 224")["accuracy, median"],
            64,
            *results("reference_loop_64.csv").query("pixels == 64")["accuracy, median"],
        ],
    ),
    (LESSON_08, "there are only # of them to test on", lambda: [drawings("test")]),
    (LESSON_08, "the test images are the same #,", lambda: [drawings("test")]),
    (
        LESSON_08,
        "the drawings lose more than # points even if the head is trained on them",
        lambda: costs(CLIPART, "trained and used", "224 pixels").cost,
    ),
    (
        "notebooks/11_scale.ipynb",
        "gives it # pictures a second in bfloat16, which is # milliseconds each, and # a second in float32, "
        "which is #.",
        lambda: [*rates("images a second, median"), *rates("images a second, plain way")],
    ),
    *[
        (
            MEASUREMENTS,
            f"{name}, all labels (# of each class): from scratch # (#), frozen # (#), fine-tuned # (#)",
            lambda dataset=dataset: [
                5,
                *transfer(dataset).iloc[[-1, 0]][["from scratch", "frozen", "fine-tuned"]].T.stack(),
            ],
        )
        for name, dataset in (("Drawings", CLIPART), ("Clothes", CLOTHES))
    ],
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
        "then all layers | −# points (−# to #), compared",
        lambda: [abs(forgotten("head then everything", "clean")[part]) for part in (0, 2, 1)],
    ),
    (
        NEGATIVE,
        "half and half | # points (−# to #), compared",
        lambda: [abs(forgotten("line 0.5", "clean")[part]) for part in (0, 2, 1)],
    ),
    (
        NEGATIVE,
        "on Drawings | #, #, #, # and # points below the head",
        lambda: [
            -less_the_head(CLIPART, way)[0] for way in ("BatchNorm", "LoRA 2", "LoRA 4", "LoRA 8", "last two")
        ],
    ),
    (
        MEASUREMENTS,
        "On the drawings, split by author, it is # points above (#, # splits)",
        lambda: head_less_regression(CLIPART),
    ),
    *[
        (MEASUREMENTS, f"| {start} |" + " # (# to #) |" * 3, lambda asked=asked: of_texts(*asked))
        for start, asked in {
            **{f"films | {n}": ("films", n) for n in (10, 100, 600)},
            **{f"products | {n}": ("products", n) for n in (10, 100, 400)},
        }.items()
    ],
    (
        MEASUREMENTS,
        "# by a prompt, # with # examples in it, # with a new head that saw # labelled sentences",
        of_decoder,
    ),
    *[
        (MEASUREMENTS, f"| {name} |" + " # |" * 4, lambda name=name: of_domains(name))
        for name in ("films", "products", "editorials", "tweets", "one rater")
    ],
    (
        LESSON_10,
        "the frozen encoder is # points above scratch on products and # on films",
        lambda: [text_gain("products"), text_gain("films")],
    ),
    (LESSON_10, "without a single label and written once, is right for # %", lambda: of_decoder()[:1]),
    (
        LESSON_10,
        "On tweets the network is # points below a person, on editorials #, on films #",
        lambda: below_a_person()[["tweets", "editorials", "films"]],
    ),
    *[
        (
            MEASUREMENTS,
            f"| {backbone} | 64 / 128 / 224 | # / # / # | # / # / # % | # / # / # % | # / # / # |",
            lambda backbone=backbone: of_extraction(backbone),
        )
        for backbone in ("resnet18", "resnet50", "vgg16", "efficientnet_b0")
    ],
    *[
        (MEASUREMENTS, f"| {start} | # | # (# to #) |", lambda asked=asked: of_loop(*asked, "times as fast"))
        for start, asked in {
            "`fit` | 224": ("reference_loop.csv", "course"),
            "`fit`, fewer pixels | 128": ("reference_loop.csv", "course, fewer pixels"),
            "`fit` | 360 | 224": ("reference_loop_resnet18.csv", "course"),
            "`fit`, the network's own size | 360 | 64": (
                "reference_loop_resnet18.csv",
                "course, fewer pixels",
            ),
            "`fit`, the same | 2,700 | 64": ("reference_loop_64.csv", "course"),
            "`fit`, fewer pixels | 2,700 | 48": ("reference_loop_64.csv", "course, fewer pixels"),
        }.items()
    ],
    *[
        (MEASUREMENTS, f"| {name} | # | # | # | # (# to #) |", lambda asked=asked: row_of_adapting(*asked))
        for name, asked in {
            "films: head": ("films", "head"),
            "films: biases": ("films", "biases"),
            "films: LoRA, rank 4": ("films", "LoRA 4"),
            "films: everything": ("films", "everything"),
            "drawings: BatchNorm": (CLIPART, "BatchNorm"),
            "drawings: last two blocks": (CLIPART, "last two"),
            "drawings: LoRA, rank 8": (CLIPART, "LoRA 8"),
        }.items()
    ],
    *[
        (MEASUREMENTS, f"| {name} | {sign}# |" + " # |" * 4, lambda asked=asked: row_of_start(*asked))
        for name, sign, asked in (
            ("drawings: EfficientNet-Lite0, 224 pixels", "", (CLIPART, "efficientnet_lite0")),
            ("drawings: ResNet-18", "−", (CLIPART, "resnet18")),
            ("drawings: ResNet-18 to layer3", "−", (CLIPART, "resnet18 to layer3")),
            ("drawings: ResNet-18 to layer2", "−", (CLIPART, "resnet18 to layer2")),
            ("drawings: ResNet-18, random weights", "−", (CLIPART, "resnet18, random weights")),
            ("clothes: ResNet-18", "", (CLOTHES, "resnet18")),
            ("clothes: ResNet-18 to layer3", "", (CLOTHES, "resnet18 to layer3")),
            ("clothes: ResNet-18, random weights", "", (CLOTHES, "resnet18, random weights")),
            ("clothes: ResNet-18 to layer2", "", (CLOTHES, "resnet18 to layer2")),
        )
    ],
    (
        MEASUREMENTS,
        "that by fine-tuning is # on both; by the probe it is # on drawings and # on clothes",
        lambda: [tau(CLIPART, "logme"), tau(CLIPART, "probe_accuracy"), tau(CLOTHES, "probe_accuracy")],
    ),
    (
        LESSON_13,
        "(# and #), and fine-tuned the whole one is # points better",
        lambda: [
            *starts(CLOTHES).probe_accuracy[["resnet18 to layer3", "resnet18"]],
            100 * starts(CLOTHES).test_accuracy[["resnet18 to layer3", "resnet18"]].diff().iloc[1],
        ],
    ),
    (
        LESSON_10,
        "Labels from elsewhere cost # to # points",
        lambda: [
            cost_of_labels_from_elsewhere().where(lambda cost: cost != 0).min(axis=None),
            cost_of_labels_from_elsewhere().max(axis=None),
        ],
    ),
    (
        LESSON_13,
        "# kB for the head of the text network, # kB for LoRA of rank 4, # kB for everything",
        lambda: [adapted("films", way, "file_kb") for way in ("head", "LoRA 4", "everything")],
    ),
    (
        LESSON_13,
        "LoRA of rank 4 has the largest mean, # points (−# to #)",
        lambda: [abs(value) for value in less_the_head("films", "LoRA 4")],
    ),
    (
        LESSON_13,
        "the last two blocks (by # points, # to #) and LoRA of rank 2 (by #, # to #); everything nearly is "
        "(by #, −# to #)",
        lambda: [
            abs(less_the_head(CLIPART, way)[part])
            for way in ("last two", "LoRA 2", "everything")
            for part in (0, 2, 1)
        ],
    ),
    *[
        (
            CARD,
            sentence,
            lambda run=run, task=task, counts=counts: [
                on_card(f"short run, {run} drawings", task, count, "frozen").mean() for count in counts
            ],
        )
        for sentence, run, task, counts in (
            ("clip art: # / # / # with drawings", "with", "course clip art", (5, 20, 33)),
            ("with drawings, # / # / # without", "without", "course clip art", (5, 20, 33)),
            ("5 / 20 / 100 images a class: # / # / # and", "with", "CIFAR-10", (5, 20, 100)),
            ("and # / # / #. So it is worth", "without", "CIFAR-10", (5, 20, 100)),
        )
    ],
    (
        CARD,
        "reached on the course's own folder (# ± #, where the provisional weights give # ± #)",
        lambda: [
            on_card(network, "course clip art", 20, "frozen").agg(how)
            for network in ("these weights", "provisional")
            for how in ("mean", "std")
        ],
    ),
    (
        CARD,
        "(raw # against #, the course's own # against #, three draws",
        lambda: [
            on_card(network, task, 33, method).mean()
            for task in ("clip art", "course clip art")
            for network, method in (("these weights", "fine-tuned"), ("random", "from scratch"))
        ],
    ),
]

CLAIMS = [
    (
        LESSON_10,
        "In every column the best network is the one that was trained there",
        lambda: (cost_of_labels_from_elsewhere() >= 0).all(axis=None),
    ),
    (
        LESSON_13,
        "LoRA takes more than half as long as everything",
        lambda: all(
            adapted(target, f"LoRA {rank}", "cpu_seconds") > adapted(target, "everything", "cpu_seconds") / 2
            for target in ("films", CLIPART)
            for rank in (2, 4, 8)
        ),
    ),
    (
        LESSON_13,
        "On clothes LogME agrees again",
        lambda: tau(CLOTHES, "logme") == 1,
    ),
    (
        MEASUREMENTS,
        "where the probe puts the network without its last stage first",
        lambda: starts(CLOTHES).probe_accuracy.idxmax() == "resnet18 to layer3",
    ),
    (
        LESSON_13,
        "On films all seven means lie between 72 and 76 %.",
        lambda: adapted_accuracies("films").round().between(72, 76).all(),
    ),
    (
        LESSON_13,
        "On films every interval contains 0",
        lambda: all(
            low < 0 < high
            for way in set(adapted_accuracies("films").index) - {"head"}
            for _, low, high in [less_the_head("films", way)]
        ),
    ),
    (
        LESSON_13,
        "Two are shown to be worse",
        lambda: sum(less_the_head(CLIPART, way)[2] < 0 for way in adapted_accuracies(CLIPART).index) == 2,
    ),
    (
        LESSON_13,
        "On drawings the head has the highest mean, 63 %, and the other ways lie between 57 and 62 %.",
        lambda: (
            adapted_accuracies(CLIPART).idxmax() == "head"
            and adapted_accuracies(CLIPART).drop("head").between(56.5, 62).all()
        ),
    ),
    (
        "README.md",
        "a pretrained network with 5 images of each is better than one from scratch with",
        lambda: best_transfer(CLIPART)[5] > transfer(CLIPART)["from scratch"].max(),
    ),
    (
        LESSON_07,
        "On the drawings both ways of transfer lie far above scratch, for every number of images.",
        lambda: (
            transfer(CLIPART)[["frozen", "fine-tuned"]]
            .min(axis=1)
            .gt(10 + transfer(CLIPART)["from scratch"])
            .all()
        ),
    ),
    (
        LESSON_07,
        "kept, by about thirty points",
        lambda: (gain(CLIPART, "frozen").iloc[:2] - 30).abs().max() <= 3,
    ),
    (LESSON_07, "with all there are.", lambda: abs(gain(CLIPART, "frozen").iloc[-1] - 30) <= 3),
    (
        LESSON_07,
        "Fine-tuning ends a few points below the frozen network",
        lambda: (transfer(CLIPART)["frozen"] - transfer(CLIPART)["fine-tuned"]).between(1, 9).all(),
    ),
    (
        LESSON_07,
        "On drawings that already gives a frozen network more than scratch reaches with all twenty.",
        lambda: tries(CLIPART, "frozen").mean() > tries(CLIPART, "from scratch").max(),
    ),
    (
        LESSON_08,
        '"BGR" and "grey" cost several points each even if the head is trained on them, about twice as many '
        "if they are made only in use, and all four intervals lie above 0.",
        lambda: all(
            costs(PHOTOGRAPHS, way, "BGR", "grey").low.min() > 0 for way in ("trained and used", "used only")
        ),
    ),
    (
        LESSON_08,
        "over five runs the drawings as well",
        lambda: costs(CLIPART, "trained and used", "not normalised").low.min() > 0,
    ),
    (
        LESSON_08,
        'the drawings had not shown that "BGR" does no harm to a head that is trained on it',
        lambda: costs(CLIPART, "trained and used", "BGR").low.max() < 0,
    ),
    (
        LESSON_08,
        "If the fault is made only in use, little more than guessing is left.",
        lambda: costs(CLIPART, "used only", "224 pixels").accuracy.max() < 0.15,
    ),
    (
        LESSON_08,
        "if there is a cost, it is at most about a point",
        lambda: costs(CLOTHES, "trained and used", "not normalised", "own mean and std").high.max() < 1.1,
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
    parts = sentence.split("#")
    found = re.findall(sentence_pattern(sentence), prose(file))
    assert len(found) == 1, f"{file} has this sentence {len(found)} times"
    words = [found[0]] if isinstance(found[0], str) else list(found[0])
    measured = [float(number) for number in measure()]
    pairs = zip(words, parts[:-1], measured, strict=True)
    wrong = [(word, number) for word, before, number in pairs if not agrees(word, before, number)]
    assert not wrong, f"{file} and what was measured: {wrong}"


@pytest.mark.parametrize(
    "file, claim, is_true", CLAIMS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_claims_in_the_prose_are_true_of_the_measurements(file, claim, is_true):
    assert claim in prose(file)
    assert is_true()


@pytest.mark.parametrize("path", lesson_notebooks(), ids=lambda path: path.stem)
def test_every_number_in_a_lesson_has_a_source(path):
    """`pytest -s -k every_number` lists them: each number, where it comes from, and the words around it."""
    held = [sentence for file, sentence, _ in SENTENCES if file == f"notebooks/{path.name}"]
    found = list(sources_of_numbers(path, held))
    for number, around, source in found:
        print(f"{path.stem[:2]} {number:>9}  {source or 'NOWHERE':<20}  …{around}…")
    assert not [(number, around) for number, around, source in found if source is None], (
        "Show the number in an output, hold its sentence to a file of results, or allow it with a reason."
    )
    assert all(words in prose(f"notebooks/{path.name}") for words in allowed(path.stem[:2]))
