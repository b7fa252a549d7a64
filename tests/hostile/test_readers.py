"""For any file, name or template, its reader returns a value or raises UserError."""

import contextlib
import io
import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from tests.hostile.test_own_files import SUBJECT_FIELDS
from tests.tiny import tiny_checkpoint
from training.ages import age_of, fill_prompt, leading_age_class, mentioned_age_classes, parse_age, parse_ages
from training.errors import UserError
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import FAMILIES
from training.models.stable_diffusion.model import Model
from training.models.subject import HEADER, Subject, read_subject
from training.pictures.photos import Photo
from training.weights import read_pickle, read_state_dict


def examples(count):
    """Settings for ``count`` examples, the same in every run, without a time limit."""
    shared_folder = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=shared_folder
    )


def read_or_none(read, *arguments):
    """Returns what ``read`` returns, or None if it raises UserError."""
    with contextlib.suppress(UserError):
        return read(*arguments)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F8_E4M3", "I64", "BOOL", "C64", "F4"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**40), max_size=3) | JSON,
        "data_offsets": st.tuples(st.integers(0, 64), st.integers(0, 64)) | JSON,
    },
)
FIELDS = st.sampled_from(sorted(SUBJECT_FIELDS))
HEADERS = st.dictionaries(st.sampled_from(["a", "b", "__metadata__", ""]), TENSOR | JSON, max_size=3)


@examples(300)
@given(header=HEADERS.map(json.dumps).map(str.encode) | st.binary(max_size=64), data=st.binary(max_size=64), off=JSON)
def test_safetensors_headers(tmp_path, header, data, off):
    length = off if isinstance(off, int) and 0 <= off < 2**64 else len(header)
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + header + data)
    state = read_or_none(read_state_dict, tmp_path / "a")
    assert state is None or all(isinstance(value, torch.Tensor) for value in state.values())


@examples(200)
@given(changes=st.dictionaries(FIELDS, JSON, max_size=3), dropped=st.sets(FIELDS, max_size=2))
def test_subject_headers(tmp_path, changes, dropped):
    fields = {name: value for name, value in (SUBJECT_FIELDS | changes).items() if name not in dropped}
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={HEADER: json.dumps(fields)})
    subject = read_or_none(read_subject, tmp_path / "a.safetensors")
    assert subject is None or (isinstance(subject, Subject) and subject.prompt("old"))


def mutated(original):
    """A strategy for copies of ``original`` with up to six bytes changed, some of them cut short."""
    place = st.integers(0, len(original) - 1)
    changes = st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)

    def change(changed):
        (places, size), content = changed, bytearray(original)
        for index, value in places:
            content[index] = value
        return bytes(content[: size or None])

    return st.tuples(changes, st.none() | place).map(change)


def pickled(zipped):
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.arange(4.0)}, "step": 3}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@examples(300)
@given(content=mutated(pickled(True)) | mutated(pickled(False)) | st.binary(max_size=64))
def test_pickles(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    read_or_none(read_pickle, tmp_path / "a")
    read_or_none(read_state_dict, tmp_path / "a")


def encoded(file_format):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010E] = 6, 72.0, "a photo"
    Image.effect_noise((24, 16), 60).convert("RGB").save(buffer, file_format, exif=exif)
    return buffer.getvalue()


IMAGES = {name: encoded(name) for name in ("PNG", "JPEG", "WEBP")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", IMAGES)
@examples(300)
@given(data=st.data())
def test_image_headers(tmp_path, file_format, data):
    content = data.draw(mutated(IMAGES[file_format]))
    (tmp_path / "a.jpg").write_bytes(content)
    image = read_or_none(Photo("a", tmp_path / "a.jpg").image)
    assert image is None or image.mode == "RGB"


WORDS = st.sampled_from(["old", "young", "adult", "45", "year", "-", "_", " ", "middle", "aged", ".png", "\u0663"])
NAMES = st.lists(WORDS | st.text(max_size=4), max_size=6).map("".join)


@pytest.mark.parametrize("read", [age_of, leading_age_class, mentioned_age_classes, parse_age, parse_ages])
@examples(200)
@example(name="9" * 5000)
@example(name="9" * 5000 + "-year-old.png")
@given(name=NAMES)
def test_ages_in_names_and_captions(read, name):
    read_or_none(read, name)


PARTS = ["{", "}", "{age}", "{token}", "{age", "!r", ":d", ":>9", ".__class__", "[0]", "{0}", "{}", ":{token}"]


@examples(500)
@example(template="{age:d}")
@example(template="{age:>2000000000}")
@example(template="{age!r}")
@given(template=st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=6).map("".join))
def test_templates(template):
    text = read_or_none(fill_prompt, template)
    assert text is None or len(text) <= len(template)  # no values are filled in here


WHOLE = {family: tiny_checkpoint(family) for family in FAMILIES}
CHANGES = {
    "drop": lambda value: None,
    "flatten": lambda value: value.flatten(),
    "scalar": lambda value: torch.zeros(()),
    "none": lambda value: value[:0],
    "deeper": lambda value: value[None],
    "first": lambda value: value[:1],
    "bool": lambda value: value.bool(),
    "same": lambda value: value,
}


@pytest.mark.filterwarnings("ignore")
@examples(60)
@given(data=st.data(), family=st.sampled_from(FAMILIES))
def test_checkpoints(data, family):
    names = st.sampled_from(sorted(WHOLE[family]))
    parts = st.sampled_from([".".join(key.split(".")[:depth]) for key in WHOLE[family] for depth in (2, 3, 4, 5)])
    prefixes = tuple(data.draw(st.lists(names | parts, min_size=1, max_size=3)))
    change = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))]
    changed = {
        key: change(value) if key.startswith(prefixes) and value.ndim else value for key, value in WHOLE[family].items()
    }
    model = read_or_none(
        model_from_state_dict, {key: value for key, value in changed.items() if value is not None}, "m"
    )
    assert model is None or isinstance(model, Model)
