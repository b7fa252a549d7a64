"""One subject of a cast: its options, from the command line and its row of the table."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..catalogue import EMBEDDERS
from ..config import MAX_SEED, TrainingConfig
from ..data.ages_in_names import ESTIMATED
from ..errors import MissingInput, UserError
from ..models.stable_diffusion.sampler import PRESETS
from ..options import Option, check, option, options_of
from ..runs.files import RunFiles
from .shared import AGE_ESTIMATORS, EMBEDDER_HELP
from .train import TrainOptions

# Options of train that are not its columns: the cast sets the first two, and EvaluationOptions has the third.
EXCLUDED = ("out", "resume", "age_estimator")
NEUTRAL = ("download", "gradient_checkpointing", "checkpointing_steps")  # options that change no result


@dataclass(frozen=True)
class EvaluationOptions:
    """How each subject is generated and scored."""

    draw_seed: int = option(0, help="seed of the starting noise, which all ages share", low=0, high=MAX_SEED)
    preset: str = option("fast", help="sampler, see generate --help", choices=tuple(PRESETS))
    num_inference_steps: int | None = option(None, help="sampling steps; overrides the preset", low=1, high=1000)
    matcher: str | None = option(
        None, help=f"matcher that scores the images, a {EMBEDDER_HELP}; by default as in score", choices=EMBEDDERS
    )
    age_estimator: str | None = option(None, help=f"age estimator that judges the ages: {AGE_ESTIMATORS}")
    photo_age: int | None = option(None, help="the subject's age in the photos, in years", low=0, high=100)
    impostors: Path | None = option(None, help="folder with photos of other people, needed for error rates")

    def __post_init__(self):
        check(self)


def _columns() -> tuple[Option, ...]:
    training = (*options_of(TrainOptions), *options_of(TrainingConfig))
    return (*(column for column in training if column.name not in EXCLUDED), *options_of(EvaluationOptions))


COLUMNS = _columns()


@dataclass(frozen=True)
class Job:
    """One subject, with the options of each command."""

    train: TrainOptions
    config: TrainingConfig
    evaluation: EvaluationOptions

    @property
    def folder(self) -> Path:
        """The subject's output folder."""
        return self.train.out

    @property
    def files(self) -> RunFiles:
        """The files of the subject's training."""
        return RunFiles(self.folder / f"{self.folder.name}.safetensors")

    @property
    def options(self) -> dict[str, str]:
        """The options that change the result, except paths: their content counts."""
        return {
            column.name: str(self._value(column.name))
            for column in COLUMNS
            if column.kind is not Path and column.name not in NEUTRAL
        }

    @property
    def paths(self) -> dict[str, Path | None]:
        """The options that are paths."""
        return {column.name: self._value(column.name) for column in COLUMNS if column.kind is Path}

    def _value(self, name: str) -> Any:
        parts = (self.evaluation, self.train, self.config)  # in this order, see EXCLUDED
        return next(getattr(part, name) for part in parts if hasattr(part, name))


def job_of(folder: Path, values: dict[str, Any]) -> Job:
    """The job of the subject that ``folder`` is named after.

    Raises UserError with the subject's name if an option is missing or not allowed.
    """
    try:
        for column in COLUMNS:
            if column.required and column.name not in values:
                raise MissingInput(f"{column.name} is missing. Add it as a column, or give {column.flag} for all rows.")
        values = {key: value.resolve() if isinstance(value, Path) else value for key, value in values.items()}
        training: dict[str, Any] = _of(TrainOptions, values) | {"out": folder, "resume": True}
        if "judge" in values or ESTIMATED in (values.get("photo_ages"), values.get("regularization_ages")):
            training["age_estimator"] = values.get("age_estimator")
        return Job(
            TrainOptions(**training),
            TrainingConfig(**_of(TrainingConfig, values)),
            EvaluationOptions(**_of(EvaluationOptions, values)),
        )
    except UserError as error:
        raise type(error)(f"{folder.name}: {error}") from error


def _of(described: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that are options of the dataclass ``described``."""
    names = {field.name for field in fields(described)} & values.keys()
    return {name: values[name] for name in names if described is EvaluationOptions or name not in EXCLUDED}
