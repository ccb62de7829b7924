"""Predict classes by their names, without a single label (lessons 12 and 14)."""

from collections.abc import Sequence

import torch

from course_utils.settings import Settings
from course_utils.text.data import encode_texts
from course_utils.text.encoders import load_encoder, load_tokenizer, pool


def embed_texts(texts: Sequence[str], settings: Settings) -> torch.Tensor:
    """Return a vector of length 1 for each text (float32, [texts, hidden]) from the settings' encoder.

    If the encoder was trained for that, as that of the `quick` profile was (Reimers and Gurevych, 2019,
    arXiv:1908.10084), texts of similar meaning have similar vectors, whose product is near 1.

    Raises:
        WeightsError: If the encoder cannot be loaded.
    """
    inputs = encode_texts(load_tokenizer(settings), texts, [0] * len(texts), ["text"]).tensors[0]
    encoder, vectors = load_encoder(settings).eval(), []
    with torch.inference_mode():
        for ids, mask in (batch.unbind(dim=1) for batch in inputs.split(64)):
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors.append(torch.nn.functional.normalize(pool(hidden, mask), dim=1))
    return torch.cat(vectors)


def match_names(
    probabilities: torch.Tensor, categories: torch.Tensor, classes: torch.Tensor, top: int = 10
) -> torch.Tensor:
    """Return how well each class name matches the old head's predictions (float32, [images, classes]).

    A picture's vector is the mean of the vectors of its most probable categories, weighted by their
    probabilities (Norouzi et al., 2014, arXiv:1312.5650); the match is its product with that of each name.

    Args:
        probabilities: Of the old head, float32, [images, categories].
        categories: The vectors of the old categories' names, float32, [categories, hidden].
        classes: The vectors of the new classes' names, float32, [classes, hidden].
        top: How many of the most probable categories are used.
    """
    highest = probabilities.topk(top, dim=1)
    weights = highest.values / highest.values.sum(dim=1, keepdim=True)
    return (weights.unsqueeze(2) * categories[highest.indices]).sum(dim=1) @ classes.T
