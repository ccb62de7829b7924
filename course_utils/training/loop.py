"""The training loop, for a frozen backbone and for a thawed one.

There are two ways through `fit`. If only the head is trainable, the backbone is run once over every image,
and the head is trained on its features. Otherwise images go through the whole network in every epoch. The
loop is the same, and so is the `History` that comes back.
"""

import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_utils.data import batches_of, classes_of, in_memory, make_loader, progress_bar
from course_utils.errors import CourseError
from course_utils.models import (
    choose_device,
    eval_mode,
    find_head,
    only_head_trainable,
    set_train_mode,
    trainable_parameters,
)
from course_utils.settings import Settings
from course_utils.training.acceleration import (
    make_accelerator,
    num_processes,
    process_random_numbers,
    same_weights,
)
from course_utils.training.checks import (
    check_batch_labels,
    check_batch_size,
    check_finite,
    check_head,
    check_labels,
    one_image_reported,
)
from course_utils.training.feature_cache import cached_features
from course_utils.training.features import extract_features, is_deterministic
from course_utils.training.history import EpochMetrics, History
from course_utils.training.learning_rates import cosine_schedule, parameter_groups
from course_utils.training.resuming import TrainingState, load_training_state, save_training_state

VAL_BATCH = 64  # images; where nothing is learned, a smaller batch has no use


def fit(
    model: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    checkpoint: str | Path | None = None,
    cache_features: bool = True,
) -> History:
    """Train what is trainable in `model`, and leave it with the weights of its best epoch.

    The optimizer is Adam (Kingma and Ba, 2015, arXiv:1412.6980) on the cross-entropy. The head's learning
    rate falls from `settings.lr` to 0 along half a cosine, after a warm-up if one is asked for; thawed
    stages follow at a distance (see `learning_rates`). The best epoch is chosen on `val`; no other dataset is
    looked at. If several processes were launched, they share the work and end with the same weights.

    Args:
        model: A network with a known head. It is moved to the device of the settings and changed in place.
        train: Pairs of an image (float32, [3, height, width]) and a label (int, from 0).
        val: The same, for validation.
        settings: `epochs`, `batch_size`, `grad_accum_steps`, `lr`, `layer_lr_decay`, `warmup_epochs`,
            `label_smoothing`, `seed`, `device` and `num_workers` are used.
        checkpoint: A file that is written after every epoch. If it exists, training goes on from there.
        cache_features: Whether features of a frozen backbone are kept on disk, and read from there.

    Returns:
        One `EpochMetrics` for each pass over `train`. After Ctrl-C, those that were finished.

    Raises:
        ConfigError: If nothing is trainable, the head does not fit the classes, or processes and
            accumulation do not divide the batch size.
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
    model.to(choose_device(settings.device), memory_format=torch.channels_last)
    workers = settings.num_workers
    try:
        if only_head_trainable(model) and is_deterministic(train):
            get_features = cached_features if cache_features else extract_features
            train = get_features(model, train, num_workers=workers, label="training features")
            val = get_features(model, val, num_workers=workers, label="validation features")
            train.classes = classes
            # The head is so small that each process trains the whole of it, on the same features.
            return _train(model, model.get_submodule(find_head(model)), train, val, settings, checkpoint)
        check_batch_size(settings.batch_size, num_processes(), settings.grad_accum_steps)
        train, val = in_memory(train, workers), in_memory(val, workers)
        with process_random_numbers(settings.seed):
            return _train(model, model, train, val, settings, checkpoint)
    except KeyboardInterrupt:  # before the first epoch
        return History(interrupted=True)
    finally:
        model.eval()


def _train(
    model: nn.Module,
    network: nn.Module,
    train: Dataset,
    val: Dataset,
    settings: Settings,
    checkpoint: str | Path | None,
) -> History:
    """Train `network`, which is `model` or its head."""
    if network is model:
        parts, processes = settings.grad_accum_steps, num_processes()
        accelerator = make_accelerator(next(model.parameters()).device, parts)
    else:
        parts, processes, accelerator = 1, 1, None
    loader, val_loader = _loaders(model, train, val, settings, parts, processes)
    optimizer = torch.optim.Adam(
        parameter_groups(model, settings.lr, settings.layer_lr_decay),
        fused=True,  # all parameters in one step of compiled code
    )
    steps = -(-len(loader) // parts)  # of an epoch
    warmup_steps = round(settings.warmup_epochs * steps)
    schedule = cosine_schedule(optimizer, settings.epochs * steps, warmup_steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    same_weights(network)
    scaler = accelerator.scaler if accelerator is not None else None
    state = TrainingState(network, optimizer, schedule, loader.generator, scaler)
    identity = {
        **settings.model_dump(exclude={"device", "num_workers"}),
        "classes": classes_of(train),
        "train_images": len(train),
        "trained": f"{sum(p.numel() for p in trainable_parameters(network)):,} parameters",
    }
    learner = network
    if accelerator is not None:
        learner, optimizer, loader, val_loader, schedule = accelerator.prepare(
            network, optimizer, loader, val_loader, schedule
        )
    try:
        if checkpoint is not None:
            load_training_state(Path(checkpoint), state, identity)
        left = range(len(state.history.epochs) + 1, settings.epochs + 1)
        for epoch in progress_bar(left, desc="epochs"):
            started = time.perf_counter()
            try:
                trained = train_one_epoch(learner, loader, optimizer, schedule, criterion, accelerator)
                validated = evaluate_loss(learner, val_loader, accelerator)
                # The very last step may have been the one that went too far.
                check_finite(validated[0], "validation", optimizer, trained[0])
            except CourseError as error:
                raise error.within(f"epoch {epoch}") from error
            state.finish_epoch(EpochMetrics(epoch, *trained, *validated, time.perf_counter() - started))
            if checkpoint is not None:
                save_training_state(Path(checkpoint), state, identity)
    except KeyboardInterrupt:
        state.history.interrupted = True
    except CourseError as error:
        error.history = state.history
        raise
    finally:
        if accelerator is not None:
            accelerator.unwrap_model(learner, keep_fp32_wrapper=False)
            vars(network).pop("forward", None)  # which it leaves behind
        network.load_state_dict(state.best_weights)
        same_weights(network)  # other machines may round differently, and end at other weights
    return state.history


def _loaders(
    model: nn.Module, train: Dataset, val: Dataset, settings: Settings, parts: int, processes: int
) -> tuple[DataLoader, DataLoader]:
    batch_size = settings.batch_size // parts  # of all processes together
    # In train mode BatchNorm needs two images to have a variance; a frozen one is never in train mode. Of
    # several processes accelerate fills the last batch up.
    smallest = 1 if only_head_trainable(model) or processes > 1 else 2
    # What lies in memory needs no extra process to read it.
    workers = 0 if isinstance(train, TensorDataset) else settings.num_workers
    order = {"shuffle": True, "seed": settings.seed, "smallest_batch": smallest}
    val_batch = max(batch_size, VAL_BATCH // processes * processes)
    return (
        make_loader(train, batch_size, **order, num_workers=workers),
        make_loader(val, val_batch, num_workers=workers),
    )


def train_one_epoch(
    network: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler | None = None,
    criterion: nn.Module | None = None,
    accelerator=None,
) -> tuple[float, float]:
    """Go once over the training data: one step of the optimizer, and of the schedule, for each batch.

    Args:
        network: From images to logits, [batch, classes].
        loader: Batches of images and labels.
        optimizer: It knows what is trained.
        schedule: The learning rate of each step. None: it stays as it is.
        criterion: From logits and labels to the mean loss. None: the cross-entropy.
        accelerator: What has prepared all of them, for mixed precision, accumulation of gradients and several
            processes. None: float32, on this process.

    Returns:
        The mean loss (nats) and the accuracy (0 to 1) over all samples, so that a last batch that is
        smaller than the others counts for less.

    Raises:
        TrainingError: If the loss of a batch is not finite, or BatchNorm cannot learn from a single image.
            The step is not taken.
        DataError: If a label is not the number of a class.
    """
    criterion = criterion or nn.CrossEntropyLoss()
    device = next(network.parameters()).device
    set_train_mode(network)
    total_loss, correct, samples = 0.0, 0, 0
    for batch, (inputs, labels) in enumerate(batches_of(loader), start=1):
        with accelerator.accumulate(network) if accelerator else nullcontext():
            with one_image_reported(f"batch {batch}"):
                outputs = network(inputs.to(device))
            check_batch_labels(labels, outputs.shape[1], f"batch {batch}")
            labels = labels.to(device)
            loss = criterion(outputs, labels)
            check_finite(loss.item(), f"batch {batch}", optimizer, total_loss / samples if samples else None)
            accelerator.backward(loss) if accelerator else loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            optimizer.zero_grad()
        total_loss += loss.item() * len(labels)
        correct += (outputs.argmax(dim=1) == labels).sum().item()
        samples += len(labels)
    return _means(accelerator, total_loss, correct, samples)


def _means(accelerator, total_loss: float, correct: int, samples: int) -> tuple[float, float]:
    """Return loss and accuracy over the samples of all processes."""
    if accelerator is not None and accelerator.num_processes > 1:
        sums = torch.tensor([total_loss, correct, samples], dtype=torch.float64, device=accelerator.device)
        total_loss, correct, samples = accelerator.reduce(sums, "sum").tolist()
    return total_loss / samples, correct / samples


@torch.no_grad()
def evaluate_loss(network: nn.Module, loader: DataLoader, accelerator=None) -> tuple[float, float]:
    """Return the mean loss (nats) and the accuracy (0 to 1) over all samples, learning nothing.

    Args:
        network: As for `train_one_epoch`.
        loader: Batches of images and labels.
        accelerator: As for `train_one_epoch`. Each sample counts once, also where accelerate has filled up
            the last batch.

    Raises:
        DataError: If a label is not the number of a class.
    """
    device = next(network.parameters()).device
    total_loss, correct, samples = 0.0, 0, 0
    with eval_mode(network):
        for inputs, labels in batches_of(loader):
            outputs = network(inputs.to(device))
            check_batch_labels(labels, outputs.shape[1], "validation")
            labels = labels.to(device)
            losses = nn.functional.cross_entropy(outputs, labels, reduction="none")
            right = outputs.argmax(dim=1) == labels
            if accelerator is not None and accelerator.num_processes > 1:
                losses, right = accelerator.gather_for_metrics((losses, right))
            total_loss += losses.sum().item()
            correct += right.sum().item()
            samples += len(right)
    return total_loss / samples, correct / samples
