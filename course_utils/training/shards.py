"""How is a long pass over many images cut into shards, which processes share and which are kept one by one?

A shard is a few hundred images that lie side by side. The processes take them in turn, as cards are dealt;
then all are put together in order, as if one process had made them. What breaks costs the shard that was
being made.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch.utils.data import Dataset, Subset

from course_utils.data import count, in_turn, number

SHARD = 512
"""About how many images are in one. It is a whole number of batches, so that cutting changes no number."""


def shards_of(dataset: Dataset, batch_size: int) -> list[Dataset]:
    """Return a dataset in shards: the dataset itself if it is no longer than one.

    Args:
        dataset: Anything with a length and samples.
        batch_size: How many images go through a network at once.
    """
    size = max(1, SHARD // batch_size) * batch_size
    if len(dataset) <= size:
        return [dataset]
    starts = range(0, len(dataset), size)
    return [Subset(dataset, range(start, min(start + size, len(dataset)))) for start in starts]


def own_places(total: int) -> range:
    """Return the numbers of the shards that this process makes, of so many."""
    return range(number(), total, count())


def joined(shards: Sequence[Dataset]) -> Dataset:
    """Return shards that `shards_of` made from one dataset as one dataset again, in the order given."""
    if len(shards) == 1:
        return shards[0]
    return Subset(shards[0].dataset, [place for shard in shards for place in shard.indices])


def cut(batches: Iterable[Sequence[torch.Tensor]], sizes: Sequence[int]) -> Iterator[list[torch.Tensor]]:
    """Put batches together to shards of the given sizes; no more than one of them is held.

    Args:
        batches: Tensors that belong together, such as features and labels: [images, ...] each.
        sizes: How many images each shard has. A batch never reaches over the end of one.
    """
    sizes, held = iter(sizes), []
    size = next(sizes, 0)
    for batch in batches:
        held.append(batch)
        if sum(len(labels) for *_, labels in held) == size:
            yield [torch.cat(tensors) for tensors in zip(*held, strict=True)]
            size, held = next(sizes, 0), []


def put_together(own: dict[int, Sequence[torch.Tensor]], total: int) -> list[torch.Tensor]:
    """Return the tensors of all shards, of all processes, in order.

    Args:
        own: This process's shards by their numbers: tensors on the CPU, [images, ...] each.
        total: How many shards there are.

    Raises:
        TrainingError: If a process is lost.
    """
    return [torch.cat(tensors) for tensors in zip(*in_turn(own, total), strict=True)]
