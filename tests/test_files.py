import re

import pytest
import torch

from training.errors import FileConflict
from training.names import checked_name
from training.weights import digest


@pytest.mark.parametrize("name", ["anna", "Anna B. 2", "Jos\u00e9-1", "a", "\u5b89\u5a1c"])
def test_plain_names_are_kept(name):
    assert checked_name(name) == name


BAD = ("", "..", "../anna", "/anna", "a/b", "a\\b", "C:anna", ".anna", "anna.", "anna ", "a\n", "a" * 65)


@pytest.mark.parametrize("name", BAD)
def test_paths_and_unusable_file_names_raise(name):
    with pytest.raises(FileConflict, match=re.escape(f"'{name}'")):
        checked_name(name)


def test_a_digest_depends_on_names_values_shapes_and_dtypes_but_not_on_the_order():
    vector, matrix = torch.arange(4.0), torch.ones(2, 2)
    original = digest({"a": vector, "b": matrix})
    assert digest({"b": matrix.clone(), "a": vector.clone()}) == original
    swapped, renamed = {"a": matrix, "b": vector}, {"a": vector, "c": matrix}
    reshaped, recast = {"a": vector.view(2, 2), "b": matrix}, {"a": vector.double(), "b": matrix}
    assert all(digest(state) != original for state in (swapped, renamed, reshaped, recast))
