"""Errors that a user can fix. Each message says what is wrong, with which file or input, and what to do."""


class UserError(Exception):
    """Base class. The command line prints its message without a traceback."""

    __module__ = "builtins"  # otherwise ComfyUI prefixes the message with this module's full path

    def __init_subclass__(cls):
        cls.__module__ = UserError.__module__


class InvalidSetting(UserError):
    """An option or widget has a value that is not allowed, or two of them contradict each other."""


class MissingInput(UserError):
    """A required option, connection or package is missing."""


class InvalidData(UserError):
    """Photos, masks, captions, ages or tables that cannot be used as they are."""


class NoFaceFound(UserError):
    """A face is needed, and none was detected."""


class MissingFile(UserError):
    """A file or folder does not exist."""


class DamagedFile(UserError):
    """A file cannot be read, or does not hold what it should."""


class FileConflict(UserError):
    """A name that cannot be used for an output, or an output that would replace something."""


class UnsupportedModel(UserError):
    """A model that cannot be trained or used this way."""


class ModelMismatch(UserError):
    """A LoRA, VAE, CLIP or subject that does not fit the model it is used with."""


class RunMismatch(UserError):
    """A saved state that belongs to another run."""


class DownloadFailed(UserError):
    """A file could not be downloaded."""


class TrainingFailed(UserError):
    """Training cannot continue: a loss diverged or memory ran out."""


class Unavailable(UserError):
    """Works later or elsewhere: a full disk, a folder that another process uses."""
