"""Tests of the room `precision`: bfloat16 where the machine has it, float32 where it has not."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision.models import get_model

import course_utils.precision as precision
from course_utils.backbones import freeze
from course_utils.settings import Settings
from course_utils.training import fit

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bfloat16(request, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param})
    return request.param


def test_layers_run_in_bfloat16_only_where_the_processor_has_it(has_bfloat16):
    assert precision.multiplies_bfloat16(CPU) == has_bfloat16
    with precision.mixed_precision(CPU):
        outputs = nn.Linear(4, 3)(torch.zeros(2, 4))
    assert outputs.dtype == (torch.bfloat16 if has_bfloat16 else torch.float32)


def test_the_loss_stays_in_float32(has_bfloat16):
    with precision.mixed_precision(CPU):
        loss = nn.functional.cross_entropy(nn.Linear(4, 3)(torch.zeros(2, 4)), torch.tensor([0, 1]))
    assert loss.dtype == torch.float32


def test_a_step_within_the_context_is_seen_by_the_next_forward_pass(has_bfloat16):
    layer, inputs = nn.Linear(4, 3), torch.ones(2, 4)
    with precision.mixed_precision(CPU):
        before = layer(inputs)
        before.sum().backward()
        with torch.no_grad():
            layer.weight += 1
        after = layer(inputs)
    assert torch.allclose(after.float(), before.float() + 4, atol=0.1)


def test_a_device_that_is_not_known_runs_in_float32():
    assert not precision.multiplies_bfloat16(torch.device("meta"))


class TwoShades(Dataset):
    classes = ("dark", "bright")
    targets = (0, 1) * 8

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return torch.full((3, 32, 32), float(self.targets[index])), self.targets[index]


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_weights_and_their_gradients_stay_in_float32(has_bfloat16, is_frozen):
    model = get_model("resnet18", num_classes=2)
    if is_frozen:
        freeze(model)
    seen = []
    model.layer4.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.dtype))
    fit(model, TwoShades(), TwoShades(), Settings(epochs=1, batch_size=8, lr=1e-3, device="cpu"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    assert (torch.bfloat16 in seen) == has_bfloat16
