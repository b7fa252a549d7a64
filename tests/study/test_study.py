"""The study: its rates counted by hand, and its quick mode from training to table."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from training.__main__ import main
from training.ages import AGE_CLASSES
from training.biometrics.comparisons import against
from training.catalogue import load_age_estimator
from training.faces.observation import Observer
from training.report.build import DRAWN_ROW, build
from training.study import frontier, recipe
from training.study.plan import DREAMBOOTH, MAIN, SUBJECTS, TRUE, UNTRAINED, WHOLE, Variant, quick, trials
from training.study.recipe import draw_six, drawn_observer, subject_set, trainer_of
from training.study.results import results, table
from training.study.spread import ALBUMS, album, by_age, truth
from training.study.spread import table as spread_table
from training.study.steps import compared, gain, steps_chosen
from training.world.draw.place import known_place
from training.world.shipped import world_embedder

OURS = Variant("ours", "ours", {})


def row(variant, subject, mated, non_mated, asked=("child", "old"), years=(5.0, 50.0), seed=0):
    return {"trial": f"{variant}/{subject}/{seed}", "variant": variant, "subject": subject, "seed": seed,
            "asked": list(asked), "years": list(years), "mated": mated, "non_mated": non_mated}  # fmt: skip


def test_rates_and_ages_counted_by_hand():
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
    shown = table([theirs, ours])
    assert "not supported" in shown and "62.5 (" in shown and "-80 (" in shown


def test_subjects_alike_have_no_interval_and_subjects_apart_a_wide_one():
    others = [list(np.linspace(-1, 0, 400))]
    alike = [row("ours", subject, [[0.5, -0.5]], others) for subject in range(4)]
    apart = [row("ours", subject, [[0.5 if subject % 2 else -0.5]], others) for subject in range(4)]
    (same,), (other,) = results(alike, [OURS]), results(apart, [OURS])
    assert same.fnmr["0.01"].low == same.fnmr["0.01"].high == same.fnmr["0.01"].value == 0.5
    assert other.fnmr["0.01"].low == 0 and other.fnmr["0.01"].high == 1
    assert same.fnmr_change is None  # there is no DreamBooth to compare with


def test_the_chosen_step_is_held_against_the_last():
    def look(subject, step, identity, mated):
        seen = {"step": step, "similarities": [identity] * 6, "years": [None] * 6}
        right = {"asked": AGE_CLASSES, "years": [5.0, 15.0, 25.0, 50.0, 70.0, 90.0]}
        return row("", subject, mated * 6, [[0.0] * 400], **right) | {"look": seen}

    rows = [look(1, 20, 0.6, [[0.9, -0.1]]), look(1, 40, 0.5, [[-0.1, -0.1]]),
            look(2, 20, 0.4, [[-0.1, -0.1]]), look(2, 40, 0.8, [[0.9, -0.1]])]  # fmt: skip
    last, chosen = compared(rows)
    assert steps_chosen(rows) == [20, 40]
    assert last.fnmr["0.01"].value == 3 / 4 and chosen.fnmr["0.01"].value == 2 / 4
    last_score, more = gain(rows)  # every age is right; a picture that is unlike counts 0
    assert last_score == pytest.approx((0 + 0.4) / 2) and more.value == pytest.approx((0.4 + 0) / 2)
    assert last.fnmr_change is None and chosen.fnmr_change.value == pytest.approx(2 / 3 - 1)


def test_photos_of_several_ages_are_held_against_the_truth_at_each_age():
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


def test_albums_have_equally_many_photos_that_know_their_age_and_the_truth_is_of_the_same_person():
    sets = [album(SUBJECTS[0], one) for one in ALBUMS]
    assert [len(one.photos) for one in sets] == [9, 9]
    assert Counter(photo.age for photo in sets[1].photos) == {8: 3, 28: 3, 60: 3}
    assert len({photo.image().tobytes() for photo in sets[1].photos}) == 9
    observer = drawn_observer()
    known = [observer.observe(photo.name, photo.image(), photo.age) for photo in truth(SUBJECTS[0]).photos]
    seen = [observer.observe(photo.name, photo.image(), photo.age) for photo in sets[1].photos]
    child, old = known[:4], known[-4:]
    assert against(seen[:3], child).similarities.mean() > against(seen[:3], old).similarities.mean() + 0.2


def test_the_plan_names_every_trial_once_and_has_each_way_on_each_subject():
    plan = trials()
    assert len({trial.name for trial in plan}) == len(plan)
    for variant in MAIN:
        seeds = 3 if variant.trained else 1
        assert sum(trial.variant.name == variant.name for trial in plan) == seeds * len(SUBJECTS)
    assert len(SUBJECTS) >= 8


def stored(name):
    return (Path(__file__).parent.parent.parent / "study" / name).read_text()


def test_the_stored_numbers_are_what_scikit_learn_makes_of_the_stored_comparisons():
    rows = [json.loads(line) for line in stored("trials.jsonl").splitlines()]
    for result in json.loads(stored("results.json"))["rows"]:
        mine = [row for row in rows if row["variant"] == result["name"] and row["seed"] < result["seeds"]]
        if not mine:
            continue  # the watched runs are in another file
        mated, others = (np.concatenate([np.ravel(row[kind]) for row in mine]) for kind in ("mated", "non_mated"))
        assert (len(mated), len(others)) == (result["mated_comparisons"], result["non_mated_comparisons"])
        labels = np.repeat([1, 0], [len(mated), len(others)])
        fmr, tmr, _ = roc_curve(labels, np.concatenate([mated, others]), drop_intermediate=False)
        for target, rate in result["fnmr"].items():
            assert (rate is None) == (len(others) < 3 / float(target))  # rule of three
            if rate is None:
                continue
            assert rate["value"] == pytest.approx(1 - tmr[fmr <= float(target)].max()), (result["name"], target)


def test_the_report_says_of_a_subject_what_the_study_says():
    known = next(row for row in map(json.loads, stored("trials.jsonl").splitlines()) if row["trial"].startswith("untr"))
    subject, config = subject_set(known["subject"]), UNTRAINED.config(known["seed"], 1)
    trainer = trainer_of(subject, None, config)
    pictures = [picture for seed in WHOLE.noises for picture in draw_six(trainer, seed)]
    observer = Observer(known_place, world_embedder("score"), load_age_estimator("drawn-age"))
    drawn = [
        observer.observe(f"{number}", picture, age)
        for number, (picture, age) in enumerate(zip(pictures, known["asked"], strict=True))
    ]
    photos = [observer.observe(photo.name, photo.image()) for photo in subject.photos]
    report = build(drawn, photos, "drawn-score", estimator="drawn-age")
    assert np.allclose(report.row(DRAWN_ROW).comparisons.similarities, np.ravel(known["mated"]), atol=0.02)
    assert np.allclose([picture.estimate.years for picture in report.images.pictures], known["years"], atol=1)
    (line,) = results([known | {"variant": "ours"}], [OURS])
    assert report.row(DRAWN_ROW).mean.value == pytest.approx(line.similarity.value, abs=0.005)
    assert report.ages.drawn.right == pytest.approx(line.age_accuracy.value)


def walked(variant, step, mated, years=(5.0, 80.0), leaks=0.0, subject=1):
    others = [[number / 1000 for number in range(400)]]  # FMR is at most 1 % from 0.396 on
    made = row(variant, subject, [mated], others, years=years) | {"step": step, "others": [[leaks] * 8]}
    return made | {"trial": f"{variant}/{subject}/0/{step}"}


UNLIKE, HALF, LIKE = [0.1, 0.1], [0.1, 0.9], [0.9, 0.9]


def test_ways_are_compared_where_they_err_and_leak_no_more():
    start = walked(UNTRAINED.name, 0, UNLIKE)
    theirs = walked("dreambooth", 100, HALF, years=(5.0, 75.0 - 8), leaks=0.2)  # FNMR 50 %, 4 years off
    true = walked(TRUE.name, 0, LIKE)

    def against_dreambooth(**ours):
        found = frontier.courses([start, theirs, true, walked("ours", 100, LIKE, **ours)])
        assert found[TRUE.name][1].keys() == {0} and found["ours"][1].keys() == {0, 100}
        return frontier.at_equal([(found["ours"][1], found["dreambooth"][1])])

    assert against_dreambooth(years=(5.0, 75.0 - 8), leaks=0.2) == pytest.approx((0, 0.5))
    # Twice the years off at its end, where FNMR is 0: half of the way there, FNMR is a half.
    assert against_dreambooth(years=(5.0, 75.0 - 16), leaks=0.2) == pytest.approx((0.5, 0.5))
    assert against_dreambooth(years=(5.0, 80.0), leaks=0.8) == pytest.approx((0.75, 0.5))  # a quarter of the way
    assert against_dreambooth(years=(5.0, 80.0), leaks=0.0) == pytest.approx((0, 0.5))


def test_subjects_are_paired_and_a_way_without_its_subject_in_dreambooth_is_compared_with_nobody():
    rows = [
        walked(name, step, mated, subject=subject)
        for subject in (1, 2, 3)
        for name, step, mated in ((UNTRAINED.name, 0, UNLIKE), ("dreambooth", 9, HALF), ("ours", 9, LIKE))
    ]
    line = frontier.table(rows, [OURS]).splitlines()[-1]
    assert "| -100 (-100 to -100) % | 3 x 1 |" in line
    alone = [one for one in rows if one["variant"] != "dreambooth"]
    assert frontier.table(alone, [OURS]).splitlines()[-1].endswith("|  |  | 3 x 1 |")


def test_the_other_people_are_not_the_subject_until_the_model_forgets_them():
    known = [json.loads(line) for line in stored("paths.jsonl").splitlines()]
    assert {known_row["subject"] for known_row in known} <= set(frontier.PEOPLE)
    assert not set(frontier.PEOPLE) & set(SUBJECTS)
    leaks = {row["variant"]: np.mean(row["others"]) for row in known if row["step"] in (0, 120) and "others" in row}
    assert abs(leaks["untrained"]) < 0.1 < 0.3 < leaks["plain"]


def test_quick_mode_makes_a_whole_table_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    for module in (recipe, frontier):  # half of the time of the study is drawing
        monkeypatch.setattr(module, "PRESET", replace(recipe.PRESET, steps=2))
    assert main(["study", "--quick", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {variant.label} |" in shown for variant in MAIN)
    assert {path.name for path in (tmp_path / "quick").iterdir()} == {
        "README.md",
        "results.json",
        "trials.jsonl",
        "looks.jsonl",
        "gradients.json",
        "spread.jsonl",
        "paths.jsonl",
        "methods.png",
        "trade-off.png",
        "ages.png",
        "leakage.png",
    }
    rows = [json.loads(line) for line in (tmp_path / "quick" / "trials.jsonl").read_text().splitlines()]
    assert [row["trial"] for row in rows] == [trial.name for trial in quick()]
    assert all(len(row["mated"]) == len(row["non_mated"]) == len(row["asked"]) for row in rows)
    looks = [json.loads(line) for line in (tmp_path / "quick" / "looks.jsonl").read_text().splitlines()]
    assert [look["trial"] for look in looks] == [f"{person}/{step}" for person in SUBJECTS[:1] for step in (1, 2)]
    pulls = json.loads((tmp_path / "quick" / "gradients.json").read_text())
    assert [pull["name"] for pull in pulls] == [
        variant.name for variant in MAIN if variant.settings["loss"] != "none" and variant.regularized
    ]
    assert all(abs(value) <= 1 for pull in pulls for value in pull["direction"])
    walked = [json.loads(line) for line in (tmp_path / "quick" / "paths.jsonl").read_text().splitlines()]
    person, ways = frontier.PEOPLE[0], [way.name for way in frontier.QUICK if way.trained]
    assert [row["trial"] for row in walked] == [
        f"untrained/{person}/0/0", *(f"{way}/{person}/0/{step}" for way in ways for step in (1, 2))
    ]  # fmt: skip
    assert all(np.shape(row["others"]) == (len(row["asked"]), 8) for row in walked)  # pictures x photos
    for measuring in ("trials._measured", "steps._watched", "spread._measured", "frontier._measured"):
        monkeypatch.setattr(f"training.study.{measuring}", lambda *_, **__: pytest.fail("measured again"))
    assert main(["study", "--quick", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == shown
