"""What the backbone says about every image, once, in order, and without a trace left in the network."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision.models import resnet18
from torchvision.transforms import v2

from course_utils.models.freezing import eval_mode
from course_utils.training.features import extract_features, is_deterministic


class Pictures(Dataset):
    """Random pictures of three classes; `change` is applied to a picture every time it is read."""

    classes = ("cat", "dog", "ship")

    def __init__(self, count, size=32, change=None):
        self.images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
        self.targets = [number % 3 for number in range(count)]
        self.change = change or (lambda index, image: image)
        self.reads = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.reads.append(index)
        return self.change(index, self.images[index]), self.targets[index]


class SmallNet(nn.Module):
    """A network with all that can go wrong in a backbone, BatchNorm and dropout, and a head `fc`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)

    def forward(self, images):
        return self.fc(self.dropout(self.norm(self.conv(images)).relu().mean(dim=(2, 3))))


class Brightness(nn.Module):
    """A network whose one feature is the brightness of the picture."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 3)

    def forward(self, images):
        return self.fc(images.mean(dim=(1, 2, 3)).unsqueeze(1))


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def raise_at_five(index, image):
    if index == 5:
        raise ValueError("no such picture")
    return image


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallNet()


def test_features_are_what_the_head_of_a_resnet_is_given_in_eval_mode(in_float32):
    torch.manual_seed(0)
    model, dataset = resnet18(num_classes=3), Pictures(70)
    given_to_head = []
    hook = model.fc.register_forward_pre_hook(lambda module, inputs: given_to_head.append(inputs[0]))
    with torch.no_grad():
        model.eval()(dataset.images)
    hook.remove()
    features = extract_features(model.train(), dataset).tensors[0]
    assert features.shape == (70, 512)
    torch.testing.assert_close(features, given_to_head[0])


def test_features_of_an_image_do_not_depend_on_the_rest_of_the_dataset(model):
    many, few = Pictures(70), Pictures(70)
    few.images, few.targets = few.images[:3], few.targets[:3]
    model.train()
    torch.testing.assert_close(
        extract_features(model, few).tensors[0], extract_features(model, many).tensors[0][:3]
    )


def test_every_module_is_in_eval_mode_while_features_are_computed(model):
    seen = []
    model.conv.register_forward_hook(lambda *_: seen.append(modes(model)))
    extract_features(model.train(), Pictures(5))
    assert len(seen) == 1
    assert not any(seen[0].values())


def test_every_module_gets_its_own_mode_back(model):
    model.train()
    model.norm.eval()
    before = modes(model)
    extract_features(model, Pictures(5))
    assert modes(model) == before
    assert model.training and not model.norm.training


def test_extraction_changes_no_parameter_and_no_buffer(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    extract_features(model.train(), Pictures(70))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_same_head_is_put_back(model):
    head = model.fc
    extract_features(model, Pictures(5))
    assert model.fc is head


def test_head_and_modes_are_put_back_after_an_error(model):
    model.train()
    model.norm.eval()
    head, before = model.fc, modes(model)
    with pytest.raises(ValueError, match="no such picture"):
        extract_features(model, Pictures(9, change=raise_at_five))
    assert model.fc is head
    assert modes(model) == before


def test_eval_mode_gives_the_modes_back_after_an_error(model):
    model.train()
    model.dropout.eval()
    before = modes(model)
    with pytest.raises(KeyboardInterrupt), eval_mode(model):
        assert not any(modes(model).values())
        raise KeyboardInterrupt
    assert modes(model) == before


def test_features_and_labels_keep_the_order_of_the_dataset_over_several_batches():
    dataset = Pictures(150, size=2, change=lambda index, image: torch.full_like(image, index))
    dataset.targets = [2, 0, 1, 1, 0] * 30
    features, labels = extract_features(Brightness(), dataset).tensors
    assert features.flatten().tolist() == list(range(150))
    assert labels.tolist() == dataset.targets


def test_every_image_is_read_once(model):
    dataset = Pictures(70)
    extract_features(model, dataset)
    assert dataset.reads == list(range(70))


def test_features_are_float32_and_labels_int64(model):
    features, labels = extract_features(model, Pictures(5)).tensors
    assert (features.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert (features.device.type, labels.device.type) == ("cpu", "cpu")


def test_features_can_be_trained_on(model):
    features, labels = extract_features(model, Pictures(5)).tensors
    assert not features.requires_grad
    nn.functional.cross_entropy(model.fc(features), labels).backward()
    assert model.fc.weight.grad.abs().sum() > 0


def test_plain_images_are_the_is_deterministic():
    assert is_deterministic(Pictures(20))


@pytest.mark.parametrize(
    "change",
    [
        lambda index, image: image + torch.rand(1),
        lambda index, image: v2.RandomHorizontalFlip()(image),
        lambda index, image: image + torch.rand(1) if index == 9 else image,
    ],
    ids=["noise", "flips", "noise in one image only"],
)
def test_augmented_images_are_not_the_is_deterministic(change):
    torch.manual_seed(0)
    assert not is_deterministic(Pictures(20, change=change))


def test_asking_whether_images_are_the_same_leaves_the_random_numbers_as_they_were():
    dataset = Pictures(20, change=lambda index, image: image + 0 * torch.rand(1))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert is_deterministic(dataset)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(7)
    assert not is_deterministic(Pictures(20, change=lambda index, image: image + torch.rand(1)))
    assert torch.equal(torch.rand(3), expected)


def test_only_a_few_images_are_read_to_find_out():
    dataset = Pictures(50)
    is_deterministic(dataset, images=4)
    assert sorted(dataset.reads) == [0, 0, 1, 1, 2, 2, 3, 3]
