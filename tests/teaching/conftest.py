"""What tests of grading share."""

import pytest

from course_teaching.grading.sandbox import find_isolation
from course_utils.errors import ConfigError


@pytest.fixture(scope="session")
def bubblewrap():
    """Give the protection of bubblewrap; where it does not work, skip."""
    try:
        return find_isolation("bwrap")
    except ConfigError as error:
        pytest.skip(f"bubblewrap does not work here: {error.found}")
