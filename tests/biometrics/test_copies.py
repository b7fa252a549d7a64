"""Photos that show one picture twice."""

import torch

from training.biometrics.copies import distinct
from training.faces.observation import Observation


def test_of_two_equal_photos_the_first_is_kept_with_the_age_that_either_has():
    torch.manual_seed(0)
    one, other = torch.rand(2, 32, 32)
    photos = [
        Observation(name, age, signature=picture)
        for name, age, picture in (("a", None, one), ("b", "child", one), ("c", 34, one), ("d", None, other))
    ]
    kept, remarks = distinct(photos)
    assert [(photo.name, photo.age) for photo in kept] == [("a", "child"), ("d", None)]
    assert len(remarks) == 2
