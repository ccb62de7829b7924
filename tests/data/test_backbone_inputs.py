"""Networks by their names, and the sizes of pictures that they take."""

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.data.backbone_inputs import backbone_transform, build_backbone
from course_utils.data.image_io import load_rgb
from course_utils.data.weights import ResNet18_64px_Weights, backbone_weights
from course_utils.errors import ConfigError
from course_utils.settings import Settings


def transform_of(name, size):
    return backbone_transform(backbone_weights(Settings(backbone=name, weights="none")), size)


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 64), ("maxvit_t", 64), ("inception_v3", 32)])
def test_a_size_that_the_network_cannot_take_is_an_error(name, size, refused):
    before = torch.get_rng_state()
    with refused(ConfigError, match=f"(?s){name} cannot take .* {size} pixels"):
        transform_of(name, size)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "size"), [("vit_b_16", 224), ("mobilenet_v3_small", 32), ("regnet_y_400mf", 64)]
)
def test_every_other_size_is_taken(name, size):
    assert transform_of(name, size)(Image.new("L", (90, 70))).shape == (3, size, size)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.arange(0, 64000, 1000, dtype=np.uint16).repeat(64).reshape(64, 64)),
        Image.new("RGBA", (64, 64), (200, 0, 0, 40)),
    ],
    ids=["16 bits", "transparent"],
)
def test_picture_of_another_mode_is_read_as_load_rgb_reads_it(picture):
    transform = backbone_transform(ResNet18_64px_Weights.DEFAULT)
    assert torch.equal(transform(picture), transform(load_rgb(picture)))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_do_not_survive(name):
    """These two have extra heads that only training from scratch uses; here one tensor comes out."""
    with torch.device("meta"):
        model = build_backbone(name).train()
    assert not model.aux_logits
    assert isinstance(model(torch.empty(2, 3, 96, 96, device="meta")), torch.Tensor)
