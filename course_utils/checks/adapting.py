"""Checks of lesson 13: count LoRA's parameters, write it, merge it, and choose what to deploy."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from course_utils.checks.asking import ask_value
from course_utils.checks.mistakes import Mistakes, one_number
from course_utils.checks.values import close, describe
from course_utils.checks.verdict import Right, Wrong, check

LORA_SIZE = Mistakes(
    right=lambda layers, rank: sum(rank * (inputs + outputs) for inputs, outputs in layers),
    wrong={
        "You count the frozen weights, which are not trained.": lambda layers, rank: sum(
            inputs * outputs for inputs, outputs in layers
        ),
        "You count all parameters, frozen ones included. Only A and B are trained.": lambda layers, rank: sum(
            inputs * outputs + rank * (inputs + outputs) for inputs, outputs in layers
        ),
        "You count a bias for each output. LoRA has no bias, only A and B.": lambda layers, rank: sum(
            rank * (inputs + outputs) + outputs for inputs, outputs in layers
        ),
        "A has r rows with an entry for each input, and B has r columns with an entry for each output. "
        "Add their sizes; do not multiply inputs by outputs.": lambda layers, rank: sum(
            rank * inputs * outputs for inputs, outputs in layers
        ),
        "You count B as if it were as large as A.": lambda layers, rank: sum(2 * rank * n for n, _ in layers),
        "You count only A. Where is B?": lambda layers, rank: sum(rank * inputs for inputs, _ in layers),
        "You count only B. Where is A?": lambda layers, rank: sum(rank * outputs for _, outputs in layers),
        "You count one row of A and one column of B. Where is the rank?": lambda layers, rank: sum(
            map(sum, layers)
        ),
        "You count only the first layer. Add the others.": lambda layers, rank: rank * sum(layers[0]),
        "You count layers of the same size only once. Each has its own A and B.": lambda layers, rank: sum(
            rank * sum(layer) for layer in set(layers)
        ),
        "You count in thousands. Return the number itself.": lambda layers, rank: (
            rank * sum(map(sum, layers)) / 1000
        ),
    },
    read=one_number("Expected one whole number, got {value}."),
    agrees=partial(close, tolerance=1e-9),
    found="For the layers {layers} and rank {rank}, you return {value:,.10g}. ",
    otherwise="How many entries does a matrix of r × inputs have, and one of outputs × r?",
)


@check(
    begin="how many entries do A and B have in one layer?",
    expects="a function from a list of layers, each (inputs, outputs), and a rank to a whole number",
)
def lora_parameters(answer):
    """Lesson 13: count the parameters that LoRA adds to some linear layers."""
    yield from LORA_SIZE.compare(answer, [([(300, 50)], 4), ([(384, 384), (384, 384), (768, 3072)], 8)])
    yield Right(
        "r × (inputs + outputs) for each layer: this grows with the sides of a matrix, not with its area."
    )


def _layer() -> tuple[nn.Linear, torch.Tensor]:
    """Return a linear layer with a bias and fewer outputs than inputs, and inputs [texts, tokens, 7]."""
    random = torch.Generator().manual_seed(5)
    return nn.Linear(7, 3), torch.randn(2, 4, 7, generator=random)


class _Lora(nn.Module):
    """LoRA next to a linear layer; `join` combines the layer's output, x Aᵀ Bᵀ, alpha and the rank."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, join: Callable):
        super().__init__()
        self.linear, self.rank, self.alpha, self.join = linear.requires_grad_(False), rank, alpha, join
        self.A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.linear(x), x @ self.A.T @ self.B.T, self.alpha, self.rank)


def _lora(join: Callable) -> Callable[[nn.Linear, int, float], nn.Module]:
    """Return a function that makes such a layer from a linear one."""
    return lambda linear, rank, alpha: _Lora(linear, rank, alpha, join)


def _filled(layer: nn.Module) -> torch.Tensor:
    """Fill A and B with fixed numbers, and return the outputs."""
    random = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for one in _as_a_and_b({name: p for name, p in layer.named_parameters() if p.requires_grad}):
            one.copy_(torch.randn(one.shape, generator=random))
        return layer(_layer()[1])


LORA_CHANGE = Mistakes(
    right=_lora(lambda old, change, alpha, rank: old + alpha / rank * change),
    wrong={
        "You add B A without a scale. Where is alpha / r?": _lora(
            lambda old, change, alpha, rank: old + change
        ),
        "You multiply by alpha alone. Divide alpha by the rank.": _lora(
            lambda old, change, alpha, rank: old + alpha * change
        ),
        "You multiply alpha by the rank instead of dividing by it.": _lora(
            lambda old, change, alpha, rank: old + alpha * rank * change
        ),
        "You divide the rank by alpha instead of alpha by the rank.": _lora(
            lambda old, change, alpha, rank: old + rank / alpha * change
        ),
        "You round alpha / r down to a whole number: `//` is not `/`.": _lora(
            lambda old, change, alpha, rank: old + alpha // rank * change
        ),
        "A and B do not change the output. Does `forward` use them?": _lora(
            lambda old, change, alpha, rank: old
        ),
        "The output of the old layer is missing once A and B are not zero.": _lora(
            lambda old, change, alpha, rank: alpha / rank * change if change.any() else old
        ),
    },
    read=_filled,
    otherwise="Once A and B are not zero, your output is not the old one plus alpha / r times B A x.",
)


@check(
    begin="write the lesson's `LoRALinear` from memory. What is frozen, and what starts at zero?",
    expects="a subclass of nn.Module that takes a linear layer, a rank and an alpha",
)
def lora_layer(answer):
    """Lesson 13: write LoRA for a linear layer as a class."""
    linear, inputs = _layer()
    old, target = copy.deepcopy(linear), linear(inputs).detach()
    layer = ask_value(answer, linear, 2, 5)  # 5 / 2 is not 5 // 2
    if not isinstance(layer, nn.Module):
        raise Wrong(f"Expected a subclass of nn.Module, but your answer makes {describe(layer)}.")
    trained = {name: one for name, one in layer.named_parameters() if one.requires_grad}
    if any(torch.equal(one, its) for one in trained.values() for its in (old.weight, old.bias)):
        raise Wrong("The old layer is still trainable. Freeze both its weight and its bias.")
    if not trained:
        raise Wrong(
            "Nothing is trainable. Are A and B both `nn.Parameter`s, stored as attributes and not in a list?"
        )
    count = sum(one.numel() for one in trained.values())
    if count != 2 * (7 + 3):
        raise Wrong(
            f"For 7 inputs, 3 outputs and rank 2, expected {2 * (7 + 3)} trainable parameters in A and B, "
            f"got {count}."
        )
    for some, wanted in ((inputs, target), (inputs[0], target[0])):
        output = ask_value(layer, some)
        if not torch.is_tensor(output) or output.shape != wanted.shape:
            raise Wrong(f"Expected an output of shape {list(wanted.shape)}, got {describe(output)}.")
    if not torch.allclose(output, wanted, atol=1e-6):
        raise Wrong(
            "Before any training, the output already differs from the old layer's. One of the two matrices "
            "must start at zero, and the old layer must keep its bias."
        )
    if all(not one.any() for one in trained.values()):
        raise Wrong("Both matrices are zero, so both gradients are zero and nothing is ever learned.")
    if any(torch.equal(one[0], one[1]) for one in _as_a_and_b(trained) if one.any() and len(one) == 2):
        raise Wrong(
            "The rows of a matrix start out equal, so they all learn the same thing. Draw random numbers."
        )
    yield from LORA_CHANGE.compare(answer, [(old, 2, 5)])
    _filled(layer)
    if not torch.equal(linear.weight, old.weight):
        raise Wrong("You change the weight of the old layer. Keep the change separate from it.")
    if not torch.allclose(layer.eval()(inputs), layer.train()(inputs), atol=1e-5):
        raise Wrong("The output differs between train and eval mode. Add the change in both modes.")
    if (output := layer(inputs.requires_grad_())).requires_grad:
        output.sum().backward()
    if any(one.grad is not None for one in linear.parameters()):
        raise Wrong(
            "The old layer gets gradients. Freeze it, and store it as an attribute and not in a list."
        )
    if still := [name for name, one in trained.items() if one.grad is None or not one.grad.any()]:
        raise Wrong(f"No gradient reaches {' and '.join(still)}. Do you use `data`, `detach` or `no_grad`?")
    a, b = _as_a_and_b(trained)
    if not torch.allclose(inputs.grad[0, 0], (old.weight + 2.5 * b @ a).sum(dim=0), atol=1e-4):
        raise Wrong(
            "The gradient of the inputs is wrong, so earlier layers would learn badly. Do you use `detach`?"
        )
    yield Right("Your layer starts with no change, learns, and leaves the old layer as it was.")


def _as_a_and_b(trained: dict[str, nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A as [rank, inputs] and B as [outputs, rank]; an answer may store either one transposed."""
    shapes = {tuple(sorted(one.shape)): one for one in trained.values()}
    if set(shapes) != {(2, 7), (2, 3)}:
        found = ", ".join(str(list(one.shape)) for one in trained.values())
        raise Wrong(
            f"For 7 inputs, 3 outputs and rank 2, your matrices have the shapes {found}. Compare them with A "
            "and B in the lesson."
        )
    a, b = shapes[2, 7], shapes[2, 3]
    return (a if a.shape[0] == 2 else a.T), (b if b.shape[0] == 3 else b.T)


def _merged(change: Callable) -> Callable[..., nn.Linear]:
    """Return a function that copies a layer and replaces its weight with the result of `change`."""

    def merge(linear: nn.Linear, a: torch.Tensor, b: torch.Tensor, scale: float) -> nn.Linear:
        merged = copy.deepcopy(linear)
        merged.weight.data = change(linear.weight.data, a, b, scale)
        return merged

    return merge


def _weight_of(layer: object) -> torch.Tensor:
    if not isinstance(layer, nn.Linear):
        raise Wrong(f"Expected a linear layer, got {describe(layer)}.")
    weight, before = layer.weight.detach(), _layer()[0].weight.detach()
    if describe(weight) != describe(before):
        raise Wrong(
            f"Expected {describe(before)} as the new weight, like the old one, got {describe(weight)}."
        )
    return weight


MERGED_WEIGHT = Mistakes(
    right=_merged(lambda weight, a, b, scale: weight + scale * b @ a),
    wrong={
        "You add B A as it is. Where is the scale?": _merged(lambda weight, a, b, scale: weight + b @ a),
        "The new weight equals the old one. Add the change.": _merged(lambda weight, a, b, scale: weight),
        "You divide by the scale. Multiply by it.": _merged(
            lambda weight, a, b, scale: weight + b @ a / scale
        ),
        "You also divide by the rank, but the scale is already alpha / r.": _merged(
            lambda weight, a, b, scale: weight + scale * b @ a / len(a)
        ),
        "You multiply by the scale twice.": _merged(
            lambda weight, a, b, scale: weight + scale * b @ (scale * a)
        ),
        "You subtract the change. Add it.": _merged(lambda weight, a, b, scale: weight - scale * b @ a),
        "Your new weight is only the change. The old weight is missing.": _merged(
            lambda weight, a, b, scale: scale * b @ a
        ),
        "You scale the old weight as well. Scale only the change.": _merged(
            lambda weight, a, b, scale: scale * (weight + b @ a)
        ),
    },
    read=_weight_of,
    otherwise="Your new weight is not the old one plus scale times B A.",
)


@check(
    begin="what do you add to the weight, and what happens to the bias?",
    expects="a function from a linear layer, A, B and a scale to a linear layer",
)
def merged_layer(answer):
    """Lesson 13: merge an adapter into a linear layer."""
    linear, inputs = _layer()
    random = torch.Generator().manual_seed(9)
    a, b = torch.randn(2, 7, generator=random), torch.randn(3, 2, generator=random)
    yield from MERGED_WEIGHT.compare(answer, [(linear, a, b, 1.5)])
    before = copy.deepcopy(linear.state_dict())
    merged = ask_value(answer, linear, a, b, 1.5)
    if any(not torch.equal(linear.state_dict()[name], tensor) for name, tensor in before.items()):
        raise Wrong(
            "Your function changes its input layer, so calling it twice adds the adapter twice. Make a copy "
            "first."
        )
    if not linear.weight.requires_grad:
        raise Wrong("Your function freezes its input layer. Leave that layer as it is.")
    if merged.bias is None or not torch.allclose(merged.bias, before["bias"]):
        raise Wrong(
            "The bias differs from the old layer's. An adapter changes only the weight, so copy the bias."
        )
    own = {tensor.data_ptr() for tensor in linear.parameters()}
    if any(tensor.data_ptr() in own for tensor in merged.parameters()):
        raise Wrong("Both layers share a tensor, so training one changes the other. Copy the tensor.")
    with torch.no_grad():
        same = torch.allclose(merged(inputs), linear(inputs) + 1.5 * (inputs @ a.T) @ b.T, atol=1e-5)
    if not same:
        raise Wrong("The weight is right, but the outputs are not. Is the result still a plain linear layer?")
    yield Right("One matrix multiplication gives the same outputs, and the old layer is unchanged.")


_CASES = {
    "clinic": (
        "lora",
        {
            "head": "The interval of LoRA minus head lies above 0, so choosing the head would cost accuracy.",
            "everything": "The file is over the limit, and training everything is not shown to beat LoRA.",
        },
    ),
    "shop": (
        "head",
        {
            "lora": "The interval contains 0, so LoRA is not shown to be better, and the head costs less.",
            "everything": "The interval contains 0, so no gain is shown, and this method costs the most.",
        },
    ),
    "archive": (
        "head",
        {
            "lora": "The interval lies below 0, so LoRA is worse than the head.",
            "everything": "A mean above 0 is not enough. Look at the interval: it contains 0.",
        },
    ),
    "factory": (
        "everything",
        {
            "head": "Both other methods have intervals above 0, and there is no limit on the file size.",
            "lora": "LoRA beats the head, but the interval of everything minus LoRA also lies above 0.",
        },
    ),
}


@check(
    begin="which intervals lie above 0? Of the methods that are left, whose file is allowed?",
    expects="a dictionary from each project to head, LoRA or everything",
)
def choose_adapter(answer):
    """Lesson 13: choose the method to deploy in four projects, by paired intervals and file sizes."""
    cases = [str(case).strip().lower() for case in dict(answer)]
    if twice := [case for case in cases if cases.count(case) > 1]:
        raise Wrong(f"{twice[0]} is in your dictionary twice.")
    answer = dict(zip(cases, answer.values(), strict=True))
    hints = []
    for case, (right, mistakes) in _CASES.items():
        if case not in answer:
            raise Wrong(f"{case} is missing from your dictionary.")
        ways = answer[case] if isinstance(answer[case], list | tuple | set) else [answer[case]]
        given = [str(way).strip().lower() for way in ways]
        if given != [right]:
            other = f"expected head, LoRA or everything, got {describe(answer[case])}."
            hints.append(f"{case}: {mistakes.get(' '.join(given), other)}")
    yield from hints or [
        Right("A method that costs more must be shown to be better; a mean alone shows nothing.")
    ]
