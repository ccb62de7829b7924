"""The training loop, for a frozen backbone and for a thawed one.

There are two ways through `fit`. If only the head is trainable, the backbone is run once over every image,
and the head is trained on its features. Otherwise images go through the whole network in every epoch. The
loop and the `History` that it returns are the same.
"""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset

from course_utils.data.loaders import (
    check_labels,
    classes_of,
    in_memory,
    make_loader,
    preserve_rng_state,
    progress_bar,
)
from course_utils.errors import CourseError, TrainingError
from course_utils.models.freezing import (
    check_head,
    choose_device,
    eval_mode,
    find_head,
    only_head_trainable,
    set_train_mode,
    stage_parameters,
)
from course_utils.settings import Settings
from course_utils.training.acceleration import (
    OneProcess,
    broadcast_weights,
    in_parts,
    make_accelerator,
    prepared,
    seed_epoch,
)
from course_utils.training.features import extract_features, is_deterministic
from course_utils.training.history import EpochMetrics, History
from course_utils.training.resuming import (
    Checkpoint,
    TrainingState,
    load_training_state,
    run_identity,
    save_training_state,
)

VAL_BATCH = 64  # at least so many images: evaluation can use larger batches than training


def fit(
    model: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    checkpoint: str | Path | None = None,
) -> History:
    """Train the trainable parameters of `model`, and leave it with the weights of its best epoch.

    The optimizer is AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) on the cross-entropy, which without
    weight decay is Adam (Kingma and Ba, 2015, arXiv:1412.6980). It has the learning rates of
    `parameter_groups` and `cosine_schedule`. The best epoch is chosen on `val`; no other dataset is used. If
    several processes were launched, they share the work and end with the same weights.

    Args:
        model: A network with a known head. It is moved to the device of the settings and changed in place.
        train: Pairs of an image (float32, [3, height, width]) and a label (int, from 0).
        val: The same, for validation.
        settings: `epochs`, `batch_size`, `grad_accum_steps`, `lr`, `layer_lr_decay`, `weight_decay`,
            `warmup_epochs`, `label_smoothing`, `seed`, `device` and `num_workers` are used.
        checkpoint: A file that is written after every epoch. If it exists, training goes on from there.

    Returns:
        One `EpochMetrics` for each pass over `train`. After Ctrl-C, only those of the finished epochs.

    Raises:
        ConfigError: If nothing is trainable, or the head does not fit the classes.
        ValueError: accelerate's own, if the batch size cannot be divided among the processes.
        DataError: If a label is not the number of a class.
        TrainingError: If the loss is no longer a finite number. Nothing is learned from that batch.
        CheckpointError: If the checkpoint is damaged, belongs to another run or cannot be written.

    If training stops early, the network gets the weights of the best epoch so far; an exception carries the
    finished epochs in its attribute `history`.
    """
    classes = classes_of(train)
    check_head(model, len(classes))
    check_labels(train, classes)
    check_labels(val, classes)
    model.to(choose_device(settings.device), memory_format=torch.channels_last)
    workers = settings.num_workers
    try:
        if checkpoint is not None:
            checkpoint = Checkpoint(Path(checkpoint), run_identity(model, train, settings))
        if only_head_trainable(model) and is_deterministic(train):
            train = extract_features(model, train, num_workers=workers, label="training features")
            val = extract_features(model, val, num_workers=workers, label="validation features")
            # The head is so small that each process trains the whole of it, on the same features.
            head = model.get_submodule(find_head(model))
            history = _train(model, head, train, val, settings, checkpoint)
        else:
            train, val = in_memory(train, workers), in_memory(val, workers)
            history = _train(model, model, train, val, settings, checkpoint)
    except KeyboardInterrupt:  # before the first epoch
        history = History(interrupted=True)
    finally:
        model.eval()
    if history.interrupted:
        print(f"Training was stopped by you after {len(history.epochs)} of {settings.epochs} epochs.")
    return history


def _train(
    model: nn.Module,
    network: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    checkpoint: Checkpoint | None,
) -> History:
    """Train `network`, which is `model` or its head."""
    device, workers = next(model.parameters()).device, settings.num_workers
    accelerator = make_accelerator(device, settings.grad_accum_steps) if network is model else OneProcess()
    parts, processes = accelerator.gradient_accumulation_steps, accelerator.num_processes
    # In train mode, BatchNorm needs two images to compute a variance; a frozen one is never in train mode.
    # With several processes, accelerate fills up the last batch.
    drop_single = processes == 1 and not only_head_trainable(model)
    val_batch = max(settings.batch_size // parts, VAL_BATCH) // processes * processes
    order = {"shuffle": True, "drop_single": drop_single}
    loader = make_loader(train, settings.batch_size, **order, num_workers=workers)
    val_loader = make_loader(val, val_batch, num_workers=workers)
    groups = parameter_groups(model, settings.lr, settings.layer_lr_decay)
    # Fused: all parameters in one step of compiled code.
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    steps = len(loader)  # of an epoch
    schedule = cosine_schedule(optimizer, settings.epochs * steps, round(settings.warmup_epochs * steps))
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    run, generator = TrainingState(network, optimizer, schedule, accelerator.scaler), loader.generator
    prepare = prepared(accelerator, network, loader, val_loader, optimizer, schedule)
    with _resumable(run, checkpoint), prepare as (learner, loader, val_loader, optimizer, schedule):
        rest = range(len(run.history.epochs) + 1, settings.epochs + 1)
        for epoch in progress_bar(rest, desc="epochs", leave=None):  # a loop over runs has a bar of its own
            started = time.perf_counter()
            seed_epoch(settings.seed, epoch, accelerator.process_index, generator)
            try:
                trained = train_one_epoch(learner, loader, optimizer, schedule, criterion, accelerator)
                validated = evaluate_loss(learner, val_loader, accelerator)
                # The very last step may have been the one that went too far.
                _check_finite(validated[0], "validation", optimizer, trained[0])
            except CourseError as error:
                raise error.within(f"epoch {epoch}") from error
            finished = EpochMetrics(epoch, *trained, *validated, time.perf_counter() - started)
            # Ctrl-C may come at any moment: the copy, which takes long, is made before anything is changed.
            is_best = all(finished.val_loss < earlier.val_loss for earlier in run.history.epochs)
            best_weights = copy.deepcopy(network.state_dict()) if is_best else run.best_weights
            run.history.epochs.append(finished)
            run.best_weights = best_weights
            if checkpoint is not None:
                save_training_state(checkpoint, run)
    return run.history


@contextmanager
def _resumable(run: TrainingState, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Resume from a checkpoint; however the run ends, leave the network with its best weights.

    Ctrl-C only ends the run; an error carries the history along. The caller's random state is restored.
    """
    broadcast_weights(run.network)
    run.best_weights = copy.deepcopy(run.network.state_dict())
    try:
        if checkpoint is not None:
            load_training_state(checkpoint, run)
        with preserve_rng_state():
            yield
    except KeyboardInterrupt:
        run.history.interrupted = True
    except CourseError as error:
        error.history = run.history
        raise
    finally:
        run.network.load_state_dict(run.best_weights)
        broadcast_weights(run.network)  # other machines may round differently and end with other weights


def train_one_epoch(
    network: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler | None = None,
    criterion: nn.Module | None = None,
    accelerator=None,
) -> tuple[float, float]:
    """Go once over the training data, with one step of the optimizer and of the schedule for each batch.

    With gradient accumulation a batch goes through the network in parts. Each part's mean loss counts by its
    share of the batch's images, so that the gradients add up to those of the whole batch.

    Args:
        network: From images to logits, [batch, classes].
        loader: Batches of images and labels.
        optimizer: Has the parameters to train.
        schedule: Sets the learning rate of each step. None: it stays constant.
        criterion: From logits and labels to the mean loss. None: the cross-entropy.
        accelerator: The `Accelerator` that has prepared all of them, for mixed precision, gradient
            accumulation and several processes. None: float32, in this process.

    Returns:
        The mean loss (nats) and the accuracy (0 to 1) over all samples.

    Raises:
        TrainingError: If the loss of a batch is not finite. The step is not taken.
        ValueError: PyTorch's own, if BatchNorm in train mode gets a single image.
    """
    criterion, accelerator = criterion or nn.CrossEntropyLoss(), accelerator or OneProcess()
    device, parts = next(network.parameters()).device, accelerator.gradient_accumulation_steps
    set_train_mode(network)
    optimizer.zero_grad()  # an interrupted step may have left gradients
    total_loss, correct, samples = 0.0, 0, 0
    for batch, (inputs, labels) in enumerate(loader, start=1):
        for images, truth in in_parts(parts, network, inputs, labels):
            outputs = network(images.to(device))
            truth = truth.to(device)
            loss = criterion(outputs, truth)
            _check_finite(loss.item(), f"batch {batch}", optimizer, total_loss / samples if samples else None)
            # accelerate divides by the number of parts, as if all were equal.
            accelerator.backward(loss * (parts * len(truth) / len(labels)))
            total_loss += loss.item() * len(truth)
            correct += (outputs.argmax(dim=1) == truth).sum().item()
            samples += len(truth)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        optimizer.zero_grad()
    sums = torch.tensor([total_loss, correct, samples], dtype=torch.float64, device=accelerator.device)
    total_loss, correct, samples = accelerator.reduce(sums).tolist()
    return total_loss / samples, correct / samples


@torch.no_grad()
def evaluate_loss(network: nn.Module, loader: DataLoader, accelerator=None) -> tuple[float, float]:
    """Return the mean loss (nats) and the accuracy (0 to 1) over all samples, without training.

    Arguments and errors are those of `train_one_epoch`. Each sample counts once, even if accelerate has
    filled up the last batch.
    """
    device, accelerator = next(network.parameters()).device, accelerator or OneProcess()
    total_loss, correct, samples = 0.0, 0, 0
    with eval_mode(network):
        for inputs, labels in loader:
            outputs = network(inputs.to(device))
            labels = labels.to(device)
            losses = nn.functional.cross_entropy(outputs, labels, reduction="none")
            losses, right = accelerator.gather_for_metrics((losses, outputs.argmax(dim=1) == labels))
            total_loss += losses.sum().item()
            correct += right.sum().item()
            samples += len(right)
    return total_loss / samples, correct / samples


def parameter_groups(model: nn.Module, lr: float, layer_lr_decay: float = 1.0) -> list[dict]:
    """Return the parameter groups of an optimizer, one for each stage, the head first.

    The head has the learning rate `lr`; each stage below it has `layer_lr_decay` (above 0, up to 1) times the
    rate of the stage above it, so that the general stages near the picture change least ("discriminative
    fine-tuning": Howard and Ruder, 2018, arXiv:1801.06146). A frozen stage has no group, but still counts as
    a step down.

    Returns:
        Groups with the entries `name`, `lr` and `params`, for example for torch.optim.Adam.
    """
    groups = []
    for name, parameters in reversed(stage_parameters(model).items()):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            groups.append({"name": name, "lr": lr, "params": trained})
        lr = lr * layer_lr_decay
    return groups


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int, warmup_steps: int = 0) -> LRScheduler:
    """Return a schedule that takes every learning rate to 0 in `steps` steps, along half a cosine.

    In the first `warmup_steps` of them it rises linearly instead: the gradients of a new head are large and
    say little, and should not disturb the pretrained stages (Goyal et al., 2017, arXiv:1706.02677; the
    cosine: Loshchilov and Hutter, 2017, arXiv:1608.03983).
    """

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(1, steps - warmup_steps)
        return (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, share)


def _check_finite(loss: float, where: str, optimizer: torch.optim.Optimizer, mean_before: float | None):
    if math.isfinite(loss):
        return
    before = "it is the first of the epoch" if mean_before is None else f"the mean was {mean_before:.4g}"
    raise TrainingError(
        "The loss is no longer a finite number; training has stopped before the step.",
        where=where,
        expected=f"a finite loss ({before})",
        found=f"{loss} at a learning rate of {optimizer.param_groups[0]['lr']:g}",
        do="Try a learning rate ten times smaller, and look for images with values that are not numbers.",
    )
