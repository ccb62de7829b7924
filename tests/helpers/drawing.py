"""Which tests need the split of the drawings that the lessons were written with."""

import pytest
import sklearn
from packaging.version import Version

same_draw = pytest.mark.skipif(
    Version(sklearn.__version__) < Version("1.8"),
    reason="a scikit-learn below 1.8 draws other groups of pictures than the lessons show",
)
