"""How far the field is from a bundle's own pictures: effect size, chance, and what is judged."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle.archive import Bundle, write_bundle
from edgetl.bundle.manifest import MeasuredPart, UnknownRule
from edgetl.bundle.profile import Profile
from edgetl.collection.days import Day, DayEntry
from edgetl.collection.divergence import compare_counts
from edgetl.collection.drift import BOUND, measure_drift, score_today
from edgetl.core.errors import BundleError, DataError
from tests.collection.making import profile
from tests.conftest import Command
from tests.making import paper_contents, paper_manifest


def own(rng: np.random.Generator, images: int, shift: float = 0.0) -> Profile:
    """Confidences and distances as networks have them; `shift` moves both away."""
    confidences = (1 - rng.beta(0.5 + shift, 4, images)).tolist()
    distances = np.clip(rng.normal(0.75 + shift / 2, 0.12, images), 0, None).tolist()
    dogs = int(rng.binomial(images, 0.5))
    return profile(confidences, distances, (images - dogs, dogs))


def write(path: Path, own_profile: Profile | None, part: MeasuredPart = "test") -> Bundle:
    contents = paper_contents()
    manifest = paper_manifest(contents)
    rule = UnknownRule(
        min_confidence=0.1, max_appearance_distance=1.0, max_feature_distance=1.0, images=9,
        part=part, answered=1.0, top1=1.0,
    )  # fmt: skip
    artifact = msgspec.structs.replace(manifest.artifacts[0], profile=own_profile, unknown=rule)
    write_bundle(path, msgspec.structs.replace(manifest, artifacts=(artifact,)), contents)
    return Bundle(path)


def days_of(bundle: Bundle, profiles: Sequence[Profile], digest: str = "") -> list[Day]:
    return [
        Day(
            version=1,
            date=f"2026-07-{number:02}",
            entries=(
                DayEntry(bundle=digest or bundle.digest, artifact="onnx-fp32", answers=answers),
            ),
        )
        for number, answers in enumerate(profiles, 1)
    ]


def write_days(folder: Path, days: Sequence[Day]) -> Path:
    (folder / "days").mkdir(parents=True)
    for day in days:
        (folder / "days" / f"{day.date}.json").write_bytes(msgspec.json.encode(day))
    return folder


# The index and its test


def test_equal_counts_have_an_index_of_zero_and_are_chance() -> None:
    counts = np.array([5, 10, 40, 100, 45])
    assert compare_counts(counts, counts, ordered=True, permutations=1000) == (0.0, 1.0)


def test_the_index_is_that_of_the_shares() -> None:
    one, other = np.array([5000, 5000]), np.array([8000, 2000])
    found = compare_counts(one, other, ordered=False, permutations=1000)
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert found.psi == pytest.approx(expected, rel=1e-3)
    assert found.p_value == pytest.approx(1 / 1001)


def test_it_is_symmetric_and_finite_where_the_samples_have_nothing_in_common() -> None:
    one, other = np.array([0, 0, 0, 150]), np.array([3, 20, 30, 0])
    there = compare_counts(one, other, ordered=True, permutations=500)
    back = compare_counts(other, one, ordered=True, permutations=500)
    assert there.psi == pytest.approx(back.psi)
    assert 5 < there.psi < 50
    assert there.p_value < 0.01


def test_the_p_values_of_samples_of_one_kind_are_uniform(rng: np.random.Generator) -> None:
    p_values = []
    for _ in range(150):
        one, other = (own(rng, images) for images in (150, 60))
        p_values.append(
            compare_counts(
                np.array(one.confidence), np.array(other.confidence), ordered=True, permutations=500
            ).p_value
        )
    below = [float((np.array(p_values) <= level).mean()) for level in (0.05, 0.25, 0.5)]
    assert below[0] <= 0.1
    assert 0.15 <= below[1] <= 0.36
    assert 0.38 <= below[2] <= 0.63


def test_there_may_be_any_number_of_pictures() -> None:
    few, many = np.array([40, 60, 50]), np.array([20, 70, 60])
    small, large = (
        compare_counts(few, many * times, ordered=False, permutations=500)
        for times in (10**5, 10**13)
    )
    assert large.psi == pytest.approx(small.psi, rel=1e-3)
    assert large.p_value == pytest.approx(small.p_value, abs=0.02)
    both = compare_counts(few * 10**13, many * 10**13, ordered=True, permutations=500)
    assert both.p_value == pytest.approx(1 / 501)


# Days against a profile


def test_pictures_like_the_bundles_own_are_no_drift(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    sizes = (12, 40, 40, 80, 200, 500, 3000)
    (report,) = measure_drift(bundle, days_of(bundle, [own(rng, size) for size in sizes]))
    assert report.drifted(["confidence", "distance", "classes"]) == []
    assert report.level == pytest.approx(0.01 / (3 * 7))  # the twelve pictures are not judged
    assert [day.judged for day in report.days] == [False, *[True] * 6]
    # In a small sample the index alone would have called it drift.
    assert max(score.psi for score in report.days[1].scores) > 0.1
    assert max(score.psi for score in report.days[-1].scores) < BOUND


def test_a_change_is_found_on_its_day_in_what_changed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    changed = own(rng, 120, shift=0.8)
    other_shares = msgspec.structs.replace(own(rng, 300), classes=(290, 10))
    (report,) = measure_drift(bundle, days_of(bundle, [own(rng, 120), changed, other_shares]))
    found = [
        (row.date, score.quantity) for row, score in report.drifted(["confidence", "distance"])
    ]
    assert ("2026-07-02", "confidence") in found
    assert ("2026-07-02", "distance") in found
    assert {date for date, _ in found} <= {"2026-07-02", None}
    classes = [row.date for row, score in report.drifted(["classes"])]
    assert "2026-07-03" in classes
    unknown = [row.unknown or 0.0 for row in report.days]
    assert unknown[0] < 0.1 < 0.5 < unknown[1]


def test_a_day_of_a_dozen_pictures_is_never_called_drift(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    (report,) = measure_drift(bundle, days_of(bundle, [own(rng, 12, shift=2.0)]))
    assert report.drifted(["confidence", "distance", "classes"]) == []
    (score, *_) = report.days[0].scores
    assert score.psi > 1
    assert score.p_value < 0.01


def test_answers_without_distances_are_compared_by_the_rest(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    plain = profile((1 - rng.beta(0.5, 4, 100)).tolist(), None, (50, 50))
    (report,) = measure_drift(bundle, days_of(bundle, [plain]))
    assert [score.quantity for score in report.total.scores] == ["confidence", "classes"]
    assert report.total.unknown is None


def test_other_bundles_answers_are_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    theirs = days_of(bundle, [own(rng, 50, shift=2.0)], digest="cd" * 32)
    with pytest.raises(DataError, match="These days have no answers of"):
        measure_drift(bundle, theirs)
    both = [
        msgspec.structs.replace(day, entries=day.entries + other.entries)
        for day, other in zip(days_of(bundle, [own(rng, 50)]), theirs, strict=True)
    ]
    assert measure_drift(bundle, both)[0].total.images == 50


def test_a_bundle_without_a_profile_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    bundle = write(tmp_path / "m.edgetl", None)
    with pytest.raises(BundleError, match=r"'onnx-fp32' of .* has no profile"):
        measure_drift(bundle, days_of(bundle, [own(rng, 50)]))


def test_a_bundle_whose_profile_is_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the profile of 'onnx-fp32' is of other classes"):
        write(tmp_path / "m.edgetl", msgspec.structs.replace(profile([0.5]), classes=(1, 0, 0)))


def test_todays_answers_are_scored_for_the_metrics(rng: np.random.Generator) -> None:
    mine = own(rng, 153)
    entry = DayEntry(bundle="ab" * 32, artifact="onnx-fp32", answers=own(rng, 99))
    row = score_today(mine, [entry])
    assert row is not None
    assert (row.images, len(row.scores)) == (99, 3)
    assert score_today(mine, []) is None


# The command


def test_the_command_prints_a_table_and_exits_with_3_beyond_the_bound(
    edgetl: Command, tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153))
    calm, changed = own(rng, 100), own(rng, 100, shift=0.8)
    kept = write_days(tmp_path / "kept", days_of(bundle, [calm, changed, calm]))
    answer = edgetl("drift", bundle.path, kept, "--days", 2)
    assert answer.code == 3
    assert "onnx-fp32: 200 answers on 2 days, against 153 of the bundle's own (test)" in answer.out
    rows = [line for line in answer.out.splitlines() if line.startswith(("all", "2026", "bundle"))]
    assert [row.split()[0] for row in rows] == ["bundle", "all", "2026-07-02", "2026-07-03"]
    assert [rows[i].count("*") for i in (0, 2, 3)] == [0, 2, 0]
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "Error: The pictures have changed: " in answer.err
    assert f"Hint: look at them: edgetl review {kept}" in answer.err
    assert edgetl("drift", bundle.path, kept, "--days", 1).code == 0
    assert edgetl("drift", bundle.path, kept, "--bound", 50).code == 0
    assert edgetl("drift", bundle.path, kept, "--bound", "nan").code == 2
    document = json.loads(edgetl("drift", bundle.path, kept, "--json").out)
    assert [day["images"] for day in document[0]["days"]] == [100, 100, 100]


def test_classes_count_only_if_that_is_wanted(
    edgetl: Command, tmp_path: Path, rng: np.random.Generator
) -> None:
    mine = own(rng, 153)
    bundle = write(tmp_path / "m.edgetl", mine)
    shares = msgspec.structs.replace(mine, classes=(150, 3))
    kept = write_days(tmp_path / "kept", days_of(bundle, [shares]))
    assert edgetl("drift", bundle.path, kept).code == 0
    answer = edgetl("drift", bundle.path, kept, "--classes")
    assert answer.code == 3
    assert "classes on all days (PSI" in answer.err


def test_a_refitted_network_is_judged_only_with_a_bound(
    edgetl: Command, tmp_path: Path, rng: np.random.Generator
) -> None:
    bundle = write(tmp_path / "m.edgetl", own(rng, 153), part="train")
    kept = write_days(tmp_path / "kept", days_of(bundle, [own(rng, 100, shift=1.0)]))
    answer = edgetl("drift", bundle.path, kept)
    assert answer.code == 0
    assert "training pictures, which it is surer of" in " ".join(answer.out.split())
    assert edgetl("drift", bundle.path, kept, "--bound", 0.25).code == 3


def test_a_folder_without_counts_is_named(edgetl: Command, tmp_path: Path) -> None:
    bundle = write(tmp_path / "m.edgetl", profile([0.5], classes=(1, 0)))
    answer = edgetl("drift", bundle.path, tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert f"Error: '{tmp_path}' has no counts of answers." in answer.err
