"""A submission is checked by the same conditions that the planner places by."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deployments.requirements import in_words, problems, satisfied
from scheduling.planner.requirements import requirements

KEYS = st.sampled_from(["zone", "spot", "gpu.model"])
VALUES = st.sampled_from(["a", "b", "true", ""])
LISTS = st.lists(VALUES, min_size=1, max_size=3)
FORMS = st.one_of(
    LISTS,
    LISTS.map(lambda values: {"not": values}),
    st.booleans().map(lambda exists: {"exists": exists}),
)


@given(st.dictionaries(KEYS, FORMS), st.dictionaries(KEYS, VALUES))
def test_both_decide_alike(require: dict[str, Any], labels: dict[str, str]) -> None:
    planned = requirements(require)

    assert problems(require) == {}
    assert satisfied(require, labels) == all(each.holds(labels) for each in planned)
    assert sorted(in_words(key, form) for key, form in require.items()) == sorted(map(str, planned))
