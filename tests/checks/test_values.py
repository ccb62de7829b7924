"""Values that a student's answer may have, whatever library made them."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from course_utils.checks.asking import as_numbers
from course_utils.checks.values import as_number
from course_utils.checks.verdict import Wrong

THREES = [3, 3.0, Fraction(3), np.int64(3), np.array([3]), torch.tensor(3), torch.tensor([3.0])]
NO_NUMBERS = [None, True, "3", b"3", float("nan"), [3], np.array([1, 2]), torch.ones(2), {}]
PAIRS = [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1, 2]), map(float, "12")]
NO_PAIRS = [None, 1, [1], [1, None], "12", {1, 2}, {1: 2, 2: 3}, [[1], [2, 3]], (1, float("nan"))]


def test_as_number_reads_one_number_of_any_library_and_nothing_else():
    assert [as_number(value) for value in THREES] == [3] * len(THREES)
    assert [as_number(value) for value in NO_NUMBERS] == [None] * len(NO_NUMBERS)


def test_as_numbers_reads_them_in_their_order_and_nothing_else():
    assert [as_numbers(values, 2) for values in PAIRS] == [(1, 2)] * len(PAIRS)
    for values in NO_PAIRS:
        with pytest.raises(Wrong):
            as_numbers(values, 2)
