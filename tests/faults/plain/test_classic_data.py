"""Classic bugs of data and weights: each assertion is red on the bug, written out here, and green on the
course's way. See test_faults_classic.py for the others."""

import ast
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from small_networks import RememberedPictures as Pictures
from torch.utils.data import Subset, random_split
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms import v2

import course_utils
from course_utils.data.backbone_inputs import backbone_transform
from course_utils.data.preprocessing import ImageClassification
from course_utils.data.splits import load_splits
from course_utils.data.weights import ResNet18_64px_Weights
from course_utils.models.backbones import load_backbone
from course_utils.settings import Settings

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


@pytest.mark.parametrize(
    "weights",
    [UnusualWeights.DEFAULT, ResNet18_64px_Weights.DEFAULT, models.ResNet50_Weights.IMAGENET1K_V2],
    ids=str,
)
def test_bug_4_normalisation_of_other_weights(weights):
    scaled = [v2.ToImage(), v2.Resize((32, 32)), v2.ToDtype(torch.float32, scale=True)]
    for buggy in (v2.Compose(scaled), v2.Compose([*scaled, v2.Normalize([0.5] * 3, [0.5] * 3)])):
        with pytest.raises(AssertionError):
            assert_normalised_as_the_weights_want(buggy, weights)
    assert_normalised_as_the_weights_want(backbone_transform(weights), weights)
    assert_normalised_as_the_weights_want(backbone_transform(weights, image_size=48), weights)


# 5. The same picture in two splits


def assert_splits_share_no_picture(*splits):
    seen = [{image.numpy().tobytes() for image, _ in split} for split in splits]
    for one in range(len(seen)):
        for other in range(one):
            assert not seen[one] & seen[other]


def test_bug_5_leakage_between_splits():
    everything = Pictures(60)
    buggy = Subset(everything, range(50)), Subset(everything, range(40, 60))
    with pytest.raises(AssertionError):
        assert_splits_share_no_picture(*buggy)
    course = load_splits(Settings(images_per_class=100), transform=v2.PILToTensor())
    assert_splits_share_no_picture(course.train, course.val, course.test)


# 6. Augmented validation images


def assert_only_training_images_are_augmented(train, val):
    torch.manual_seed(0)
    assert any(not torch.equal(train[index][0], train[index][0]) for index in range(8))
    for index in range(8):
        assert torch.equal(val[index][0], val[index][0])
    assert train.dataset is not val.dataset
    assert train.dataset.transform is not val.dataset.transform


def test_bug_6_augmented_validation_images():
    plain = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    augment = v2.Compose([plain, v2.GaussianNoise()])
    everything = load_splits(Settings(images_per_class=10), augment).train.dataset
    with pytest.raises(AssertionError):
        assert_only_training_images_are_augmented(*random_split(everything, [0.8, 0.2]))
    course = load_splits(Settings(images_per_class=10), plain, train_transform=augment)
    assert_only_training_images_are_augmented(course.train, course.val)


# 8. `pretrained=`, which torchvision has given up


def assert_builds_without_a_warning(build):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build()
    assert [str(warning.message) for warning in caught] == []


@pytest.fixture
def no_download(monkeypatch):
    state = models.resnet18().state_dict()
    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state)


def test_bug_8_pretrained_gives_a_warning(no_download):
    with pytest.raises(AssertionError):
        assert_builds_without_a_warning(lambda: models.resnet18(pretrained=True))
    assert_builds_without_a_warning(lambda: load_backbone(ResNet18_64px_Weights.DEFAULT))


def test_bug_8_its_warning_is_an_error_in_this_test_run(no_download):
    with pytest.raises(UserWarning, match="'pretrained' is deprecated"):
        models.resnet18(pretrained=True)


def test_bug_8_the_package_never_passes_pretrained_to_torchvision():
    calls = [
        (path.name, ast.unparse(call.func))
        for path in Path(course_utils.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and "pretrained" in [keyword.arg for keyword in call.keywords]
    ]
    # timm's own argument has this name, and so has that of two functions of the package.
    others = [call for call in calls if not call[1].startswith("timm.")]
    assert {function for _, function in others} <= {"_build", "timm_model"}
