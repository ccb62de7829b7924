"""What did it look at, and how does it arrange the pictures?

Two ways to see inside a trained network. Grad-CAM marks the places of one picture that spoke for a class;
a map of the features shows which pictures the network takes to be alike.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from course_utils.errors import ConfigError
from course_utils.models import STAGE_CONTAINERS, eval_mode, stage_names

FEWEST_POSITIONS = 4  # rows and columns: the four fields of a 2 × 2 map say next to nothing about where


def grad_cam(model: nn.Module, image: torch.Tensor, target: int) -> torch.Tensor:
    """Mark the places of a picture that spoke for a class (Selvaraju et al., 2017, arXiv:1610.02391).

    The channels of a deep layer that still has rows and columns are added up, each weighted by how much
    the class's logit rises with it (its mean gradient). A place where the sum is below 0 spoke against
    the class, and is set to 0. No parameter has to be trainable: a frozen network is asked like any other.

    Args:
        model: A network that gives logits; used in eval mode on the device where it is, and given back
            in the mode in which it came, with its parameters as they were.
        image: float32, [3, height, width], as the network is given it.
        target: The number of the class.

    Returns:
        float32, [height, width] of the image, on the CPU: 1 at the strongest place, and 0 everywhere if
        no place spoke for the class.

    Raises:
        ConfigError: If there is no such class, or no layer to ask: a small picture leaves none in a deep
            network.
    """
    batch = image.detach().unsqueeze(0).to(next(model.parameters()).device)
    with eval_mode(model):
        shapes = _output_shapes(model, batch)
        _check_target(target, num_classes=shapes[""][1])
        name = _last_layer_with_positions(model, shapes, image)
        heat = (_heat_of_tokens if len(shapes[name]) == 3 else _heat)(model, name, batch, target)
    heat = nn.functional.interpolate(heat, size=tuple(image.shape[1:]), mode="bilinear")
    heat = heat[0, 0].detach().float().cpu()
    return heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)


def _heat(model: nn.Module, name: str, batch: torch.Tensor, target: int) -> torch.Tensor:
    # captum takes half a second to import: only where a heatmap is really made.
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, model.get_submodule(name))
    return cam.attribute(batch, target=target, relu_attributions=True)


def _heat_of_tokens(model: nn.Module, name: str, batch: torch.Tensor, target: int) -> torch.Tensor:
    """Return what captum would, if it did not take tokens for channels: [1, 1, rows, columns]."""
    kept = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output: kept.append(output.requires_grad_())
    )
    try:
        logits = model(batch)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, target], kept[0])
    weights = as_grid(gradient).mean(dim=(2, 3), keepdim=True)
    return (weights * as_grid(kept[0])).sum(dim=1, keepdim=True).relu()


def as_grid(output: torch.Tensor) -> torch.Tensor:
    """Lay the tokens of a vision transformer out in rows and columns; leave the output of a convolution.

    Args:
        output: [batch, tokens, channels], with a token for each field of a square picture, row by row, and
            before them those for the picture as a whole; or [batch, channels, rows, columns].

    Returns:
        [batch, channels, rows, columns].
    """
    if output.ndim == 4:
        return output
    side = math.isqrt(output.shape[1])
    return output[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def gradcam_layer(model: nn.Module, image: torch.Tensor) -> str:
    """Return the name of the layer that `grad_cam` asks, for example "layer4" in a ResNet at 224 pixels.

    It is the last one with at least four rows and columns: the deeper a layer, the more it knows about
    what is seen, and the less about where. In a vision transformer it is the last stage but one: the head
    reads one token, so that nothing hangs on what the last stage says about the others.

    Args:
        model: As for `grad_cam`.
        image: float32, [3, height, width].

    Raises:
        ConfigError: If there is none.
    """
    batch = image.detach().unsqueeze(0).to(next(model.parameters()).device)
    with eval_mode(model):
        return _last_layer_with_positions(model, _output_shapes(model, batch), image)


def _output_shapes(model: nn.Module, batch: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Run the network once; return the shape of each stage's output, in order; the last is its own ("")."""
    shapes, hooks = {}, []

    def note(name: str):
        def hook(_module, _inputs, output):
            shapes[name] = tuple(output.shape) if isinstance(output, torch.Tensor) else ()

        return hook

    try:
        for name, module in _stages(model):
            hooks.append(module.register_forward_hook(note(name)))
        hooks.append(model.register_forward_hook(note("")))
        with torch.no_grad():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _stages(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Give the parts that follow one another, but not what lies inside a block, where paths run in parallel.

    An adaptive pool is left out: it gives as many rows as it was told to, however few it is given.
    """
    for name, child in module.named_children():
        if not isinstance(child, nn.AdaptiveAvgPool2d):
            yield prefix + name, child
        if isinstance(child, nn.Sequential | nn.ModuleList) or name in STAGE_CONTAINERS:
            yield from _stages(child, f"{prefix}{name}.")


def _last_layer_with_positions(
    model: nn.Module, shapes: dict[str, tuple[int, ...]], image: torch.Tensor
) -> str:
    height, width = image.shape[1:]
    for name, shape in reversed(shapes.items()):
        if sum(size > 1 for size in shape[1:]) <= 1 and shape:
            continue  # a vector for the picture: pooled, or the head
        if len(shape) == 3 and math.isqrt(shape[1]) >= FEWEST_POSITIONS:
            return stage_names(model)[-2]
        if len(shape) != 4 or shape[2] > height or shape[3] > width:
            break  # rows and columns in another order: which place is which is not known
        if min(shape[2:]) >= FEWEST_POSITIONS:
            return name
    raise ConfigError(
        "There is no layer in which Grad-CAM could see where something is.",
        where=f"{name}, which gives {list(shape)}",
        expected="a layer that gives [batch, channels, rows, columns], with at least "
        f"{FEWEST_POSITIONS} rows and columns, and after it nothing but such layers and vectors",
        found="none: a small picture leaves none in a deep network",
        do="Use a larger image_size, or another backbone, for example resnet18.",
    )


def _check_target(target: int, num_classes: int) -> None:
    if not 0 <= target < num_classes:
        raise ConfigError(
            "The network does not know this class.",
            where="target",
            expected=f"a whole number from 0 to {num_classes - 1}",
            found=repr(target),
            do="Give the number of a class: classes.index(name).",
        )


def tsne_embedding(features: torch.Tensor, seed: int = 0) -> np.ndarray:
    """Put similar features close to each other in the plane (t-SNE: van der Maaten and Hinton, 2008).

    Only who is whose neighbour carries over. How far two groups lie from each other, how large one is and
    which way is up mean little.

    Args:
        features: [images, features], at least two images.
        seed: The map follows from this number. Little hangs on it: points start on the two main axes of the
            features (PCA), unless there is only one feature, or all images are alike.

    Returns:
        float32, [images, 2]: a place for each image, in no unit.

    Raises:
        ConfigError: If there are fewer than two images.
    """
    # scikit-learn takes most of a second to import: only where a map is really made.
    from sklearn.manifold import TSNE

    features = features.detach().flatten(1).float().cpu().numpy()
    if len(features) < 2:
        raise ConfigError(
            "There is nothing to arrange.",
            where="features",
            expected="the features of at least two images",
            found=f"a tensor of {list(features.shape)}",
            do="Give more images.",
        )
    # scikit-learn divides by the spread along the main axis; where that is 0, the whole process dies. What
    # a network gives that has learned nothing may be so small that its squares are 0, or always the same.
    spread = np.ptp(features, axis=0).max()
    if 0 < spread < 1e-6:
        features = (features - features[0]) / spread
    # The perplexity is about the number of neighbours that each image has; there must be more images.
    perplexity = min(30, (len(features) - 1) / 3)
    start = "pca" if min(features.shape) > 1 and spread > 0 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(features)
