"""Tests mirror the source tree. `fixtures` are plugins of pytest, `support` is what tests call."""

import pytest

pytest.register_assert_rewrite("tests.support")
