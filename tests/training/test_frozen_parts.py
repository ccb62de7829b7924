"""Frozen stages are run once; what is learned on top of them is what the whole network would learn."""

import pytest
import torch
from small_networks import Pictures, SmallNet
from torchvision.models import get_model

from course_utils.errors import TrainingError
from course_utils.models.freezing import freeze, thaw
from course_utils.settings import Settings
from course_utils.training import frozen_parts
from course_utils.training.frozen_parts import frozen_lower_parts, frozen_part_run_once
from course_utils.training.loop import fit

SETTINGS = Settings(epochs=2, batch_size=8, lr=1e-4, device="cpu")
LOWER = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"]


def make(name="resnet18", down_to="layer4"):
    torch.manual_seed(0)
    model = get_model(name, num_classes=3)
    freeze(model)
    if down_to:
        thaw(model, down_to)
    return model


def parts():
    return Pictures(21, size=64), Pictures(9, seed=2, size=64)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_parts_below_the_first_thawed_one_are_found():
    assert frozen_lower_parts(make()) == LOWER
    assert frozen_lower_parts(make(down_to="conv1")) == []
    assert frozen_lower_parts(make("efficientnet_b0", "features.7")) == [f"features.{n}" for n in range(7)]
    assert frozen_lower_parts(get_model("resnet18")) == []


@pytest.mark.parametrize(
    "name, down_to, kept",
    [("resnet18", "layer4", 512), ("efficientnet_b0", "features.7", 320), ("vgg11", "features.18", 512)],
)
def test_the_upper_part_is_lent_with_what_the_lower_one_says(name, down_to, kept):
    model, (train, val) = make(name, down_to), parts()
    whole = model.eval()(torch.stack([train[number][0] for number in range(21)]))
    names = list(model.state_dict())
    with frozen_part_run_once(model, train, val) as (network, train_outputs, val_outputs):
        assert network is model
        assert len(list(network.state_dict())) < len(names)
        assert (len(train_outputs), len(val_outputs)) == (21, 9)
        outputs, labels = train_outputs[list(range(21))]
        assert labels.tolist() == train.targets
        assert outputs.dtype == torch.float32
        assert outputs.ndim == 4
        assert (network(outputs) - whole).norm() < 0.05 * whole.norm()
    assert list(model.state_dict()) == names


def test_training_on_kept_outputs_gives_what_the_whole_network_gives(monkeypatch, in_float32):
    losses, weights = [], []
    for limit in (frozen_parts.KEPT_BYTES, 0):
        monkeypatch.setattr(frozen_parts, "KEPT_BYTES", limit)
        model = make()
        before = state(model)
        history = fit(model, *parts(), SETTINGS)
        losses.append(history.to_frame()[["train_loss", "val_loss"]].to_numpy())
        weights.append(state(model))
        changed = [name for name, tensor in weights[-1].items() if not torch.equal(tensor, before[name])]
        assert {name.split(".")[0] for name in changed} == {"layer4", "fc"}
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-3, atol=1e-4)
    assert (weights[0]["fc.weight"] - weights[1]["fc.weight"]).abs().max() < 1e-4


def test_lower_stages_see_each_image_once(monkeypatch):
    counted, real = [], frozen_parts.optimized_copy

    def count(network, device):
        run = real(network, device)
        return lambda images: counted.append(len(images)) or run(images)

    monkeypatch.setattr(frozen_parts, "optimized_copy", count)
    fit(make(), *parts(), SETTINGS.model_copy(update={"epochs": 4}))
    assert sum(counted) == 8 + 21 + 9  # eight to see whether the parts agree


@pytest.mark.parametrize(
    "case",
    ["augmented", "too much", "not a pile", "your own network", "nothing frozen below"],
)
def test_otherwise_the_whole_network_is_lent(monkeypatch, case):
    model, (train, val) = make(), parts()
    if case == "augmented":
        train = Pictures(21, size=64, change=lambda read, image: image + torch.rand(1))
    elif case == "too much":
        monkeypatch.setattr(frozen_parts, "KEPT_BYTES", 30 * 256 * 4 * 4 * 2 - 1)
    elif case == "not a pile":
        model, train, val = make("vit_b_16", None), Pictures(2, size=224), Pictures(2, size=224)
        thaw(model, "encoder.layers.encoder_layer_11")
    elif case == "your own network":
        model = SmallNet()
        model.conv.requires_grad_(False)
    else:
        thaw(model, "conv1")
    names = list(model.state_dict())
    with frozen_part_run_once(model, train, val) as lent:
        assert lent[0] is model
        assert lent[1:] == (train, val)
        assert list(model.state_dict()) == names


def test_two_parts_that_do_not_agree_are_not_used(monkeypatch):
    real = frozen_parts.optimized_copy

    def wrong(network, device):
        run = real(network, device)
        return lambda images: {name: 2 * tensor + 1 for name, tensor in run(images).items()}

    monkeypatch.setattr(frozen_parts, "optimized_copy", wrong)
    model, (train, val) = make(), parts()
    with frozen_part_run_once(model, train, val) as lent:
        assert lent[1:] == (train, val)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_lower_stages_are_put_back_whatever_happens(error):
    model = make()
    before = [name for name, _ in model.named_modules()]
    with pytest.raises(error), frozen_part_run_once(model, *parts()):
        raise error
    assert [name for name, _ in model.named_modules()] == before


def test_after_an_error_in_training_the_network_is_whole_and_in_eval_mode():
    model, (train, val) = make(), parts()
    train.images[20] = torch.nan
    before = state(model)
    with pytest.raises(TrainingError):
        fit(model, train, val, SETTINGS)
    after = model.state_dict()
    assert list(after) == list(before)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("layer3"))


def test_training_on_kept_outputs_can_be_stopped_and_gone_on_with(tmp_path):
    expected = fit(make(), *parts(), SETTINGS).to_frame().drop(columns="seconds")
    path, interrupted = tmp_path / "run.pt", make()
    real = frozen_parts.Outputs.__getitem__
    reads = []

    def stop(self, places):
        reads.append(places)
        if len(reads) > 7:  # in the second epoch
            raise KeyboardInterrupt
        return real(self, places)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_parts.Outputs, "__getitem__", stop)
        assert fit(interrupted, *parts(), SETTINGS, checkpoint=path).interrupted
    resumed = fit(make(), *parts(), SETTINGS, checkpoint=path).to_frame().drop(columns="seconds")
    assert resumed.equals(expected)
