import pytest

from tests.nodes.pack import module

checks = module("nodes.ui.checks")
InvalidData = module("training.errors").InvalidData


@pytest.mark.parametrize("values", [["anna", "ben"], []])
def test_a_list_is_refused_where_a_node_uses_one_value(values):
    with pytest.raises(InvalidData, match=rf"\bname\b.*\b{len(values)}\b"):
        checks.the_only(values, "name")
    assert checks.the_only([None], "judge") is None


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_scores_are_exactly_one_per_image(count):
    with pytest.raises(InvalidData, match=rf"\b{count} images\b.*\b3 similarities\b"):
        checks.one_per_image([0.1, 0.2, 0.3], count, "similarities")
    assert checks.one_per_image((0.1, 0.2, 0.3), 3, "similarities") == [0.1, 0.2, 0.3]
