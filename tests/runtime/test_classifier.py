import sys
from pathlib import Path

import numpy as np
import pytest

import edgetl
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import DataError, EdgetlError, EngineError
from edgetl.runtime.classifier import Classifier, checked_threads
from edgetl.runtime.engines.registry import ENGINES, installed
from edgetl.runtime.preprocess import load_pixels
from edgetl.runtime.softmax import softmax


@pytest.fixture(scope="module")
def classifier(tiny: Bundle) -> Classifier:
    return Classifier(tiny, threads=1)


def test_it_takes_int8_where_there_is_one(classifier: Classifier) -> None:
    assert classifier.artifact.scheme == "int8"
    assert classifier.engine_version.startswith(f"{classifier.engine_name} ")


def test_a_prediction_is_the_softmax_of_the_logits(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "checks" / "00.png"
    logits = classifier.logits(load_pixels(path, classifier.preprocess))
    expected = softmax(logits, classifier.temperature)
    answer = classifier(path, top=3)
    assert answer.label == classifier.labels[int(expected.argmax())]
    assert [s.probability for s in answer.top] == sorted(expected.tolist(), reverse=True)
    assert (answer.label, answer.probability) == (answer.top[0].label, answer.top[0].probability)
    assert {s.label for s in answer.top} == set(classifier.labels)
    assert min(answer.decode_ms, answer.preprocess_ms, answer.inference_ms) > 0


@pytest.mark.parametrize(("top", "expected"), [(1, 1), (2, 2), (99, 3), (0, 1)])
def test_top_limits_how_many_classes_are_told(
    classifier: Classifier, pictures: Path, top: int, expected: int
) -> None:
    assert len(classifier(pictures / "slope" / "00.png", top=top).top) == expected


def test_a_source_is_called_by_its_path_or_as_told(classifier: Classifier, pictures: Path) -> None:
    path = pictures / "slope" / "00.png"
    assert classifier(path).source == str(path)
    assert classifier(path.read_bytes()).source == "-"
    assert classifier(path.read_bytes(), source="camera").source == "camera"


def test_a_call_is_reading_a_picture_and_answering_it(
    classifier: Classifier, pictures: Path
) -> None:
    path = pictures / "slope" / "00.png"
    in_two_steps = classifier.answer(classifier.read(path), source="a", top=2)
    at_once = classifier(path, source="a", top=2)
    assert in_two_steps.top == at_once.top
    assert in_two_steps.source == at_once.source == "a"
    assert min(in_two_steps.decode_ms, in_two_steps.preprocess_ms) > 0


def test_it_learned_what_it_was_shown(classifier: Classifier, pictures: Path) -> None:
    labels = {classifier(pictures / name / "00.png").label for name in classifier.labels}
    assert len(labels) > 1


def test_an_unreadable_picture_is_a_data_error(classifier: Classifier) -> None:
    with pytest.raises(DataError):
        classifier(b"no picture")


def test_it_is_found_at_the_top_of_the_package(tiny_bundle: Path, pictures: Path) -> None:
    answer = edgetl.Classifier(str(tiny_bundle), threads=1)(pictures / "checks" / "01.png")
    assert answer.label in ("checks", "slope", "stripes")


def test_the_package_offers_nothing_else() -> None:
    with pytest.raises(AttributeError, match="module 'edgetl' has no attribute 'Clasifier'"):
        edgetl.Clasifier  # noqa: B018


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_out_of_range_are_refused(threads: int) -> None:
    with pytest.raises(EdgetlError) as caught:
        checked_threads(threads)
    assert str(caught.value) == f"--threads {threads} is out of range."
    assert caught.value.hint == f"this machine has {checked_threads(None)} cores."


def test_a_network_of_another_number_of_classes_is_refused(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(tiny, threads=1)
    classifier.labels = ("one", "two")
    with pytest.raises(EngineError) as caught:
        classifier.logits(np.zeros((32, 32, 3), np.uint8))
    assert str(caught.value) == (
        f"Artifact '{classifier.artifact.name}' answers in shape (1, 3); the bundle has 2 labels."
    )


def test_nothing_is_written_but_to_the_cache(
    tiny: Bundle, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    written = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
            written.append(arguments[0])

    sys.addaudithook(watch)
    try:
        for engine in filter(installed, ENGINES):
            Classifier(tiny, engine=engine, threads=1)
    finally:
        watching = False
    # What a library prints is held back in a file in memory, known by its number alone.
    named = [name for name in written if name != "/dev/null" and not isinstance(name, int)]
    # OpenVINO's compiled networks; the engines' own loading is in C++ and not seen here.
    assert [name for name in named if not Path(name).is_relative_to(cache / "openvino")] == []
    assert set(tmp_path.iterdir()) <= {cache}
