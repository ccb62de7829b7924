"""Checks of lesson 13: what an adapter counts, how it works and is merged, and what to hand over."""

import copy

import torch
from torch import nn

from course_utils.checks.values import as_number, close, describe, known_mistake
from course_utils.checks.verdict import Right, Wrong, ask_value, check


@check(
    begin="how many numbers do A and B have, for one layer?",
    expects="a function from a list of layers, each (inputs, outputs), and a rank to a whole number",
)
def lora_parameters(answer):
    """Lesson 13: how many numbers LoRA trains, beside some linear layers."""
    for layers, rank in (([(300, 50)], 4), ([(384, 384), (384, 384), (768, 3072)], 8)):
        truth = sum(rank * (inputs + outputs) for inputs, outputs in layers)
        value = as_number(ask_value(answer, list(layers), rank))
        if value is None:
            raise Wrong("Your function should give one whole number, and gives something else.")
        if close(value, truth, 1e-9):
            continue
        weights = sum(inputs * outputs for inputs, outputs in layers)
        mistakes = {
            "Those are the numbers of the frozen weights, which are not trained.": weights,
            "Those are all numbers; only A and B are trained.": weights + truth,
            "LoRA has no bias, only A and B.": truth + sum(out for _, out in layers),
            "A has r rows as long as the inputs, and B has r columns as long as the outputs: add them up, "
            "do not multiply inputs by outputs.": rank * weights,
            "You count B as if it were as large as A.": sum(2 * rank * inputs for inputs, _ in layers),
            "Where is B? You count A alone.": sum(rank * inputs for inputs, _ in layers),
            "Where is A? You count B alone.": sum(rank * outputs for _, outputs in layers),
            "Where is the rank? You count one row and one column.": truth / rank,
            "That is the first layer alone.": rank * sum(layers[0]),
            "Two layers of one size are two: each has its own A and B.": rank * sum(map(sum, set(layers))),
            "Give the number itself, not thousands.": truth / 1000,
        }
        hint = known_mistake(value, mistakes, lambda one, other: close(one, other, 1e-9))
        raise Wrong(
            f"For the layers {layers} and rank {rank} you give {value:,.10g}. "
            f"{hint or 'How many numbers does a matrix of r × inputs have, and one of outputs × r?'}"
        )
    yield Right("r times inputs and outputs together: it grows with a matrix's sides, not with its area.")


def _layer() -> tuple[nn.Linear, torch.Tensor]:
    """Return a linear layer and inputs [texts, tokens, 7]; it has fewer outputs than inputs, and a bias."""
    random = torch.Generator().manual_seed(5)
    return nn.Linear(7, 3), torch.randn(2, 4, 7, generator=random)


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
    _check_change(layer, trained, inputs, target)
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


def _check_change(
    layer: nn.Module, trained: dict[str, nn.Parameter], inputs: torch.Tensor, target: torch.Tensor
) -> None:
    """Fill A and B with numbers, and compare the change with alpha / r times B A."""
    with torch.no_grad():
        for one in trained.values():
            one.copy_(torch.randn(one.shape, generator=torch.Generator().manual_seed(one.numel())))
        first, second = _as_a_and_b(trained)
        change, plain = layer(inputs) - target, inputs @ first.T @ second.T
    if torch.allclose(change, 2.5 * plain, atol=1e-4):
        return
    mistakes = {
        "Where is alpha / r? You add B A as it is.": plain,
        "You multiply by alpha alone: it is divided by the rank.": 5.0 * plain,
        "You multiply by the rank; alpha is divided by it.": 10.0 * plain,
        "You divide by alpha; it is the rank and not alpha that divides.": plain / 2.5,
        "You round alpha / r to a whole number: // is not /.": 2.0 * plain,
        "A and B change nothing. Does forward use them?": torch.zeros_like(plain),
        "The old layer is missing, once A and B are not zero.": 2.5 * plain - target,
    }
    hint = known_mistake(change, mistakes, lambda one, other: torch.allclose(one, other, atol=1e-4))
    raise Wrong(hint or "With numbers in A and B, the output is not the old one plus alpha / r times B A.")


def _as_a_and_b(trained: dict[str, nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A as [rank, inputs] and B as [outputs, rank], which an answer may have the other way round."""
    shapes = {tuple(sorted(one.shape)): one for one in trained.values()}
    if set(shapes) != {(2, 7), (2, 3)}:
        found = ", ".join(str(list(one.shape)) for one in trained.values())
        raise Wrong(f"For 7 inputs, 3 outputs and rank 2 the two matrices have the shapes {found}.")
    a, b = shapes[2, 7], shapes[2, 3]
    return (a if a.shape[0] == 2 else a.T), (b if b.shape[0] == 3 else b.T)


@check(
    begin="what is added to the weight, and what becomes of the bias?",
    expects="a function from a linear layer, A, B and a scale to a linear layer",
)
def merged_layer(answer):
    """Lesson 13: a linear layer that has taken an adapter in."""
    linear, inputs = _layer()
    random = torch.Generator().manual_seed(9)
    a, b = torch.randn(2, 7, generator=random), torch.randn(3, 2, generator=random)
    before = {name: tensor.detach().clone() for name, tensor in linear.state_dict().items()}
    merged = ask_value(answer, linear, a.clone(), b.clone(), 1.5)
    if not isinstance(merged, nn.Linear):
        raise Wrong(f"Give a linear layer; this is {describe(merged)}.")
    if any(not torch.equal(linear.state_dict()[name], tensor) for name, tensor in before.items()):
        raise Wrong(
            "The layer that you were given has changed. Whoever calls you twice adds the adapter twice: "
            "make a copy first."
        )
    if not linear.weight.requires_grad:
        raise Wrong("The layer that you were given is frozen now. Leave it as it is.")
    weight, bias = before["weight"], before["bias"]
    if describe(merged.weight.data) != describe(weight):
        raise Wrong(f"The weight should be {describe(weight)} as before, not {describe(merged.weight.data)}.")
    if merged.bias is None or not torch.allclose(merged.bias, bias):
        raise Wrong(
            "The bias is not that of the old layer. An adapter changes only the weight; copy the bias."
        )
    change = merged.weight.detach() - weight
    mistakes = {
        "Where is the scale?": b @ a,
        "Nothing was added.": torch.zeros_like(change),
        "You divide by the scale; it multiplies.": (b @ a) / 1.5,
        "You divide by the rank, too. The scale is alpha / r already.": 0.75 * (b @ a),
        "You use the scale twice.": 2.25 * (b @ a),
        "You subtract the change; it is added.": -1.5 * (b @ a),
        "The weight is the change alone: the old one is missing.": 1.5 * (b @ a) - weight,
        "You scale the old weight, too.": 0.5 * weight + 1.5 * (b @ a),
    }
    if not torch.allclose(change, 1.5 * (b @ a), atol=1e-5):
        hint = known_mistake(change, mistakes, lambda one, other: torch.allclose(one, other, atol=1e-5))
        raise Wrong(hint or "The new weight is not the old one plus scale times B A.")
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
def what_to_hand_over(answer):
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
