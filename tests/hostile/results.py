"""What a process that may have been killed left behind."""

from safetensors.torch import load_file


def ended(process):
    process.join()
    return process.exitcode


def results(folder):
    """Everything that a run leaves, by name: of a subject the weights, since its header has the time."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): content(path) for path in files}


def content(path):
    if path.suffix != ".safetensors":
        return path.read_bytes()
    return {name: weight.numpy().tobytes() for name, weight in load_file(path).items()}
