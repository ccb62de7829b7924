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


class Merging(nn.Module):
    """The same with a copy of the old layer, kept as buffers, and one multiplication."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().clone())
        self.register_buffer("bias", linear.bias.detach().clone())
        self.pair = nn.ParameterDict(
            {"A": torch.randn(rank, linear.in_features), "B": torch.zeros(linear.out_features, rank)}
        )
        self.scale = alpha / rank

    def forward(self, x):
        return nn.functional.linear(x, self.weight + self.scale * self.pair["B"] @ self.pair["A"], self.bias)


class InTheLayer(nn.Linear):
    """The same as a linear layer of its own, with the numbers of the old one."""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear.in_features, linear.out_features)
        self.load_state_dict(linear.state_dict())
        self.requires_grad_(False)
        self.lora = nn.Sequential(
            nn.Linear(linear.in_features, rank, bias=False), nn.Linear(rank, linear.out_features, bias=False)
        )
        nn.init.zeros_(self.lora[1].weight)
        self.scale = alpha / rank

    def forward(self, x):
        return super().forward(x) + self.scale * self.lora(x)


def beside(forward):
    """Return a maker of layers whose forward is a function of the layer and its inputs."""

    def make(linear, rank, alpha):
        layer = Layer(linear, rank, alpha)
        layer.forward = lambda x: forward(layer, x)
        return layer

    return make


def with_a_free_bias(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    linear.bias.requires_grad_(True)
    return layer


def without_grad(layer, x):
    with torch.no_grad():
        return Layer.forward(layer, x)


def into_the_weight(layer, x):
    layer.linear.weight.data += layer.factor * (layer.B @ layer.A).detach()
    return layer.linear(x) + 0 * (layer.A.sum() + layer.B.sum())


def with_factor(factor):
    """Return a maker of layers whose factor is another function of rank and alpha."""

    def make(linear, rank, alpha):
        layer = Layer(linear, rank, alpha)
        layer.factor = factor(rank, alpha)
        return layer

    return make


class InAList(Layer):
    """The same with the old layer where PyTorch does not find it."""

    def __init__(self, linear, rank, alpha, freeze=False):
        super().__init__(linear, rank, alpha)
        del self.linear
        self.layers = [linear.requires_grad_(not freeze)]

    def forward(self, x):
        return self.layers[0](x) + self.factor * (x @ self.A.T @ self.B.T)


def of_equal_rows(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    nn.init.ones_(layer.A)
    return layer


def thawed(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    linear.requires_grad_(True)
    return layer


def both_zero(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    nn.init.zeros_(layer.A)
    return layer


def with_a_bias(linear, rank, alpha):
    layer = OfLayers(linear, rank, alpha)
    layer.b = nn.Linear(rank, linear.out_features)
    return layer


def not_parameters(linear, rank, alpha):
    layer = Layer(linear, rank, alpha)
    layer.requires_grad_(False)
    return layer


def count(layers, rank):
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)


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


def by_hand(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features)
    merged.weight, merged.bias = (
        nn.Parameter(linear.weight + scale * (b @ a)),
        nn.Parameter(linear.bias.clone()),
    )
    return merged


def from_outputs(linear, a, b, scale):
    """Ask the adapted layer for the outputs of the unit vectors."""
    merged = copy.deepcopy(linear)
    units = torch.eye(linear.in_features)
    with torch.no_grad():
        merged.weight.copy_((linear(units) - linear.bias + scale * units @ a.T @ b.T).T)
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


def without_no_grad(linear, a, b, scale):
    merged = copy.deepcopy(linear)
    merged.weight += scale * b @ a
    return merged


def loses_the_bias(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features, bias=False)
    merged.weight.data = linear.weight.data + scale * b @ a
    return merged


def merged_by(change):
    return lambda linear, a, b, scale: merge(linear, a, b, scale, change)


RIGHT = {
    "lora_layer": [
        Layer,
        Turned,
        OfLayers,
        Merging,
        InTheLayer,
        lambda *given: Layer(*given, begin=lambda *shape: torch.zeros(shape)),
    ],
    "merged_layer": [merge, made_anew, by_hand, from_outputs],
    "choose_adapter": [
        CASES,
        {case: [way] for case, way in CASES.items()},
        {case: way.lower() for case, way in CASES.items()},
        {case.title(): f" {way.upper()} " for case, way in CASES.items()},
        dict(reversed(CASES.items())) | {"another": "head"},
    ],
}

WRONG = {
    "lora_parameters": [
        (lambda layers, rank: [count([layer], rank) for layer in layers], "one whole number"),
        (lambda layers, rank: len(layers) * count(layers[:1], rank), "How many numbers"),
    ],
    "lora_layer": [
        (thawed, "must be frozen"),
        (InAList, "not in a list"),
        (of_equal_rows, "begin alike"),
        (beside(lambda layer, x: torch.einsum("nti,oi->nto", x, layer.linear.weight)), "stops"),
        (
            beside(lambda layer, x: Layer.forward(layer, x) if layer.training else layer.linear(x)),
            "belongs to both modes",
        ),
        (
            beside(lambda layer, x: layer.linear(x) + layer.factor * (x.detach() @ layer.A.T @ layer.B.T)),
            "The gradient of the inputs",
        ),
        (not_parameters, "and not in a list"),
        (lambda linear, rank, alpha: Layer(linear, rank, alpha, torch.ones), "Before any training"),
        (both_zero, "Both matrices are zero"),
        (with_a_bias, "you train 23 numbers"),
        (lambda linear, rank, alpha: linear.weight, "a subclass of nn.Module"),
        (with_factor(lambda rank, alpha: alpha / rank**0.5), "alpha / r times"),
        (with_a_free_bias, "still trainable"),
        (beside(without_grad), "No gradient reaches"),
        (
            beside(lambda layer, x: layer.linear(x) + layer.factor * (x @ layer.A.T.detach() @ layer.B.T)),
            "No gradient reaches A",
        ),
        (beside(into_the_weight), "The change stays beside it"),
        (
            beside(lambda layer, x: (layer.linear(x), x @ layer.A.T @ layer.B.T)),
            "The output should be a tensor",
        ),
    ],
    "merged_layer": [
        (in_place, "adds the adapter twice"),
        (shares_the_bias, "share a tensor"),
        (freezes_the_old, "is frozen now"),
        (without_no_grad, "which `torch.no_grad()` must allow"),
        (lambda linear, a, b, scale: merge(linear, b, a, scale), "two matrices do not fit"),
        (loses_the_bias, "The bias is not that of the old layer"),
        (
            merged_by(lambda weight, a, b, scale: (weight + scale * b @ a).T),
            "a tensor [3, 7] of float32 as before",
        ),
        (lambda linear, a, b, scale: linear.weight + scale * b @ a, "Give a linear layer"),
        (merged_by(lambda weight, a, b, scale: weight + scale * b @ a + b @ a), "plus scale times B A"),
        (merged_by(lambda weight, a, b, scale: (weight + scale * b @ a).double()), "float64"),
        (adapted_twice, "Is it still a plain linear layer?"),
        (lambda linear, a, b, scale: nn.Sequential(linear, nn.Linear(7, 2)), "Give a linear layer"),
        (lambda linear, a, b, scale: merge(linear, a, b, scale).state_dict(), "Give a linear layer"),
    ],
    "choose_adapter": [
        (dict.fromkeys(CASES, "everything"), "above the limit"),
        (CASES | {"shop": "everything"}, "costs most"),
        (CASES | {"archive": "everything"}, "A mean above 0 is not enough"),
        (CASES | {"archive": "LoRA"}, "LoRA is worse"),
        (CASES | {"factory": "LoRA"}, "above LoRA's"),
        (CASES | {"clinic": "head"}, "give something away"),
        (CASES | {"shop": "biases"}, "name one of head"),
        ({"shop": "head"}, "clinic is missing from your dictionary"),
        (dict.fromkeys(CASES, "head"), "no limit for the file"),
        (CASES | {"shop": "LoRA"}, "not shown to be better"),
        (CASES | {"Clinic": "head"}, "clinic is in your dictionary twice"),
        (list(CASES.values()), "a dictionary"),
    ],
}
