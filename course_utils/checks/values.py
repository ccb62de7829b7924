"""Values that a student's answer may have: read as numbers or names, compared, and put into words."""

import math
import numbers
import re
import reprlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

DATA = (torch.Tensor, np.ndarray, pd.DataFrame, Image.Image, list, tuple, dict, set)


def as_number(value: object) -> float | None:
    """Return a number of Python, numpy or torch as a float; None if it is not one finite number."""
    if isinstance(value, bool | str | bytes):
        return None
    if hasattr(value, "item") and hasattr(value, "size"):
        count = value.numel() if isinstance(value, torch.Tensor) else value.size
        value = value.item() if count == 1 else None
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return float(value)


def numbers_in(value: object) -> list[float]:
    """Return the numbers of a list, an array or a tensor; an empty list for anything else."""
    try:
        numbers = [] if isinstance(value, str | dict) else [as_number(one) for one in value]
    except TypeError:
        return []
    return [] if None in numbers else numbers


def as_names(value: object) -> set:
    """Return the names that an answer lists; one text is one name."""
    return {value} if isinstance(value, str) else set(value)


def listed(names: Iterable) -> str:
    """Return names in their order, with commas between them."""
    return ", ".join(sorted(map(str, names)))


def close(value: float, target: float, tolerance: float = 1e-4) -> bool:
    """Say whether two numbers agree, to a share of the larger one or, near zero, absolutely."""
    return math.isclose(value, target, rel_tol=tolerance, abs_tol=tolerance)


def alike(one: object, other: object) -> bool:
    """Say whether two results are the same: numbers nearly, lists and tensors place by place."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    numeric = isinstance(one, int | float) and isinstance(other, int | float)
    return close(one, other) if numeric else one == other


def first_difference(given: Sequence, wanted: Sequence) -> int:
    """Return the first place, from 1, at which two lists of one length differ; 0 if they are alike."""
    pairs = zip(given, wanted, strict=True)
    return next((place for place, (one, other) in enumerate(pairs, start=1) if one != other), 0)


def describe(value: object) -> str:
    """Say in a few words what a value is: its type, and its shape or the beginning of its text."""
    name = type(value).__name__
    try:
        if isinstance(value, torch.Tensor) and value.ndim:
            return f"a tensor {list(value.shape)} of {value.dtype}".replace("torch.", "")
        if isinstance(value, nn.Module):
            return f"a network of the class {name}"
        if callable(value):
            return f"the {name} {value.__name__!r}"
        text = reprlib.repr(value)
        if "<" in text and not isinstance(value, str):  # an address in memory helps nobody
            count = f" with {len(value)} entries" if hasattr(value, "__len__") else ""
            return f"something of the type {name}{count}"
        return f"{_shortened(text)} (of the type {name})"
    except (Exception, SystemExit):  # an object whose own methods raise
        return f"something of the type {name}"


def in_words(error: BaseException) -> str:
    """Return the type of an error and the beginning of its text."""
    try:
        text = _shortened(str(error))
    except Exception:  # an error that cannot even say what it is
        text = ""
    return f"{type(error).__name__}: {text}".rstrip(": ")


def _shortened(text: str) -> str:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(text.split()))
    return text if len(text) <= 160 else f"{text[:159]}…"
