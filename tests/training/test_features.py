"""What the backbone says about every image, once, in order, and without a trace left in the network."""

from contextlib import nullcontext

import pytest
import torch
from small_networks import Pictures, same, seeded_net, state
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms import v2

from course_utils.training.features import extract_features, is_deterministic


class Brightness(nn.Module):
    """A network whose one feature is the brightness of the picture."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 3)

    def forward(self, images):
        return self.fc(images.mean(dim=(1, 2, 3)).unsqueeze(1))


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


@pytest.fixture
def model():
    """A network in train mode, but for its BatchNorm."""
    model = seeded_net()
    model.norm.eval()
    return model


def test_features_are_what_the_head_of_a_resnet_is_given_in_eval_mode(in_float32):
    torch.manual_seed(0)
    model, dataset = resnet18(num_classes=3), Pictures(70, size=32)
    given_to_head = []
    hook = model.fc.register_forward_pre_hook(lambda module, inputs: given_to_head.append(inputs[0]))
    with torch.no_grad():
        model.eval()(dataset.images)
    hook.remove()
    features = extract_features(model.train(), dataset).tensors[0]
    assert features.shape == (70, 512)
    torch.testing.assert_close(features, given_to_head[0])


@pytest.mark.parametrize("bad_read", [None, 5])
def test_extraction_is_in_eval_mode_and_leaves_the_network_as_it_was(model, bad_read):
    def change(read, image):
        return image * (1 / (read != bad_read))

    seen, head, before, weights = [], model.fc, modes(model), state(model)
    model.conv.register_forward_hook(lambda *_: seen.append(modes(model)))
    dataset = Pictures(70, change=change)
    with nullcontext() if bad_read is None else pytest.raises(ZeroDivisionError):
        extract_features(model, dataset)
        assert len(dataset.read) == 70, "every image is read once"
        assert len(seen) == 2 and not any(any(found.values()) for found in seen)
    assert model.fc is head and modes(model) == before and same(state(model), weights)


def test_features_and_labels_keep_the_order_of_the_dataset_over_several_batches():
    dataset = Pictures(150, size=2, change=lambda read, image: torch.full_like(image, read))
    dataset.targets = [2, 0, 1, 1, 0] * 30
    features, labels = extract_features(Brightness(), dataset).tensors
    assert features.flatten().tolist() == list(range(1, 151))
    assert labels.tolist() == dataset.targets


NOISE_IN_ONE = 2 * 9 + 2  # the second time that the tenth image is read


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda read, image: image + 0 * torch.rand(1), True),
        (lambda read, image: v2.RandomHorizontalFlip()(image), False),
        (lambda read, image: image + torch.rand(1) if read == NOISE_IN_ONE else image, False),
    ],
    ids=["plain", "flips", "noise in one image only"],
)
def test_augmented_images_are_told_from_plain_ones_and_random_numbers_stay_as_they_were(change, expected):
    torch.manual_seed(0)
    first = torch.rand(3)
    torch.manual_seed(0)
    assert is_deterministic(Pictures(20, change=change)) == expected
    assert torch.equal(torch.rand(3), first)
