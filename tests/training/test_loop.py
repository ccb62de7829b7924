"""How a network learns: what changes, what is measured and when, which epoch is kept, and what goes wrong."""

import copy
import math
import random
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import Pictures, same, seeded_net, some_settings, state
from torch import nn
from torchvision.models import resnet18

from course_utils.data.loaders import make_loader
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError, DataError, TrainingError
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings
from course_utils.training import loop as training
from course_utils.training.history import EpochMetrics, History
from course_utils.training.loop import evaluate_loss, fit, train_one_epoch


class Flat(nn.Module):
    """A head on the pixels themselves: what it says about an image does not depend on the batch."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 16 * 16, 3)

    def forward(self, images):
        return self.fc(images.flatten(1))


def exact_loss(model, dataset):
    """The mean loss over all samples, in one batch and without the course's help."""
    with torch.no_grad():
        outputs = model.eval()(dataset.images)
    return nn.functional.cross_entropy(outputs, torch.tensor(dataset.targets)).item()


@pytest.fixture
def model():
    return seeded_net()


@pytest.fixture
def frozen(model):
    freeze(model)
    return model


@pytest.fixture(params=[True, False], ids=["frozen", "thawed"])
def frozen_or_thawed(request):
    return seeded_net(request.param)


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept features", "end to end"])
def test_fit_on_a_frozen_network_changes_the_head_and_nothing_else(frozen, is_kept, monkeypatch):
    monkeypatch.setattr(training, "is_deterministic", lambda dataset: is_kept)
    before = state(frozen)
    fit(frozen, Pictures(24), Pictures(9, seed=2), some_settings())
    changed = {name for name, tensor in frozen.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert not any(module.training for module in frozen.modules())


def test_kept_features_and_the_whole_network_give_the_same_history(monkeypatch, in_float32):
    torch.manual_seed(0)
    model, histories = resnet18(num_classes=3), []
    freeze(model)
    start = state(model)
    for kept in (True, False):
        model.load_state_dict(start)
        monkeypatch.setattr(training, "is_deterministic", lambda dataset, kept=kept: kept)
        history = fit(model, Pictures(33, size=32), Pictures(20, seed=2, size=32), some_settings(epochs=3))
        histories.append(history.to_frame().drop(columns="seconds").to_numpy())
    np.testing.assert_allclose(*histories, rtol=1e-3, atol=1e-4)


def test_frozen_network_is_run_once_for_all_epochs_unless_images_are_augmented():
    for change, runs in ((None, 1), (lambda read, image: image + torch.rand(1), 5)):
        model = seeded_net(is_frozen=True)
        fit(model, Pictures(24, change=change), Pictures(9, seed=2), some_settings(epochs=5))
        assert model.images == runs * (24 + 9)


def test_fit_on_a_thawed_network_trains_every_layer(model):
    before = state(model)
    fit(model, Pictures(24), Pictures(9, seed=2), some_settings())
    assert [name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])] == []
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("losses, best", [([0.9, 0.2, 0.5, 0.6], 2), ([0.1, 0.9, 0.1, 0.9], 1)])
def test_weights_of_the_best_epoch_are_kept(monkeypatch, model, losses, best):
    seen, results = [], iter(losses)

    def pretend(network, loader, accelerator=None):
        seen.append(state(network))
        return next(results), 0.5

    monkeypatch.setattr(training, "evaluate_loss", pretend)
    history = fit(model, Pictures(24), Pictures(9, seed=2), some_settings(epochs=4))
    assert history.best.epoch == best
    assert same(state(model), seen[best - 1])
    assert not same(state(model), seen[-1])


def test_best_epoch_has_the_lowest_loss_and_of_equals_is_the_first():
    for results, best in (
        ([(0.5, 1.0), (0.5, 0.8), (0.5, 0.9)], 2),
        ([(0.5, 0.8), (0.9, 0.8), (0.4, 1.0)], 1),
        ([(0.4, 0.1), (0.5, 2.0), (0.5, 3.0)], 1),
    ):
        epochs = [EpochMetrics(n, 1.0, 0.5, loss, acc, 0.1) for n, (acc, loss) in enumerate(results, 1)]
        assert History(epochs).best.epoch == best


@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_losses_and_accuracies_are_means_over_samples(batch_size):
    torch.manual_seed(0)
    model, dataset = Flat(), Pictures(33)
    dataset.images[32] *= 50  # the last one is far from the others: a mean of batch means would show it
    right = (model(dataset.images).argmax(dim=1) == torch.tensor(dataset.targets)).float().mean().item()
    loader = make_loader(dataset, batch_size)
    no_steps = torch.optim.SGD(model.parameters(), lr=0.0)
    expected = (pytest.approx(exact_loss(model, dataset), rel=1e-5), pytest.approx(right))
    assert train_one_epoch(model, loader, no_steps) == expected
    model.train()
    assert evaluate_loss(model, loader) == expected
    assert model.training and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_same_seed_gives_the_same_bits_and_another_seed_does_not(is_frozen):
    def trained(seed):
        model = seeded_net(is_frozen)
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings(seed=seed))
        return state(model)

    assert same(trained(3), trained(3))
    assert not same(trained(3), trained(4))


def test_fit_leaves_the_random_numbers_of_its_caller_as_they_were(frozen_or_thawed):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fit(frozen_or_thawed, Pictures(24), Pictures(9, seed=2), some_settings())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_weight_decay_is_adamws_and_none_is_adam(model, in_float32):
    freeze(model)
    images, labels = next(iter(make_loader(Pictures(24), 24)))
    for decay, make in [(0.0, torch.optim.Adam), (0.5, partial(torch.optim.AdamW, weight_decay=0.5))]:
        fitted, by_hand = (copy.deepcopy(model) for _ in range(2))
        settings = some_settings(epochs=1, batch_size=24, lr=0.01, weight_decay=decay)
        fit(fitted, Pictures(24), Pictures(9, seed=2), settings)
        optimizer = make(by_hand.fc.parameters(), lr=0.01)
        nn.functional.cross_entropy(by_hand.eval()(images), labels).backward()
        optimizer.step()
        torch.testing.assert_close(fitted.fc.weight, by_hand.fc.weight, rtol=1e-4, atol=1e-6)
        assert not torch.equal(fitted.fc.weight, model.fc.weight)


def test_label_smoothing_is_pytorchs_in_training_and_no_part_of_the_validation_loss(model, in_float32):
    freeze(model)
    model.fc.weight.data *= 20  # a head that is sure of itself: there smoothing costs something
    images, labels = next(iter(make_loader(Pictures(24), 24)))
    with torch.inference_mode():
        model.eval()
        outputs = model(images)
    smooth, plain = (nn.functional.cross_entropy(outputs, labels, label_smoothing=s).item() for s in (0.2, 0))
    still = some_settings(epochs=1, batch_size=24, lr=1e-9, label_smoothing=0.2)
    epoch = fit(model, Pictures(24), Pictures(24), still).epochs[0]
    assert epoch.train_loss == pytest.approx(smooth, rel=1e-4)
    assert epoch.val_loss == pytest.approx(plain, rel=1e-4)
    assert smooth != pytest.approx(plain, rel=1e-3)


# What goes wrong or is stopped: Ctrl-C, losses that are no numbers, wrong labels, a wrong head


@pytest.fixture
def weights_of_epochs(monkeypatch):
    """Return a list to which the weights of the trained network are added at the end of every epoch."""
    seen = []

    def spy(network, loader, accelerator):
        seen.append(state(network))
        return evaluate_loss(network, loader, accelerator)

    monkeypatch.setattr(training, "evaluate_loss", spy)
    return seen


def interrupt_at(read_to_stop):
    def change(read, image):
        if read == read_to_stop:
            raise KeyboardInterrupt
        return image

    return change


def test_interrupted_run_keeps_the_finished_epochs_and_the_best_weights(model, weights_of_epochs, capsys):
    train = Pictures(24, change=interrupt_at(24 + 20))
    history = fit(model, train, Pictures(9, seed=2), some_settings(epochs=5))
    assert history.interrupted
    assert capsys.readouterr().out == "Training was stopped by you after 1 of 5 epochs.\n"
    assert [epoch.epoch for epoch in history.epochs] == [1]
    assert same(state(model), weights_of_epochs[0])
    assert not model.training


def test_run_interrupted_in_its_first_epoch_leaves_the_network_as_it_was(model):
    before = state(model)
    history = fit(model, Pictures(24, change=interrupt_at(20)), Pictures(9, seed=2), some_settings())
    assert history.interrupted and history.epochs == [] and len(history.to_frame()) == 0
    assert same(state(model), before)


def test_fit_ignores_gradients_that_an_interrupted_step_has_left():
    found = []
    for left in (0.0, 100.0):
        model = seeded_net()
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, left)
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings(epochs=1))
        found.append(state(model))
    assert same(*found)


def nan_from(first_bad_read):
    return lambda read, image: image * float("nan") if read >= first_bad_read else image


@pytest.mark.parametrize("epoch, batch", [(1, 2), (2, 1)])
def test_loss_that_is_not_a_number_stops_the_run(model, weights_of_epochs, epoch, batch):
    before_it = state(model)
    bad_read, step = 24 * (epoch - 1) + 8 * (batch - 1) + 1, 3 * (epoch - 1) + batch - 1
    rate = 0.01 / 2 * (1 + math.cos(math.pi * step / 9))
    with pytest.raises(TrainingError) as caught:
        fit(model, Pictures(24, change=nan_from(bad_read)), Pictures(9, seed=2), some_settings(epochs=3))
    text = str(caught.value)
    assert f"epoch {epoch}, batch {batch}" in text
    assert f"a learning rate of {rate:g}" in text
    assert "found:    nan" in text
    before = re.search(r"a finite loss \((it is the first of the epoch|the mean was [\d.]+)\)", text)
    assert before[1].startswith("it is") == (batch == 1)
    assert [finished.epoch for finished in caught.value.history.epochs] == list(range(1, epoch))
    assert same(state(model), weights_of_epochs[0] if epoch > 1 else before_it)
    assert not model.training


def test_network_that_diverges_in_the_very_last_step_is_an_error_too():
    torch.manual_seed(0)
    model = resnet18(num_classes=3)
    with pytest.raises(TrainingError):
        fit(model, Pictures(8, size=32), Pictures(8, seed=2, size=32), some_settings(epochs=1, lr=10.0))


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("split", ["train", "val"])
def test_label_that_is_no_class_is_an_error_before_any_image_is_read(model, split, label):
    splits = {"train": Pictures(24), "val": Pictures(24, seed=2)}
    splits[split].targets[5] = splits[split].targets[7] = label
    before = state(model)
    with pytest.raises(DataError) as caught:
        fit(model, splits["train"], splits["val"], some_settings())
    assert "sample 5 (2 of 24 samples are wrong)" in str(caught.value)
    assert f"label {label}" in str(caught.value)
    assert "from 0 to 2 (3 classes)" in str(caught.value)
    assert splits["train"].read == splits["val"].read == []
    assert same(state(model), before)


def test_head_for_another_number_of_classes_is_an_error():
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.classifier = nn.Linear(512, 3)  # a name that a ResNet never calls
    with pytest.raises(ConfigError, match="replace_head") as caught:
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings())
    assert "3 outputs" in str(caught.value) and "10 outputs" in str(caught.value)


def test_network_with_nothing_to_train_is_an_error(model):
    freeze(model, except_head=False)
    with pytest.raises(ConfigError, match="No parameter is trainable"):
        fit(model, Pictures(24), Pictures(9, seed=2), some_settings())


@pytest.mark.parametrize("trains", ["the head", "all of it"])
def test_fit_and_all_that_it_calls_lie_in_six_files(trains):
    """What docs/contributing.md promises a reader: pictures that ship, one process, no checkpoint."""
    import accelerate  # noqa: F401 (it defines much, and defining takes long while it is noted)

    settings = Settings(images_per_class=5, epochs=1, device="cpu")
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    replace_head(model, len(splits.classes))
    if trains == "the head":
        freeze(model)
    files = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":  # an import only defines
            files.add(Path(frame.f_code.co_filename))

    package = Path(training.__file__).parents[1]
    sys.setprofile(note)
    try:
        fit(model, splits.train, splits.train, settings)
    finally:
        sys.setprofile(None)
    parts = {str(path.relative_to(package)) for path in files if path.is_relative_to(package)}
    assert "training/loop.py" in parts
    assert len(parts) <= 6, sorted(parts)
