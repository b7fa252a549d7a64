"""From images to a report: observes all images with one matcher and compares them. Commands and nodes call this."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..faces.observation import Observation, Observer
from ..pictures.photos import Bar, Photo
from .build import BiometricReport, Networks, build


@dataclass(frozen=True)
class Images:
    """What a report compares. Each photo carries its age if that is known."""

    generated: Sequence[Photo]
    references: Sequence[Photo]  # photos of the subject
    others: Sequence[Photo] = ()  # real images of other people
    untrained: Sequence[Photo] = ()  # what the base model generates without training
    held_out: Sequence[Photo] = ()  # photos of the subject that were not trained on


def compare(
    images: Images,
    observer: Observer,
    photo_age: int | None = None,
    trained_with: str | None = None,
    trained_made: str | None = None,
    bar: Callable[[str], Bar] = lambda task: iter,
) -> BiometricReport:
    """Observes ``images`` and builds their report.

    ``photo_age`` is the subject's age in references of unknown age, in years. ``trained_with`` names the matcher of the
    identity loss, and ``trained_made`` describes it. ``bar`` shows the search for faces.
    """

    def observe(what: str, photos: Sequence[Photo]) -> list[Observation]:
        shown = bar(f"finding faces in {what}")(photos)
        return [observer.observe(photo.name, photo.image(), photo.age) for photo in shown]

    embedder, estimator = observer.embedder, observer.estimator
    networks = Networks(
        embedder.name,
        embedder.facts,
        trained_with,
        trained_made,
        estimator.name if estimator else None,
        observer.age_errors,
    )
    return build(
        references=observe("references", images.references),
        images=observe("images", images.generated),
        networks=networks,
        others=observe("images of other people", images.others),
        untrained=observe("images of the untrained model", images.untrained),
        held_out=observe("held-out photos", images.held_out),
        photo_age=photo_age,
    )
