"""`Preprocessing`: torchvision's own, in numbers that can be written down."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, Swin_T_Weights
from torchvision.transforms import v2

from course_utils.data.image_io import load_rgb
from course_utils.data.preprocessing import Preprocessing
from course_utils.models.weights import ResNet18_64px_Weights

WEIGHTS = [ResNet18_64px_Weights.DEFAULT, ResNet50_Weights.IMAGENET1K_V2, Swin_T_Weights.DEFAULT]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_transform_equals_torchvisions_own_to_the_last_bit(weights):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 240, 3), dtype=np.uint8))
    assert torch.equal(
        Preprocessing.from_weights(weights).transform()(picture), weights.transforms()(picture)
    )


def test_from_dict_reads_what_to_dict_wrote():
    own = Preprocessing(72, 64, (0.1, 0.2, 0.3), (1, 2, 3), v2.InterpolationMode.BICUBIC)
    described = json.loads(json.dumps(own.to_dict()))
    assert Preprocessing.from_dict(described) == own


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.arange(0, 64000, 1000, dtype=np.uint16).repeat(64).reshape(64, 64)),
        Image.new("RGBA", (64, 64), (200, 0, 0, 40)),
    ],
    ids=["16 bits", "transparent"],
)
def test_picture_of_another_mode_is_read_as_load_rgb_reads_it(picture):
    transform = Preprocessing.from_weights(ResNet18_64px_Weights.DEFAULT).transform()
    assert torch.equal(transform(picture), transform(load_rgb(picture)))
