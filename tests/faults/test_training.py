"""Faults 26 to 32, but 27 and 31: first what a plain training loop makes of it, then what the course does."""

import copy
import io
import math
import pickle

import pytest
import torch
from small_networks import ChangedPictures as Pictures
from small_networks import same, state
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.transforms import v2

from course_utils.data.loaders import make_loader
from course_utils.errors import ConfigError, DataError, TrainingError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.freezing import freeze, only_head_trainable, trainable_parameters
from course_utils.models.heads import replace_head
from course_utils.settings import Settings
from course_utils.training.features import is_deterministic
from course_utils.training.learning_rates import lr_range_test
from course_utils.training.loop import fit, train_one_epoch

SETTINGS = Settings(epochs=2, batch_size=8, lr=0.01, device="cpu")


class SmallNet(nn.Module):
    """A network with BatchNorm over one value for each image and channel, and a head `fc`."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm1d(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, images):
        return self.fc(self.norm(self.conv(images).relu().mean(dim=(2, 3))))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallNet()


def plain_loop(model, dataset, lr=0.01, batch_size=8, epochs=1):
    """Train as tutorials do; return the loss of the last batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in DataLoader(dataset, batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model.train()(images), labels)
            loss.backward()
            optimizer.step()
    return loss.item()


# 26. Mistakes with the head


def test_fault_26_head_under_a_name_that_is_never_called(assert_says_four_things):
    network = models.resnet18()
    network.classifier = nn.Linear(512, 3)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    with pytest.raises(ConfigError, match="replace_head") as caught:
        fit(network, Pictures(8, size=32), Pictures(4, size=32), SETTINGS)
    assert_says_four_things(caught.value)


def test_fault_26_head_for_1000_classes_learns_3_without_a_word(assert_says_four_things):
    assert math.isfinite(plain_loop(SmallNet(classes=1000), Pictures(24)))
    with pytest.raises(ConfigError, match="1000 outputs") as caught:
        fit(SmallNet(classes=1000), Pictures(24), Pictures(9), SETTINGS)
    assert_says_four_things(caught.value)


def test_fault_26_misspelled_requires_grad_freezes_nothing(model):
    for parameter in model.parameters():
        parameter.require_grad = False
    assert len(trainable_parameters(model)) == len(list(model.parameters()))
    assert not only_head_trainable(model)
    freeze(model)
    assert {id(p) for p in trainable_parameters(model)} == {id(p) for p in model.fc.parameters()}


def test_fault_26_optimizer_that_was_built_before_the_head(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replace_head(model, 3)
    before = state(model)
    nn.functional.cross_entropy(model(Pictures(8).images), torch.tensor([0, 1] * 4)).backward()
    optimizer.step()
    assert torch.equal(model.fc.weight, before["fc.weight"])  # the new head learns nothing
    fit(model, Pictures(24), Pictures(9), SETTINGS)
    assert not torch.equal(model.fc.weight, before["fc.weight"])


# 28. Labels that are no classes


@pytest.mark.parametrize(
    "label, told", [(10, "Target 10 is out of bounds"), (-1, "Target -1 is out of bounds")]
)
def test_fault_28_plain_pytorch_names_no_sample(model, label, told):
    dataset = Pictures(24)
    dataset.targets[5] = label
    with pytest.raises(IndexError, match=f"Target {label} is out of bounds") as caught:
        plain_loop(model, dataset)  # on a graphics card the process dies of it
    assert "sample" not in str(caught.value)
    with pytest.raises(DataError, match=f"sample 5(.|\n)*label {label}"):
        fit(model, dataset, Pictures(9), SETTINGS)


def test_fault_28_label_minus_100_is_ignored_by_plain_pytorch(model):
    dataset = Pictures(24)
    dataset.targets[5] = -100
    assert math.isfinite(plain_loop(model, dataset))
    with pytest.raises(DataError, match="label -100"):
        fit(model, dataset, Pictures(9), SETTINGS)


@pytest.mark.parametrize(
    "given", [3, -100, 1.0, "cat", torch.tensor([1, 0, 0])], ids=["3", "-100", "1.0", "cat", "one hot"]
)
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_fault_28_labels_that_a_target_transform_has_changed(
    model, given, split, is_frozen, assert_says_four_things
):
    if is_frozen:
        freeze(model)
    splits = {"train": Pictures(24), "val": Pictures(9)}
    splits[split].change = lambda read, image, label: (image, given)
    before = state(model)
    with pytest.raises(DataError, match="not the number of a class") as caught:
        fit(model, splits["train"], splits["val"], SETTINGS)
    assert_says_four_things(caught.value)
    assert split == "val" or same(state(model), before)


def test_fault_28_fewer_labels_than_images(model, assert_says_four_things):
    dataset = Pictures(24)
    dataset.targets = dataset.targets[:20]
    with pytest.raises(DataError, match="20 for 24 images") as caught:
        fit(model, dataset, Pictures(9), SETTINGS)
    assert_says_four_things(caught.value)


def test_fault_28_wrong_labels_are_told_wherever_a_network_is_asked(model, assert_says_four_things):
    dataset = Pictures(24)
    dataset.targets[5] = 7
    for ask in (evaluate, lambda *those: lr_range_test(*those, SETTINGS)):
        with pytest.raises(DataError, match="label 7") as caught:
            ask(model, dataset)
        assert_says_four_things(caught.value)


# 29. A loss that is not a number


def test_fault_29_plain_loop_goes_on_with_nan(model):
    assert math.isnan(plain_loop(model, Pictures(24), lr=1e30, epochs=3))
    network = SmallNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e30)
    with pytest.raises(TrainingError, match="finite") as caught:
        train_one_epoch(network, make_loader(Pictures(24), 8), optimizer)
    assert "learning rate of 1e+30" in str(caught.value)


def test_fault_29_one_bad_pixel_poisons_batch_norm(model):
    dataset = Pictures(24)
    dataset.images[11, 0, 0, 0] = float("nan")
    poisoned = copy.deepcopy(model)
    plain_loop(poisoned, dataset)
    assert poisoned.norm.running_mean.isnan().any()
    before = state(model)
    with pytest.raises(TrainingError) as caught:
        fit(model, dataset, Pictures(9), SETTINGS)
    assert same(state(model), before)
    assert caught.value.history.epochs == []


# 30. A batch of one image


def test_fault_30_last_batch_of_one(model):
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        plain_loop(copy.deepcopy(model), Pictures(9))
    assert len(fit(model, Pictures(9), Pictures(4), SETTINGS).epochs) == 2


@pytest.mark.parametrize("count, batch_size", [(9, 1), (1, 8)])
def test_fault_30_every_batch_of_one(model, count, batch_size, assert_says_four_things):
    settings = Settings(epochs=1, batch_size=batch_size, device="cpu")
    with pytest.raises(TrainingError, match="BatchNorm") as caught:
        fit(model, Pictures(count), Pictures(4), settings)
    assert_says_four_things(caught.value)
    freeze(model)
    assert len(fit(model, Pictures(count), Pictures(4), settings).epochs) == 1


# 32. Ctrl-C


def interrupt_at(read_to_stop):
    def change(read, image, label):
        if read == read_to_stop:
            raise KeyboardInterrupt
        return image, label

    return change


def test_fault_32_ctrl_c_in_mid_epoch(model):
    half, before = copy.deepcopy(model), state(model)
    with pytest.raises(KeyboardInterrupt):
        plain_loop(half, Pictures(24, change=interrupt_at(20)))
    assert half.training and not same(state(half), before)
    history = fit(model, Pictures(24, change=interrupt_at(20)), Pictures(9), SETTINGS)
    assert history.interrupted and history.epochs == []
    assert same(state(model), before) and not model.training


@pytest.mark.parametrize("read", [1, 20, 40, 56])
def test_fault_32_ctrl_c_while_features_are_computed(model, read):
    freeze(model)
    head, before = model.fc, state(model)
    history = fit(model, Pictures(24, change=interrupt_at(read)), Pictures(9), SETTINGS)
    assert history.interrupted and history.epochs == []
    assert model.fc is head and same(state(model), before) and not model.training


def test_pictures_that_are_no_tensors_are_a_data_error(model, assert_says_four_things):
    freeze(model)
    dataset = Pictures(24, change=lambda read, image, label: (v2.functional.to_pil_image(image), label))
    for work in (lambda: is_deterministic(dataset), lambda: fit(model, dataset, Pictures(9), SETTINGS)):
        with pytest.raises(DataError) as caught:
            work()
        assert_says_four_things(caught.value)


def test_errors_survive_pickling():
    error = TrainingError("a", where="b", expected="c", found="d", do="e")
    again = pickle.load(io.BytesIO(pickle.dumps(error)))
    assert (type(again), str(again)) == (TrainingError, str(error))
