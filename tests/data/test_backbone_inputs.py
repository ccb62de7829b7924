"""Networks by their names, and the sizes of pictures that they take."""

import pytest
import torch
from PIL import Image

from course_utils.data.backbone_inputs import backbone_transform, build_backbone
from course_utils.data.weights import backbone_weights
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


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_do_not_survive(name):
    """These two have extra heads that only training from scratch uses; here one tensor comes out."""
    with torch.device("meta"):
        model = build_backbone(name).train()
    assert not model.aux_logits
    assert isinstance(model(torch.empty(2, 3, 96, 96, device="meta")), torch.Tensor)
