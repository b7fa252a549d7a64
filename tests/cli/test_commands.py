import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.hostile.results import assert_holds, assert_told
from tests.parts import picture
from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.ages import AGE_CLASSES
from training.cli.parser import COMMANDS
from training.dreambooth.trainer import Trainer
from training.models.stable_diffusion.families import SD1
from training.models.subject import VERSION, read_subject
from training.options import options_of
from training.runs.evaluations import best, read_evaluations

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_file(tiny_checkpoint(SD1), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """A folder with a photo set and a regularization set, both without faces."""
    for name, files in (("photos", ["a.png", "b.png"]), ("ages", ["child_1.png", "old-2.png"])):
        (tmp_path / name).mkdir()
        for number, file in enumerate(files):
            picture(number).save(tmp_path / name / file)
    return tmp_path


def train(folders, checkpoint, *options, out="subject"):
    sets = ["--subject", f"{folders}/photos", "--regularization", f"{folders}/ages"]
    small = ["--resolution", "64", "--max-train-steps", "2"]
    out = ["--out", f"{folders}/{out}"]
    return main(["train", "--checkpoint", str(checkpoint), *sets, *out, *small, "--loss", "cosine", *options])


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_train_and_generate(folders, checkpoint, capsys):
    assert train(folders, checkpoint) == 0
    out = capsys.readouterr().out
    assert re.search(r"\bchild\W+1\b.*\bteenager\W+0\b", out)
    assert any(
        "teenager, youngadults, middleaged, elderly" in line and "child" not in line for line in out.splitlines()
    )
    steps = (folders / "subject" / "losses.csv").read_text().splitlines()
    assert steps[0] == "step,reconstruction,prior,cosine"
    assert len(steps) == 3
    options = ["--subject", f"{folders}/subject", "--num-inference-steps", "2", "--seed", "7"]
    assert main(["generate", *options, "--out", f"{folders}/one", "--ages", "all"]) == 0
    assert main(["generate", *options, "--out", f"{folders}/two", "--ages", "young adult,45"]) == 0
    names = {"child", "teenager", "youngadults", "middleaged", "elderly", "old"}
    assert {path.stem for path in (folders / "one").iterdir()} == names
    assert {path.stem for path in (folders / "two").iterdir()} == {"youngadults", "45-year-old"}
    pixels = [Image.open(folders / run / "youngadults.png") for run in ("one", "two")]
    assert pixels[0].size == (64, 64)
    difference = torch.tensor(list(pixels[0].tobytes()), dtype=torch.int) - torch.tensor(list(pixels[1].tobytes()))
    assert difference.abs().max() <= 1, "an image depends on its age and seed and not on the other ages"
    sheet = Image.open(folders / "one.png")
    assert sheet.width > 6 * 64 and sheet.height > 64


def test_a_judge_keeps_the_best_step_and_writes_its_looks(folders, checkpoint, capsys):
    drawn = ["--embedder", "drawn-loss", "--judge", "drawn-score", "--age-estimator", "drawn-age"]
    assert train(folders, checkpoint, *drawn, "--look-every", "1") == 0
    evaluations = json.loads((folders / "subject" / "looks.json").read_text())
    assert [look["step"] for look in evaluations] == [1, 2] and len(evaluations[0]["years"]) == 6
    step = best(read_evaluations(evaluations, "looks.json")).step
    assert f"step_{step}.safetensors" in capsys.readouterr().out
    assert read_subject(folders / "subject" / f"step_{step}.safetensors").steps == step
    for sheet in ("looks/step_1.png", "looks/step_2.png", "curves.png"):
        with Image.open(folders / "subject" / sheet) as opened:
            assert opened.width > 3 * 64


def test_ages_and_captions_of_the_photos_are_printed_and_change_the_training(folders, checkpoint, capsys):
    def caption_remark(out):
        (line,) = [line for line in out.splitlines() if ".txt" in line]
        return line

    (folders / "photos" / "a.png").rename(folders / "photos" / "8_school.png")
    (folders / "photos" / "b.txt").write_text("a 71-year-old person")
    assert train(folders, checkpoint, "--captions") == 0
    out = capsys.readouterr().out
    used = caption_remark(out)
    assert "8, 71" in out and "1 of 2" in used
    assert train(folders, checkpoint, "--photo-ages", "?, ?", out="other") == 0
    out = capsys.readouterr().out
    unused = caption_remark(out)
    assert "8, 71" not in out and "1 of 2" in unused and unused != used
    assert (folders / "other" / "losses.csv").read_text() != (folders / "subject" / "losses.csv").read_text()


def test_ages_are_estimated_before_training(tmp_path, checkpoint, capsys):
    from training.world.render.photos import photos

    (tmp_path / "photos").mkdir()
    for number, years in enumerate((6, 80)):
        photos(3, years, 1)[0].save(tmp_path / "photos" / f"{number}.png")
    sets = ["--subject", f"{tmp_path}/photos", "--out", f"{tmp_path}/subject", "--embedder", "drawn-loss"]
    small = ["--resolution", "64", "--max-train-steps", "1", "--photo-ages", "auto", "--age-estimator", "drawn-age"]
    assert main(["train", "--checkpoint", str(checkpoint), *sets, *small]) == 0
    assert "child, old" in capsys.readouterr().out


def test_the_ages_of_the_regularization_set_are_estimated_and_contradicted_ages_are_named(tmp_path, checkpoint, capsys):
    from training.world.render.photos import photos

    for name, years in {"photos/8_school.png": 80, "photos/70_x.png": 75, "ages/a.png": 6, "ages/b.png": 80}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photos(3, years, 1)[0].save(tmp_path / name)
    sets = ["--subject", f"{tmp_path}/photos", "--regularization", f"{tmp_path}/ages", "--out", f"{tmp_path}/subject"]
    small = ["--resolution", "64", "--max-train-steps", "1", "--embedder", "drawn-loss", "--age-estimator", "drawn-age"]
    assert main(["train", "--checkpoint", str(checkpoint), *sets, *small, "--regularization-ages", "auto"]) == 0
    out = capsys.readouterr().out
    assert "child 1, teenager 0, youngadults 0, middleaged 0, elderly 0, old 1" in out
    (warning,) = [line for line in out.splitlines() if "8_school.png (8 years" in line]
    assert "1 of 2" in warning and "70_x.png" not in warning


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--photo-ages", "8, 9, 10"], [2, 3, "8, 9, 10"]),
        (["--photo-ages", "8, ancient"], ["ancient", "youngadults", 100]),
        (["--photo-ages", "auto"], ["--photo-ages", "auto", "--age-estimator", "face-api"]),
        (["--birth-date", "31.5.1984"], ["31.5.1984", "YYYY-MM-DD"]),
        (["--regularization-ages", "auto"], ["--regularization-ages", "--age-estimator"]),
        (["--checkpoint", "missing.safetensors"], ["missing.safetensors"]),
        (["--subject", "missing"], ["missing", "subject"]),
        (["--regularization", "missing"], ["missing", "regularization"]),
        (["--resolution", "100"], ["resolution", 100, 64]),
        (["--max-train-steps", "0"], ["max_train_steps", 0, 1]),
        (["--learning-rate", "nan"], ["learning_rate", "nan"]),
        (["--token", " "], ["token"]),
        (["--instance-prompt", "a {name}"], ["a {name}", "{token}", "{class_word}"]),
        (["--use-8bit-adam"], ["use_8bit_adam", "bitsandbytes"]),
        (["--loss", "biometric"], ["20180402-114759-vggface2.pt", "facenet", "download"]),
        (["--loss", "biometric", "--embedder", "untrained"], ["face", 2, "biometric"]),
        (["--tiny-vae", "missing.safetensors"], ["missing.safetensors"]),
        (["--judge", "casia-webface"], ["20180408-102900-casia-webface.pt", "facenet", "download"]),
        (["--judge", "untrained"], ["face", 2]),
        (["--patience", "2"], ["--patience", "--judge"]),
        (["--age-estimator", "drawn-age"], ["--age-estimator", "--judge", "--reward-every", "--photo-ages", "auto"]),
        (["--loss", "none", "--reward-every", "5", "--embedder", "untrained"], ["age estimator", "reward_age"]),
        (["--judge", "drawn-score", "--embedder", "drawn-loss", "--look-every", "-1"], ["look_every", -1, 0]),
    ],
)
def test_unusable_training_input_is_refused(folders, checkpoint, options, values, capsys):
    weights = ["--embedder-weights", f"{folders}/facenet"]
    assert train(folders, checkpoint, *weights, *options) == 2
    assert_told(capsys.readouterr().err, *values)
    assert not (folders / "subject").exists()


def test_estimating_the_ages_of_a_missing_set_is_refused(tmp_path, capsys):
    paths = ["--checkpoint", "x", "--subject", str(tmp_path / "photos"), "--out", str(tmp_path / "subject")]
    assert main(["train", *paths, "--regularization-ages", "auto", "--age-estimator", "drawn-age"]) == 2
    assert_told(capsys.readouterr().err, "--regularization-ages", "--regularization")


def test_a_loss_that_compares_within_a_batch_needs_two_images(folders, checkpoint, capsys):
    single = ["--checkpoint", str(checkpoint), "--subject", f"{folders}/photos", "--out", f"{folders}/x"]
    assert main(["train", *single, "--loss", "contrastive", "--resolution", "64"]) == 2
    assert_told(capsys.readouterr().err, "contrastive", "train_batch_size")


def test_an_unknown_age_is_an_error_with_the_file_and_the_six_age_classes(folders, checkpoint, capsys):
    picture(3).save(folders / "ages" / "img_0001.png")
    assert train(folders, checkpoint) == 2
    error = capsys.readouterr().err
    assert_told(error, folders / "ages", "img_0001.png", 1, 3, *AGE_CLASSES)
    assert "child_1.png" not in error


def test_a_damaged_photo_is_named(folders, checkpoint, capsys):
    (folders / "photos" / "c.jpg").write_bytes(b"no picture")
    assert train(folders, checkpoint) == 2
    assert_told(capsys.readouterr().err, folders / "photos" / "c.jpg")


@pytest.mark.parametrize("name", ["half.safetensors", "half.ckpt"])
def test_a_damaged_checkpoint_is_named(folders, checkpoint, name, capsys):
    half = folders / name
    half.write_bytes(checkpoint.read_bytes()[:100_000])
    assert train(folders, half) == 2
    assert_told(capsys.readouterr().err, half)


def test_earlier_results_are_kept(folders, checkpoint, capsys):
    assert train(folders, checkpoint) == 0
    before = contents(folders / "subject")
    assert train(folders, checkpoint) == 2
    assert_told(capsys.readouterr().err, folders / "subject", "--out")
    assert contents(folders / "subject") == before


GENERATE = ["generate", "--subject", "{subject}", "--out", "x"]
SCORE = ["score", "--reference", "{photos}", "--images", "{photos}", "--embedder", "untrained"]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["generate", "--subject", "missing", "--out", "x"], ["missing"]),
        ([*GENERATE, "--ages", "ancient"], ["ancient", "youngadults", 100]),
        ([*GENERATE, "--prompt", "a {city}"], ["a {city}", "{token}", "{class_word}", "{age}"]),
        (["generate", "--subject", "{checkpoint}", "--out", "x"], ["tiny.safetensors"]),
        ([*GENERATE, "--resolution", "65"], ["resolution", 65, 8]),
        ([*GENERATE, "--batch-size", "0"], ["batch_size", 0, 1]),
        (["score", "--reference", "missing", "--images", "missing"], ["missing", "reference"]),
        (SCORE, ["face", 2, "reference"]),
        ([*SCORE, "--report", "r.txt"], ["r.txt", ".json"]),
        ([*SCORE, "--photo-age", "130"], ["photo_age", 130, 0, 100]),
        ([*SCORE, "--age-estimator", "nowhere"], ["nowhere", "CLIP", "config.json"]),
    ],
)
def test_unusable_input_to_generate_and_score_is_refused(folders, checkpoint, arguments, values, capsys, monkeypatch):
    names = {"subject": folders / "subject", "checkpoint": checkpoint, "photos": folders / "photos"}
    if "{subject}" in arguments:
        train(folders, checkpoint)
    (folders / "here").mkdir()
    monkeypatch.chdir(folders / "here")
    capsys.readouterr()
    filled = [argument.format(**names) if argument[1:-1] in names else argument for argument in arguments]
    assert main(filled) == 2
    assert_told(capsys.readouterr().err, *values)
    assert list((folders / "here").iterdir()) == [], "nothing was written"


def test_the_path_of_a_moved_base_model_is_named(folders, checkpoint, capsys):
    train(folders, checkpoint)
    (folders / "subject" / "run.json").write_text(json.dumps({"checkpoint": str(folders / "gone.safetensors")}))
    capsys.readouterr()
    assert main(["generate", "--subject", f"{folders}/subject", "--out", f"{folders}/x"]) == 2
    assert_told(capsys.readouterr().err, folders / "gone.safetensors")


def test_score_reports_a_real_face(folders, astronaut, capsys):
    for name in ("one", "two"):
        (folders / name).mkdir()
    astronaut.save(folders / "one" / "a.png")
    astronaut.crop((60, 0, 400, 340)).save(folders / "two" / "elderly.png")
    picture(1).save(folders / "two" / "child.png")
    sets = ["--reference", f"{folders}/one", "--images", f"{folders}/two", "--embedder", "untrained"]
    assert main(["score", *sets, "--report", f"{folders}/r.json", "--report", f"{folders}/r.csv"]) == 0
    report = json.loads((folders / "r.json").read_text())
    assert {row["image"]: row["face_found"] for row in report["images"]} == {"child.png": False, "elderly.png": True}
    assert report["summary"]["failures_to_detect"] == 1
    assert "untrained" in report["matcher"]
    assert len((folders / "r.csv").read_text().splitlines()) == 4
    assert re.search(r"^child\.png +child  .*[^\d.]$", capsys.readouterr().out, re.M), "it ends with a word on the face"


def test_score_compares_synthetic_people(tmp_path, capsys):
    from training.world.render.photos import age_set, photos

    for name, person in (("anna", 3), ("again", 3), ("base", 5)):
        (tmp_path / name).mkdir()
        for number, photo in enumerate(photos(person, 28, 3, first_view=10 * (name == "again"))):
            photo.save(tmp_path / name / f"youngadults_{number}.png")
    (tmp_path / "ages").mkdir()
    for age, faces in age_set(2).items():
        for number, face in enumerate(faces):
            face.save(tmp_path / "ages" / f"{age}_{number}.png")
    options = ["--reference", "anna", "--images", "again", "--impostors", "base", "--regularization", "ages"]
    options += ["--untrained", "base", "--report", "r.json", "--report", "r.html"]
    paths = [option if option.startswith("-") else f"{tmp_path}/{option}" for option in options]
    networks = ["--embedder", "drawn-score", "--age-estimator", "drawn-age", "--trained-with", "drawn-loss"]
    (tmp_path / "truth").mkdir()
    photos(3, 80, 1)[0].save(tmp_path / "truth" / "80_x.png")
    assert main(["score", *paths, *networks, "--photo-age", "28", "--held-out", f"{tmp_path}/truth"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"young adult +0\.\d+ \(9\) +0\.\d+ \(3\)", out), out
    assert re.search(r"\b45\b.* 6\.7 %", out), "45 non-mated comparisons support an FMR of 3/45"
    report = json.loads((tmp_path / "r.json").read_text())
    untrained, trained = report["rows"][1:]
    assert trained["mean_similarity"] > 0.5 > 0.3 > untrained["mean_similarity"]
    assert trained["auc"] > 0.98
    assert [point["supported"] for point in trained["operating_points"]] == [True] + [False] * 3
    assert report["ages"]["known"]["pictures"] == 12 + 3 + 3 + 1
    assert (tmp_path / "r.html").stat().st_size > 10_000


def start_long_training(folders, checkpoint, *options, steps=100_000):
    sets = ["--subject", f"{folders}/photos", "--out", f"{folders}/subject"]
    command = [sys.executable, "-m", "training", "train", "--checkpoint", str(checkpoint), *sets, *options]
    command += ["--loss", "none", "--resolution", "64", "--max-train-steps", str(steps)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stop_after_a_step(process, number):
    """Sends the signal after the first step and returns stdout and stderr."""
    shown = ""
    while "reconstruction=" not in shown:
        shown += process.stderr.read(1)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    return out


def test_ctrl_c_saves_the_state_and_names_the_option_to_resume(folders, checkpoint):
    out = stop_after_a_step(start_long_training(folders, checkpoint), signal.SIGINT)
    assert "--resume" in out
    assert (folders / "subject" / "training-state.pt").exists()
    assert not (folders / "subject" / "subject.safetensors").exists()


def test_a_loop_of_the_same_command_starts_resumes_and_ends(folders, checkpoint, capsys):
    options = ["--embedder", "drawn-loss", "--judge", "drawn-score", "--look-every", "1", "--resume"]
    assert train(folders, checkpoint, *options) == 0
    before = contents(folders / "subject")
    capsys.readouterr()
    assert train(folders, checkpoint, *options) == 0
    out = capsys.readouterr().out
    assert re.search(r"step_\d\.safetensors", out) and "subject.safetensors" in out
    assert contents(folders / "subject") == before


def test_when_memory_runs_out_earlier_steps_are_kept(folders, checkpoint, capsys, monkeypatch):
    step, started = Trainer.step, []

    def too_large(trainer):
        if trainer.step_number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(trainer)

    def counted(trainer):
        started.append(trainer.step_number)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", too_large)
    assert train(folders, checkpoint) == 2
    _, message = capsys.readouterr().err.split("Error: ")
    assert_holds(message, "memory", 2, "--resume")  # it has one sentence more than assert_told allows
    monkeypatch.setattr(Trainer, "step", counted)
    assert train(folders, checkpoint, "--resume", "--gradient-checkpointing") == 0
    assert started == [1], "only the second step is trained"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_stop_by_a_scheduler_saves_the_state_and_the_same_command_resumes(folders, checkpoint, name):
    state = folders / "subject" / "training-state.pt"
    stop_after_a_step(start_long_training(folders, checkpoint, "--resume"), getattr(signal, name))
    step = torch.load(state, weights_only=True)["step"]
    out = stop_after_a_step(start_long_training(folders, checkpoint, "--resume"), getattr(signal, name))
    assert re.search(rf"\bstep {step}\b", out), "it says from which step it resumes"
    assert torch.load(state, weights_only=True)["step"] > step


def test_a_closed_pipe_does_not_stop_training(folders, checkpoint):
    sets = ["--subject", f"{folders}/photos", "--out", f"{folders}/subject"]
    command = [sys.executable, "-m", "training", "train", "--checkpoint", str(checkpoint), *sets]
    command += ["--loss", "none", "--resolution", "64", "--max-train-steps", "40"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process.stdout.read(200)
    process.stdout.close()  # as `2>&1 | head -c 200` does
    assert process.wait(timeout=120) == 0
    assert (folders / "subject" / "subject.safetensors").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_option_with_its_default(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    sections = re.split(r"\n  (?=\S)", capsys.readouterr().out)  # one per option
    sections = {section.split()[0].rstrip(","): "".join(section.split()) for section in sections}
    command = COMMANDS[name]
    for option in (*(option for described in command.described for option in options_of(described)), *command.columns):
        section = sections[option.name if option.positional else option.flag]
        assert "".join(option.help.split()) in section
        if isinstance(option.default, bool):
            assert f"(default:{'on' if option.default else 'off'})" in section
        elif isinstance(option.default, int | float) and not option.required:
            assert f"(default:{option.default})" in section


def test_requirements_match_pyproject():
    text = (REPOSITORY / "pyproject.toml").read_text()
    declared = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M)[1]
    assert re.findall(r'"(.*?)"', declared) == (REPOSITORY / "requirements.txt").read_text().split()


def test_version_matches_pyproject():
    assert f'version = "{VERSION}"' in (REPOSITORY / "pyproject.toml").read_text()


def test_importing_the_command_line_imports_no_heavy_packages():
    heavy = "diffusers, transformers, facenet_pytorch, open_clip, kornia, peft, accelerate"
    code = f"import sys, training.__main__; print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
