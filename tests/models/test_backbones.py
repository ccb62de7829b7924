"""Pretrained networks and the device on which they run. Files of weights: see data/test_weight_files.py."""

import pytest
import torch
from torchvision import models

from course_utils.errors import ConfigError
from course_utils.models import choose_device, load_backbone, load_model, save_model


@pytest.mark.kernels
def test_saved_googlenet_answers_as_before(tmp_path, monkeypatch):
    """Its published weights want images normalised in another way, which the network does itself."""
    generator = torch.Generator().manual_seed(0)
    published = models.googlenet(weights=None, init_weights=False, aux_logits=True, transform_input=True)
    for module in published.modules():
        module.momentum = 1.0  # BatchNorm must have seen images, or the answers to all are nearly the same
    with torch.no_grad():
        published(torch.rand(8, 3, 64, 64, generator=generator))
    monkeypatch.setattr("course_utils.data.weights.read_hub", lambda weights: published.state_dict())
    model = load_backbone(models.GoogLeNet_Weights.IMAGENET1K_V1).eval()
    names = {"backbone": "googlenet", "classes": ["x"] * 1000, "image_size": 64, "transform": None}
    save_model(model, tmp_path / "a.safetensors", **names)
    again, _ = load_model(tmp_path / "a.safetensors")
    images = torch.rand(2, 3, 64, 64, generator=generator)
    with torch.inference_mode():
        expected = published.eval()(images)
        torch.testing.assert_close(model(images), expected)
        torch.testing.assert_close(again(images), expected)


@pytest.mark.parametrize("mps", [False, True])
@pytest.mark.parametrize("cuda, expected", [(False, "cpu"), (True, "cuda")])
def test_auto_is_cuda_or_the_cpu_and_apples_card_is_used_only_by_its_name(cuda, expected, mps, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == choose_device("auto") == torch.device(expected)
    present = {"cpu", expected} | ({"mps"} if mps else set())
    for name in present:
        assert choose_device(name) == torch.device(name)
    for missing in {"cuda", "mps", "tpu"} - present:
        with pytest.raises(ConfigError, match=f"no device '{missing}'") as caught:
            choose_device(missing)
        assert all(name in caught.value.expected for name in ("auto", *present))
