"""Faults 23 and 25, files of weights and unknown names: first the plain way, then what the course does.

More of them are shown in test_downloaded_weights.py and test_weights.py.
"""

import os

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from course_utils.data.weights import backbone_weights
from course_utils.errors import CheckpointError, ConfigError, WeightsError
from course_utils.models.backbones import load_backbone
from course_utils.models.heads import replace_head
from course_utils.models.saving import load_model
from course_utils.settings import Settings


class RunsACommand:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_fault_23_model_file_of_pickles_is_refused(tmp_path, assert_says_four_things):
    torch.save({"weight": RunsACommand(tmp_path / "made by the attack")}, tmp_path / "model.pt")
    torch.load(tmp_path / "model.pt", weights_only=False)
    (tmp_path / "made by the attack").rmdir()
    path = (tmp_path / "model.pt").rename(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert_says_four_things(caught.value)
    with pytest.raises(WeightsError):
        load_backbone(backbone_weights(Settings(weights=str(path))))
    assert not (tmp_path / "made by the attack").exists()


@pytest.mark.parametrize(
    "values", [{"backbone": "resnet19"}, {"weights": "IMAGENET1K_V9"}, {"weights": "imagenet"}], ids=str
)
def test_fault_25_unknown_names_list_what_is_valid(values, assert_says_four_things):
    with pytest.raises((KeyError, ValueError)) as plain:
        models.get_model(values.get("backbone", "resnet18"), weights=values.get("weights"))
    assert "resnet18" not in str(plain.value)
    with pytest.raises(ConfigError) as caught:
        backbone_weights(Settings(**values))
    assert_says_four_things(caught.value)
    assert "resnet18" in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, -1, 2.5, "10", None, True])
def test_fault_25_number_of_classes(count, assert_says_four_things):
    if count == 1:  # a network that has one answer to everything, without a word
        assert models.shufflenet_v2_x0_5(num_classes=1).fc.out_features == 1
    with pytest.raises(ConfigError) as caught:
        replace_head(models.shufflenet_v2_x0_5(), count)
    assert_says_four_things(caught.value)


@pytest.mark.parametrize(
    "head", [torch.tensor(3.0), torch.zeros(0, 512), torch.zeros(1, 512)], ids=lambda t: str(t.shape)
)
def test_fault_25_local_weights_with_an_odd_head(tmp_path, head, assert_says_four_things):
    state = models.resnet18(num_classes=2).state_dict()
    save_file({**state, "fc.weight": head}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_backbone(backbone_weights(Settings(weights=str(tmp_path / "odd.safetensors"))))
    assert_says_four_things(caught.value)
    assert caught.value.where == str(tmp_path / "odd.safetensors")
