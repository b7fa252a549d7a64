import pytest
import torch

from training.errors import UserError
from training.names import checked_name
from training.weights import digest


@pytest.mark.parametrize("name", ["anna", "Anna B. 2", "Jos\u00e9-1", "a", "\u5b89\u5a1c"])
def test_plain_names_are_kept(name):
    assert checked_name(name) == name


BAD = ("", "..", "../anna", "/anna", "a/b", "a\\b", "C:anna", ".anna", "anna.", "anna ", "a\n", "a" * 65)


@pytest.mark.parametrize("name", BAD)
def test_what_could_leave_its_folder_or_is_no_file_name_is_refused(name):
    with pytest.raises(UserError, match="cannot name a file"):
        checked_name(name)


def test_a_digest_sees_names_numbers_shapes_and_dtypes_but_not_the_order():
    one, two = torch.arange(4.0), torch.ones(2, 2)
    known = digest({"a": one, "b": two})
    assert digest({"b": two.clone(), "a": one.clone()}) == known
    swapped, renamed = {"a": two, "b": one}, {"a": one, "c": two}
    reshaped, recast = {"a": one.view(2, 2), "b": two}, {"a": one.double(), "b": two}
    assert all(digest(state) != known for state in (swapped, renamed, reshaped, recast))
