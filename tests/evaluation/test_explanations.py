"""Does a heatmap lie where the evidence is, and does a map keep neighbours together?"""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from course_utils import figures
from course_utils.errors import ConfigError
from course_utils.evaluation.explanations import as_grid, grad_cam, gradcam_layer, tsne_embedding
from course_utils.evaluation.metrics import Evaluation


class Quadrants(nn.Module):
    """Two classes, made by hand: class 0 is red anywhere, class 1 is blue anywhere."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 2, kernel_size=4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.stem.weight.zero_()
            self.stem.weight[0, 0] = self.stem.weight[1, 2] = 1 / 16
            self.fc.weight.copy_(torch.eye(2))
            self.fc.bias.zero_()

    def forward(self, images):
        places = self.norm(self.stem(images))
        return self.fc(self.dropout(places.relu().mean(dim=(2, 3))))


class Mixing(nn.Module):
    """A block of a transformer, made by hand: the first token becomes the mean of the others."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.mlp.weight.copy_(torch.eye(2))

    def forward(self, tokens):
        tokens = self.mlp(tokens)
        return torch.cat([tokens[:, 1:].mean(dim=1, keepdim=True), tokens[:, 1:]], dim=1)


class Tokens(Quadrants):
    """The same two classes, with tokens in place of rows and columns; the head reads the first one."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()
        self.blocks = nn.Sequential(Mixing(), Mixing())
        self.fc = self._modules.pop("fc")  # the last part again

    def forward(self, images):
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
        return self.fc(self.dropout(self.blocks(tokens)[:, 0]))


def a_picture():
    """Return a black picture of 32 × 48 pixels, red at the upper left and blue at the lower right."""
    image = torch.zeros(3, 32, 48)
    image[0, :16, :24] = 1
    image[2, 16:, 24:] = 1
    return image


def mean_in_quadrants(heat):
    """Return the mean heat at the upper left, upper right, lower left and lower right."""
    return [float(part.mean()) for rows in heat.chunk(2) for part in rows.chunk(2, dim=1)]


# A cat that was named right, a cat that was taken for a dog, a dog.
ANSWERS = Evaluation(
    torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]), torch.tensor([0, 0, 1]), ["cat", "dog"]
)
HEAT = torch.linspace(0, 1, 16).reshape(4, 4)
PLACES = np.array([[0.0, 1], [2, 3], [4, 5]])


def build(name):
    torch.manual_seed(0)
    if name in ("googlenet", "inception_v3"):
        return models.get_model(name, aux_logits=False, init_weights=False)
    return models.get_model(name)


@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "thawed"])
@pytest.mark.parametrize(("target", "quadrant"), [(0, 0), (1, 3)], ids=["red", "blue"])
def test_heat_lies_where_the_evidence_for_the_class_is(trainable, target, quadrant):
    model = Quadrants().requires_grad_(trainable)
    heat = grad_cam(model, a_picture(), target)
    means = mean_in_quadrants(heat)
    elsewhere = [mean for number, mean in enumerate(means) if number != quadrant]
    assert means[quadrant] > 0.8
    assert max(elsewhere) < 0.1


@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "thawed"])
@pytest.mark.parametrize(("target", "quadrant"), [(0, 0), (1, 3)], ids=["red", "blue"])
def test_heat_of_a_transformer_lies_where_the_evidence_is(trainable, target, quadrant):
    model, square = Tokens().requires_grad_(trainable), a_picture()[:, :, 8:40]
    assert gradcam_layer(model, square) == "blocks.0"  # after blocks.1 the other tokens are heard no more
    means = mean_in_quadrants(grad_cam(model, square, target))
    elsewhere = [mean for number, mean in enumerate(means) if number != quadrant]
    assert means[quadrant] > 0.8
    assert max(elsewhere) < 0.1


def test_tokens_are_laid_out_row_by_row_without_those_of_the_whole_picture():
    tokens = torch.arange(2 * 11 * 5.0).view(2, 11, 5)  # two of the picture, and 3 × 3
    grid = as_grid(tokens)
    assert grid.shape == (2, 5, 3, 3)
    assert torch.equal(grid[1, :, 1, 2], tokens[1, 2 + 3 + 2])
    assert as_grid(grid) is grid


def test_heatmap_has_the_size_of_the_picture_and_goes_from_0_to_1():
    heat = grad_cam(Quadrants(), a_picture(), 0)
    assert heat.shape == (32, 48)
    assert heat.dtype == torch.float32
    assert not heat.requires_grad
    assert (heat.min(), heat.max()) == (0, 1)


def test_heatmap_is_0_where_nothing_speaks_for_the_class():
    model = Quadrants()
    with torch.no_grad():
        model.fc.weight.mul_(-1)
    heat = grad_cam(model, a_picture(), 0)
    assert heat.tolist() == torch.zeros(32, 48).tolist()


def test_heatmap_is_the_one_of_the_paper():
    model = build("resnet18").eval()
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    output = nn.Sequential(*list(model.children())[:-3])(image.unsqueeze(0)).detach().requires_grad_()
    logits = model.fc(model.avgpool(model.layer4(output)).flatten(1))
    (gradient,) = torch.autograd.grad(logits[0, 7], output)
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * output).sum(dim=1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, size=(64, 64), mode="bilinear")[0, 0].detach()
    torch.testing.assert_close(grad_cam(model, image, 7), heat / heat.max(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "thawed"])
def test_the_network_comes_back_as_it_was(trainable):
    model = Quadrants().train().requires_grad_(trainable)
    model.fc.requires_grad_(True)
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    image = a_picture()
    grad_cam(model, image, 0)
    assert [model.training, model.norm.training, model.dropout.training] == [True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [trainable] * 3 + [True] * 2
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert not image.requires_grad


def test_the_network_comes_back_as_it_was_after_an_error():
    model = build("swin_t").train()
    with pytest.raises(ConfigError):
        grad_cam(model, torch.randn(3, 64, 64), 0)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("resnet18", 64, "layer3"),  # layer4 has 2 × 2 places there
        ("resnet18", 224, "layer4"),
        ("resnet50", 32, "layer2"),  # and not a layer in the middle of a block of layer3
        ("vgg11", 224, "features"),
        ("vgg11", 64, "features.19"),  # not avgpool, which makes 7 × 7 of 2 × 2
        ("alexnet", 224, "features"),
        ("densenet121", 128, "features"),
        ("efficientnet_b0", 128, "features"),
        ("convnext_tiny", 128, "features"),
        ("mobilenet_v3_small", 128, "features"),
        ("regnet_y_400mf", 128, "trunk_output"),
        ("shufflenet_v2_x1_0", 128, "conv5"),
        ("mnasnet0_5", 128, "layers"),
        ("squeezenet1_1", 128, "classifier.2"),
        ("googlenet", 128, "inception5b"),
        ("swin_t", 128, "permute"),
        ("vit_b_32", 224, "encoder.layers.encoder_layer_10"),
    ],
)
def test_the_layer_is_found_in_every_family(name, size, layer):
    model, image = build(name).requires_grad_(False), torch.randn(3, size, size)
    assert gradcam_layer(model, image) == layer
    heat = grad_cam(model, image, 3)
    assert heat.shape == (size, size)
    assert heat.min() >= 0 and heat.max() <= 1


def test_rows_and_columns_in_another_order_are_not_taken_for_places(assert_says_four_things):
    with pytest.raises(ConfigError, match="norm") as caught:
        gradcam_layer(build("swin_t"), torch.randn(3, 64, 64))
    assert_says_four_things(caught.value)


def test_a_picture_too_small_for_the_network_is_an_error():
    with pytest.raises(ConfigError, match="image_size"):
        grad_cam(Quadrants(), torch.zeros(3, 12, 12), 0)


@pytest.mark.parametrize("target", [-1, 2])
def test_a_class_that_does_not_exist_is_an_error(target, assert_says_four_things):
    with pytest.raises(ConfigError, match="from 0 to 1") as caught:
        grad_cam(Quadrants(), a_picture(), target)
    assert_says_four_things(caught.value)


def two_clusters(images=60):
    features = torch.randn(images, 20, generator=torch.Generator().manual_seed(0))
    features[images // 2 :] += 20
    return features


def test_map_keeps_two_far_clusters_apart():
    first, second = np.split(tsne_embedding(two_clusters()), 2)
    centres = first.mean(axis=0), second.mean(axis=0)
    between = np.linalg.norm(centres[0] - centres[1])
    radius = max(
        np.linalg.norm(part - centre, axis=1).max()
        for part, centre in zip((first, second), centres, strict=True)
    )
    assert between > 2 * radius  # no point of one lies among those of the other


def test_map_has_a_place_for_each_image():
    places = tsne_embedding(two_clusters())
    assert places.shape == (60, 2)
    assert places.dtype == np.float32
    assert np.isfinite(places).all()


def test_map_follows_from_the_seed_alone():
    for features in (two_clusters(), two_clusters()[:, :1]):  # one feature alone: a start by chance
        np.random.seed(1)
        first = tsne_embedding(features, seed=3)
        np.random.seed(2)
        assert np.array_equal(first, tsne_embedding(features, seed=3))
    assert not np.array_equal(first, tsne_embedding(features, seed=4))


@pytest.mark.parametrize("shape", [(2, 5), (3, 5), (10, 5), (10, 1), (8, 3, 4, 4)])
def test_map_of_few_images_or_features_can_be_drawn(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    places = tsne_embedding(features)
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize("scale", [0, 1e-30, 1e-14])
def test_map_of_features_that_hardly_differ_can_be_drawn(scale):
    """Where the spread is 0, scikit-learn's start on the main axes ends the whole process."""
    places = tsne_embedding(scale * torch.randn(30, 5, generator=torch.Generator().manual_seed(0)))
    assert np.isfinite(places).all()
    alike = torch.tensor([[-0.0269, -0.0045, 0.0088]]).repeat(
        30, 1
    )  # the spread of these is not quite 0 to numpy
    assert np.isfinite(tsne_embedding(alike + scale)).all()


@pytest.mark.parametrize("images", [0, 1])
def test_map_of_one_image_is_an_error(images, assert_says_four_things):
    with pytest.raises(ConfigError) as caught:
        tsne_embedding(torch.zeros(images, 5))
    assert_says_four_things(caught.value)


def test_heatmaps_tell_right_from_wrong_in_words_and_lie_on_their_picture():
    images = [torch.full((8, 8), 7.0), torch.linspace(0, 1, 64).reshape(8, 8)]
    figure = figures.heatmaps(ANSWERS, [0, 1], images, [HEAT, HEAT / 2])
    titles = [panel.get_suptitle() for panel in figure.subfigs[0].subfigs]
    assert titles == ["cat\nright, said: cat (90%)", "cat\nWRONG, said: dog (90%)"]
    picture, marked = figure.axes[2:4]
    assert np.array_equal(picture.images[0].get_array(), images[1].numpy())
    below, above = marked.images
    assert below.get_extent() == above.get_extent()
    assert np.array_equal(above.get_array(), HEAT.numpy() / 2)
    assert above.get_clim() == (0, 1)
    assert "speaks for the answer" in figure.axes[-1].get_xlabel()


def test_heatmaps_need_a_picture_and_a_map_for_each_index():
    with pytest.raises(ValueError, match="zip"):
        figures.heatmaps(ANSWERS, [0, 1], [HEAT], [HEAT])


def test_feature_maps_put_each_class_where_its_images_are():
    figure = figures.embedding({"one\nway": PLACES, "another": -PLACES}, ANSWERS.labels, ANSWERS.classes)
    first, second = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["one\nway", "another"]
    for label, points in enumerate(first.collections):
        assert np.array_equal(points.get_offsets(), PLACES[ANSWERS.labels.numpy() == label])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ANSWERS.classes


def test_no_two_of_many_classes_look_the_same():
    names = [str(number) for number in range(50)]
    places = np.zeros((50, 2))
    axes = figures.embedding({"map": places}, torch.arange(50), names).axes[0]
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in axes.collections
    }
    assert len(looks) == 50
