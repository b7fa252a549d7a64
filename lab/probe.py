"""The probe command: whether a matcher's gradient carries identity, with one's own weights and photos."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from training.biometrics.verdicts import verdict
from training.catalogue import EMBEDDERS, load_embedder, scorer
from training.cli.console import say
from training.cli.shared import DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP
from training.data.dataset import find_faces
from training.errors import UserError
from training.faces.embedders import FaceEmbedder
from training.faces.find import MTCNNDetector, cut_square
from training.models.stable_diffusion.checkpoint import open_model, open_tiny_vae
from training.options import check, option
from training.pictures.photos import read_folder, save
from training.pictures.sheet import contact_sheet, headed

from .gradient_probe import MARGIN, Pull, probe


@dataclass(frozen=True)
class ProbeOptions:
    """Whose photos are pulled towards whom, through which decoder, and who judges."""

    subject: Path = option(help="folder with photos of one person")
    target: Path = option(help="folder with photos of another, towards whom they are pulled")
    out: Path = option(Path("probe.png"), help="picture of every photo before, after, and of the other person")
    checkpoint: Path | None = option(None, help="model whose VAE encodes and decodes")
    tiny_vae: Path | None = option(
        None, help="AutoencoderTiny instead: diffusers' folder, or one with TAESD's published encoder and decoder"
    )
    photos: int = option(3, help="photos that are pulled", low=1)
    steps: int = option(40, help="steps of the pull", low=1)
    resolution: int = option(256, help="side of the pictures, px, a multiple of 64", low=64, high=2048, multiple=64)
    embedder: str = option("vggface2", help=f"whose gradient: {EMBEDDER_HELP}", choices=EMBEDDERS)
    judge: str | None = option(
        None, help="who judges; by default the best that is there and was not asked", choices=EMBEDDERS
    )
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)

    def __post_init__(self):
        check(self)
        if (self.checkpoint is None) == (self.tiny_vae is None):
            raise UserError("The probe needs one decoder: give --checkpoint or --tiny-vae.")
        if self.judge == self.embedder:
            raise UserError(f"{self.judge} would judge its own gradient, which proves nothing. Give another --judge.")


def run(options: ProbeOptions) -> int:
    """Pulls photos of one person towards another, and says who they are by then."""
    names = [options.embedder, options.judge or scorer(options.embedder_weights, options.embedder)]
    embedders = [load_embedder(name, options.embedder_weights, options.download) for name in names]
    detector = embedders[0].detector or MTCNNDetector()
    subject, target = (
        find_faces(read_folder(folder, "photos"), detector) for folder in (options.subject, options.target)
    )
    codec = open_model(options.checkpoint).codec if options.checkpoint else open_tiny_vae(options.tiny_vae or Path())
    pulls = probe(codec, embedders, subject, target, options.resolution, options.steps, options.photos)
    say(*_table(pulls, embedders))
    photo, face = next((photo, face) for photo, face in zip(target.photos, target.faces, strict=True) if face)
    other, _ = cut_square(photo.image(), face, options.resolution, MARGIN)
    save(_sheet(pulls, other, embedders), options.out)
    say(f"wrote {options.out}")
    return 0


def _table(pulls: list[Pull], embedders: list[FaceEmbedder]) -> list[str]:
    asked, judge = embedders
    lines = [_title(embedders)]
    width = max(len(pull.name) for pull in pulls)
    for pull in pulls:
        lines.append(
            f"{pull.name:{width}}  {asked.name} to the other {_change(pull.to_target[asked.name])}  "
            f"{judge.name} to the other {_change(pull.to_target[judge.name])}, to oneself "
            f"{_change(pull.to_self[judge.name])}"
        )
    count = len(pulls)
    means = [
        tuple(sum(side[judge.name][when] for side in sides) / count for when in (0, 1))
        for sides in ([pull.to_target for pull in pulls], [pull.to_self for pull in pulls])
    ]
    lines.append(f"mean of {count}, {judge.name}: to the other {_change(means[0])}, to oneself {_change(means[1])}")
    if meant := verdict(means[0][1], judge.facts.thresholds):
        lines.append(f"To {judge.name} the pulled photos and the other person are: {meant}.")
    return lines


def _change(values: tuple[float, ...]) -> str:
    return f"{values[0]:.2f} -> {values[1]:.2f}"


def _title(embedders: list[FaceEmbedder]) -> str:
    asked, judge = embedders
    return f"gradient of {asked.name}, judged by {judge.name}, which was not asked"


def _sheet(pulls: list[Pull], other: Image.Image, embedders: list[FaceEmbedder]) -> Image.Image:
    """A row for each photo: before, after, the other person; below it, to whom the judge finds it alike."""
    judge, pictures, labels = embedders[1], [], []
    for pull in pulls:
        pictures += [pull.before, pull.after, other]
        for when, name in enumerate(("before", "after")):
            sides = {"other": pull.to_target[judge.name][when], "oneself": pull.to_self[judge.name][when]}
            meant = {side: verdict(similarity, judge.facts.thresholds) for side, similarity in sides.items()}
            found = [f"{side}: {sides[side]:.2f}" + (f", {meant[side]}" if meant[side] else "") for side in sides]
            labels.append("\n".join([name, *found]))
        labels.append("the other")
    sheet = contact_sheet(pictures, labels, columns=3)
    return headed([(_title(embedders), sheet)], max(12, other.width // 13))
