"""Progress bars."""

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def progress_bar(iterable: Iterable | None = None, **options: object) -> tqdm:
    """Return tqdm's progress bar; of several processes only the first shows one.

    Args:
        iterable: What to go through. None: the caller updates the bar.
        options: As tqdm takes them.
    """
    # `disable=False` would overrule TQDM_DISABLE, which tqdm itself reads only once, on import.
    if os.environ.get("RANK", "0") != "0" or os.environ.get("TQDM_DISABLE"):
        options["disable"] = True
    return tqdm(iterable, **options)
