"""Checks before and during training, for mistakes that run silently in plain PyTorch.

On a graphics card, a wrong label even kills the process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.data import Dataset

from course_utils.data import labels_of
from course_utils.errors import ConfigError, DataError, TrainingError
from course_utils.models import find_head, trainable_parameters


def check_finite(
    loss: float, where: str, optimizer: torch.optim.Optimizer, mean_before: float | None
) -> None:
    """Refuse a loss that is not a number, or has none above it.

    Raises:
        TrainingError: With the learning rate, and the mean loss of the epoch before it.
    """
    if math.isfinite(loss):
        return
    lr = optimizer.param_groups[0]["lr"]
    before = "it is the first of the epoch" if mean_before is None else f"the mean was {mean_before:.4g}"
    raise TrainingError(
        "The loss is no longer a finite number; training has stopped before the step.",
        where=where,
        expected=f"a finite loss ({before})",
        found=f"{loss} at a learning rate of {lr:g}",
        do="Try a learning rate ten times smaller, and look for images with values that are not numbers.",
    )


def check_head(model: nn.Module, num_classes: int) -> None:
    """Catch what plain PyTorch runs silently: a head for other classes, and nothing to train."""
    name = find_head(model)
    answers = model.get_submodule(name).out_features
    if answers != num_classes:
        raise ConfigError(
            "The head does not fit the classes of the dataset.",
            where=f"model.{name}",
            expected=f"{num_classes} outputs, one for each class",
            found=f"{answers} outputs",
            do=f"Call replace_head(model, num_classes={num_classes}) first. An attribute that you set "
            "by another name is never called by the network.",
        )
    check_trainable(model)


def check_trainable(model: nn.Module) -> None:
    """Refuse a network in which everything is frozen."""
    if not trainable_parameters(model):
        raise ConfigError(
            "There is nothing to train.",
            where=type(model).__name__,
            expected="at least one parameter with requires_grad=True",
            found="every parameter is frozen",
            do="Call freeze(model), which leaves the head trainable.",
        )


def check_batch_size(batch_size: int, processes: int, grad_accum_steps: int) -> None:
    """Refuse a step that cannot be divided into equal parts."""
    if batch_size % (processes * grad_accum_steps):
        raise ConfigError(
            "The images of a step cannot be shared equally.",
            where="batch_size",
            expected=f"a multiple of {processes * grad_accum_steps}: {processes} process(es) times "
            f"grad_accum_steps={grad_accum_steps}",
            found=str(batch_size),
            do="Change batch_size, which counts the images of all processes together, or grad_accum_steps.",
        )


def check_labels(dataset: Dataset, classes: list[str]) -> None:
    """Look at every label on the CPU, before the first step.

    Raises:
        DataError: If one is not the number of a class, or there are more or fewer labels than images.
    """
    labels = labels_of(dataset)
    wrong = ((labels < 0) | (labels >= len(classes))).nonzero()[0]
    if len(wrong):
        where = f"sample {wrong[0]} ({len(wrong)} of {len(labels)} samples are wrong)"
        raise _wrong_label(where, len(classes), f"label {labels[wrong[0]]}")
    if len(labels) != len(dataset):
        raise _wrong_label(type(dataset).__name__, len(classes), f"{len(labels)} for {len(dataset)} images")


def check_batch_labels(labels: object, num_classes: int | None, where: str) -> None:
    """Look at the labels that a loader really gives: a `target_transform` may have changed them.

    Raises:
        DataError: If they are not int64, [images], or one is not the number of a class. (`num_classes`
            None: how many there are is not known.)
    """
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        kind = f"{labels.dtype}, {list(labels.shape)}" if isinstance(labels, torch.Tensor) else type(labels)
        raise _wrong_label(where, num_classes, f"labels of the type {kind}")
    if num_classes is None:
        return
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = next(label for label in labels.tolist() if not 0 <= label < num_classes)
        raise _wrong_label(where, num_classes, f"label {wrong}")


def _wrong_label(where: str, num_classes: int | None, found: str) -> DataError:
    known = f" from 0 to {num_classes - 1} ({num_classes} classes)" if num_classes else ""
    return DataError(
        "A label is not the number of a class.",
        where=where,
        expected=f"a whole number{known} for every image",
        found=found,
        do="Labels count from 0: check how they were made.",
    )


@contextmanager
def one_image_reported(where: str) -> Iterator[None]:
    """Report a BatchNorm in train mode that was given one value for each channel.

    Raises:
        TrainingError: Instead of PyTorch's ValueError.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "BatchNorm cannot learn from a batch of a single image.",
            where=where,
            expected="at least two images in each batch, or a BatchNorm that is frozen",
            found=str(error),
            do="Raise batch_size, add images, or freeze the network with freeze(model).",
        ) from error
