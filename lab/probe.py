"""The probe command: tests whether a matcher's gradient carries identity, on the user's weights and photos."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from training.biometrics.verdicts import verdict
from training.catalogue import EMBEDDERS, load_embedder, scorer
from training.cli.console import say
from training.cli.shared import DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP
from training.data.dataset import find_faces
from training.errors import InvalidSetting
from training.faces.embedders import FaceEmbedder
from training.faces.find import MTCNNDetector, cut_square
from training.models.stable_diffusion.checkpoint import open_model, open_tiny_vae
from training.options import check, option
from training.pictures.photos import read_folder, save
from training.pictures.sheet import contact_sheet, headed

from .gradient_probe import MARGIN, Pull, probe


@dataclass(frozen=True)
class ProbeOptions:
    """Photos, target, decoder and matchers of the probe."""

    subject: Path = option(help="folder with photos of one person")
    target: Path = option(help="folder with photos of another person; the subject's photos are moved towards this one")
    out: Path = option(
        Path("probe.png"), help="output image: each photo before and after, and the other person", output="file"
    )
    checkpoint: Path | None = option(None, help="model whose VAE encodes and decodes the photos")
    tiny_vae: Path | None = option(
        None,
        help="AutoencoderTiny to use instead: a diffusers folder, or one with TAESD's encoder and decoder",
    )
    photos: int = option(3, help="number of photos to move", low=1)
    steps: int = option(40, help="optimization steps per photo", low=1)
    resolution: int = option(256, help="side of the images, px, a multiple of 64", low=64, high=2048, multiple=64)
    embedder: str = option("vggface2", help=f"matcher whose gradient is tested: {EMBEDDER_HELP}", choices=EMBEDDERS)
    judge: str | None = option(
        None, help="matcher that checks the result; default: the best available other one", choices=EMBEDDERS
    )
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)

    def __post_init__(self):
        check(self)
        if (self.checkpoint is None) == (self.tiny_vae is None):
            raise InvalidSetting("The probe needs exactly one decoder. Give either --checkpoint or --tiny-vae.")
        if self.judge == self.embedder:
            raise InvalidSetting(f"{self.judge} cannot check its own gradient. Choose another --judge than --embedder.")


def run(options: ProbeOptions) -> int:
    """Moves photos of one person towards another, and prints whom the matchers see before and after."""
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
    tested, judge = embedders
    lines = [_title(embedders)]
    width = max(len(pull.name) for pull in pulls)
    for pull in pulls:
        lines.append(
            f"{pull.name:{width}}  {tested.name} to the other {_change(pull.to_target[tested.name])}  "
            f"{judge.name} to the other {_change(pull.to_target[judge.name])}, to oneself "
            f"{_change(pull.to_self[judge.name])}"
        )
    count = len(pulls)
    means = [
        tuple(sum(side[judge.name][when] for side in sides) / count for when in (0, 1))
        for sides in ([pull.to_target for pull in pulls], [pull.to_self for pull in pulls])
    ]
    lines.append(f"mean of {count}, {judge.name}: to the other {_change(means[0])}, to oneself {_change(means[1])}")
    if mean_verdict := verdict(means[0][1], judge.facts.thresholds):
        lines.append(f"Verdict of {judge.name} on the moved photos and the other person: {mean_verdict}.")
    return lines


def _change(values: tuple[float, ...]) -> str:
    return f"{values[0]:.2f} -> {values[1]:.2f}"


def _title(embedders: list[FaceEmbedder]) -> str:
    tested, judge = embedders
    return f"gradient of {tested.name}, judged by {judge.name}, which was not asked"


def _sheet(pulls: list[Pull], other: Image.Image, embedders: list[FaceEmbedder]) -> Image.Image:
    """Returns a sheet with one row per photo: before, after, the other person, and the judge's similarities below."""
    judge, pictures, labels = embedders[1], [], []
    for pull in pulls:
        pictures += [pull.before, pull.after, other]
        for when, name in enumerate(("before", "after")):
            sides = {"other": pull.to_target[judge.name][when], "oneself": pull.to_self[judge.name][when]}
            verdicts = {side: verdict(similarity, judge.facts.thresholds) for side, similarity in sides.items()}
            lines = [f"{side}: {sides[side]:.2f}" + (f", {verdicts[side]}" if verdicts[side] else "") for side in sides]
            labels.append("\n".join([name, *lines]))
        labels.append("the other")
    sheet = contact_sheet(pictures, labels, columns=3)
    return headed([(_title(embedders), sheet)], max(12, other.width // 13))
