"""The learning-rate range test: a short run that shows which learning rate suits a network (lesson 06)."""

import copy
import itertools

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from course_utils.data.loaders import check_labels, classes_of, in_memory, make_loader, progress_bar
from course_utils.models.freezing import check_trainable, choose_device, set_train_mode
from course_utils.settings import Settings
from course_utils.training.acceleration import make_accelerator
from course_utils.training.loop import parameter_groups


def lr_range_test(
    model: nn.Module,
    train: Dataset,
    settings: Settings,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 40,
) -> pd.DataFrame:
    """Train a copy of the network for a few steps, each with a larger learning rate than the one before.

    A good rate lies where the loss falls fastest, well before it begins to rise (Smith, 2017,
    arXiv:1506.01186). The network itself is not changed.

    Args:
        model: A network with a known head. The copy's trainable parameters are updated.
        train: Pairs of an image (float32, [3, height, width]) and a label (int, from 0).
        settings: `batch_size`, `layer_lr_decay`, `seed`, `device` and `num_workers` are used.
        lowest: The learning rate of the first step.
        highest: The learning rate of the last step. The test ends earlier if the loss is no longer finite, or
            is more than four times that of the first batch.
        steps: At least 2.

    Returns:
        One row for each step: `lr` (of the head) and `loss` (of its batch before the step, in nats).

    Raises:
        ConfigError: If nothing is trainable.
        DataError: If a label is not the number of a class.
    """
    check_labels(train, classes_of(train))
    device = choose_device(settings.device)
    network = copy.deepcopy(model).to(device)
    check_trainable(network)
    optimizer = torch.optim.Adam(parameter_groups(network, lowest, settings.layer_lr_decay))
    growth = (highest / lowest) ** (1 / (steps - 1))
    schedule = LambdaLR(optimizer, lambda step: growth**step)
    pictures = in_memory(train, settings.num_workers)
    order = {"shuffle": True, "seed": settings.seed, "drop_single": True}
    loader = make_loader(pictures, settings.batch_size, **order, num_workers=settings.num_workers)
    accelerator = make_accelerator(device)
    network, optimizer, schedule = accelerator.prepare(network, optimizer, schedule)
    set_train_mode(network)
    rows = []
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    with progress_bar(total=steps, desc="learning rates") as bar:
        for images, labels in itertools.islice(batches, steps):
            loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
            rows.append({"lr": optimizer.param_groups[0]["lr"], "loss": loss.item()})
            bar.update()
            if not rows[-1]["loss"] <= 4 * rows[0]["loss"]:  # also true of nan
                break
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
        bar.update(steps - len(rows))  # an early end is not an error, but an unfilled bar looks like one
    return pd.DataFrame(rows)
