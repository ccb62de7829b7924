"""Learning rates: smaller ones for lower stages, a schedule over the run, and a test that finds a good one.

Lesson 06 uses all three.
"""

import copy
import itertools
import math

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import Dataset, TensorDataset

from course_utils.data import batches_of, classes_of, in_memory, make_loader, progress_bar
from course_utils.errors import ConfigError
from course_utils.models import choose_device, set_train_mode, stage_parameters
from course_utils.settings import Settings
from course_utils.training.acceleration import make_accelerator
from course_utils.training.checks import check_labels, check_trainable


def parameter_groups(model: nn.Module, lr: float, layer_lr_decay: float = 1.0) -> list[dict]:
    """Return what an optimizer is to train, one group for each stage, the head first.

    The head learns with `lr`; each stage below it with `layer_lr_decay` times the rate of the stage above
    it, so that general stages near the picture change least ("discriminative fine-tuning": Howard and
    Ruder, 2018, arXiv:1801.06146). A frozen stage has no group, but still counts as a step down.

    Args:
        model: A network with a known head.
        lr: The learning rate of the head, above 0.
        layer_lr_decay: Above 0, up to 1. 1: all stages learn alike.

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

    In the first `warmup_steps` of them it rises in a straight line instead: the gradients of a new head
    are large and say little, and the pretrained stages should not be moved by them (Goyal et al., 2017,
    arXiv:1706.02677; the cosine: Loshchilov and Hutter, 2017, arXiv:1608.03983).
    """

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(1, steps - warmup_steps)
        return (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, share)


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
        model: A network with a known head; what is trainable in it is trained in the copy.
        train: Pairs of an image (float32, [3, height, width]) and a label (int, from 0).
        settings: `batch_size`, `layer_lr_decay`, `seed`, `device` and `num_workers` are used.
        lowest: The learning rate of the first step.
        highest: That of the last. The test ends earlier if the loss is no longer a finite number, or more
            than four times that of the first batch.
        steps: At least 2.

    Returns:
        One row for each step: `lr` (of the head) and `loss` (of its batch before the step, in nats).

    Raises:
        ConfigError: If nothing is trainable, or the range is empty.
        DataError: If a label is not that of a class.
    """
    if not 0 < lowest < highest or steps < 2:
        raise ConfigError(
            "There is no range of learning rates to test.",
            where="lr_range_test",
            expected="0 < lowest < highest, and at least 2 steps",
            found=f"lowest {lowest:g}, highest {highest:g}, {steps} steps",
            do="Leave them out, or widen the range.",
        )
    check_labels(train, classes_of(train))
    device = choose_device(settings.device)
    network = copy.deepcopy(model).to(device)
    check_trainable(network)
    optimizer = torch.optim.Adam(parameter_groups(network, lowest, settings.layer_lr_decay))
    growth = (highest / lowest) ** (1 / (steps - 1))
    schedule = LambdaLR(optimizer, lambda step: growth**step)
    pictures = in_memory(train, settings.num_workers)
    # What lies in memory needs no extra process to read it.
    workers = 0 if isinstance(pictures, TensorDataset) else settings.num_workers
    order = {"shuffle": True, "seed": settings.seed, "smallest_batch": 2}
    loader = make_loader(pictures, settings.batch_size, **order, num_workers=workers)
    accelerator = make_accelerator(device)
    network, optimizer, schedule = accelerator.prepare(network, optimizer, schedule)
    set_train_mode(network)
    rows = []
    batches = itertools.chain.from_iterable(batches_of(loader) for _ in itertools.repeat(None))
    for images, labels in progress_bar(itertools.islice(batches, steps), total=steps, desc="learning rates"):
        loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
        rows.append({"lr": optimizer.param_groups[0]["lr"], "loss": loss.item()})
        if not rows[-1]["loss"] <= 4 * rows[0]["loss"]:  # also true of what is not a number
            break
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()
    return pd.DataFrame(rows)
