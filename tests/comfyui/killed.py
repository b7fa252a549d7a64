"""Runs in ComfyUI's own Python: kills trainings of the node and queues them again. Writes JSON to a file.

Each training runs in a fork, which is killed before its n-th rename of a file, for each n in MOMENTS.

usage: python killed.py COMFYUI REPOSITORY FOLDER FAMILY ...
"""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import in_place
import torch
from in_place import ARCHITECTURES, CHECKPOINTS, RandomClip, load, load_vae, open_checkpoint, trainer_of

sys.argv = [sys.argv[0], "--cpu"]
import folder_paths  # noqa: E402
from pack.training.runs.evaluations import PreviewPlan  # noqa: E402
from pack.training.runs.files import finished, run_files, write_subject  # noqa: E402
from pack.training.runs.previewer import Previewer  # noqa: E402
from pack.training.runs.session import finish  # noqa: E402
from pack.training.runs.state import StateFile, run_id  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

MOMENTS = (1, 2)  # before the first state is saved, and before the second


def open_model(name):
    if name in CHECKPOINTS:
        return in_place.ComfyModel(*open_checkpoint(name, in_place.folder))
    architecture = ARCHITECTURES[name]()
    return in_place.ComfyModel(load(architecture), RandomClip(architecture.text), load_vae(architecture.vae))


def train(name, folder, last=None):
    """Trains in a new process, as the node does when queued. Returns the exit code."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(name, folder, last))
    process.start()
    process.join()
    return process.exitcode


def run(name, folder, last):
    """Runs a training and kills it before its ``last`` rename of a file; None: never."""
    renames = 0

    def hook(event, arguments):
        nonlocal renames
        if event == "os.rename" and Path(arguments[0]).is_relative_to(folder):
            renames += 1
            if renames == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    folder_paths.set_output_directory(str(folder))
    with torch.inference_mode(False), torch.enable_grad():
        trainer = trainer_of(open_model(name), checkpointing_steps=1, max_train_steps=3)
        files = run_files(folder / "runs", "anna", run_id(trainer), 3)
        if finished(files, keep_state=True):
            return
        if files.state.is_file():
            StateFile(trainer, files.state).resume()
        previewer = Previewer(
            trainer, PreviewPlan(0), files.folder, None, lambda path: write_subject(trainer, path, torch.float16)
        )
        finish(trainer, files, previewer, keeps_state=True)


def weights(folder):
    (file,) = Path(folder).glob("**/3_steps.safetensors")
    return load_file(file)


def main():
    folder, names = Path(in_place.folder), in_place.chosen
    in_place.accept_tiny()
    results = {}
    for name in names:
        ended, same = [train(name, folder / name / "whole")], []
        for last in MOMENTS:
            killed = folder / name / f"killed_{last}"
            ended += [train(name, killed, last), train(name, killed)]
            whole, again = weights(folder / name / "whole"), weights(killed)
            same.append(whole.keys() == again.keys() and all(torch.equal(whole[key], again[key]) for key in whole))
        results[name] = {"ended": ended, "same": same}
        (folder / "killed.json").write_text(json.dumps(results))


main()
