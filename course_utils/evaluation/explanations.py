"""Grad-CAM heatmaps, and embeddings of features in the plane (lesson 10).

Two ways to look inside a trained network: a heatmap marks the regions of a picture that contribute to a
class; a t-SNE embedding shows which pictures have similar features.
"""

import math
from contextlib import ExitStack

import numpy as np
import torch
from torch import nn

from course_utils.errors import ConfigError
from course_utils.models.freezing import eval_mode, stage_names

FEWEST_POSITIONS = 4  # rows and columns: the four fields of a 2 × 2 map say next to nothing about places


def grad_cam(model: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
    """Mark the regions of a picture that contribute to a class (Selvaraju et al., 2017, arXiv:1610.02391).

    The channels of a deep layer that still has rows and columns are added up, each weighted by how much
    the class's logit rises with it (its mean gradient). Where the sum is below 0, the heatmap
    is 0. No parameter has to be trainable.

    Args:
        model: A network that gives logits. Its mode is restored, and its parameters stay as they are.
        image: float32, [3, height, width], preprocessed for the network.
        target: The number of the class.

    Returns:
        float32, [height, width], on the CPU: 1 at the strongest position; 0 everywhere if
        no region contributes to the class.

    Raises:
        ConfigError: If there is no such class, or no suitable layer: a small picture leaves none in a deep
            network.
    """
    outputs = []

    def capture(_module, _inputs, output):
        outputs.append(output.detach().requires_grad_())
        return outputs[0].clone()  # the next layer may change its input

    layer = model.get_submodule(gradcam_layer(model, image))
    with eval_mode(model), layer.register_forward_hook(capture):
        logits = model(_as_batch(image, model))
    if not 0 <= target < logits.shape[1]:
        raise ConfigError(
            "The network does not know this class.",
            where="target",
            expected=f"a whole number from 0 to {logits.shape[1] - 1}",
            found=repr(target),
            do="Give the number of a class: classes.index(name).",
        )
    (gradient,) = torch.autograd.grad(logits[0, target], outputs[0])
    channel_weights = as_grid(gradient).mean(dim=(2, 3), keepdim=True)
    heat = (channel_weights * as_grid(outputs[0])).sum(dim=1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, size=tuple(image.shape[1:]), mode="bilinear")
    heat = heat[0, 0].detach().float().cpu()
    return heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)


def _as_batch(image: torch.Tensor, model: nn.Module) -> torch.Tensor:
    return image.detach().unsqueeze(0).to(next(model.parameters()).device)


def as_grid(output: torch.Tensor) -> torch.Tensor:
    """Return [batch, channels, rows, columns]: a convolution's output, or a vision transformer's in a grid.

    A transformer gives [batch, tokens, channels], with a token for each patch of a square picture, row by
    row, after the tokens for the whole picture.
    """
    if output.ndim == 4:
        return output
    side = math.isqrt(output.shape[1])
    return output[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def gradcam_layer(model: nn.Module, image: torch.Tensor) -> str:
    """Return the name of the stage that `grad_cam` uses, for example "layer4" in a ResNet at 224 pixels.

    It is the last one with at least four rows and columns: the deeper a stage, the more it knows about
    what is in the picture, and the less about where. In a vision transformer it is the last stage but one:
    the head reads one token, so it does not depend on the last stage's output for the others.

    Raises:
        ConfigError: If there is none.
    """
    shapes = {}  # of each stage's output, in the order in which the network computes them
    with ExitStack() as hooks, eval_mode(model), torch.no_grad():
        for name in stage_names(model):

            def note(_module, _inputs, output, name=name):
                shapes[name] = output.shape

            hooks.enter_context(model.get_submodule(name).register_forward_hook(note))
        model(_as_batch(image, model))
    for name, shape in reversed(shapes.items()):
        if len(shape) == 3 and math.isqrt(shape[1]) >= FEWEST_POSITIONS:
            return stage_names(model)[-2]
        if len(shape) == 4 and shape[3] > image.shape[2]:
            break  # a Swin transformer's channels, which come last
        if len(shape) == 4 and min(shape[2:]) >= FEWEST_POSITIONS:
            return name
    raise ConfigError(
        "Grad-CAM needs a stage with rows and columns.",
        where=f"{name}, which gives {list(shape)}",
        expected=f"an output of [batch, channels, rows, columns], with at least {FEWEST_POSITIONS} rows and "
        "columns",
        found="none: in a deep network a small picture shrinks to too few positions",
        do="Use a larger image_size, or another backbone, for example resnet18.",
    )


def tsne_embedding(features: torch.Tensor, seed: int = 0) -> np.ndarray:
    """Embed features in the plane, similar ones close to each other (t-SNE: van der Maaten and Hinton, 2008).

    Only neighbourhoods are preserved. How far two groups lie from each other, how large one is and which way
    is up mean little.

    `features` is [images, features]; the points are float32, [images, 2], in no unit. They start on the two
    main axes of the features (PCA), so that the seed matters little.

    Raises:
        ConfigError: If there are fewer than two images.
    """
    from sklearn.manifold import TSNE  # most of a second: only where it is needed

    features = features.detach().flatten(1).float().cpu().numpy()
    if len(features) < 2:
        raise ConfigError(
            "t-SNE needs at least two images.",
            where="features",
            expected="the features of at least two images",
            found=f"a tensor of {list(features.shape)}",
            do="Pass the features of more images.",
        )
    # scikit-learn divides by the spread along the main axis; where that is 0, the whole process dies. The
    # features of an untrained network may be so small that their squares are 0, or always the same.
    spread = np.ptp(features, axis=0).max()
    if 0 < spread < 1e-6:
        features = (features - features[0]) / spread
    # The perplexity is about the number of neighbours that each image has; there must be more images.
    perplexity = min(30, (len(features) - 1) / 3)
    init = "pca" if min(features.shape) > 1 and spread > 0 else "random"
    return TSNE(perplexity=perplexity, init=init, random_state=seed).fit_transform(features)
