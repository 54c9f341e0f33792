"""Features, and the statistics of the classes that a bundle holds."""

import io
import zipfile
from copy import copy
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.bundle.manifest import FeatureMap, UnknownRule
from edgetl.core.errors import BundleError
from edgetl.runtime.appearance import APPEARANCE_VALUES
from edgetl.runtime.unknown import (
    ClassDistance,
    ClassStatistics,
    TrainingDistance,
    UnknownDetector,
    picture_features,
)
from edgetl.runtime.unknown import read_training_statistics as read


def test_features_do_not_depend_on_how_strongly_a_picture_excites_the_network() -> None:
    maps = np.random.default_rng(0).uniform(size=(4, 4, 8)).astype(np.float32)
    features = picture_features(maps)
    assert features.shape == (16,)
    assert np.linalg.norm(features) == pytest.approx(1)
    assert np.linalg.norm(features[:8]) == pytest.approx(np.sqrt(0.5))
    np.testing.assert_allclose(picture_features(100 * maps), features, rtol=1e-5)


def test_a_map_of_zeros_has_features_of_zeros() -> None:
    np.testing.assert_array_equal(picture_features(np.zeros((2, 2, 3), np.float32)), np.zeros(6))


def test_the_nearest_class_counts() -> None:
    means = np.eye(2, 4, dtype=np.float32)
    statistics = ClassStatistics(means, np.eye(4, dtype=np.float32)[:1], np.full(1, 4, "f"), 1.0)
    distance = ClassDistance(statistics)
    features = np.array([[0, 1, 0, 0], [1, 0, 0, 3], [3, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(distance(features), [0, 3, 1], atol=1e-6)


def with_statistics(bundle: Bundle, out: Path, **arrays: np.ndarray) -> Bundle:
    """The bundle with these arrays as its statistics."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return with_member(bundle, out, buffer.getvalue())


def with_member(bundle: Bundle, out: Path, content: bytes) -> Bundle:
    member = member_of("training.npz", content)
    manifest = msgspec.structs.replace(bundle.manifest, training_statistics=member)
    write_bundle(out, manifest, bundle.contents() | {"training.npz": content})
    return Bundle(out)


SOUND = {
    "appearance_mean": np.zeros(APPEARANCE_VALUES, np.float32),
    "appearance_whitening": np.eye(APPEARANCE_VALUES, dtype=np.float32),
    "means": np.zeros((3, 8), np.float16),
    "directions": np.zeros((2, 8), np.float16),
    "variances": np.ones(2, np.float32),
    "rest": np.array(0.5, np.float32),
}


def test_statistics_are_read_in_full_precision(paper_bundle: Path, tmp_path: Path) -> None:
    statistics = read(with_statistics(Bundle(paper_bundle), tmp_path / "b.edgetl", **SOUND), 4)
    assert statistics.classes is not None
    assert statistics.classes.means.dtype == np.float32
    assert statistics.classes.rest == 0.5


@pytest.mark.parametrize("appearance", [None, 2.0])
@pytest.mark.parametrize("features", [None, 3.0])
def test_each_distance_is_compared_with_its_own_limit(
    paper_bundle: Path, tmp_path: Path, appearance: float | None, features: float | None
) -> None:
    bundle = with_statistics(Bundle(paper_bundle), tmp_path / "b.edgetl", **SOUND)
    rule = UnknownRule(
        min_confidence=0.5, max_appearance_distance=appearance, max_feature_distance=features,
        images=9, part="test", answered=1.0, top1=1.0,
    )  # fmt: skip
    artifact = msgspec.structs.replace(
        bundle.manifest.artifacts[0],
        unknown=rule,
        feature_map=FeatureMap(shape=(2, 2, 4), added_bytes=0, added_ms=0.0, logits_differ=0.0),
    )
    pixels = np.full((16, 16, 3), 99, np.uint8)
    maps = np.random.default_rng(0).uniform(size=(2, 2, 4)).astype(np.float32)
    measured = TrainingDistance(read(bundle, 4))(pixels, maps)
    limits = ((measured[0], appearance), (measured[1], features))
    shares = [distance / limit for distance, limit in limits if limit is not None]
    detector = UnknownDetector(bundle, artifact)
    verdict = detector(0.9, pixels, maps)
    assert verdict.distance == (pytest.approx(max(shares)) if shares else None)
    assert verdict.unknown is (max(shares, default=0) > 1)
    assert detector(0.4, pixels, maps).unknown is True


def test_without_a_feature_map_only_the_appearance_is_needed(
    paper_bundle: Path, tmp_path: Path
) -> None:
    only = {name: array for name, array in SOUND.items() if name.startswith("appearance")}
    bundle = with_statistics(Bundle(paper_bundle), tmp_path / "b.edgetl", **only)
    assert read(bundle, 0).classes is None
    odd = SOUND | {"directions": np.zeros((2, 5))}  # then nothing else is looked at
    assert read(with_statistics(bundle, tmp_path / "c.edgetl", **odd), 0).classes is None
    with pytest.raises(BundleError, match="do not fit its artifacts"):
        read(bundle, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"means": np.zeros((0, 8))},
        {"means": np.zeros((3, 7))},
        {"directions": np.zeros((3, 8))},
        {"variances": np.array([1, 0])},
        {"variances": np.ones((2, 1))},
        {"rest": np.array(-1.0)},
        {"rest": np.ones(2)},
        {"means": np.full((3, 8), np.nan)},
        {"means": np.full((3, 8), "x")},
        {"appearance_mean": np.zeros(3)},
        {"appearance_whitening": np.full((APPEARANCE_VALUES,) * 2, np.inf)},
    ],
)
def test_damaged_statistics_are_refused(paper_bundle: Path, tmp_path: Path, wrong) -> None:
    bundle = with_statistics(Bundle(paper_bundle), tmp_path / "b.edgetl", **(SOUND | wrong))
    with pytest.raises(BundleError, match="do not fit its artifacts"):
        read(bundle, 4)


def test_statistics_cannot_expand_beyond_their_size(paper_bundle: Path, tmp_path: Path) -> None:
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **SOUND, more=np.zeros(10**7, np.uint8))
    assert len(compressed.getvalue()) < 50_000
    bundle = with_member(Bundle(paper_bundle), tmp_path / "a.edgetl", compressed.getvalue())
    with pytest.raises(BundleError, match="cannot be read: an array is compressed"):
        read(bundle, 4)
    bundle = with_member(Bundle(paper_bundle), tmp_path / "b.edgetl", overlapping(9))
    with pytest.raises(BundleError, match="cannot be read: its arrays overlap"):
        read(bundle, 4)


def overlapping(copies: int) -> bytes:
    """A npz file whose directory lists one array again and again, by other names."""
    file, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(1000))
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("means.npy", array.getvalue())
        (entry,) = members.filelist
        for number in range(copies):
            again = copy(entry)
            again.filename = f"{number}.npy"
            members.filelist.append(again)
    return file.getvalue()


def test_missing_and_unreadable_statistics_are_named(paper_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no statistics"):
        read(Bundle(paper_bundle), 4)
    lacking = {name: SOUND[name] for name in ("means", "rest")}
    with pytest.raises(BundleError, match="do not fit"):
        read(with_statistics(Bundle(paper_bundle), tmp_path / "a.edgetl", **lacking), 4)
    with pytest.raises(BundleError, match=r"training\.npz' cannot be read"):
        read(with_member(Bundle(paper_bundle), tmp_path / "b.edgetl", b"PK"), 4)
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    with pytest.raises(BundleError, match=r"training\.npz' cannot be read"):
        read(with_member(Bundle(paper_bundle), tmp_path / "d.edgetl", array.getvalue()), 4)
    pickled = io.BytesIO()
    np.savez(pickled, means=np.array([object()], dtype=object))
    with pytest.raises(BundleError, match=r"training\.npz' cannot be read"):
        read(with_member(Bundle(paper_bundle), tmp_path / "c.edgetl", pickled.getvalue()), 4)
