"""How does a network learn? One loop, for a frozen backbone and for a thawed one.

`fit` looks at the network that you give it. If only the head is trainable, the backbone is run once and
the head is trained on its features (see `features`). If upper stages are trainable too, the frozen stages
below them are run once (see `frozen_parts`). Only where nothing is frozen at the bottom, or the pictures
change in every epoch, do images go through the whole network each time. The loop is the same, and so is the
`History` that comes back.
"""

import copy
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset
from tqdm.auto import tqdm

from course_utils.data import classes_of, lost_is_told, make_loader, progress_bar_options, send
from course_utils.errors import CourseError
from course_utils.models import (
    choose_device,
    eval_mode,
    only_head_trainable,
    set_train_mode,
    trainable_parameters,
)
from course_utils.settings import Settings
from course_utils.training import sharded
from course_utils.training.checks import (
    check_batch_labels,
    check_finite,
    check_head,
    check_labels,
    too_few_images,
)
from course_utils.training.frozen_parts import frozen_part_run_once
from course_utils.training.history import EpochMetrics, History
from course_utils.training.learning_rates import cosine_schedule, parameter_groups
from course_utils.training.precision import Precision
from course_utils.training.resuming import load_training_state, save_training_state
from course_utils.training.steps import gradients, learning_together, over_all, share_of

VAL_BATCH = 64  # images; where nothing is learned, a small batch has no use


def fit(
    model: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    checkpoint: str | Path | None = None,
) -> History:
    """Train what is trainable in `model`, and leave it with the weights of its best epoch.

    The optimizer is Adam (Kingma and Ba, 2015, arXiv:1412.6980) on the cross-entropy. The head's learning
    rate falls from `settings.lr` to 0 along half a cosine, after a warm-up if one is asked for; thawed
    stages follow at a distance (see the room `learning_rates`). The best epoch is chosen on `val`; no
    other dataset is looked at.

    Args:
        model: A network with a known head. It is moved to the device of the settings and changed in place.
        train: Pairs of an image (float32, [3, height, width]) and a label (int, from 0).
        val: The same, for validation.
        settings: `epochs`, `batch_size`, `grad_accum_steps`, `lr`, `layer_lr_decay`, `warmup_epochs`,
            `label_smoothing`, `seed`, `device` and `num_workers` are used.
        checkpoint: A file that is written after every epoch. If it exists, training goes on from there.

    If several processes were launched, they share the work and end with the same weights: see `steps`.

    Returns:
        One `EpochMetrics` for each pass over `train`. After Ctrl-C, those that were finished.

    Raises:
        ConfigError: If nothing is trainable, or the head does not fit the classes.
        DataError: If a label is not that of a class.
        TrainingError: If the loss is no longer a finite number. Nothing is learned from that batch.
        CheckpointError: If the checkpoint is damaged, belongs to another run or cannot be written.

    Whatever stops training, the weights of the best epoch so far are put back; an error that does has the
    epochs in its attribute `history`.
    """
    classes = classes_of(train)
    check_head(model, len(classes))
    check_labels(train, classes)
    check_labels(val, classes)
    if not sharded.wanted(model):
        model.to(choose_device(settings.device), memory_format=torch.channels_last)
    try:
        with (
            frozen_part_run_once(model, train, val, settings.num_workers) as (network, train, val),
            learning_together(model, network, settings) as networks,
        ):
            return _learn(*networks, train, val, settings, classes, checkpoint)
    except KeyboardInterrupt:  # before the first epoch
        return History(interrupted=True)
    finally:
        model.eval()


def _learn(
    model: nn.Module,
    network: nn.Module,
    asked: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    classes: list[str],
    checkpoint: str | Path | None,
) -> History:
    """Train `network`, which is `model` or the part of it that is trained, by way of `asked`."""
    device = next(network.parameters()).device
    # What lies in memory needs no extra process to read it.
    workers = 0 if isinstance(train, TensorDataset) else settings.num_workers
    # In train mode BatchNorm needs two images to have a variance; a frozen one is never in train mode.
    smallest_batch = 1 if only_head_trainable(model) else 2
    precision = Precision(device, mixed=network is model)  # a head by itself is too small to gain from it
    order = {"shuffle": True, "seed": settings.seed, "smallest_batch": smallest_batch}
    read = {"num_workers": workers, "share": share_of(asked)}
    loader = make_loader(train, settings.batch_size, **order, **read)
    val_loader = make_loader(val, max(settings.batch_size, VAL_BATCH), **read)
    groups = parameter_groups(model, settings.lr, settings.layer_lr_decay)
    optimizer = torch.optim.Adam(groups, fused=True)  # all parameters in one step of compiled code
    schedule = cosine_schedule(
        optimizer,
        steps=settings.epochs * len(loader),
        warmup_steps=round(settings.warmup_epochs * len(loader)),
    )
    run = _Run(network, optimizer, schedule, loader, precision.scaler)
    identity = {
        **settings.model_dump(exclude={"device", "num_workers"}),
        "classes": classes,
        "train_images": len(train),
        "trained": f"{sum(p.numel() for p in trainable_parameters(network)):,} parameters",
    }
    if checkpoint is not None:
        load_training_state(Path(checkpoint), run, identity)
    try:
        left = range(len(run.history.epochs) + 1, settings.epochs + 1)
        for epoch in tqdm(left, desc="epochs", **progress_bar_options()):
            started = time.perf_counter()
            last_loss = run.history.epochs[-1].train_loss if run.history.epochs else None
            with lost_is_told():
                train_loss, train_accuracy = train_one_epoch(
                    asked,
                    loader,
                    optimizer,
                    schedule,
                    epoch,
                    last_loss,
                    settings.label_smoothing,
                    precision,
                    settings.grad_accum_steps,
                )
            val_loss, val_accuracy = evaluate_loss(asked, val_loader)
            # The very last step may have been the one that went too far.
            check_finite(val_loss, f"epoch {epoch}, validation", optimizer, train_loss)
            seconds = time.perf_counter() - started
            run.finish_epoch(EpochMetrics(epoch, train_loss, train_accuracy, val_loss, val_accuracy, seconds))
            if checkpoint is not None:
                save_training_state(Path(checkpoint), run, identity)
    except KeyboardInterrupt:
        run.history.interrupted = True
    except CourseError as error:
        error.history = run.history
        raise
    finally:
        network.load_state_dict(run.best_weights)
    return run.history


@dataclass
class _Run:
    """Everything that changes while a network is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    loader: DataLoader
    scaler: torch.amp.GradScaler
    history: History = field(default_factory=History)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self):
        self.best_weights = self.weights()

    def weights(self) -> dict[str, torch.Tensor]:
        return copy.deepcopy(self.network.state_dict())

    def finish_epoch(self, epoch: EpochMetrics) -> None:
        # Ctrl-C may come at any moment: the copy, which takes long, is made before anything is changed.
        is_best = not self.history.epochs or epoch.val_loss < self.history.best.val_loss
        best_weights = self.weights() if is_best else self.best_weights
        self.history.epochs.append(epoch)
        self.best_weights = best_weights


def train_one_epoch(
    network: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler | None = None,
    epoch: int = 1,
    last_loss: float | None = None,
    label_smoothing: float = 0.0,
    precision: Precision | None = None,
    grad_accum_steps: int = 1,
) -> tuple[float, float]:
    """Go once over the training data: one step of the optimizer, and of the schedule, for each batch.

    `epoch` and `last_loss`, the loss before this epoch, are only told in the error. `label_smoothing` is
    the share of each label that is spread over all classes (Szegedy et al., 2016, arXiv:1512.00567).
    `precision`: None is float32. `grad_accum_steps`: in how many parts a batch goes through the network.

    Returns:
        The mean loss (nats) and the accuracy (0 to 1) over all samples, so that a last batch that is
        smaller than the others counts for less.

    Raises:
        TrainingError: If the loss of a batch is not finite, or BatchNorm cannot learn from a single image.
            The step is not taken.
        DataError: If a label is not the number of a class.
    """
    criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    device = next(network.parameters()).device
    precision = precision or Precision(device, mixed=False)
    set_train_mode(network)
    total_loss, correct, samples, last_finite = 0.0, 0, 0, last_loss
    for batch, (inputs, labels) in enumerate(loader, start=1):
        optimizer.zero_grad()
        where = f"epoch {epoch}, batch {batch}"
        check = partial(check_finite, where=where, optimizer=optimizer, last_finite=last_finite)
        try:
            inputs, parts = send(inputs, device), grad_accum_steps
            loss, right, images = gradients(
                network, criterion, inputs, labels, precision, parts, check, where
            )
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise too_few_images(error, where) from error
        precision.step(optimizer, schedule)
        last_finite = loss / images
        total_loss += loss
        correct += right
        samples += images
    return total_loss / samples, correct / samples


@torch.no_grad()
def evaluate_loss(network: nn.Module, loader: DataLoader) -> tuple[float, float]:
    """Return the mean loss (nats) and the accuracy (0 to 1) over all samples, learning nothing."""
    criterion = nn.CrossEntropyLoss(reduction="sum")
    device = next(network.parameters()).device
    total_loss, correct, samples = 0.0, 0, 0
    with eval_mode(network):
        for inputs, labels in loader:
            outputs = network(send(inputs, device))
            check_batch_labels(labels, outputs.shape[1], "validation")
            labels = labels.to(device)
            total_loss += criterion(outputs, labels).item()
            correct += (outputs.argmax(dim=1) == labels).sum().item()
            samples += len(labels)
    total_loss, correct, samples = over_all(network, total_loss, correct, samples)
    return total_loss / samples, correct / samples
