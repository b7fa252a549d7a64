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

from tests.parts import picture
from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.dreambooth.trainer import Trainer
from training.models.stable_diffusion.families import SD1
from training.models.subject import VERSION, read_subject

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_file(tiny_checkpoint(SD1), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Faceless photos and a regularization set."""
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


def test_train_and_generate_end_to_end(folders, checkpoint, capsys):
    assert train(folders, checkpoint) == 0
    out = capsys.readouterr().out
    assert "child 1, teenager 0" in out
    assert "Warning: no regularization image for teenager, youngadults, middleaged, elderly" in out
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
    assert difference.abs().max() <= 1, "the same age and seed draw the same picture in any list of ages"
    sheet = Image.open(folders / "one.png")
    assert sheet.width > 6 * 64 and sheet.height > 64


def test_a_judge_keeps_the_best_step_and_its_looks(folders, checkpoint, capsys):
    drawn = ["--embedder", "drawn-loss", "--judge", "drawn-score", "--age-estimator", "drawn-age"]
    assert train(folders, checkpoint, *drawn, "--look-every", "1") == 0
    looks = json.loads((folders / "subject" / "looks.json").read_text())
    assert [look["step"] for look in looks] == [1, 2] and len(looks[0]["years"]) == 6
    (step,) = re.findall(r"Best of 2 looks: step (\d)", capsys.readouterr().out)
    assert read_subject(folders / "subject" / f"step_{step}.safetensors").steps == int(step)
    for sheet in ("looks/step_1.png", "looks/step_2.png", "curves.png"):
        with Image.open(folders / "subject" / sheet) as opened:
            assert opened.width > 3 * 64


def test_ages_and_captions_of_the_photos_are_said_and_make_their_own_run(folders, checkpoint, capsys):
    (folders / "photos" / "a.png").rename(folders / "photos" / "8_school.png")
    (folders / "photos" / "b.txt").write_text("a 71-year-old person")
    assert train(folders, checkpoint, "--captions") == 0
    out = capsys.readouterr().out
    assert "8, 71" in out and "1 of 2 photos have a .txt" in out
    state = folders / "other"
    assert train(folders, checkpoint, "--photo-ages", "?, ?", out="other") == 0
    out = capsys.readouterr().out
    assert "Ages of the photos" not in out and "1 of 2 photos have a .txt" in out
    assert (state / "losses.csv").read_text() != (folders / "subject" / "losses.csv").read_text()


def test_ages_are_estimated_before_training(tmp_path, checkpoint, capsys):
    from training.world.render.photos import photos

    (tmp_path / "photos").mkdir()
    for number, years in enumerate((6, 80)):
        photos(3, years, 1)[0].save(tmp_path / "photos" / f"{number}.png")
    sets = ["--subject", f"{tmp_path}/photos", "--out", f"{tmp_path}/subject", "--embedder", "drawn-loss"]
    small = ["--resolution", "64", "--max-train-steps", "1", "--photo-ages", "auto", "--age-estimator", "drawn-age"]
    assert main(["train", "--checkpoint", str(checkpoint), *sets, *small]) == 0
    assert "Ages of the photos, in order: child, old." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--photo-ages", "8, 9, 10"], "3 ages.* 2 photos"),
        (["--photo-ages", "8, ancient"], "'ancient' is not an age"),
        (["--photo-ages", "auto"], "Add --age-estimator"),
        (["--checkpoint", "missing.safetensors"], r"no file missing\.safetensors"),
        (["--subject", "missing"], "missing .*photos of the subject"),
        (["--regularization", "missing"], "missing .*regularization images"),
        (["--resolution", "100"], "multiple of 64"),
        (["--max-train-steps", "0"], "at least 1"),
        (["--learning-rate", "nan"], "learning_rate is nan; it must be a number"),
        (["--token", " "], "cannot be empty"),
        (["--instance-prompt", "a {name}"], r"\{name\}"),
        (["--use-8bit-adam"], "bitsandbytes"),
        (["--loss", "biometric"], r"20180402-114759-vggface2.pt \(.*\) is not in .*download"),
        (["--loss", "biometric", "--embedder", "untrained"], "No face was found in any of the 2 photos"),
        (["--tiny-vae", "missing.safetensors"], r"no file missing\.safetensors"),
        (["--judge", "casia-webface"], r"20180408-102900-casia-webface.pt \(.*\) is not in .*download"),
        (["--judge", "untrained"], "No face was found in any of the 2 photos, so nobody can tell"),
        (["--patience", "2"], "say who looks with --judge"),
        (["--age-estimator", "drawn-age"], "add --judge, --reward-every or --photo-ages auto"),
        (["--loss", "none", "--reward-every", "5", "--embedder", "untrained"], "needs an age estimator"),
        (
            ["--judge", "drawn-score", "--embedder", "drawn-loss", "--look-every", "-1"],
            "look_every is -1; it must be at least 0",
        ),
    ],
)
def test_bad_training_input_gives_its_sentence(folders, checkpoint, options, sentence, capsys):
    weights = ["--embedder-weights", f"{folders}/facenet"]
    assert train(folders, checkpoint, *weights, *options) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error.split("Error: ")[1]), error
    assert "Traceback" not in error
    assert not (folders / "subject").exists()


def test_losses_that_compare_within_a_batch_need_two(folders, checkpoint, capsys):
    lone = ["--checkpoint", str(checkpoint), "--subject", f"{folders}/photos", "--out", f"{folders}/x"]
    assert main(["train", *lone, "--loss", "contrastive", "--resolution", "64"]) == 2
    assert "needs two or more" in capsys.readouterr().err


def test_unknown_caption_lists_the_files_and_the_six_names(folders, checkpoint, capsys):
    picture(3).save(folders / "ages" / "img_0001.png")
    assert train(folders, checkpoint) == 2
    error = capsys.readouterr().err
    assert "img_0001.png" in error and "child, teenager, youngadults, middleaged, elderly, old" in error


def test_damaged_photo_is_named(folders, checkpoint, capsys):
    (folders / "photos" / "c.jpg").write_bytes(b"no picture")
    assert train(folders, checkpoint) == 2
    assert "c.jpg cannot be read as an image" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["half.safetensors", "half.ckpt"])
def test_damaged_checkpoint_is_named(folders, checkpoint, name, capsys):
    half = folders / name
    half.write_bytes(checkpoint.read_bytes()[:100_000])
    assert train(folders, half) == 2
    assert f"{name} cannot be read as a model file" in capsys.readouterr().err


def test_earlier_results_are_left_alone(folders, checkpoint, capsys):
    assert train(folders, checkpoint) == 0
    before = contents(folders / "subject")
    assert train(folders, checkpoint) == 2
    assert "already holds a finished subject" in capsys.readouterr().err
    assert contents(folders / "subject") == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "--subject", "missing", "--out", "x"], "no subject at missing"),
        (["generate", "--subject", "{subject}", "--out", "x", "--ages", "ancient"], "'ancient' is not an age"),
        (["generate", "--subject", "{subject}", "--out", "x", "--prompt", "a {city}"], r"\{city\}"),
        (["generate", "--subject", "{checkpoint}", "--out", "x"], "no subject file"),
        (["generate", "--subject", "{subject}", "--out", "x", "--resolution", "65"], "multiple of 8"),
        (["generate", "--subject", "{subject}", "--out", "x", "--batch-size", "0"], "at least 1"),
        (["score", "--reference", "missing", "--images", "missing"], "missing .*reference photos"),
        (["score", "--reference", "{photos}", "--images", "{photos}"], "No face was found in any of the 2 reference"),
        (
            ["score", "--reference", "{photos}", "--images", "{photos}", "--report", "r.txt"],
            r"must end in one of \.json",
        ),
        (
            ["score", "--reference", "{photos}", "--images", "{photos}", "--photo-age", "130"],
            "photo_age is 130.* 0 .* 100",
        ),
        (
            ["score", "--reference", "{photos}", "--images", "{photos}", "--age-estimator", "no"],
            "There is no CLIP in no",
        ),
    ],
)
def test_bad_input_to_generate_and_score_gives_its_sentence(folders, checkpoint, arguments, sentence, capsys):
    names = {"subject": folders / "subject", "checkpoint": checkpoint, "photos": folders / "photos"}
    if "{subject}" in arguments:
        train(folders, checkpoint)
    filled = [argument.format(**names) if argument[1:-1] in names else argument for argument in arguments]
    if filled[0] == "score":
        filled += ["--embedder", "untrained"]
    assert main(filled) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_moved_base_model_must_be_named(folders, checkpoint, capsys):
    train(folders, checkpoint)
    (folders / "subject" / "run.json").write_text(json.dumps({"checkpoint": str(folders / "gone.safetensors")}))
    assert main(["generate", "--subject", f"{folders}/subject", "--out", f"{folders}/x"]) == 2
    assert "gone.safetensors" in capsys.readouterr().err


def test_score_reports_a_real_face(folders, astronaut, capsys):
    for name in ("one", "two"):
        (folders / name).mkdir()
    astronaut.save(folders / "one" / "a.png")
    astronaut.crop((60, 0, 400, 340)).save(folders / "two" / "elderly.png")
    picture(1).save(folders / "two" / "child.png")
    sets = ["--reference", f"{folders}/one", "--images", f"{folders}/two", "--embedder", "untrained"]
    assert main(["score", *sets, "--report", f"{folders}/r.json", "--report", f"{folders}/r.csv"]) == 0
    report = json.loads((folders / "r.json").read_text())
    found = {row["image"]: row["face_found"] for row in report["images"]}
    assert found == {"child.png": False, "elderly.png": True}
    assert report["summary"]["failures_to_detect"] == 1
    assert "untrained" in report["matcher"]
    assert len((folders / "r.csv").read_text().splitlines()) == 4
    assert re.search(r"child.png +child .* NOT FOUND", capsys.readouterr().out)


def test_score_holds_the_worlds_people_against_each_other(tmp_path, capsys):
    from training.world.render.photos import age_set, photos

    for name, person in (("anna", 3), ("again", 3), ("base", 5)):
        (tmp_path / name).mkdir()
        for number, drawn in enumerate(photos(person, 28, 3, first_view=10 * (name == "again"))):
            drawn.save(tmp_path / name / f"youngadults_{number}.png")
    (tmp_path / "ages").mkdir()
    for age, faces in age_set(2).items():
        for number, face in enumerate(faces):
            face.save(tmp_path / "ages" / f"{age}_{number}.png")
    options = ["--reference", "anna", "--images", "again", "--impostors", "base", "--regularization", "ages"]
    options += ["--untrained", "base", "--report", "r.json", "--report", "r.html"]
    paths = [option if option.startswith("-") else f"{tmp_path}/{option}" for option in options]
    known = ["--embedder", "drawn-score", "--age-estimator", "drawn-age", "--photo-age", "28"]
    known += ["--trained-with", "drawn-loss"]
    (tmp_path / "truth").mkdir()
    photos(3, 80, 1)[0].save(tmp_path / "truth" / "80_x.png")
    assert main(["score", *paths, *known, "--held-out", f"{tmp_path}/truth"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"drawn, young adult +0\.\d+ \(9\) +0\.\d+ \(3\)", out), out
    assert "45 non-mated comparisons support an FMR of 6.7 % and more" in out
    report = json.loads((tmp_path / "r.json").read_text())
    untrained, drawn = report["rows"][1:]
    assert drawn["mean_similarity"] > 0.5 > 0.3 > untrained["mean_similarity"]
    assert drawn["auc"] > 0.98 and [point["supported"] for point in drawn["operating_points"]] == [True] + [False] * 3
    assert report["ages"]["known"]["pictures"] == 12 + 3 + 3 + 1
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_ctrl_c_saves_and_says_how_to_resume(folders, checkpoint):
    sets = ["--subject", f"{folders}/photos", "--out", f"{folders}/subject"]
    command = [sys.executable, "-m", "training", "train", "--checkpoint", str(checkpoint), *sets]
    command += ["--loss", "none", "--resolution", "64", "--max-train-steps", "100000"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    shown = ""
    while "reconstruction=" not in shown:
        shown += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in out and "Traceback" not in errors
    assert (folders / "subject" / "training-state.pt").exists()
    assert not (folders / "subject" / "subject.safetensors").exists()


def test_one_command_starts_resumes_and_ends_a_loop_of_restarts(folders, checkpoint, capsys):
    drawn = ["--embedder", "drawn-loss", "--judge", "drawn-score", "--look-every", "1", "--resume"]
    assert train(folders, checkpoint, *drawn) == 0
    before = contents(folders / "subject")
    capsys.readouterr()
    assert train(folders, checkpoint, *drawn) == 0
    said = capsys.readouterr().out
    assert "Best of 2 looks" in said and "is finished; there is nothing to resume" in said
    assert contents(folders / "subject") == before


def test_where_memory_runs_out_the_steps_before_are_kept(folders, checkpoint, capsys, monkeypatch):
    step = Trainer.step

    def too_large(trainer):
        if trainer.step_number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", too_large)
    assert train(folders, checkpoint) == 2
    assert "ran out of memory at step 2; what was trained before it is saved" in capsys.readouterr().err
    monkeypatch.setattr(Trainer, "step", step)
    assert train(folders, checkpoint, "--resume", "--gradient-checkpointing") == 0
    assert "resumed after step 1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_schedulers_stop_saves_and_the_same_command_goes_on(folders, checkpoint, name):
    sets = ["--subject", f"{folders}/photos", "--out", f"{folders}/subject", "--resume"]
    command = [sys.executable, "-m", "training", "train", "--checkpoint", str(checkpoint), *sets]
    command += ["--loss", "none", "--resolution", "64", "--max-train-steps", "100000"]

    def stopped():
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        shown = ""
        while "reconstruction=" not in shown:
            shown += process.stderr.read(1)
        process.send_signal(getattr(signal, name))
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130 and "the state is saved" in out
        return out

    assert "resumed" not in stopped()
    assert "resumed after step" in stopped()


def test_nobody_reading_the_progress_ends_no_training(folders, checkpoint):
    sets = ["--subject", f"{folders}/photos", "--out", f"{folders}/subject"]
    command = [sys.executable, "-m", "training", "train", "--checkpoint", str(checkpoint), *sets]
    command += ["--loss", "none", "--resolution", "64", "--max-train-steps", "40"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process.stdout.read(200)
    process.stdout.close()  # as `2>&1 | head -c 200` does
    assert process.wait(timeout=120) == 0
    assert (folders / "subject" / "subject.safetensors").exists()


def test_help_names_every_default(capsys):
    for command in ("train", "cast", "generate", "score", "world", "demo"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for fragment in ("(default: 800)", "(default: biometric)", "px, a multiple of 64", "(default: off)"):
        assert fragment in shown


def test_requirements_agree_with_pyproject():
    text = (REPOSITORY / "pyproject.toml").read_text()
    declared = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M)[1]
    assert re.findall(r'"(.*?)"', declared) == (REPOSITORY / "requirements.txt").read_text().split()


def test_version_agrees_with_pyproject():
    assert f'version = "{VERSION}"' in (REPOSITORY / "pyproject.toml").read_text()


def test_importing_the_command_line_imports_nothing_heavy():
    heavy = "diffusers, transformers, facenet_pytorch, open_clip, kornia, peft, accelerate"
    code = f"import sys, training.__main__; print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
