"""Instance images: the subject's photos cropped for training, each with its prompt, face and mask."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..config import TrainingConfig
from ..errors import InvalidData
from ..faces.find import Face, cut_shape, cut_square
from ..pictures.buckets import Shape, bucket_of, shapes_remark
from ..pictures.masks import face_mask, mask_of
from ..pictures.photos import Photo
from .dataset import SubjectSet
from .prompts import instance_prompt
from .quality import PhotoQuality, quality_remarks


@dataclass(frozen=True)
class Instance:
    """One photo as it is trained."""

    photo: Photo
    image: Image.Image  # cropped
    face: Face | None  # its place in ``image``, px
    mask: Image.Image | None  # 255 on the person, 0 on the background, as large as ``image``
    prompt: str

    @property
    def shape(self) -> Shape:
        """Width and height of the image, px."""
        return self.image.size


def instances_of(subject: SubjectSet, config: TrainingConfig, resolution: int) -> tuple[list[Instance], list[str]]:
    """The instances of ``subject``, and sentences about photos of poor quality.

    ``resolution``: side in px of the square, or of a square with the area of the aspect buckets. Raises UserError if a
    mask is black inside the crop.
    """
    instances, quality = [], []
    for photo, face in zip(subject.photos, subject.faces, strict=True):
        image = photo.image()
        shape = bucket_of(image.size, resolution) if config.crop == "aspect" else (resolution, resolution)
        cropped, cropped_face = crop(image, face, shape, config)
        mask = _mask(photo, face, cropped_face, shape, config)
        prompt = instance_prompt(config, photo.age, photo.caption)
        instances.append(Instance(photo, cropped, cropped_face, mask, prompt))
        quality.append(PhotoQuality.of(photo.name, image, face, _margin(config)))
    remarks = quality_remarks(quality, [min(instance.shape) for instance in instances])
    if config.crop == "aspect":
        remarks.append(shapes_remark([instance.shape for instance in instances]))
    return instances, remarks


def crop(
    image: Image.Image, face: Face | None, shape: Shape, config: TrainingConfig
) -> tuple[Image.Image, Face | None]:
    """The part of ``image`` that is trained, scaled to ``shape``, and the face in it."""
    if config.crop == "aspect":
        return cut_shape(image, face, shape)
    return cut_square(image, face, shape[0], _margin(config))


def faces_in(instances: Sequence[Instance]) -> list[Face]:
    """The faces of the instances that have one."""
    return [instance.face for instance in instances if instance.face]


def _margin(config: TrainingConfig) -> float | None:
    return config.face_margin if config.crop == "face" else None


def _mask(
    photo: Photo, face: Face | None, cropped_face: Face | None, shape: Shape, config: TrainingConfig
) -> Image.Image | None:
    mask = mask_of(photo)
    if mask is None:
        return face_mask(cropped_face.box, shape) if config.face_mask and cropped_face else None
    cropped, _ = crop(mask, face, shape, config)
    if cropped.getextrema()[1] == 0:
        raise InvalidData(f"The mask of {photo.name} is black in the crop around the face. Paint the person white.")
    return cropped
