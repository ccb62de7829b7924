"""Model cards: what a network is for, how good it is, and what it must not be used for (lesson 09).

A model card is a page that goes wherever the network goes (Mitchell et al., 2019, arXiv:1810.03993). It is
filled in from the run's own results; only the purpose is in your own words.
"""

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from course_utils.data.loaders import labels_of, source_and_indices
from course_utils.data.splits import Splits
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, per_class
from course_utils.settings import Settings
from course_utils.training.history import History

WEAKEST = 3  # how many classes the card warns about


def model_card(
    settings: Settings,
    splits: Splits,
    history: History,
    result: Evaluation,
    *,
    purpose: str,
    not_for: str = "anything else; and nothing where a wrong answer harms somebody",
) -> str:
    """Return a model card in Markdown, from the inputs and results of `fit` and `evaluate`.

    `result` is that of the test images; `purpose` says what the network is for, and for whom.
    """
    test, _ = source_and_indices(splits.test)
    images = len(result.labels)
    low, high = accuracy_interval(result.correct, images)
    table = per_class(result).sort_values("recall", kind="stable")
    weakest = [
        f"{row.Index} ({row.recall:.0%} of {row.images} found)"
        for row in table[table.images > 0].head(WEAKEST).itertuples()
    ]
    # Names of files and folders, not paths: a card travels further than your paths should.
    weights, dataset = Path(settings.weights).name, Path(settings.dataset.removeprefix("folder:")).name
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow"))
    best = history.best
    return f"""\
# Model card: {settings.backbone} for {len(splits.classes)} classes

- Backbone: {settings.backbone}, weights `{weights}`
- Training: {len(history.epochs)} epochs{" (interrupted)" if history.interrupted else ""}, batches of \
{settings.batch_size}, learning rate {settings.lr:g}
- Kept: epoch {best.epoch}, with the lowest validation loss; validation accuracy {best.val_accuracy:.3f}
- Seed: {settings.seed}
- Made with: Python {platform.python_version()}, {packages}

## Intended use

For: {purpose}

Not for: {not_for}

## Data

`{dataset}`, number of images:

{_as_markdown(_image_counts(splits))}

## Preprocessing

`{" ".join(repr(test.transform).split())}`

## Results on the test images

Accuracy {result.accuracy:.3f}, 95 % Wilson interval {low:.3f} to {high:.3f} ({result.correct} of {images} \
images). Always predicting the most frequent class would give {table.images.max() / images:.3f}.

{_as_markdown(_with_intervals(table))}

## Limits

- The weakest classes: {"; ".join(weakest)}.
- It always predicts one of these classes: {", ".join(splits.classes)}. It assigns pictures of anything else \
to one of them as well.
- The interval describes test images of the same kind. Pictures of another kind or from another camera, and \
other training runs, were not measured.
- The test labels were not checked for errors.
"""


def _image_counts(splits: Splits) -> pd.DataFrame:
    parts = {"training": splits.train, "validation": splits.val, "test": splits.test}
    counts = {
        part: np.bincount(labels_of(images), minlength=len(splits.classes)) for part, images in parts.items()
    }
    table = pd.DataFrame(counts, index=pd.Index(splits.classes, name="class"))
    table.loc["all"] = table.sum()
    return table


def _with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    intervals = [
        "{:.2f} to {:.2f}".format(*accuracy_interval(round(row.recall * row.images), row.images))
        if row.images
        else "no image"
        for row in table.itertuples()
    ]
    return table.round(2).assign(**{"recall, 95 % interval": intervals})


def _as_markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown (pandas' own `to_markdown` needs one more package)."""
    rows = [[table.index.name, *table.columns], ["---"] * (len(table.columns) + 1)]
    rows += table.reset_index().astype(object).to_numpy().tolist()
    return "\n".join(f"| {' | '.join(str(value).replace('|', '/') for value in row)} |" for row in rows)
