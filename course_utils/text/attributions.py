"""Which pieces of a text spoke for an answer?

What Grad-CAM is for pictures, integrated gradients over the embeddings are for text: each piece gets a
number, and all of them together are the difference that the text makes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from course_utils.errors import ConfigError
from course_utils.models import eval_mode
from course_utils.text.encoders import TextNetwork, pool


class AttributedText(NamedTuple):
    """A text in pieces, with a number for each."""

    title: str
    pieces: Sequence[str]
    weights: Sequence[float]
    """Above 0: the piece spoke for the answer. Below 0: against it."""


def token_attributions(
    model: TextNetwork, text: torch.Tensor, target: int, *, keep: tuple[int, ...] = (), steps: int = 50
) -> torch.Tensor:
    """Share out the logit of a class among the pieces (Sundararajan et al., 2017, arXiv:1703.01365).

    The text is compared with an empty one of the same length: padding in the place of every piece. On the
    way from the one to the other, the gradients of the logit with respect to each piece's embedding are
    summed up. A number above 0 spoke for the class, one below 0 against it; their sum is the logit of the
    text less that of the empty one. No parameter has to be trainable.

    Args:
        model: A text network; used in eval mode on the device where it is.
        text: One sample as in `Texts`: int64, [2, pieces].
        target: The number of the class.
        keep: Numbers of pieces that the empty text has, too, such as those for begin and end.
        steps: Of the sum; more are more exact.

    Returns:
        float32, [pieces without padding], on the CPU.

    Raises:
        ConfigError: If there is no such class.
    """
    # captum takes half a second to import: only where pieces are really weighed.
    from captum.attr import LayerIntegratedGradients

    if not 0 <= target < model.fc.out_features:
        raise ConfigError(
            "The network does not know this class.",
            where="target",
            expected=f"a whole number from 0 to {model.fc.out_features - 1}",
            found=repr(target),
            do="Give the number of a class: classes.index(name).",
        )
    device = next(model.parameters()).device
    length = int((text[0] != model.pad).sum())
    ids, counted = (row[:length].unsqueeze(0).to(device) for row in text)
    kept = torch.isin(ids, torch.tensor(keep, dtype=ids.dtype, device=device))
    empty = torch.where(kept, ids, model.pad)

    def logits(ids: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        # The mask is that of the text throughout: an empty piece is looked at like any other.
        return model.fc(pool(model.encode(ids, torch.ones_like(ids)), counted))

    with eval_mode(model):
        attribution = LayerIntegratedGradients(logits, model.encoder.get_input_embeddings())
        shares = attribution.attribute(
            ids, baselines=empty, additional_forward_args=(counted,), target=target, n_steps=steps
        )
    return shares.sum(dim=2)[0].detach().float().cpu()
