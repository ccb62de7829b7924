"""How an interrupted run goes on where it stopped, and which files it refuses to go on from."""

import copy
import random

import numpy as np
import pytest
import torch
from damaged_files import DAMAGES, MakesAFolder
from small_networks import Pictures, SmallNet, same, some_settings

from course_utils.errors import CheckpointError
from course_utils.models.freezing import freeze
from course_utils.settings import set_seed
from course_utils.training import loop as training
from course_utils.training.loop import fit, train_one_epoch

FROZEN_AND_THAWED = pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])


def noise(read, image):
    """Noise from all three sources of random numbers."""
    return image * (1 + torch.rand(1) + random.random() + float(np.random.rand()))


def a_model(is_frozen=False):
    torch.manual_seed(0)
    model = SmallNet()
    if is_frozen:
        freeze(model)
    return model


def run(model, checkpoint=None, change=None, classes=("cat", "dog", "ship"), **values):
    train, val = Pictures(25, change=change), Pictures(9, seed=2)
    train.classes = val.classes = list(classes)
    return fit(model, train, val, some_settings(**{"epochs": 4, "lr": 0.05, **values}), checkpoint)


@pytest.fixture
def interrupt_in_epoch(monkeypatch):
    """Return a function that makes `fit` stop, as with Ctrl-C, at the very end of an epoch's training."""

    def interrupt(number):
        calls = []

        def train(*arguments):
            result = train_one_epoch(*arguments)
            calls.append(result)
            if len(calls) == number:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(training, "train_one_epoch", train if number else train_one_epoch)

    return interrupt


@FROZEN_AND_THAWED
@pytest.mark.parametrize("epoch", [2, 4])
def test_interrupted_run_goes_on_to_the_same_bits(tmp_path, interrupt_in_epoch, is_frozen, epoch):
    set_seed(5)
    whole = a_model(is_frozen)
    set_seed(5)
    expected = run(whole, change=None if is_frozen else noise)
    model = a_model(is_frozen)
    set_seed(5)
    interrupt_in_epoch(epoch)
    assert run(model, tmp_path / "run.pt", change=None if is_frozen else noise).interrupted
    interrupt_in_epoch(None)
    model = a_model(is_frozen)
    set_seed(99)  # a new process starts with other random numbers
    history = run(model, tmp_path / "run.pt", change=None if is_frozen else noise)
    assert not history.interrupted
    assert same(model.state_dict(), whole.state_dict())
    assert history.to_frame().drop(columns="seconds").equals(expected.to_frame().drop(columns="seconds"))


@FROZEN_AND_THAWED
def test_best_epoch_before_the_interruption_is_still_the_best(
    tmp_path, interrupt_in_epoch, monkeypatch, is_frozen
):
    losses, seen = iter([0.1, 0.4, 0.3, 0.2]), []

    def pretend(network, loader, accelerator):
        seen.append(copy.deepcopy(network.state_dict()))
        return next(losses), 0.5

    monkeypatch.setattr(training, "evaluate_loss", pretend)
    interrupt_in_epoch(3)
    run(a_model(is_frozen), tmp_path / "run.pt")
    interrupt_in_epoch(None)
    model = a_model(is_frozen)
    assert run(model, tmp_path / "run.pt").best.epoch == 1
    assert same((model.fc if is_frozen else model).state_dict(), seen[0])


def test_finished_run_is_given_back_without_training(tmp_path, monkeypatch):
    first = a_model()
    expected = run(first, tmp_path / "run.pt").to_frame()
    monkeypatch.setattr(training, "train_one_epoch", None)
    again = a_model()
    assert run(again, tmp_path / "run.pt").to_frame().equals(expected)
    assert same(again.state_dict(), first.state_dict())


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_run_may_go_on_on_another_device(tmp_path, device):
    if device == "auto" and torch.cuda.is_available():
        pytest.skip("auto is not the CPU on this machine")
    run(a_model(), tmp_path / "run.pt", device="cpu")
    assert len(run(a_model(), tmp_path / "run.pt", device=device).epochs) == 4


@pytest.mark.parametrize(
    "name, saved_with, asked_for",
    [
        ("lr", 0.05, 0.01),
        ("epochs", 4, 9),
        ("seed", 0, 1),
        ("batch_size", 8, 4),
        ("backbone", "resnet18", "vgg16"),
    ],
)
def test_run_with_other_settings_is_refused_with_the_difference(
    tmp_path, assert_says_four_things, name, saved_with, asked_for
):
    run(a_model(), tmp_path / "run.pt")
    content = (tmp_path / "run.pt").read_bytes()
    model = a_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError) as caught:
        run(model, tmp_path / "run.pt", **{name: asked_for})
    assert_says_four_things(caught.value)
    assert f"expected: {name}={asked_for!r}\n" in str(caught.value)
    assert f"found:    {name}={saved_with!r}\n" in str(caught.value)
    assert str(tmp_path / "run.pt") in str(caught.value)
    assert (tmp_path / "run.pt").read_bytes() == content
    assert same(model.state_dict(), before)


def test_run_with_other_classes_is_refused_with_the_difference(tmp_path):
    run(a_model(), tmp_path / "run.pt")
    with pytest.raises(CheckpointError) as caught:
        run(a_model(), tmp_path / "run.pt", classes=("cat", "ship", "dog"))
    assert "expected: classes=['cat', 'ship', 'dog']" in str(caught.value)
    assert "found:    classes=['cat', 'dog', 'ship']" in str(caught.value)


def test_run_of_a_frozen_network_is_refused_when_it_is_thawed(tmp_path, assert_says_four_things):
    run(a_model(is_frozen=True), tmp_path / "run.pt")
    with pytest.raises(CheckpointError) as caught:
        run(a_model(is_frozen=False), tmp_path / "run.pt")
    assert_says_four_things(caught.value)


@pytest.mark.parametrize("damage", ["another tool's", "no dictionary", *list(DAMAGES)[1:]])
def test_file_that_is_no_whole_training_state_is_an_error(tmp_path, refused, damage):
    path = tmp_path / "run.pt"
    run(a_model(), path)
    if damage == "another tool's":
        torch.save({"weight": torch.zeros(3)}, path)
    elif damage == "no dictionary":
        torch.save([1, 2, 3], path)
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    content = path.read_bytes()
    with refused(CheckpointError, where=path):
        run(a_model(), path)
    assert path.read_bytes() == content


def test_malicious_training_state_is_refused_and_nothing_in_it_runs(tmp_path, refused):
    torch.save({"identity": MakesAFolder(tmp_path / "made by the attack")}, tmp_path / "run.pt")
    with refused(CheckpointError):
        run(a_model(), tmp_path / "run.pt")
    assert not (tmp_path / "made by the attack").exists()
    torch.load(tmp_path / "run.pt", weights_only=False)  # it would have worked
    assert (tmp_path / "made by the attack").exists()
