"""Whatever is frozen at the bottom of a network is run once, and only the rest is trained.

If only the head is trainable, the whole backbone is run once: `features` and `feature_store` do that. If
the upper stages are trained too, what comes out of the stages below them is kept in memory in the same way.
Where nothing is frozen, or the pictures change in every epoch, the whole network sees each picture again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.models.feature_extraction import create_feature_extractor

from course_utils.data import image_batches, in_memory
from course_utils.models import all_parts, eval_mode, find_head, only_head_trainable, put
from course_utils.training.feature_cache import cached_features
from course_utils.training.features import batches_with_bar, on_all_processes, same_every_time
from course_utils.training.inference import is_library_model, optimized_copy

KEPT_BYTES = 1_000_000_000
"""More than this is not kept of the frozen stages' output: then they are run in every epoch."""

TRIED = 8  # images

TOLERANCE = 0.05
"""How far the network's answers may be from those of its two parts, as a share of their length."""


@contextmanager
def frozen_part_run_once(
    model: nn.Module, train: Dataset, val: Dataset, num_workers: int = 0
) -> Iterator[tuple[nn.Module, Dataset, Dataset]]:
    """Lend the part of a network that is trained, and two datasets of what it is given.

    Args:
        model: A network with a known head, on the device where it is trained.
        train: Pairs of an image (float32, [3, height, width]) and a label (int).
        val: The same.
        num_workers: Extra processes that read pictures.

    Yields:
        The head with features; or the network without its frozen lower stages, which are put back at the
        end, with what those said; or the network with pictures, which lie in memory if there is room.
    """
    if only_head_trainable(model) and same_every_time(train):
        train = cached_features(model, train, label="training features", num_workers=num_workers)
        val = cached_features(model, val, label="validation features", num_workers=num_workers)
        yield model.get_submodule(find_head(model)), train, val
        return
    lower = frozen_lower_parts(model)
    if lower and is_library_model(model) and same_every_time(train):
        outputs = _outputs_below(model, lower, (train, val), num_workers)
        if outputs is not None:
            with _without(model, lower):
                yield model, *outputs
            return
    yield model, in_memory(train, num_workers), in_memory(val, num_workers)


class Outputs(TensorDataset):
    """What the frozen stages said about each image, in the precision in which they said it, and its label."""

    def __getitem__(self, places: object) -> tuple[torch.Tensor, torch.Tensor]:
        """Return outputs (float32, [batch, channels, height, width]) and labels (int64, [batch])."""
        outputs, labels = super().__getitem__(places)
        return outputs.float(), labels


def frozen_lower_parts(model: nn.Module) -> list[str]:
    """Return the names of the parts before the first trainable one, if there are parameters in them."""
    lower, frozen = [], False
    for name, part in all_parts(model):
        if any(parameter.requires_grad for parameter in part.parameters()):
            return lower if frozen else []
        lower.append(name)
        frozen = frozen or any(True for _ in part.parameters())
    return []


@contextmanager
def _without(model: nn.Module, names: list[str]) -> Iterator[nn.Module]:
    parts = {name: model.get_submodule(name) for name in names}
    for name in parts:
        put(model, name, nn.Identity())
    try:
        yield model
    finally:
        for name, part in parts.items():
            put(model, name, part)


@torch.inference_mode()
def _outputs_below(
    model: nn.Module, lower: list[str], datasets: tuple[Dataset, ...], num_workers: int
) -> list[Outputs] | None:
    """Return what the lower parts say about each image of some datasets.

    None if that is too much to keep, or if on a few images the two parts of the network do not say together
    what it says as a whole: in a network that is more than a pile, a lower stage is also heard further up.
    """
    name, device = lower[-1], next(model.parameters()).device
    with eval_mode(model):
        try:
            below = create_feature_extractor(model, [name], suppress_diff_warning=True)
            run = optimized_copy(below.eval(), device)  # it comes back in train mode
            images, _ = next(image_batches(datasets[0], min(TRIED, len(datasets[0])), device))
            few, whole = run(images)[name], model(images)
            with _without(model, lower):
                together = model(few.float())
        except Exception:  # PyTorch cannot follow it; a network's own code may raise anything
            return None
        agree = whole.shape == together.shape and (together - whole).norm() <= TOLERANCE * whole.norm()
        if not agree or few[0].nbytes * sum(map(len, datasets)) > KEPT_BYTES:
            return None
        return [_run(lambda images: run(images)[name], part, device, num_workers) for part in datasets]


def _run(
    run: Callable[[torch.Tensor], torch.Tensor], dataset: Dataset, device: torch.device, num_workers: int
) -> Outputs:
    def run_over(part: Dataset) -> list[torch.Tensor]:
        batches = batches_with_bar(part, device, num_workers, "frozen stages")
        found = [(run(images).cpu(), labels) for images, labels in batches]
        return [torch.cat(tensors) for tensors in zip(*found, strict=True)]

    outputs, labels = on_all_processes(run_over, dataset, device)
    # Inference tensors cannot be used in training; a clone outside inference mode can.
    with torch.inference_mode(False):
        return Outputs(outputs.clone(), labels.clone())
