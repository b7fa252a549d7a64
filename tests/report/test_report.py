"""The report on observations with known embeddings, pixels and ages."""

import csv
import dataclasses
import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score

from training.ages import AGE_CLASSES, AgeEstimate, class_of, middle_years
from training.biometrics.comparisons import against, among
from training.biometrics.copies import find_copies
from training.biometrics.pick import pick_best
from training.errors import DamagedFile, InvalidData
from training.faces.age_estimators import AgeErrors, ClassError
from training.faces.crops import SquareCrop
from training.faces.embedders import UNKNOWN, Facts, Thresholds
from training.faces.find import Face
from training.faces.observation import ALIGNED, Observation, Observer
from training.pictures.photos import Photo
from training.report.build import BASE_ROW, GENERATED_ROW, REAL_ROW, Networks, build
from training.report.files import as_json, write
from training.report.page import CAPTIONS, NO_NON_MATED, page
from training.report.plots import plots
from training.report.text import text

FACE = Face((10.0, 10.0, 50.0, 50.0))


def face(name, person, spread, seed, age=None, years=None):
    """Returns an observation of ``person``; noise of ``spread`` is added to embedding and pixels."""
    generator = torch.Generator().manual_seed(1000 + seed)
    centre = torch.Generator().manual_seed(person)
    vector = torch.randn(32, generator=centre) + spread * torch.randn(32, generator=generator)
    pixels = torch.randn(ALIGNED, ALIGNED, generator=centre) + spread * torch.randn(
        ALIGNED, ALIGNED, generator=generator
    )
    estimate = None if years is None else AgeEstimate(years, class_of(years))
    return Observation(name, age, FACE, vector / vector.norm(), pixels, estimate)


def people(count, first=0):
    return [face(f"other {n}", 100 + n, 0.3, first + n, AGE_CLASSES[n % 6], 5 + 15 * (n % 6)) for n in range(count)]


PHOTOS = [face(f"photo {n}", 1, 0.6, n) for n in range(6)] + [Observation("blurred", None)]
IMAGES = [
    *(
        face(f"{age} {n}", 1, 1.0, 50 + 7 * n + k, age, 5 + 15 * k)
        for k, age in enumerate(AGE_CLASSES)
        for n in range(2)
    ),
    Observation("faceless", "old"),
    face("ageless", 1, 1.0, 99),
]


@pytest.fixture(scope="module")
def report():
    untrained = [face(f"base {n}", 300 + n, 0.5, 400 + n) for n in range(4)]
    return build(
        IMAGES,
        PHOTOS,
        Networks("one", trained_with="another", estimator="an estimator"),
        people(60),
        untrained,
        photo_age=28,
    )


def cosines(rows, columns):
    return [
        float(np.dot(a.vector, b.vector))
        for a in rows
        for b in columns
        if a.vector is not None and b.vector is not None
    ]


def test_comparisons_are_counted(report):
    generated = report.row(GENERATED_ROW).comparisons
    assert (len(generated.pictures), generated.failures_to_detect) == (14, 1)
    assert generated.similarities == pytest.approx(cosines(IMAGES, PHOTOS), abs=1e-5)
    assert generated.similarities.size == 13 * 6
    real = report.row(REAL_ROW).comparisons
    pairs = [cosines([PHOTOS[a]], [PHOTOS[b]])[0] for a in range(6) for b in range(a + 1, 6)]
    assert real.similarities == pytest.approx(pairs, abs=1e-5)
    assert (len(real.pictures), real.failures_to_detect) == (7, 1)
    assert report.row(BASE_ROW).comparisons.similarities.size == 24
    assert report.non_mated.similarities.size == 360


def test_rows_hold_the_rates_of_their_comparisons(report):
    mated, non_mated = cosines(IMAGES, PHOTOS), cosines(people(60), PHOTOS)
    row = report.row(GENERATED_ROW)
    assert row.auc == pytest.approx(roc_auc_score([1] * len(mated) + [0] * len(non_mated), mated + non_mated))
    assert row.mean.low < row.mean.value < row.mean.high
    assert [point.supported for point in row.points] == [True, True, False, False]
    allowed = sorted(non_mated)[-1 - int(0.01 * len(non_mated))]
    assert row.points[1].fnmr == pytest.approx(np.mean(np.array(mated) <= allowed + 1e-9))
    assert row.fnmr[1].value == pytest.approx(row.points[1].fnmr)


def test_there_is_one_row_per_age_and_per_age_gap(report):
    assert [row.name for row in report.by_age] == [
        "child", "teenager", "young adult", "middle-aged", "elderly", "old",
    ]  # fmt: skip
    old = report.by_age[-1].comparisons
    assert (len(old.pictures), old.failures_to_detect) == (3, 1)
    assert sum(len(row.comparisons.pictures) for row in report.by_gap) == 13
    # The middles of the six classes are 7.5, 16.5, 27.5, 45, 65 and 85.5 years; the subject is 28 in the photos.
    assert [len(row.comparisons.pictures) for row in report.by_gap] == [2, 4, 4, 3]
    assert sum("1 of 14" in remark for remark in report.remarks) == 2, "one image has no face, one no age"


def test_each_photo_age_has_a_column_and_held_out_photos_have_their_own():
    photos = [replace(photo, age=age) for photo, age in zip(PHOTOS, [8, "child", 28, 28, 30, None, None], strict=True)]
    held_out = [face("truth", 1, 0.6, 500, 80), face("more", 1, 0.6, 501, None)]
    report = build(IMAGES, photos, Networks("one"), people(60), held_out=held_out)
    table = report.across
    assert table.columns == ["child", "young adult", "old, held out"] and table.ageless == 3
    old, child = [[image for image in IMAGES if image.age == age] for age in ("old", "child")]
    sides = [photos[:2], photos[2:5], held_out[:1]]
    for images, age in ((old, "old"), (child, "child")):
        expected = [cosines(images, side) for side in sides]
        assert [cell.mean for cell in table.drawn[age]] == pytest.approx(np.array([*map(np.mean, expected)]), abs=1e-5)
        assert [cell.comparisons for cell in table.drawn[age]] == [*map(len, expected)]
    within = cosines(photos[:1], photos[1:2])[0]
    assert table.real["child"][0].mean == pytest.approx(within, abs=1e-5)
    assert table.real["old"][0].mean == pytest.approx(np.mean(cosines(held_out[:1], photos[:2])), abs=1e-5)
    assert table.real["old"][2].comparisons == 0
    assert "real photos, young adult" in text(report) and any("3 photos" in remark for remark in report.remarks)
    (gap,) = [row for row in report.by_gap if row.name == "real photos, 20 to 39 years"]
    assert gap.comparisons.similarities == pytest.approx(cosines(photos[:2], photos[2:5]), abs=1e-5)
    (far,) = [row for row in report.by_gap if row.name == "40 years or more"]
    pairs = [(image, photo) for image in IMAGES for photo in photos if image.age and photo.age
             and abs(middle_years(image.age) - middle_years(photo.age)) >= 40]  # fmt: skip
    assert sorted(far.comparisons.similarities) == pytest.approx(
        sorted(cosine for image, photo in pairs for cosine in cosines([image], [photo])), abs=1e-5
    )


def test_photos_of_one_age_have_no_table_and_held_out_photos_need_an_age(report):
    assert report.across is None and not any(row.name.startswith("real") for row in report.by_gap)
    with pytest.raises(InvalidData, match="1 held-out photo"):
        build(IMAGES, PHOTOS, Networks("one"), held_out=[face("truth", 1, 0.6, 500)])


def test_a_held_out_photo_that_repeats_a_training_photo_is_left_out():
    """Even renamed, mirrored and at half the contrast. Its similarity to the photos would be 1."""
    photos = [replace(photo, age=age) for photo, age in zip(PHOTOS[:3], (8, 28, 28), strict=True)]
    repeat = replace(photos[0], name="renamed.jpg", age=80, aligned=photos[0].aligned.flip(-1) * 0.5)
    truth = face("truth", 1, 0.6, 500, 80)
    report, without = (
        build(IMAGES, photos, Networks("one"), held_out=held_out) for held_out in ([repeat, truth], [truth])
    )
    assert report.across == without.across
    (remark,) = (remark for remark in report.remarks if "renamed.jpg" in remark)
    assert "photo 0" in remark


def test_estimated_ages_are_compared_with_requested_and_known_ages(report):
    requested = [image.age for image in IMAGES if image.estimate]
    estimated = [image.estimate.age_class for image in IMAGES if image.estimate]
    assert report.ages.drawn.confusion == confusion_matrix(requested, estimated, labels=list(AGE_CLASSES)).tolist()
    assert report.ages.drawn.right == pytest.approx(
        np.mean([a == b for a, b in zip(requested, estimated, strict=True)])
    )
    assert report.ages.known.pictures == 60
    # Of 5, 20, 35, 50, 65 and 80 years, 20 and 35 begin the next class: the wrong class, but off by 0 years.
    assert report.ages.drawn.mean_absolute_error == 0
    assert report.ages.drawn.right == pytest.approx(4 / 6)


def test_an_fnmr_of_zero_has_no_interval():
    report = build(PHOTOS[:6], PHOTOS, Networks("one"), people(60))
    point, fnmr = report.row(GENERATED_ROW).points[1], report.row(GENERATED_ROW).fnmr[1]
    assert point.supported and point.fnmr == fnmr.value == 0 and np.isnan(fnmr.low)


def test_unsupported_rates_are_named_and_have_no_value(report):
    (remark,) = (remark for remark in report.remarks if remark.startswith("360"))
    assert all(value in remark for value in ("0.83 %", "0.1 %", "3000", "0.01 %", "30000"))
    points = as_json(report)["rows"][2]["operating_points"]
    assert [point["fnmr"] is None for point in points] == [False, False, True, True]
    assert points[3] == {"target": 0.0001, "threshold": None, "fmr": None, "fnmr": None, "supported": False,
                         "interval": None}  # fmt: skip


def test_matchers_are_named_and_a_shared_matcher_adds_a_warning():
    same, different = (build(IMAGES, PHOTOS, Networks("mine", trained_with=name)).remarks for name in ("mine", "other"))
    assert same[0].count("mine") == 2 and "mine" in different[0] and "other" in different[0]
    assert len(same) == len(different) + 1


def test_without_other_people_there_are_similarities_but_no_rates():
    report = build(IMAGES, PHOTOS, Networks("one"))
    assert report.non_mated.similarities.size == 0 and np.isnan(report.row(GENERATED_ROW).eer)
    assert any("FMR" in remark for remark in report.remarks) and "FNMR at" not in text(report)
    assert set(plots(report)) == {"similarities", "by-age"}


def test_one_photo_and_one_image():
    report = build(IMAGES[:1], PHOTOS[:1], Networks("one"), people(1))
    assert any("one reference photo" in remark for remark in report.remarks)
    assert report.row(GENERATED_ROW).mean.value == pytest.approx(cosines(IMAGES[:1], PHOTOS[:1])[0], abs=1e-5)
    assert np.isnan(report.row(GENERATED_ROW).mean.low) and not any(
        point.supported for point in report.row(GENERATED_ROW).points
    )
    assert report.copies.pictures[0].memorised is None
    json.dumps(as_json(report), allow_nan=False)
    assert plots(report)


@pytest.mark.parametrize("photos", [PHOTOS, [Observation("blurred", None)]])
def test_a_report_without_any_face(photos, tmp_path):
    report = build([Observation("faceless", "old")], photos, Networks("one"), [Observation("other", None)])
    assert np.isnan(report.row(GENERATED_ROW).mean.value)
    assert any("1 of 1" in remark for remark in report.remarks)
    for suffix in ("json", "csv", "html", "png"):
        write(report, tmp_path / f"r.{suffix}", {})


def test_an_embedding_of_nan_is_refused():
    def broken(crops):
        return torch.full((1, 4), float("nan"))

    broken.name, broken.crop, broken.facts = "a broken embedder", SquareCrop(8), UNKNOWN
    with pytest.raises(DamagedFile, match=r"a broken embedder.*x\.png"):
        Observer(lambda image: [FACE], broken).observe("x.png", Image.new("RGB", (64, 64)))


def test_files_contain_every_image(report, tmp_path):
    pictures = {"child 0": Photo("child 0", Image.new("RGB", (300, 200), "green"))}
    for suffix in ("json", "csv", "html"):
        assert write(report, tmp_path / f"r.{suffix}", pictures) == [tmp_path / f"r.{suffix}"]
    assert len(write(report, tmp_path / "r.png", {})) == len(list(tmp_path.glob("r-*.png"))) == 4
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["matcher"] == "one" and saved["trained_with"] == "another"
    assert [row["image"] for row in saved["images"]] == [image.name for image in IMAGES]
    assert saved["summary"]["failures_to_detect"] == 1
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [row["image"] for row in rows] == [picture.name for picture in IMAGES + PHOTOS]
    assert rows[12]["face_found"] == "False" and rows[12]["mean_similarity"] == ""
    source = (tmp_path / "r.html").read_text()
    assert source.count("data:image/png") == 4 and source.count("data:image/jpeg") == 1
    assert not re.search(r'(src|href)="(?!data:)', source), "the page is self-contained"


def test_names_are_escaped_in_html():
    report = build([face("<script>", 1, 1.0, 5)], PHOTOS, Networks("<b>"), people(2))
    assert "<script>" not in page(report, {}) and "<b>" not in page(report, {})


def test_a_page_leaves_out_ages_and_other_people_if_there_are_none():
    bare = html.unescape(page(build([face("a", 1, 1.0, 5)], PHOTOS, Networks("one")), {}))
    full = html.unescape(page(build(IMAGES, PHOTOS, Networks("one"), people(9)), {}))
    for part, expected in (("<th>age</th>", full), (CAPTIONS["similarities"], full), (NO_NON_MATED, bare)):
        assert (part in bare, part in full) == (expected is bare, expected is full)
    for source in (bare, full):
        last_table = source[source.rindex("<table>") :]
        cells = [row.count("<td>") + row.count("<th>") for row in last_table.split("<tr>")[1:]]
        assert len(set(cells)) == 1, "every row has one cell per heading"


def copies(pictures, photos):
    return find_copies(against(pictures, photos), among(photos))


def test_copies_are_flagged_and_likenesses_are_not():
    copy = Observation("copy", None, FACE, PHOTOS[2].vector, PHOTOS[2].aligned)
    mirrored = Observation("mirrored", None, FACE, PHOTOS[3].vector, PHOTOS[3].aligned.flip(-1) * 0.5 + 0.2)
    fresh = face("fresh", 1, 1.0, 77)
    only_alike = Observation("only alike", None, FACE, PHOTOS[2].vector, fresh.aligned)
    result = copies([copy, mirrored, only_alike], PHOTOS)
    assert result.memorised == ["copy", "mirrored"]
    assert result.pictures[0].nearest_by_pixels == result.pictures[0].nearest_by_embedding == "photo 2"
    assert result.pictures[1].pixels == pytest.approx(1)
    assert result.photos == 6 and result.chance == pytest.approx(2 / 7)
    pixels = [photo.aligned.flatten().numpy() for photo in PHOTOS[:6]]
    both = np.corrcoef(pixels + [photo.aligned.flip(-1).flatten().numpy() for photo in PHOTOS[:6]])[:6]
    nearest = max(max(both[a, b], both[a, b + 6]) for a in range(6) for b in range(6) if a != b)
    assert result.nearest_pair_pixels == pytest.approx(nearest)


def test_a_new_photo_is_flagged_at_most_as_often_as_promised():
    flagged = 0
    for trial in range(200):
        photos = [face(str(n), 1, 0.6, 10_000 + 7 * trial + n) for n in range(7)]
        flagged += len(copies(photos[:1], photos[1:]).memorised)
    assert flagged / 200 <= 2 / 7 + 0.05


def test_repeated_photos_count_once_in_the_copy_check():
    copied = [Observation(f"copy {n}", None, FACE, PHOTOS[n].vector, PHOTOS[n].aligned) for n in (2, 3)]
    again = Observation("photo 0 again", None, FACE, PHOTOS[0].vector, PHOTOS[0].aligned.flip(-1))
    once, twice = (build(copied, photos, Networks("one")) for photos in (PHOTOS, [*PHOTOS, again]))
    assert twice.copies == once.copies and once.copies.memorised == ["copy 2", "copy 3"]
    assert twice.row(REAL_ROW).mean == once.row(REAL_ROW).mean
    assert "photo 0 again" in text(twice) and "photo 0 again" not in text(once)


def test_comparisons_without_images():
    assert against([], PHOTOS).similarities.size == among([]).each_pair_once().similarities.size == 0


def estimate(years):
    return AgeEstimate(years, class_of(years))


def numbers(remark):
    """Returns the numbers after the age in the remark of a pick."""
    return [int(digits) for digits in re.findall(r"\d+", remark.partition(": ")[2])]


def test_the_pick_is_the_most_similar_candidate_with_the_right_age():
    ages = ["child", "old"] * 3
    similarities = [0.5, 0.6, 0.9, 0.7, 0.6, float("nan")]
    picks = pick_best(ages, similarities, [estimate(y) for y in (6, 80, 40, 60, 11, 80)])
    assert [(pick.age, pick.index, pick.similarity) for pick in picks] == [("child", 4, 0.6), ("old", 1, 0.6)]
    assert picks[0].remark.startswith("child: ") and numbers(picks[0].remark) == [2, 3]


def test_if_no_age_is_right_the_closest_is_picked_and_the_remark_says_so():
    (pick,) = pick_best([30, 30], [0.9, 0.2], [estimate(70), estimate(50)])
    assert pick.index == 1 and numbers(pick.remark) == [2, 50]


def test_picks_without_ages_without_faces_and_of_unequal_lengths():
    picks = pick_best([30, "old"], [0.9, float("nan")])
    assert picks[0].index == 0 and numbers(picks[0].remark) == [1]
    assert picks[1].index is None and picks[1].remark.startswith("old: ") and numbers(picks[1].remark) == [1]
    assert pick_best([30], [0.9], [None])[0].index == 0
    with pytest.raises(InvalidData, match=r"2\D+1 similarities"):
        pick_best([30, 40], [0.9])


KNOWN = Facts("Net A, trained on B", Thresholds(0.3, 0.6, 5000, 0.2, "Somewhere, 101 people"), smallest=40)
ERRORS = AgeErrors("Somewhere", 90, 7.2, {"child": ClassError(50, 0.9, 3.0), "old": ClassError(40, 0.2, 13.0)})


@pytest.fixture(scope="module")
def detailed_report():
    unreliable = dataclasses.replace(IMAGES[0], name="small one", doubt="small, 31 px")
    return build(
        [*IMAGES, unreliable],
        PHOTOS,
        Networks("one", KNOWN, "another", "Net C, trained on D", "judge", ERRORS),
        people(60),
        photo_age=28,
    )


def test_every_image_gets_a_verdict_if_thresholds_are_known(report, detailed_report):
    expected = {
        image.name: "same person" if mean >= 0.6 else "likely" if mean >= 0.3 else "not alike"
        for image, mean in zip(detailed_report.images.pictures, detailed_report.images.means, strict=True)
        if mean is not None
    }
    assert len(set(expected.values())) > 1
    saved = as_json(detailed_report)
    assert {row["image"]: row["verdict"] for row in saved["images"] if row["verdict"]} == expected
    lines = text(detailed_report).splitlines()
    assert all(expected[name] in next(line for line in lines if line.startswith(name + " ")) for name in expected)
    assert "verdict" not in as_json(report)["images"][0] and "not alike" not in text(report)


def test_remarks_describe_the_matchers_and_the_origin_of_the_thresholds(detailed_report):
    remarks = " ".join(detailed_report.remarks)
    assert "another (Net C, trained on D)" in remarks and "one (Net A, trained on B)" in remarks
    assert "5000" in remarks and "(Somewhere, 101 people)" in remarks
    assert "age gap" in remarks


def test_small_faces_are_counted_and_their_similarity_is_given_separately(detailed_report):
    means = detailed_report.images.means[-1], np.mean(detailed_report.images.of(range(14)).similarities)
    assert any(
        all(value in remark for value in ("1 of 14", *(f"{mean:.3f}" for mean in means)))
        for remark in detailed_report.remarks
    )
    assert "small, 31 px" in text(detailed_report) and as_json(detailed_report)["images"][-1]["doubt"] == "small, 31 px"


def test_the_report_shows_the_accuracy_of_the_age_estimator(detailed_report, tmp_path):
    assert ERRORS.unreliable_classes == ["old"] and ERRORS.summary in text(detailed_report)
    assert all(value in ERRORS.summary for value in ("Somewhere", "90", "7.2", "20 %", "13"))
    assert (ERRORS.summary.count("old"), ERRORS.summary.count("child")) == (2, 1), "the unreliable class is named again"
    write(detailed_report, tmp_path / "r.html", {})
    source = (tmp_path / "r.html").read_text()
    assert "child, 5 \N{PLUS-MINUS SIGN} 7" in source and "\N{CHECK MARK} same person" in source
