"""Read the values of a student's answer as numbers or names, compare them, and describe them in words."""

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
    """Return a Python, NumPy or PyTorch number as a float, or None if the value is not one finite number."""
    if isinstance(value, bool | str | bytes):
        return None
    if hasattr(value, "item") and hasattr(value, "size"):
        count = value.numel() if isinstance(value, torch.Tensor) else value.size
        value = value.item() if count == 1 else None
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return float(value)


def numbers_in(value: object) -> list[float]:
    """Return the numbers in a list, an array or a tensor, or an empty list for anything else."""
    try:
        numbers = [] if isinstance(value, str | dict) else [as_number(one) for one in value]
    except TypeError:
        return []
    return [] if None in numbers else numbers


def as_names(value: object) -> set:
    """Return the set of names in an answer. A single string is one name."""
    return {value} if isinstance(value, str) else set(value)


def listed(names: Iterable) -> str:
    """Return the names in alphabetical order, separated by commas."""
    return ", ".join(sorted(map(str, names)))


def close(value: float, target: float, tolerance: float = 1e-4) -> bool:
    """Return whether two numbers agree within a relative or, near zero, an absolute tolerance."""
    return math.isclose(value, target, rel_tol=tolerance, abs_tol=tolerance)


def alike(one: object, other: object) -> bool:
    """Return whether two results are equal: numbers approximately, lists and tensors element by element."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    numeric = isinstance(one, int | float) and isinstance(other, int | float)
    return close(one, other) if numeric else one == other


def first_difference(given: Sequence, wanted: Sequence) -> int:
    """Return the first position, from 1, at which two equally long lists differ, or 0 if they are equal."""
    pairs = zip(given, wanted, strict=True)
    return next((place for place, (one, other) in enumerate(pairs, start=1) if one != other), 0)


def describe(value: object) -> str:
    """Describe a value in a few words: its type, and its shape or the start of its text."""
    name = type(value).__name__
    try:
        if isinstance(value, torch.Tensor) and value.ndim:
            return f"a tensor of shape {list(value.shape)} ({value.dtype})".replace("torch.", "")
        if isinstance(value, nn.Module):
            return f"a network of class {name}"
        if callable(value):
            return f"the {name} {value.__name__!r}"
        text = reprlib.repr(value)
        if "<" in text and not isinstance(value, str):  # a memory address does not help the student
            count = f" with {len(value)} items" if hasattr(value, "__len__") else ""
            return f"an object of type {name}{count}"
        return f"{_shortened(text)} (type {name})"
    except (Exception, SystemExit):  # an object whose own methods raise
        return f"an object of type {name}"


def in_words(error: BaseException) -> str:
    """Return the type of an error and the start of its message."""
    try:
        text = _shortened(str(error))
    except Exception:  # an error whose message cannot be read
        text = ""
    return f"{type(error).__name__}: {text}".rstrip(": .")


def _shortened(text: str) -> str:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(text.split()))
    return text if len(text) <= 160 else f"{text[:159]}…"
