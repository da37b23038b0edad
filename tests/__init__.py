"""The tests; what they share lies in `tests.support`, and its assertions explain themselves as theirs do."""

import pytest

pytest.register_assert_rewrite("tests.support")
