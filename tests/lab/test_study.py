"""The study: rates checked by hand, and its quick mode from training to table."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from lab.__main__ import main
from lab.study import frontier, paths
from lab.study.plan import (
    DREAMBOOTH,
    LOSSES,
    METHODS,
    PEOPLE,
    TRUE,
    TUNED_ON,
    UNTRAINED,
    WATCHED,
    WHOLE,
    Variant,
    quick,
    trials,
    tried,
)
from lab.study.results import results, table
from lab.study.spread import ALBUMS, album, by_age, truth
from lab.study.spread import table as spread_table
from lab.study.steps import compared, gain, steps_chosen
from training.ages import AGE_CLASSES
from training.biometrics.comparisons import against
from training.report.build import GENERATED_ROW, Networks, build
from training.world import recipe
from training.world.recipe import generate_six, subject_set, synthetic_observer, trainer_of

OURS = Variant("ours", "ours", {})


def row(variant, subject, mated, non_mated, asked=("child", "old"), years=(5.0, 50.0), seed=0):
    return {"trial": f"{variant}/{subject}/{seed}", "variant": variant, "subject": subject, "seed": seed,
            "asked": list(asked), "years": list(years), "mated": mated, "non_mated": non_mated}  # fmt: skip


def test_rates_and_ages_match_hand_counts():
    others = [[number / 1000 for number in range(400)]]  # FMR is at most 1 % from 0.396 on
    rows = [
        row("dreambooth", 1, [[0.1, 0.2, 0.3, 0.9]], others),
        row("dreambooth", 2, [[0.1, 0.2, 0.9, 0.9]], others),
        row("ours", 1, [[0.1, 0.9, 0.9, 0.9]], others),
        row("ours", 2, [[0.9, 0.9, 0.9, 0.9]], others, years=(5.0, 80.0)),
    ]
    theirs, ours = results(rows, [DREAMBOOTH, OURS])
    assert theirs.fnmr["0.01"].value == pytest.approx(5 / 8) and ours.fnmr["0.01"].value == pytest.approx(1 / 8)
    assert ours.fnmr_change.value == pytest.approx(1 / 5 - 1)
    assert ours.fnmr["0.001"] is None  # 800 comparisons cannot support it
    assert theirs.age_accuracy.value == 0.5 and ours.age_accuracy.value == 0.75
    assert theirs.age_error.value == pytest.approx(25 / 2) and ours.age_error.value == pytest.approx(25 / 4)
    assert (ours.mated_comparisons, ours.non_mated_comparisons, ours.subjects, ours.seeds) == (8, 800, 2, 1)
    markdown = table([theirs, ours])
    assert "not supported" in markdown and "62.5 (" in markdown and "-80 (" in markdown


def test_equal_subjects_have_an_interval_of_zero_width_and_different_ones_a_wide_one():
    others = [list(np.linspace(-1, 0, 400))]
    alike = [row("ours", subject, [[0.5, -0.5]], others) for subject in range(4)]
    apart = [row("ours", subject, [[0.5 if subject % 2 else -0.5]], others) for subject in range(4)]
    (same,), (other,) = results(alike, [OURS]), results(apart, [OURS])
    assert same.fnmr["0.01"].low == same.fnmr["0.01"].high == same.fnmr["0.01"].value == 0.5
    assert other.fnmr["0.01"].low == 0 and other.fnmr["0.01"].high == 1
    assert same.fnmr_change is None  # no DreamBooth rows to compare with


def test_the_chosen_step_is_compared_with_the_last():
    def look(subject, step, identity, mated):
        judged = {"step": step, "similarities": [identity] * 6, "years": [None] * 6}
        right = {"asked": AGE_CLASSES, "years": [5.0, 15.0, 25.0, 50.0, 70.0, 90.0]}
        return row("", subject, mated * 6, [[0.0] * 400], **right) | {"look": judged}

    rows = [look(1, 20, 0.6, [[0.9, -0.1]]), look(1, 40, 0.5, [[-0.1, -0.1]]),
            look(2, 20, 0.4, [[-0.1, -0.1]]), look(2, 40, 0.8, [[0.9, -0.1]])]  # fmt: skip
    last, chosen = compared(rows)
    assert steps_chosen(rows) == [20, 40]
    assert last.fnmr["0.01"].value == 3 / 4 and chosen.fnmr["0.01"].value == 2 / 4
    last_score, more = gain(rows)  # every age is right; an image without similarity counts 0
    assert last_score == pytest.approx((0 + 0.4) / 2) and more.value == pytest.approx((0.4 + 0) / 2)
    assert last.fnmr_change is None and chosen.fnmr_change.value == pytest.approx(2 / 3 - 1)


def test_photos_of_several_ages_are_compared_with_the_truth_at_each_age():
    others = [[number / 1000 for number in range(400)]]
    rows = [
        row("at-28", 1, [[0.1, 0.9], [0.9, 0.9]], others * 2, years=(20.0, 90.0)),
        row("spread", 1, [[0.9, 0.9], [0.1, 0.1]], others * 2, years=(5.0, 70.0)),
    ]
    (at_28, both), (old, also_old) = by_age(rows).values()
    assert (at_28.fnmr["0.01"].value, both.fnmr["0.01"].value) == (0.5, 0)
    assert (old.fnmr["0.01"].value, also_old.fnmr["0.01"].value) == (0, 1)
    assert (at_28.age_error.value, also_old.age_error.value) == (20 - 13, 75 - 70)
    assert "| child | 50.0 % |" in spread_table(rows)  # one subject has no interval


def test_albums_have_the_same_number_of_photos_with_ages_and_the_truth_shows_the_same_person():
    sets = [album(WATCHED[0], photographed) for photographed in ALBUMS]
    assert [len(subject.photos) for subject in sets] == [9, 9]
    assert Counter(photo.age for photo in sets[1].photos) == {8: 3, 28: 3, 60: 3}
    assert len({photo.image().tobytes() for photo in sets[1].photos}) == 9
    observer = synthetic_observer()
    true = [observer.observe(photo.name, photo.image(), photo.age) for photo in truth(WATCHED[0]).photos]
    spread = [observer.observe(photo.name, photo.image(), photo.age) for photo in sets[1].photos]
    child, old = true[:4], true[-4:]
    assert against(spread[:3], child).similarities.mean() > against(spread[:3], old).similarities.mean() + 0.2


def test_trial_names_are_unique_and_no_setting_was_tuned_on_the_subjects():
    plan = trials()
    assert len({trial.name for trial in plan}) == len(plan)
    for method in METHODS:
        seeds = 3 if method.trained else 1
        assert sum(trial.variant.name == method.name for trial in plan) == seeds * len(PEOPLE)
    assert {trial.subject for trial in tried()} == set(TUNED_ON)
    assert not set(PEOPLE) & (set(TUNED_ON) | set(WATCHED))


def stored(name):
    return (Path(__file__).parent.parent.parent / "study" / name).read_text()


def stored_rows(name):
    return [json.loads(line) for line in stored(name).splitlines()]


def test_scikit_learn_computes_the_stored_numbers_from_the_stored_comparisons():
    rows, page = stored_rows("paths.jsonl"), stored("README.md")
    for method in METHODS:
        last = 120 if method.trained else 0
        own = [row for row in rows if row["variant"] == method.name and row["step"] == last]
        mated, others = (np.concatenate([np.ravel(row[kind]) for row in own]) for kind in ("mated", "non_mated"))
        labels = np.repeat([1, 0], [len(mated), len(others)])
        fmr, tmr, _ = roc_curve(labels, np.concatenate([mated, others]), drop_intermediate=False)
        fnmr = 1 - tmr[fmr <= 0.01].max()
        assert f"| {method.label} | {fnmr:.1%}".removesuffix("%") + " (" in page


def test_the_report_agrees_with_the_study_on_a_subject():
    expected = next(row for row in stored_rows("paths.jsonl") if row["variant"] == UNTRAINED.name)
    subject, config = subject_set(expected["subject"]), UNTRAINED.config(expected["seed"], 1)
    trainer = trainer_of(subject, None, config)
    pictures = [picture for seed in WHOLE.noises for picture in generate_six(trainer, seed)]
    observer = synthetic_observer("age-judge")
    generated = [
        observer.observe(f"{number}", picture, age)
        for number, (picture, age) in enumerate(zip(pictures, expected["asked"], strict=True))
    ]
    photos = [observer.observe(photo.name, photo.image()) for photo in subject.photos]
    report = build(generated, photos, Networks("drawn-score", estimator="drawn-age-judge"))
    assert np.allclose(report.row(GENERATED_ROW).comparisons.similarities, np.ravel(expected["mated"]), atol=0.02)
    assert np.allclose([picture.estimate.years for picture in report.images.pictures], expected["years"], atol=1)
    (line,) = results([expected | {"variant": "ours"}], [OURS])
    assert report.row(GENERATED_ROW).mean.value == pytest.approx(line.similarity.value, abs=0.005)
    assert report.ages.drawn.right == pytest.approx(line.age_accuracy.value)


def walked(variant, step, mated, years=(5.0, 80.0), leaks=0.0, subject=1):
    others = [[number / 1000 for number in range(400)]]  # FMR is at most 1 % from 0.396 on
    step_row = row(variant, subject, [mated], others, years=years) | {"step": step, "others": [leaks] * 2}
    return step_row | {"trial": f"{variant}/{subject}/0/{step}"}


UNLIKE, HALF, LIKE = [0.1, 0.1], [0.1, 0.9], [0.9, 0.9]


def test_methods_are_compared_at_equal_age_error_and_leakage():
    start = walked(UNTRAINED.name, 0, UNLIKE)
    theirs = walked("dreambooth", 100, HALF, years=(5.0, 75.0 - 8), leaks=0.2)  # FNMR 50 %, 4 years off
    true = walked(TRUE.name, 0, LIKE)

    def against_dreambooth(**ours):
        courses = frontier.courses([start, theirs, true, walked("ours", 100, LIKE, **ours)])
        assert courses[TRUE.name][1].keys() == {0} and courses["ours"][1].keys() == {0, 100}
        return frontier.at_equal([(courses["ours"][1], courses["dreambooth"][1])])

    assert against_dreambooth(years=(5.0, 75.0 - 8), leaks=0.2) == pytest.approx((0, 0.5))
    # Twice the years off at the end, where FNMR is 0: halfway there, FNMR is a half.
    assert against_dreambooth(years=(5.0, 75.0 - 16), leaks=0.2) == pytest.approx((0.5, 0.5))
    assert against_dreambooth(years=(5.0, 80.0), leaks=0.8) == pytest.approx((0.75, 0.5))  # a quarter of the way
    assert against_dreambooth(years=(5.0, 80.0), leaks=0.0) == pytest.approx((0, 0.5))


def test_subjects_are_paired_and_subjects_without_dreambooth_rows_are_not_compared():
    rows = [
        walked(name, step, mated, subject=subject)
        for subject in (1, 2, 3)
        for name, step, mated in ((UNTRAINED.name, 0, UNLIKE), ("dreambooth", 9, HALF), ("ours", 9, LIKE))
    ]
    both = "| -100 (-100 to -100) % | -100 (-100 to -100) % | 3 of 3 |"
    assert both in frontier.table(rows, [OURS]).splitlines()[-1]
    alone = [row for row in rows if row["variant"] != "dreambooth"]
    assert frontier.table(alone, [OURS]).splitlines()[-1].endswith("|  |  | 3 of 3 |")


def test_a_method_that_always_leaks_more_is_nowhere_at_equal_cost():
    rows = [
        walked(name, step, mated, leaks=leaks)
        for name, step, mated, leaks in (
            (UNTRAINED.name, 0, UNLIKE, 0.1), ("dreambooth", 9, HALF, 0.0), ("ours", 9, LIKE, 0.2),
        )
    ]  # fmt: skip
    assert "| -100 % | nowhere |" in frontier.table(rows, [OURS])


def test_the_table_by_age_uses_one_threshold_for_all_ages():
    both_ages = walked("ours", 9, LIKE)  # one image per age; the second has a mated comparison below the threshold
    both_ages["mated"] = [[0.9, 0.9], [0.9, 0.1]]
    (line,) = frontier.by_age([both_ages | {"asked": ["child", "old"]}], [OURS], ("child", "old")).splitlines()[2:]
    assert line == "| ours | 0%, 5 years | 50%, 80 years |"


def test_on_the_synthetic_world_the_reward_keeps_ages_and_other_people_and_plain_training_does_not():
    rows = stored_rows("paths.jsonl")
    assert {row["subject"] for row in rows} <= set(PEOPLE)
    courses = frontier.courses(rows)

    def after(method):
        return [course[120] for course in courses[method].values()]

    def mean(method, name):
        return np.mean([getattr(result, name) for result in after(method)])

    assert abs(mean("dreambooth", "leakage")) < 0.1 < 0.3 < mean("plain", "leakage")
    pairs = list(zip(courses["reward"].values(), courses["dreambooth"].values(), strict=True))
    assert frontier.change(pairs) < -0.44  # the paper's headline
    assert mean("reward", "years_off") < mean("dreambooth", "years_off")
    assert all(ours.mated.mean() > theirs.mated.mean() for ours, theirs in zip(after("reward"), after("dreambooth"),
               strict=True))  # fmt: skip


def test_quick_mode_writes_a_whole_table(tmp_path, capsys, monkeypatch):
    for module in (recipe, paths):  # half of the study's time is sampling
        monkeypatch.setattr(module, "PRESET", replace(recipe.PRESET, steps=2))
    assert main(["study", "--quick", "--out", str(tmp_path)]) == 0
    printed, out = capsys.readouterr().out, tmp_path / "quick"
    assert all(f"| {trial.variant.label} |" in printed for trial in quick())
    names = {"README.md", "looks.jsonl", "gradients.json", "spread.jsonl", "paths.jsonl", "ages.png", "leakage.png"}
    assert {path.name for path in out.iterdir()} == names
    evaluations = [json.loads(line) for line in (out / "looks.jsonl").read_text().splitlines()]
    assert [look["trial"] for look in evaluations] == [f"{person}/{step}" for person in WATCHED[:1] for step in (1, 2)]
    pulls = json.loads((out / "gradients.json").read_text())
    assert [pull["name"] for pull in pulls] == [variant.name for variant in LOSSES]
    assert all(abs(value) <= 1 for pull in pulls for value in pull["direction"])
    path_rows = [json.loads(line) for line in (out / "paths.jsonl").read_text().splitlines()]
    methods = [trial.variant.name for trial in quick() if trial.variant.trained]
    assert [row["trial"] for row in path_rows] == [
        f"untrained/{PEOPLE[0]}/0/0", *(f"{method}/{PEOPLE[0]}/0/{step}" for method in methods for step in (1, 2))
    ]  # fmt: skip
    assert all(len(row["mated"]) == len(row["non_mated"]) == len(row["asked"]) for row in path_rows)
    assert all(len(row["others"]) == len(row["asked"]) for row in path_rows)
