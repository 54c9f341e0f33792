import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import Prediction
from edgetl.core.errors import BundleError, DataError
from edgetl.runtime import classifier as module
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.sources import Source, find_sources


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle, artifact="tflite-int8")


def plain(answers: list) -> list[tuple[str, str, float]]:
    return [(answer.source, answer.label, answer.probability) for answer in answers]


def test_a_stream_answers_in_order_what_single_calls_answer(
    classifier: Classifier, pictures: Path
) -> None:
    sources = list(find_sources([str(pictures)]))
    assert len(sources) == 60
    one_by_one = [classifier(source.picture, source=source.name) for source in sources]
    assert plain(list(classifier.stream(sources))) == plain(one_by_one)


def test_nothing_streams_to_nothing(classifier: Classifier) -> None:
    assert list(classifier.stream([])) == []


def test_the_next_picture_is_read_while_one_is_answered(
    tiny_bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(tiny_bundle, artifact="tflite-int8")
    second_read = threading.Event()
    readers: list[str] = []
    decode, logits = module.decode, classifier.logits

    def watched(picture, short_side_px, **options):
        readers.append(threading.current_thread().name)
        if len(readers) == 2:
            second_read.set()
        return decode(picture, short_side_px, **options)

    def waiting(pixels):
        assert second_read.wait(timeout=60)
        return logits(pixels)

    monkeypatch.setattr(module, "decode", watched)
    monkeypatch.setattr(classifier, "logits", waiting)
    sources = list(find_sources([str(pictures / "slope")]))
    assert len(list(classifier.stream(sources))) == len(sources)
    assert threading.current_thread().name not in readers


def test_no_more_pictures_are_asked_for_than_are_read_ahead(
    classifier: Classifier, pictures: Path
) -> None:
    asked = 0

    def endless() -> Iterator[Source]:
        nonlocal asked
        while True:
            asked += 1
            yield Source("slope", pictures / "slope" / "00.png")

    stream = classifier.stream(endless())
    for _ in range(5):
        next(stream)
    stream.close()
    assert asked == 5 + module._AHEAD


def test_a_picture_that_cannot_be_read_is_answered_with_its_error(
    classifier: Classifier, pictures: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = pictures / "slope" / "00.png"
    first, error, last = classifier.stream(
        [Source("a", good), Source("b", broken), Source("c", good)]
    )
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)
    assert (first.source, last.source) == ("a", "c")
    assert isinstance(error, DataError)
    assert str(error) == f"'{broken}' cannot be read as a picture: no known picture format."


def test_an_answer_says_what_gave_it(classifier: Classifier, pictures: Path) -> None:
    answer = classifier(pictures / "slope" / "00.png")
    assert (answer.artifact, answer.provider) == ("tflite-int8", "CPU")
    assert answer.engine.startswith(("litert ", "tflite-runtime "))


def test_an_artifact_that_is_not_run_is_checked_too(tiny_bundle: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_bundle.read_bytes())
    unused = Bundle(tiny_bundle).files(Bundle(tiny_bundle).artifact("onnx-fp32"))[0]
    place = content.index(unused) + len(unused) // 2
    content[place] ^= 1
    altered = tmp_path / "altered.edgetl"
    altered.write_bytes(content)
    with pytest.raises(BundleError, match="onnx-fp32"):
        Classifier(altered, artifact="tflite-int8")
