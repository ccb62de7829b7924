"""Right and wrong answers to the exercises of lesson 13, and words of the hint for each wrong one."""

import copy

import torch
from table_answers import right_of
from torch import nn

CASES = {"clinic": "LoRA", "shop": "head", "archive": "head", "factory": "everything"}
count, lora, merge = (right_of(check) for check in ("lora_parameters", "lora_layer", "merged_layer"))


class OfLayers(nn.Module):
    """LoRA of two layers without a bias, B at zero."""

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
    """The same with a copy of the old layer, both matrices transposed, and one multiplication."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().clone())
        self.register_buffer("bias", linear.bias.detach().clone())
        self.pair = nn.ParameterDict(
            {"down": torch.zeros(linear.in_features, rank), "up": torch.randn(rank, linear.out_features)}
        )
        self.scale = alpha / rank

    def forward(self, x):
        change = self.scale * (self.pair["down"] @ self.pair["up"]).T
        return nn.functional.linear(x, self.weight + change, self.bias)


class InAList(nn.Module):
    """The same with the old layer in a list, where PyTorch does not find it."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.layers, self.scale = [linear], alpha / rank
        self.A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.layers[0](x) + self.scale * (x @ self.A.T @ self.B.T)


def changed(change):
    """Return a function that makes a right layer and applies `change` to it, by its linear, A and B."""

    def make(linear, rank, alpha):
        layer = lora(linear, rank, alpha)
        change(layer)
        return layer

    return make


def beside(forward):
    """Return a function that makes layers whose forward is a function of the layer and its inputs."""
    return changed(lambda layer: setattr(layer, "forward", lambda x: forward(layer, x)))


def without_grad(layer, x):
    with torch.no_grad():
        return type(layer).forward(layer, x)


def into_the_weight(layer, x):
    layer.linear.weight.data += 2.5 * (layer.B @ layer.A).detach()
    return layer.linear(x) + 0 * (layer.A.sum() + layer.B.sum())


def merged_by(change):
    """Return a merge function that gives the new layer the weight from `change`."""

    def merge(linear, a, b, scale):
        merged = copy.deepcopy(linear)
        merged.weight.data = change(linear.weight.data, a, b, scale)
        return merged

    return merge


def by_hand(linear, a, b, scale):
    merged = nn.Linear(linear.in_features, linear.out_features)
    merged.weight = nn.Parameter(linear.weight + scale * (b @ a))
    merged.bias = nn.Parameter(linear.bias.clone())
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


def without_no_grad(linear, a, b, scale):
    merged = copy.deepcopy(linear)
    merged.weight += scale * b @ a
    return merged


def loses_the_bias(linear, a, b, scale):
    merged = merge(linear, a, b, scale)
    merged.bias = None
    return merged


RIGHT = {
    "lora_layer": [OfLayers, Merging],
    "merged_layer": [by_hand],
    "choose_adapter": [
        CASES,
        {case: [way] for case, way in CASES.items()},
        {case.title(): f" {way.upper()} " for case, way in CASES.items()} | {"another": "head"},
    ],
}

WRONG = {
    "lora_parameters": [
        (lambda layers, rank: [count([layer], rank) for layer in layers], "one whole number"),
        (lambda layers, rank: len(layers) * count(layers[:1], rank), "How many entries"),
    ],
    "lora_layer": [
        (changed(lambda layer: layer.linear.requires_grad_(True)), "Freeze both its weight and its bias"),
        (changed(lambda layer: layer.linear.bias.requires_grad_(True)), "still trainable"),
        (InAList, "The old layer gets gradients"),
        (changed(lambda layer: nn.init.ones_(layer.A)), "start out equal"),
        (
            beside(lambda layer, x: torch.einsum("nti,oi->nto", x, layer.linear.weight)),
            "fails with RuntimeError",
        ),
        (
            beside(lambda layer, x: without_grad(layer, x) if layer.training else layer.linear(x)),
            "differs between train and eval mode",
        ),
        (
            beside(lambda layer, x: layer.linear(x) + 2.5 * (x.detach() @ layer.A.T @ layer.B.T)),
            "The gradient of the inputs",
        ),
        (changed(lambda layer: layer.requires_grad_(False)), "Nothing is trainable"),
        (changed(lambda layer: nn.init.ones_(layer.B)), "Before any training"),
        (changed(lambda layer: nn.init.zeros_(layer.A)), "Both matrices are zero"),
        (
            changed(lambda layer: layer.add_module("more", nn.Linear(2, 1))),
            "20 trainable parameters in A and B, got 23",
        ),
        (lambda linear, rank, alpha: linear.weight, "a subclass of nn.Module"),
        (lambda linear, rank, alpha: lora(linear, rank, alpha * rank**0.5), "alpha / r times"),
        (beside(without_grad), "No gradient reaches"),
        (
            beside(lambda layer, x: layer.linear(x) + 2.5 * (x @ layer.A.T.detach() @ layer.B.T)),
            "No gradient reaches A.",
        ),
        (beside(into_the_weight), "Keep the change separate"),
        (beside(lambda layer, x: (layer.linear(x), x)), "Expected an output of shape [2, 4, 3]"),
    ],
    "merged_layer": [
        (in_place, "adds the adapter twice"),
        (shares_the_bias, "share a tensor"),
        (lambda linear, *rest: merge(linear.requires_grad_(False), *rest), "freezes its input layer"),
        (without_no_grad, "`torch.no_grad()` has to allow"),
        (lambda linear, a, b, scale: merge(linear, b, a, scale), "shapes of the two matrices do not match"),
        (loses_the_bias, "The bias differs from the old layer's"),
        (
            merged_by(lambda *given: (given[0] + given[3] * given[2] @ given[1]).T),
            "(float32) as the new weight, like the old one",
        ),
        (merged_by(lambda weight, a, b, scale: (weight + scale * b @ a).double()), "float64"),
        (merged_by(lambda weight, a, b, scale: weight + (scale + 1) * b @ a), "plus scale times B A"),
        (adapted_twice, "Is the result still a plain linear layer?"),
        (lambda linear, a, b, scale: linear.weight + scale * b @ a, "Expected a linear layer"),
    ],
    "choose_adapter": [
        (dict.fromkeys(CASES, "everything"), "over the limit"),
        (CASES | {"shop": "everything"}, "costs the most"),
        (CASES | {"archive": "everything"}, "A mean above 0 is not enough"),
        (CASES | {"archive": "LoRA"}, "LoRA is worse"),
        (CASES | {"factory": "LoRA"}, "the interval of everything minus LoRA"),
        (CASES | {"clinic": "head"}, "choosing the head would cost accuracy"),
        (CASES | {"shop": "biases"}, "expected head, LoRA or everything"),
        ({"shop": "head"}, "clinic is missing from your dictionary"),
        (dict.fromkeys(CASES, "head"), "no limit on the file size"),
        (CASES | {"shop": "LoRA"}, "LoRA is not shown to be better"),
        (CASES | {"Clinic": "head"}, "clinic is in your dictionary twice"),
        (list(CASES.values()), "a dictionary"),
    ],
}
