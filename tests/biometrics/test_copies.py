"""Repeated photos."""

import torch

from training.biometrics.copies import distinct
from training.faces.observation import Observation


def test_a_repeated_photo_counts_once_and_keeps_the_known_age():
    torch.manual_seed(0)
    one, other = torch.rand(2, 32, 32)
    photos = [
        Observation(name, age, signature=picture)
        for name, age, picture in (
            ("1.jpg", None, one),
            ("2.jpg", "child", one),
            ("3.jpg", 34, one),
            ("4.jpg", None, other),
        )
    ]
    kept, remarks = distinct(photos)
    assert [(photo.name, photo.age) for photo in kept] == [("1.jpg", "child"), ("4.jpg", None)]
    assert len(remarks) == 2
    assert all(name in remark and "1.jpg" in remark for name, remark in zip(("2.jpg", "3.jpg"), remarks, strict=True))
