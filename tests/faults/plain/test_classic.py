"""Classic bugs of training and evaluation: each assertion is red on the bug, written out here, and green on
the course's way. Those of the data are in test_faults_classic_data.py; the numbers are one series."""

from functools import partial

import pytest
import torch
from small_networks import RememberedPictures as Pictures
from small_networks import SmallNet
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from course_utils.data.loaders import make_loader
from course_utils.evaluation.metrics import evaluate
from course_utils.models.freezing import freeze
from course_utils.settings import Settings
from course_utils.training import features
from course_utils.training import loop as training
from course_utils.training.loop import evaluate_loss, fit, train_one_epoch

SETTINGS = Settings(epochs=2, batch_size=8, lr=0.01, device="cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallNet()


def plain_loop(model, dataset, optimizer, batch_size=8):
    for images, labels in DataLoader(dataset, batch_size):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


# 1. BatchNorm in train mode in a frozen backbone


def assert_backbone_stays_the_same(model, train):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if name[:2] != "fc"}
    train(model)
    changed = [name for name in before if not torch.equal(model.state_dict()[name], before[name])]
    assert changed == []


def test_bug_1_batch_norm_of_a_frozen_backbone_in_train_mode(model, monkeypatch):
    freeze(model)

    def buggy(model):
        model.train()
        plain_loop(model, Pictures(24), torch.optim.Adam(model.fc.parameters()))

    with pytest.raises(AssertionError):
        assert_backbone_stays_the_same(model, buggy)
    course = partial(fit, train=Pictures(24), val=Pictures(9), settings=SETTINGS)
    assert_backbone_stays_the_same(model, course)
    monkeypatch.setattr(training, "is_deterministic", lambda dataset: False)  # as with augmentation
    assert_backbone_stays_the_same(model, course)


# 2. Choosing the best epoch on the test set


def assert_test_set_is_not_looked_at(model, train):
    pictures = Pictures(40)
    parts = {"train": range(24), "val": range(24, 32), "test": range(32, 40)}
    train(model, **{name: Subset(pictures, indices) for name, indices in parts.items()})
    assert {*parts["train"], *parts["val"]} & pictures.read
    assert not pictures.read & {*parts["test"]}


def test_bug_2_best_epoch_chosen_on_the_test_set(model):
    def buggy(model, train, val, test):
        fit(model, train, test, SETTINGS)

    def course(model, train, val, test):
        fit(model, train, val, SETTINGS)

    with pytest.raises(AssertionError):
        assert_test_set_is_not_looked_at(model, buggy)
    assert_test_set_is_not_looked_at(model, course)


# 3. The loss of the last batch, or the mean of the batches' means


def assert_loss_is_the_mean_over_samples(loss_of):
    torch.manual_seed(0)
    model, dataset = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)), Pictures(33)
    dataset.images[32] *= 20
    exact = nn.functional.cross_entropy(model(dataset.images), torch.tensor(dataset.targets)).item()
    assert loss_of(model, make_loader(dataset, 32)) == pytest.approx(exact, rel=1e-4)


def test_bug_3_mean_of_batch_means():
    def losses(model, loader):
        with torch.no_grad():
            return [nn.functional.cross_entropy(model(images), labels).item() for images, labels in loader]

    def mean_of_means(model, loader):
        return sum(losses(model, loader)) / len(loader)

    def last_batch(model, loader):
        return losses(model, loader)[-1]

    def course_in_training(model, loader):
        return train_one_epoch(model, loader, torch.optim.SGD(model.parameters(), lr=0.0))[0]

    for buggy in (mean_of_means, last_batch):
        with pytest.raises(AssertionError):
            assert_loss_is_the_mean_over_samples(buggy)
    assert_loss_is_the_mean_over_samples(course_in_training)
    assert_loss_is_the_mean_over_samples(lambda model, loader: evaluate_loss(model, loader)[0])


# 7. An optimizer that holds frozen parameters, or the head that was replaced


def assert_optimizer_holds_what_is_trainable(model, optimizer):
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("case", ["thawed", "frozen", "frozen and augmented"])
def test_bug_7_optimizer_that_holds_other_parameters(model, monkeypatch, case):
    made_too_early = torch.optim.Adam(model.parameters())
    model.fc = nn.Linear(8, 3)
    with pytest.raises(AssertionError):
        assert_optimizer_holds_what_is_trainable(model, made_too_early)
    if case != "thawed":
        freeze(model)
        with pytest.raises(AssertionError):
            assert_optimizer_holds_what_is_trainable(model, torch.optim.Adam(model.parameters()))
    if case == "frozen and augmented":  # then the frozen layers are a part of what is trained
        monkeypatch.setattr(training, "is_deterministic", lambda dataset: False)
    made = []

    def spy(network, loader, optimizer, *arguments):
        made.append(optimizer)
        return train_one_epoch(network, loader, optimizer, *arguments)

    monkeypatch.setattr(training, "train_one_epoch", spy)
    fit(model, Pictures(24), Pictures(9), SETTINGS)
    assert_optimizer_holds_what_is_trainable(model, made[0])


# 9. Predicting without eval() and inference_mode()


def assert_predicts_soundly(model, predict):
    dataset = Pictures(32)
    model.train()
    model.norm.eval()
    before = [module.training for module in model.modules()]
    by_two, by_all = predict(model, dataset, 2), predict(model, dataset, 32)
    torch.testing.assert_close(by_two, by_all)
    assert not by_all.requires_grad
    assert [module.training for module in model.modules()] == before


def plain_prediction(model, dataset, batch_size):
    return torch.cat([model(images).softmax(dim=1) for images, _ in DataLoader(dataset, batch_size)])


def without_eval(model, dataset, batch_size):
    with torch.inference_mode():
        return plain_prediction(model, dataset, batch_size)


def with_gradients(model, dataset, batch_size):
    with training.eval_mode(model):
        return plain_prediction(model, dataset, batch_size)


@torch.inference_mode()
def mode_not_restored(model, dataset, batch_size):
    return plain_prediction(model.eval(), dataset, batch_size)


@pytest.mark.parametrize("buggy", [without_eval, with_gradients, mode_not_restored])
def test_bug_9_prediction_without_eval_and_inference_mode(model, monkeypatch, buggy):
    def course(model, dataset, batch_size):
        monkeypatch.setattr(features, "EXTRACTION_BATCH", batch_size)
        return evaluate(model, dataset).probabilities

    with pytest.raises(AssertionError):
        assert_predicts_soundly(model, buggy)
    assert_predicts_soundly(model, course)


# 10. Softmax before cross-entropy


class OneOfTen(Dataset):
    """A toy that a single layer can separate: image number n is white in place n, for its class n."""

    classes = tuple("abcdefghij")

    def __init__(self):
        self.targets = list(range(10)) * 8

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return nn.functional.one_hot(torch.tensor(self.targets[index]), 10).float(), self.targets[index]


class TwoLayers(nn.Module):
    def __init__(self, last_step=None):
        super().__init__()
        self.first = nn.Linear(10, 32)
        self.fc = nn.Linear(32, 10)
        self.last_step = last_step or nn.Identity()

    def forward(self, images):
        return self.last_step(self.fc(self.first(images).relu()))


def assert_toy_is_learned(model):
    history = fit(model, OneOfTen(), OneOfTen(), Settings(epochs=12, batch_size=8, lr=0.05, device="cpu"))
    assert history.best.val_loss < 0.05


def test_bug_10_softmax_before_cross_entropy():
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        assert_toy_is_learned(TwoLayers(nn.Softmax(dim=1)))
    assert_toy_is_learned(TwoLayers())
