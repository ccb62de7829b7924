"""Wrong answers to the exercises of lesson 13, and words of the hint that each must get."""

import copy

import torch
from torch import nn

CASES = {"clinic": "LoRA", "shop": "head", "archive": "head", "factory": "everything"}


class Layer(nn.Module):
    """LoRA beside a layer, with a place for each mistake."""

    def __init__(self, linear, rank, alpha, begin=torch.zeros):
        super().__init__()
        self.linear, self.factor = linear.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.B = nn.Parameter(begin(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.factor * (x @ self.A.T @ self.B.T)


class OfLayers(nn.Module):
    """The same of two layers without a bias, and the change added up before it is used."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.add_module("linear", linear.requires_grad_(False))
        self.a = nn.Linear(linear.in_features, rank, bias=False)
        self.b = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.b.weight)
        self.rank, self.alpha = rank, alpha

    def forward(self, x):
        return self.linear(x) + self.alpha / self.rank * self.b(self.a(x))


def beside(forward):
    """Return a maker of layers whose forward is a function of the layer and its inputs."""

    def make(linear, rank, alpha):
        layer = Layer(linear, rank, alpha)
        layer.forward = lambda x: forward(layer, x)
        return layer

    return make


def into_the_weight(layer, x):
    layer.linear.weight.data += layer.factor * (layer.B @ layer.A).detach()
    return layer.linear(x) + 0 * (layer.A.sum() + layer.B.sum())


class InAList(Layer):
    """The same with the old layer where PyTorch does not find it."""

    def __init__(self, linear, rank, alpha, freeze=False):
        super().__init__(linear, rank, alpha)
        del self.linear
        self.layers = [linear.requires_grad_(not freeze)]

    def forward(self, x):
        return self.layers[0](x) + self.factor * (x @ self.A.T @ self.B.T)


def thawed(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    linear.requires_grad_(True)
    return layer


def with_a_bias(linear, rank, alpha):
    layer = OfLayers(linear, rank, alpha)
    layer.b = nn.Linear(rank, linear.out_features)
    return layer


def merge(linear, a, b, scale, change=lambda weight, a, b, scale: weight + scale * b @ a):
    merged = copy.deepcopy(linear)
    merged.weight.data = change(linear.weight.data, a, b, scale)
    return merged


def by_hand(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features)
    merged.weight, merged.bias = (
        nn.Parameter(linear.weight + scale * (b @ a)),
        nn.Parameter(linear.bias.clone()),
    )
    return merged


def adapted_twice(linear, a, b, scale):
    merged = merge(linear, a, b, scale)
    merged.forward = lambda x: nn.Linear.forward(merged, x) + scale * x @ a.T @ b.T
    return merged


def in_place(linear, a, b, scale):
    linear.weight.data += scale * b @ a
    return linear


def shares_the_bias(linear, a, b, scale):
    merged = by_hand(linear, a, b, scale)
    merged.bias = linear.bias
    return merged


def freezes_the_old(linear, a, b, scale):
    return merge(linear.requires_grad_(False), a, b, scale)


WRONG = {
    "lora_layer": [
        (thawed, "must be frozen"),
        (InAList, "not in a list"),
        (lambda linear, rank, alpha: Layer(linear, rank, alpha, torch.ones), "Before any training"),
        (with_a_bias, "you train 23 numbers"),
        (
            beside(lambda layer, x: layer.linear(x) + layer.factor * (x @ layer.A.T.detach() @ layer.B.T)),
            "No gradient reaches A",
        ),
        (beside(into_the_weight), "The change stays beside it"),
    ],
    "merged_layer": [
        (in_place, "adds the adapter twice"),
        (shares_the_bias, "share a tensor"),
        (freezes_the_old, "is frozen now"),
        (adapted_twice, "Is it still a plain linear layer?"),
    ],
    "choose_adapter": [
        (dict.fromkeys(CASES, "everything"), "above the limit"),
        (CASES | {"shop": "everything"}, "costs most"),
        (CASES | {"archive": "everything"}, "A mean above 0 is not enough"),
        (CASES | {"archive": "LoRA"}, "LoRA is worse"),
        (CASES | {"factory": "LoRA"}, "above LoRA's"),
        (CASES | {"clinic": "head"}, "give something away"),
    ],
}
