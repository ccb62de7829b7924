"""Token attributions: which tokens of a text a prediction rests on (lesson 14).

What Grad-CAM is for pictures, integrated gradients over the embeddings are for text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from course_utils.evaluation.explanations import check_target
from course_utils.models.freezing import eval_mode
from course_utils.text.encoders import TextNetwork, pool


class AttributedText(NamedTuple):
    """A text in tokens, with an attribution for each."""

    title: str
    tokens: Sequence[str]
    attributions: Sequence[float]
    """Above 0: the token speaks for the prediction. Below 0: against it."""


def token_attributions(
    model: TextNetwork, text: torch.Tensor, target: int, *, keep: tuple[int, ...] = (), steps: int = 50
) -> torch.Tensor:
    """Distribute the logit of a class over the tokens (Sundararajan et al., 2017, arXiv:1703.01365).

    The text is compared with an empty one of the same length: padding in the place of every token. On the
    way from the one to the other, the gradients of the logit with respect to each token's embedding are
    summed up. The sum of the attributions is the logit of the text less that of the empty one. No parameter
    has to be trainable.

    Args:
        model: Its mode is restored.
        text: One sample as in `TextDataset`: int64, [2, tokens].
        target: The number of the class.
        keep: Ids of tokens that the empty text has, too, such as those for begin and end.
        steps: Of the sum; more are more exact.

    Returns:
        float32, [tokens without padding], on the CPU.

    Raises:
        ConfigError: If there is no such class.
    """
    from captum.attr import LayerIntegratedGradients  # half a second: only where it is needed

    check_target(target, model.fc.out_features)
    device = next(model.parameters()).device
    length = int((text[0] != model.pad).sum())
    ids, mask = (row[:length].unsqueeze(0).to(device) for row in text)
    empty = torch.where(torch.isin(ids, torch.tensor(keep, dtype=ids.dtype, device=device)), ids, model.pad)

    def logits(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # The attention mask is that of the text throughout: the network attends to an empty token, too.
        return model.fc(pool(model.encode(ids, torch.ones_like(ids)), mask))

    with eval_mode(model):
        attribution = LayerIntegratedGradients(logits, model.encoder.get_input_embeddings())
        shares = attribution.attribute(
            ids, baselines=empty, additional_forward_args=(mask,), target=target, n_steps=steps
        )
    return shares.sum(dim=2)[0].detach().float().cpu()
