"""Wrong answers to the exercises of lesson 13, and words of the hint that each must get; and right ones."""

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


class Turned(nn.Module):
    """The same with both matrices the other way round, A at zero, and layers instead of parameters."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.old, self.scale = linear.requires_grad_(False), alpha / rank
        self.down = nn.Parameter(torch.zeros(linear.in_features, rank))
        self.up = nn.Parameter(torch.randn(rank, linear.out_features))

    def forward(self, x):
        return self.old(x) + x @ self.down @ self.up * self.scale


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


def with_factor(factor):
    """Return a maker of layers whose factor is another function of rank and alpha."""

    def make(linear, rank, alpha):
        layer = Layer(linear, rank, alpha)
        layer.factor = factor(rank, alpha)
        return layer

    return make


def thawed(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    linear.requires_grad_(True)
    return layer


def both_zero(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    nn.init.zeros_(layer.A)
    return layer


def without_bias(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    layer.forward = lambda x: x @ linear.weight.T + layer.factor * (x @ layer.A.T @ layer.B.T)
    return layer


def with_a_bias(linear, rank, alpha):
    layer = OfLayers(linear, rank, alpha)
    layer.b = nn.Linear(rank, linear.out_features)
    return layer


def not_parameters(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    layer.requires_grad_(False)
    return layer


def unused(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    layer.forward = lambda x: linear(x)
    return layer


def count(layers, rank):
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)


def weights(layers, rank=None):
    return sum(inputs * outputs for inputs, outputs in layers)


def merge(linear, a, b, scale, change=lambda weight, a, b, scale: weight + scale * b @ a):
    merged = copy.deepcopy(linear)
    merged.weight.data = change(linear.weight.data, a, b, scale)
    return merged


def made_anew(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features)
    merged.load_state_dict(
        {"weight": linear.weight + scale * torch.einsum("or,ri->oi", b, a), "bias": linear.bias}
    )
    return merged.requires_grad_(False)


def in_place(linear, a, b, scale):
    linear.weight.data += scale * b @ a
    return linear


def loses_the_bias(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features, bias=False)
    merged.weight.data = linear.weight.data + scale * b @ a
    return merged


def merged_by(change):
    return lambda linear, a, b, scale: merge(linear, a, b, scale, change)


RIGHT = {
    "lora_parameters": [
        (count,),
        (lambda layers, rank: torch.tensor([rank * sum(layer) for layer in layers]).sum(),),
        (lambda layers, rank: float(rank * sum(map(sum, layers))),),
    ],
    "lora_layer": [(Layer,), (Turned,), (OfLayers,)],
    "merged_layer": [(merge,), (made_anew,)],
    "what_to_hand_over": [(CASES,), ({case: [way] for case, way in CASES.items()},)],
}

WRONG = {
    "lora_parameters": [
        (weights, "the frozen weights"),
        (
            lambda layers, rank: sum(a * b for a, b in layers) + count(layers, rank),
            "only A and B are trained",
        ),
        (lambda layers, rank: count(layers, rank) + sum(b for _, b in layers), "no bias"),
        (lambda layers, rank: rank * weights(layers), "do not multiply"),
        (lambda layers, rank: rank * sum(a for a, _ in layers), "Where is B?"),
        (lambda layers, rank: rank * sum(b for _, b in layers), "Where is A?"),
        (lambda layers, rank: count(layers, 1), "Where is the rank?"),
        (lambda layers, rank: [count([layer], rank) for layer in layers], "One whole number"),
    ],
    "lora_layer": [
        (thawed, "must be frozen"),
        (not_parameters, "Nothing is trainable"),
        (lambda linear, rank, alpha: Layer(linear, rank, alpha, torch.ones), "Before any training"),
        (without_bias, "goes with its bias"),
        (both_zero, "Both matrices are zero"),
        (with_a_bias, "you train 23 numbers"),
        (with_factor(lambda rank, alpha: 1), "Where is alpha / r?"),
        (with_factor(lambda rank, alpha: alpha), "divided by the rank"),
        (with_factor(lambda rank, alpha: alpha * rank), "multiply by the rank"),
        (with_factor(lambda rank, alpha: rank / alpha), "rank and not alpha"),
        (unused, "Does forward use them?"),
        (lambda linear, rank, alpha: linear.weight, "a class of nn.Module"),
    ],
    "merged_layer": [
        (in_place, "adds the adapter twice"),
        (loses_the_bias, "The bias is another one"),
        (merged_by(lambda weight, a, b, scale: weight + b @ a), "Where is the scale?"),
        (merged_by(lambda weight, a, b, scale: weight), "Nothing was added"),
        (merged_by(lambda weight, a, b, scale: scale * b @ a), "the old one is missing"),
        (merged_by(lambda weight, a, b, scale: weight - scale * b @ a), "it is added"),
        (merged_by(lambda weight, a, b, scale: weight + b @ a / scale), "it multiplies"),
        (merged_by(lambda weight, a, b, scale: (weight + scale * b @ a).T), "[3, 7] as before"),
        (lambda linear, a, b, scale: linear.weight + scale * b @ a, "A linear layer is asked for"),
    ],
    "what_to_hand_over": [
        (dict.fromkeys(CASES, "everything"), "above the limit"),
        (CASES | {"shop": "everything"}, "costs most"),
        (CASES | {"archive": "everything"}, "A mean above 0 is not enough"),
        (CASES | {"archive": "LoRA"}, "LoRA is worse"),
        (CASES | {"factory": "LoRA"}, "above LoRA's"),
        (CASES | {"clinic": "head"}, "given away"),
        (CASES | {"shop": "biases"}, "none of head"),
        ({"shop": "head"}, "missing from your dictionary"),
    ],
}
