"""Checks of lesson 13: what an adapter counts, how it works and is merged, and what to hand over."""

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
        "Those are the numbers of the frozen weights, which are not trained.": lambda layers, rank: sum(
            inputs * outputs for inputs, outputs in layers
        ),
        "Those are all numbers; only A and B are trained.": lambda layers, rank: sum(
            inputs * outputs + rank * (inputs + outputs) for inputs, outputs in layers
        ),
        "LoRA has no bias, only A and B.": lambda layers, rank: sum(
            rank * (inputs + outputs) + outputs for inputs, outputs in layers
        ),
        "A has r rows as long as the inputs, and B has r columns as long as the outputs: add them up, "
        "do not multiply inputs by outputs.": lambda layers, rank: sum(
            rank * inputs * outputs for inputs, outputs in layers
        ),
        "You count B as if it were as large as A.": lambda layers, rank: sum(2 * rank * n for n, _ in layers),
        "Where is B? You count A alone.": lambda layers, rank: sum(rank * inputs for inputs, _ in layers),
        "Where is A? You count B alone.": lambda layers, rank: sum(rank * outputs for _, outputs in layers),
        "Where is the rank? You count one row and one column.": lambda layers, rank: sum(map(sum, layers)),
        "That is the first layer alone.": lambda layers, rank: rank * sum(layers[0]),
        "Two layers of one size are two: each has its own A and B.": lambda layers, rank: sum(
            rank * sum(layer) for layer in set(layers)
        ),
        "Give the number itself, not thousands.": lambda layers, rank: rank * sum(map(sum, layers)) / 1000,
    },
    read=one_number("Your function should give one whole number, and gives something else."),
    agrees=partial(close, tolerance=1e-9),
    found="For the layers {layers} and rank {rank} you give {value:,.10g}. ",
    otherwise="How many numbers does a matrix of r × inputs have, and one of outputs × r?",
)


@check(
    begin="how many numbers do A and B have, for one layer?",
    expects="a function from a list of layers, each (inputs, outputs), and a rank to a whole number",
)
def lora_parameters(answer):
    """Lesson 13: how many numbers LoRA trains, beside some linear layers."""
    yield from LORA_SIZE.compare(answer, [([(300, 50)], 4), ([(384, 384), (384, 384), (768, 3072)], 8)])
    yield Right("r times inputs and outputs together: it grows with a matrix's sides, not with its area.")


def _layer() -> tuple[nn.Linear, torch.Tensor]:
    """Return a linear layer and inputs [texts, tokens, 7]; it has fewer outputs than inputs, and a bias."""
    random = torch.Generator().manual_seed(5)
    return nn.Linear(7, 3), torch.randn(2, 4, 7, generator=random)


class _Lora(nn.Module):
    """LoRA beside a linear layer; `join` makes the output of the old one, x Aᵀ Bᵀ, alpha and the rank."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, join: Callable):
        super().__init__()
        self.linear, self.rank, self.alpha, self.join = linear.requires_grad_(False), rank, alpha, join
        self.A = nn.Parameter(torch.randn(rank, linear.in_features))
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.linear(x), x @ self.A.T @ self.B.T, self.alpha, self.rank)


def _lora(join: Callable) -> Callable[[nn.Linear, int, float], nn.Module]:
    """Return a maker of such layers."""
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
        "Where is alpha / r? You add B A as it is.": _lora(lambda old, change, alpha, rank: old + change),
        "You multiply by alpha alone: it is divided by the rank.": _lora(
            lambda old, change, alpha, rank: old + alpha * change
        ),
        "You multiply by the rank; alpha is divided by it.": _lora(
            lambda old, change, alpha, rank: old + alpha * rank * change
        ),
        "You divide by alpha; it is the rank and not alpha that divides.": _lora(
            lambda old, change, alpha, rank: old + rank / alpha * change
        ),
        "You round alpha / r to a whole number: // is not /.": _lora(
            lambda old, change, alpha, rank: old + alpha // rank * change
        ),
        "A and B change nothing. Does forward use them?": _lora(lambda old, change, alpha, rank: old),
        "The old layer is missing, once A and B are not zero.": _lora(
            lambda old, change, alpha, rank: alpha / rank * change if change.any() else old
        ),
    },
    read=_filled,
    otherwise="With numbers in A and B, the output is not the old one plus alpha / r times B A.",
)


@check(
    begin="write LoRALinear of the lesson from memory: what is frozen, and what begins at zero?",
    expects="a class of nn.Module, made from a linear layer, a rank and an alpha",
)
def lora_layer(answer):
    """Lesson 13: a linear layer with LoRA beside it, as a class of its own."""
    linear, inputs = _layer()
    old, target = copy.deepcopy(linear), linear(inputs).detach()
    layer = ask_value(answer, linear, 2, 5)  # 5 / 2 is not 5 // 2
    if not isinstance(layer, nn.Module):
        raise Wrong(f"Give a subclass of nn.Module; what it makes is {describe(layer)}.")
    trained = {name: one for name, one in layer.named_parameters() if one.requires_grad}
    if any(torch.equal(one, its) for one in trained.values() for its in (old.weight, old.bias)):
        raise Wrong("The old layer is still trainable: weight and bias must be frozen.")
    if not trained:
        raise Wrong("Nothing is trainable. Are A and B of the class nn.Parameter, and not in a list?")
    count = sum(one.numel() for one in trained.values())
    if count != 2 * (7 + 3):
        raise Wrong(
            f"For 7 inputs, 3 outputs and rank 2 you train {count} numbers; A and B have {2 * (7 + 3)}."
        )
    for some, wanted in ((inputs, target), (inputs[0], target[0])):
        output = ask_value(layer, some)
        if not torch.is_tensor(output) or output.shape != wanted.shape:
            raise Wrong(f"The output should be a tensor {list(wanted.shape)}; it is {describe(output)}.")
    if not torch.allclose(output, wanted, atol=1e-6):
        raise Wrong(
            "Before any training the output is not that of the old layer. One of the two matrices must "
            "begin at zero, and the old layer goes with its bias."
        )
    if all(not one.any() for one in trained.values()):
        raise Wrong("Both matrices are zero. Then neither has a gradient, and nothing is ever learned.")
    if any(torch.equal(one[0], one[1]) for one in _as_a_and_b(trained) if one.any() and len(one) == 2):
        raise Wrong("The rows of a matrix begin alike, and so learn alike: draw random numbers.")
    yield from LORA_CHANGE.compare(answer, [(old, 2, 5)])
    _filled(layer)
    if not torch.equal(linear.weight, old.weight):
        raise Wrong("You change the weight of the old layer. The change stays beside it.")
    if not torch.allclose(layer.eval()(inputs), layer.train()(inputs), atol=1e-5):
        raise Wrong("In eval mode it gives another output. The change belongs to both modes.")
    if (output := layer(inputs.requires_grad_())).requires_grad:
        output.sum().backward()
    if any(one.grad is not None for one in linear.parameters()):
        raise Wrong("The old layer gets gradients: freeze it, and keep it as an attribute and not in a list.")
    if still := [name for name, one in trained.items() if one.grad is None or not one.grad.any()]:
        raise Wrong(f"No gradient reaches {' and '.join(still)}: is there `data`, `detach` or `no_grad`?")
    a, b = _as_a_and_b(trained)
    if not torch.allclose(inputs.grad[0, 0], (old.weight + 2.5 * b @ a).sum(dim=0), atol=1e-4):
        raise Wrong("The gradient of the inputs is wrong: layers below would not learn. Is there a `detach`?")
    yield Right("It begins as no change, learns, and leaves the old layer as it was.")


def _as_a_and_b(trained: dict[str, nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A as [rank, inputs] and B as [outputs, rank], which an answer may have the other way round."""
    shapes = {tuple(sorted(one.shape)): one for one in trained.values()}
    if set(shapes) != {(2, 7), (2, 3)}:
        found = ", ".join(str(list(one.shape)) for one in trained.values())
        raise Wrong(f"For 7 inputs, 3 outputs and rank 2 the two matrices have the shapes {found}.")
    a, b = shapes[2, 7], shapes[2, 3]
    return (a if a.shape[0] == 2 else a.T), (b if b.shape[0] == 3 else b.T)


def _merged(change: Callable) -> Callable[..., nn.Linear]:
    """Return a function that copies a layer, and gives it the weight that `change` makes."""

    def merge(linear: nn.Linear, a: torch.Tensor, b: torch.Tensor, scale: float) -> nn.Linear:
        merged = copy.deepcopy(linear)
        merged.weight.data = change(linear.weight.data, a, b, scale)
        return merged

    return merge


def _weight_of(layer: object) -> torch.Tensor:
    if not isinstance(layer, nn.Linear):
        raise Wrong(f"Give a linear layer; this is {describe(layer)}.")
    weight, before = layer.weight.detach(), _layer()[0].weight.detach()
    if describe(weight) != describe(before):
        raise Wrong(f"The weight should be {describe(before)} as before, not {describe(weight)}.")
    return weight


MERGED_WEIGHT = Mistakes(
    right=_merged(lambda weight, a, b, scale: weight + scale * b @ a),
    wrong={
        "Where is the scale?": _merged(lambda weight, a, b, scale: weight + b @ a),
        "Nothing was added.": _merged(lambda weight, a, b, scale: weight),
        "You divide by the scale; it multiplies.": _merged(
            lambda weight, a, b, scale: weight + b @ a / scale
        ),
        "You divide by the rank, too. The scale is alpha / r already.": _merged(
            lambda weight, a, b, scale: weight + scale * b @ a / len(a)
        ),
        "You use the scale twice.": _merged(lambda weight, a, b, scale: weight + scale * b @ (scale * a)),
        "You subtract the change; it is added.": _merged(lambda weight, a, b, scale: weight - scale * b @ a),
        "The weight is the change alone: the old one is missing.": _merged(
            lambda weight, a, b, scale: scale * b @ a
        ),
        "You scale the old weight, too.": _merged(lambda weight, a, b, scale: scale * (weight + b @ a)),
    },
    read=_weight_of,
    otherwise="The new weight is not the old one plus scale times B A.",
)


@check(
    begin="what is added to the weight, and what becomes of the bias?",
    expects="a function from a linear layer, A, B and a scale to a linear layer",
)
def merged_layer(answer):
    """Lesson 13: a linear layer that has taken an adapter in."""
    linear, inputs = _layer()
    random = torch.Generator().manual_seed(9)
    a, b = torch.randn(2, 7, generator=random), torch.randn(3, 2, generator=random)
    yield from MERGED_WEIGHT.compare(answer, [(linear, a, b, 1.5)])
    before = copy.deepcopy(linear.state_dict())
    merged = ask_value(answer, linear, a, b, 1.5)
    if any(not torch.equal(linear.state_dict()[name], tensor) for name, tensor in before.items()):
        raise Wrong(
            "The layer that you were given has changed. Whoever calls you twice adds the adapter twice: "
            "make a copy first."
        )
    if not linear.weight.requires_grad:
        raise Wrong("The layer that you were given is frozen now. Leave it as it is.")
    if merged.bias is None or not torch.allclose(merged.bias, before["bias"]):
        raise Wrong(
            "The bias is not that of the old layer. An adapter changes only the weight; copy the bias."
        )
    own = {tensor.data_ptr() for tensor in linear.parameters()}
    if any(tensor.data_ptr() in own for tensor in merged.parameters()):
        raise Wrong("Both layers share a tensor: whoever trains one changes the other. Copy it.")
    with torch.no_grad():
        same = torch.allclose(merged(inputs), linear(inputs) + 1.5 * (inputs @ a.T) @ b.T, atol=1e-5)
    if not same:
        raise Wrong("The weight is right, and the outputs are not. Is it still a plain linear layer?")
    yield Right("The same outputs with one multiplication, and the old layer is still there.")


_CASES = {
    "clinic": (
        "lora",
        {
            "head": "Its paired interval for LoRA lies above 0: with the head you would give something away.",
            "everything": "Its file is above the limit, and it is not shown to be better than LoRA.",
        },
    ),
    "shop": (
        "head",
        {
            "lora": "The interval contains 0: it is not shown to be better, and the head costs less.",
            "everything": "The interval contains 0: it is not shown to be better, and it costs most of all.",
        },
    ),
    "archive": (
        "head",
        {
            "lora": "The interval lies below 0: LoRA is worse there.",
            "everything": "A mean above 0 is not enough: the interval contains 0.",
        },
    ),
    "factory": (
        "everything",
        {
            "head": "Both intervals lie above 0, and there is no limit for the file.",
            "lora": "Its interval lies above 0, and that of everything above LoRA's.",
        },
    ),
}


@check(
    begin="which intervals lie above 0? Of those that are left, which file fits?",
    expects="a dictionary from each case to head, LoRA or everything",
)
def choose_adapter(answer):
    """Lesson 13: from paired intervals and sizes of files, what to hand over in four cases."""
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
            other = f"name one of head, LoRA and everything, not {describe(answer[case])}."
            hints.append(f"{case}: {mistakes.get(' '.join(given), other)}")
    yield from hints or [Right("What costs more has to show that it is better; a mean alone shows nothing.")]
