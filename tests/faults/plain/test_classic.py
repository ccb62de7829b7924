"""Ten classic bugs: each assertion is red on the bug, written out here, and green on the course's way."""

import warnings
from functools import partial

import pytest
import torch
from small_networks import Pictures, seeded_net, some_settings
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, Dataset, Subset, random_split
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms import v2

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.evaluation.metrics import evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import eval_mode, freeze
from course_utils.models.weight_files import ImageClassification
from course_utils.models.weights import ResNet18_64px_Weights
from course_utils.settings import Settings
from course_utils.training.loop import fit

pytestmark = pytest.mark.kernels

SETTINGS = some_settings()
COURSE = partial(fit, train=Pictures(24), val=Pictures(9), settings=SETTINGS)


AUGMENTED = partial(COURSE, train=Pictures(24, change=lambda read, image: image + torch.rand(1)))


@pytest.fixture
def model():
    return seeded_net()


# 1. BatchNorm in train mode in a frozen backbone


def assert_backbone_stays_the_same(model, train):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if name[:2] != "fc"}
    train(model)
    changed = [name for name in before if not torch.equal(model.state_dict()[name], before[name])]
    assert changed == []


def test_bug_1_batch_norm_of_a_frozen_backbone_in_train_mode(model):
    freeze(model)

    def buggy(model):
        optimizer = torch.optim.Adam(model.train().fc.parameters())
        for images, labels in DataLoader(Pictures(24), 8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

    with pytest.raises(AssertionError):
        assert_backbone_stays_the_same(model, buggy)
    assert_backbone_stays_the_same(model, COURSE)
    assert_backbone_stays_the_same(model, AUGMENTED)


# 2. Choosing the best epoch on the test set


def assert_test_set_is_not_looked_at(model, train):
    pictures = Pictures(40)
    parts = {"train": range(24), "val": range(24, 32), "test": range(32, 40)}
    train(model, **{name: Subset(pictures, indices) for name, indices in parts.items()})
    assert {*parts["train"], *parts["val"]} & {*pictures.read}
    assert not {*pictures.read} & {*parts["test"]}


def test_bug_2_best_epoch_chosen_on_the_test_set(model):
    with pytest.raises(AssertionError):
        assert_test_set_is_not_looked_at(
            model, lambda model, train, val, test: fit(model, train, test, SETTINGS)
        )
    assert_test_set_is_not_looked_at(model, lambda model, train, val, test: fit(model, train, val, SETTINGS))


# 3. The loss of the last batch, or the mean of the batches' means


def assert_loss_is_the_mean_over_samples(losses_of):
    torch.manual_seed(0)
    model, dataset = nn.Sequential(), Pictures(66)  # batches of 32, 32 and 2 images, and of 64 and 2
    model.flatten, model.fc = nn.Flatten(), nn.Linear(3 * 16 * 16, 3)
    dataset.images[64:] *= 20
    exact = nn.functional.cross_entropy(model(dataset.images), torch.tensor(dataset.targets)).item()
    assert losses_of(model, dataset) == pytest.approx([exact, exact], rel=1e-4)


def test_bug_3_mean_of_batch_means(in_float32):
    def mean_of_means(model, dataset):
        with torch.no_grad():
            loader = DataLoader(dataset, 32)
            losses = [nn.functional.cross_entropy(model(images), labels).item() for images, labels in loader]
        return [sum(losses) / len(losses), losses[-1]]

    def course(model, dataset):
        settings = Settings(epochs=1, batch_size=32, lr=1e-12, device="cpu")
        (epoch,) = fit(model, dataset, dataset, settings).epochs
        return [epoch.train_loss, epoch.val_loss]

    for number in range(2):
        with pytest.raises(AssertionError):
            assert_loss_is_the_mean_over_samples(
                lambda *those, number=number: [mean_of_means(*those)[number]] * 2
            )
    assert_loss_is_the_mean_over_samples(course)


# 4. Normalisation that is not the weights' own


class UnusualWeights(WeightsEnum):
    """Weights with a mean and a standard deviation that are not ImageNet's."""

    DEFAULT = Weights("", partial(ImageClassification, crop_size=32, mean=(0.1, 0.2, 0.3), std=(1, 2, 3)), {})


def assert_normalised_as_the_weights_want(transform, weights):
    own = weights.transforms()
    mean, std = torch.tensor(own.mean), torch.tensor(own.std)
    for grey in (0, 255):
        picture = torch.full((3, 64, 64), grey, dtype=torch.uint8)
        found = transform(v2.functional.to_pil_image(picture)).mean(dim=(1, 2))
        assert found.tolist() == pytest.approx(((grey / 255 - mean) / std).tolist(), abs=1e-4)


@pytest.mark.parametrize("weights", [UnusualWeights.DEFAULT, ResNet18_64px_Weights.DEFAULT], ids=str)
def test_bug_4_normalisation_of_other_weights(weights):
    scaled = [v2.ToImage(), v2.Resize((32, 32)), v2.ToDtype(torch.float32, scale=True)]
    for buggy in (v2.Compose(scaled), v2.Compose([*scaled, v2.Normalize([0.5] * 3, [0.5] * 3)])):
        with pytest.raises(AssertionError):
            assert_normalised_as_the_weights_want(buggy, weights)
    assert_normalised_as_the_weights_want(Preprocessing.from_weights(weights).transform(), weights)
    assert_normalised_as_the_weights_want(
        Preprocessing.from_weights(weights, image_size=48).transform(), weights
    )


# 5. The same picture in two splits


def assert_splits_share_no_picture(*splits):
    seen = [{image.numpy().tobytes() for image, _ in split} for split in splits]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_bug_5_leakage_between_splits():
    everything = Pictures(60)
    with pytest.raises(AssertionError):
        assert_splits_share_no_picture(Subset(everything, range(50)), Subset(everything, range(40, 60)))
    course = load_splits(Settings(images_per_class=100), transform=v2.PILToTensor())
    assert_splits_share_no_picture(course.train, course.val, course.test)


# 6. Augmented validation images


def assert_only_training_images_are_augmented(train, val):
    assert any(not torch.equal(train[index][0], train[index][0]) for index in range(8))
    assert all(torch.equal(val[index][0], val[index][0]) for index in range(8))
    assert train.dataset is not val.dataset and train.dataset.transform is not val.dataset.transform


def test_bug_6_augmented_validation_images():
    plain = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    augment = v2.Compose([plain, v2.GaussianNoise()])
    everything = load_splits(Settings(images_per_class=10), augment).train.dataset
    with pytest.raises(AssertionError):
        assert_only_training_images_are_augmented(*random_split(everything, [0.8, 0.2]))
    course = load_splits(Settings(images_per_class=10), plain, train_transform=augment)
    assert_only_training_images_are_augmented(course.train, course.val)


# 7. An optimizer that holds frozen parameters, or the head that was replaced


def assert_optimizer_holds_what_is_trainable(model, optimizer):
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("train, is_frozen", [(COURSE, False), (COURSE, True), (AUGMENTED, True)])
def test_bug_7_optimizer_that_holds_other_parameters(model, train, is_frozen):
    made_too_early = torch.optim.Adam(model.parameters())
    model.fc = nn.Linear(8, 3)
    with pytest.raises(AssertionError):
        assert_optimizer_holds_what_is_trainable(model, made_too_early)
    if is_frozen:
        freeze(model)
        with pytest.raises(AssertionError):
            assert_optimizer_holds_what_is_trainable(model, torch.optim.Adam(model.parameters()))
    used = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: used.append(optimizer))
    train(model)
    hook.remove()
    assert_optimizer_holds_what_is_trainable(model, used[0])


# 8. `pretrained=`, which torchvision has given up


def assert_builds_without_a_warning(build):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build()
    assert [str(warning.message) for warning in caught] == []


def test_bug_8_its_warning_is_an_error_in_this_test_run(monkeypatch):
    state = models.resnet18().state_dict()
    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state)
    with pytest.raises(AssertionError):
        assert_builds_without_a_warning(lambda: models.resnet18(pretrained=True))
    assert_builds_without_a_warning(lambda: load_backbone(ResNet18_64px_Weights.DEFAULT))
    with pytest.raises(UserWarning, match="'pretrained' is deprecated"):
        models.resnet18(pretrained=True)


# 9. Predicting without eval() and inference_mode()


def assert_predicts_correctly(model, predict):
    dataset = Pictures(32)
    model.train()
    model.norm.eval()
    before = [module.training for module in model.modules()]
    by_two = torch.cat([predict(model, Subset(dataset, [first, first + 1])) for first in range(0, 32, 2)])
    by_all = predict(model, dataset)
    torch.testing.assert_close(by_two, by_all)
    assert not by_all.requires_grad
    assert [module.training for module in model.modules()] == before


def plain_prediction(model, dataset):
    return torch.cat([model(images).softmax(dim=1) for images, _ in DataLoader(dataset, 32)])


@torch.inference_mode()
def without_eval(model, dataset):
    return plain_prediction(model, dataset)


def with_gradients(model, dataset):
    with eval_mode(model):
        return plain_prediction(model, dataset)


@torch.inference_mode()
def mode_not_restored(model, dataset):
    return plain_prediction(model.eval(), dataset)


@pytest.mark.parametrize("buggy", [without_eval, with_gradients, mode_not_restored])
def test_bug_9_prediction_without_eval_and_inference_mode(model, buggy, in_float32):
    with pytest.raises(AssertionError):
        assert_predicts_correctly(model, buggy)
    assert_predicts_correctly(model, lambda model, dataset: evaluate(model, dataset).probabilities)


# 10. Softmax before cross-entropy


class OneOfTen(Dataset):
    """A toy that a single layer can separate: image number n is white in place n, for its class n."""

    classes, targets = tuple("abcdefghij"), list(range(10)) * 8

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return nn.functional.one_hot(torch.tensor(self.targets[index]), 10).float(), self.targets[index]


class TwoLayers(nn.Module):
    def __init__(self, last_step):
        super().__init__()
        self.first, self.fc, self.last_step = nn.Linear(10, 32), nn.Linear(32, 10), last_step

    def forward(self, images):
        return self.last_step(self.fc(self.first(images).relu()))


def assert_toy_is_learned(model):
    history = fit(model, OneOfTen(), OneOfTen(), Settings(epochs=12, batch_size=8, lr=0.05, device="cpu"))
    assert history.best.val_loss < 0.05


def test_bug_10_softmax_before_cross_entropy():
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        assert_toy_is_learned(TwoLayers(nn.Softmax(dim=1)))
    assert_toy_is_learned(TwoLayers(nn.Identity()))
