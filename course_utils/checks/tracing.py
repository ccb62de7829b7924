"""Record a training run from outside: each batch that reaches the head, and each optimizer step.

PyTorch calls the hooks of this module for every layer and every optimizer, whatever the training loop
looks like.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


@dataclass
class Pass:
    """A batch that went through the last layer of the head."""

    features: torch.Tensor | None
    """The input of the head: [images, features]."""
    predictions: torch.Tensor
    weight: torch.Tensor
    """The weight of the last layer at that time."""
    training_layers: set[str]
    """Which kinds of layers were in train mode: "BatchNorm" in the backbone, "Dropout" anywhere."""
    epoch: int
    """The epoch that it belongs to or follows; 0 before the first."""
    trained: bool = False
    """Whether a gradient flowed back through it."""
    labels: torch.Tensor | None = None
    loss: float | None = None
    rows: list[int] = field(default_factory=list)
    """The position of each picture in the report; `recipe_hints` fills it in."""


class Trace:
    """Record a training run inside `with Trace(...):`.

    In the last epoch, it replaces the head's weights after each step with negated ones, so that this epoch
    is certainly not the best.
    """

    def __init__(self, classes: int, features: int, epochs: int):
        self.classes, self.width, self.epochs = classes, features, epochs
        self.passes: list[Pass] = []
        self.epoch = self.steps = self.steps_of_head = self.steps_without_gradient = 0
        self.softmax_in_loss = self.stale_gradient = self.extracted_in_train_mode = False
        self._features = self._derived = None
        self._training_layers, self._since_step = set(), 0
        self._weights, self._stepped, self._turned = {}, set(), {}

    def __enter__(self) -> "Trace":
        self._stack, self._original = ExitStack(), F.cross_entropy
        self._stack.enter_context(patch.object(F, "cross_entropy", self._cross_entropy))
        self._stack.callback(register_module_forward_hook(self._forward).remove)
        self._stack.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._stack.callback(register_optimizer_step_post_hook(self._after_step).remove)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _forward(self, module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            # The previous batch did not reach a head: its features were stored for later.
            self.extracted_in_train_mode |= "BatchNorm" in self._training_layers
            self._training_layers = set()
        if module.training and isinstance(module, nn.BatchNorm2d):
            self._training_layers.add("BatchNorm")
        if module.training and isinstance(module, nn.Dropout):
            self._training_layers.add("Dropout")
        first = inputs[0] if inputs else None
        if isinstance(first, torch.Tensor) and first.ndim == 2 and first.shape[1] == self.width:
            if first is not self._derived:  # and not, for example, the output of dropout
                self._features = first.detach().cpu().clone()
            self._derived = output
        if isinstance(module, nn.Linear) and module.out_features == self.classes and output.ndim == 2:
            self._add_pass(module.weight, output)

    def _add_pass(self, weight: torch.Tensor, output: torch.Tensor) -> None:
        layers, self._training_layers = self._training_layers, set()
        last = self.passes[-1] if self.passes else None
        if last is None or not _equal(last.features, self._features):  # else it is the same batch again
            predictions, kept = output.detach().argmax(dim=1).cpu(), weight.detach().cpu().clone()
            last = Pass(self._features, predictions, kept, layers, self.epoch)
            self.passes.append(last)
        if output.requires_grad:
            output.register_hook(lambda gradient: setattr(last, "trained", True))
            if id(weight) not in self._weights and weight.is_leaf:
                weight.register_hook(lambda gradient: self._look_at_gradient(weight))
            self._weights[id(weight)] = weight

    def _look_at_gradient(self, weight: torch.Tensor) -> None:
        """Check, before a new gradient is added, whether an old one is left from before the last step."""
        if id(weight) in self._stepped and weight.grad is not None and bool(weight.grad.any()):
            self.stale_gradient = True
        self._stepped.discard(id(weight))

    def _cross_entropy(self, logits: torch.Tensor, target: torch.Tensor, *options: object, **named: object):
        last = self.passes[-1] if self.passes else None
        if last and target.ndim == 1 and len(target) == len(last.predictions) and logits.ndim == 2:
            values = logits.detach()
            last.labels, last.loss = target.detach().cpu(), float(self._original(values, target))
            sums_to_one = bool(((values.sum(dim=1) - 1).abs() < 1e-4).all())
            self.softmax_in_loss |= sums_to_one and bool((values >= 0).all())
        return self._original(logits, target, *options, **named)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]} & self._weights.keys()
        self.steps += 1
        self.steps_of_head += bool(held)
        gradients = [self._weights[key].grad for key in held]
        self.steps_without_gradient += bool(held) and not any(g is not None and g.any() for g in gradients)
        new = self.passes[self._since_step :]
        self._since_step = len(self.passes)
        self.epoch += self.epoch == 0 or any(not one.trained for one in new)
        for one in new:
            one.epoch = self.epoch if one.trained else one.epoch

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for key, weight in self._weights.items():
            self._stepped.add(key)
            if self.epoch >= self.epochs and key in held:
                turned = self._turned.setdefault(key, -weight.detach().clone())
                weight.data.copy_(turned)


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
