"""Networks without numbers, for tests in which only names and shapes count."""

import pytest
import torch
from torch import nn

from course_utils.data import build_backbone


def build_shapes(name: str) -> nn.Module:
    """Build a network on the meta device, where it costs next to nothing."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    if name.startswith("regnet"):  # which computes with its own new parameters, as meta tensors do not allow
        return build_backbone(name).to("meta")
    with torch.device("meta"):
        return build_backbone(name)
