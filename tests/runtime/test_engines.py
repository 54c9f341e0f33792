"""One contract, asked of every engine over the same bundle."""

import numpy as np
import pytest

from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EngineError
from edgetl.evaluation.parity import TOLERANCE
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engines.registry import ENGINES, Engine, installed, load_engine
from edgetl.runtime.softmax import softmax

SCHEMES = ("fp32", "int8")


class Loaded:
    """An engine, the files in it, and what the workstation saw it answer."""

    def __init__(self, bundle: Bundle, name: str, scheme: str) -> None:
        artifact = bundle.artifact(f"{ENGINES[name].format}-{scheme}")
        self.name, self.scheme = name, scheme
        self.files = bundle.files(artifact)
        self.engine: Engine = load_engine(name, self.files, threads=1)
        self.inputs = bundle.golden()["inputs"]
        self.expected = bundle.golden()[artifact.name]

    def ask(self, index: int) -> np.ndarray:
        return self.engine(self.inputs[index : index + 1])


@pytest.fixture(
    scope="module", params=[(name, scheme) for name in ENGINES for scheme in SCHEMES], ids="-".join
)
def it(request: pytest.FixtureRequest, tiny: Bundle) -> Loaded:
    name, scheme = request.param
    if not installed(name):
        pytest.skip(f"{name} is not installed here")
    return Loaded(tiny, name, scheme)


def test_it_answers_float32_logits_of_one_picture(it: Loaded) -> None:
    answer = it.ask(0)
    assert isinstance(answer, np.ndarray)
    assert (answer.shape, answer.dtype) == ((1, it.expected.shape[1]), np.float32)
    assert np.isfinite(answer).all()


def test_it_says_its_version(it: Loaded) -> None:
    assert it.engine.version[0].isdigit()


def test_it_answers_what_the_workstation_saw(it: Loaded) -> None:
    answers = softmax(np.concatenate([it.ask(i) for i in range(len(it.inputs))]))
    expected = softmax(it.expected)
    assert np.abs(answers - expected).max() <= TOLERANCE[it.scheme]
    assert answers.argmax(1).tolist() == expected.argmax(1).tolist()


def test_the_golden_samples_are_of_more_than_one_class(it: Loaded) -> None:
    # Else the test above would pass on a network that always says the same.
    assert len(set(it.expected.argmax(1).tolist())) > 1


def test_the_same_picture_gets_the_same_answer(it: Loaded) -> None:
    first = it.ask(0).copy()
    it.ask(1)
    assert np.array_equal(it.ask(0), first)


def test_an_answer_outlives_the_next_call(it: Loaded) -> None:
    answers = it.expected.argmax(1)
    other = int(np.flatnonzero(answers != answers[0])[0])
    first = it.ask(0)
    kept = first.copy()
    assert not np.array_equal(it.ask(other), kept)
    assert np.array_equal(first, kept)


def test_an_answer_may_be_written_to(it: Loaded) -> None:
    answer = it.ask(0)
    kept = answer.copy()
    answer[:] = 0
    assert np.array_equal(it.ask(0), kept)


def test_pixels_that_may_not_be_written_to_are_fine(it: Loaded) -> None:
    pixels = it.inputs[:1].copy()
    pixels.flags.writeable = False
    assert np.array_equal(it.engine(pixels), it.ask(0))


def test_pixels_are_left_as_they_were(it: Loaded) -> None:
    pixels = it.inputs[:1].copy()
    it.engine(pixels)
    assert np.array_equal(pixels, it.inputs[:1])


@pytest.mark.parametrize("order", ["mirrored", "planar", "strided"])
def test_pixels_need_not_be_contiguous(it: Loaded, order: str) -> None:
    pixels = it.inputs[:1]
    if order == "mirrored":
        scattered = pixels[:, :, ::-1].copy()[:, :, ::-1]
    elif order == "planar":
        scattered = pixels.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1)
    else:
        scattered = np.repeat(pixels, 2, axis=2)[:, :, ::2]
    assert not scattered.flags.c_contiguous
    assert np.array_equal(scattered, pixels)
    assert np.array_equal(it.engine(scattered), it.ask(0))


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut short"])
def test_a_model_that_is_none_is_refused(it: Loaded, damage: str) -> None:
    if it.name == "tflite-runtime" and damage == "cut short":
        pytest.skip("2.14 checks no lengths and crashes; a bundle's sha256 keeps such files out")
    files = {
        "garbage": (b"no network at all " * 64,) * len(it.files),
        "empty": (b"",) * len(it.files),
        "cut short": tuple(file[: len(file) // 2] for file in it.files),
    }[damage]
    with pytest.raises(EngineError) as caught:
        load_engine(it.name, files, threads=1)
    assert str(caught.value).startswith(f"Engine '{it.name}' cannot load the model: ")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "update the engine, or try another with --engine."


def test_two_threads_answer_the_same(it: Loaded) -> None:
    answer = load_engine(it.name, it.files, threads=2)(it.inputs[:1])
    limit = TOLERANCE[it.scheme]
    assert np.abs(softmax(answer) - softmax(it.ask(0))).max() <= limit


def test_pixels_of_another_size_are_an_engine_error(it: Loaded, tiny: Bundle) -> None:
    classifier = Classifier(
        tiny, engine=it.name, artifact=f"{ENGINES[it.name].format}-{it.scheme}", threads=1
    )
    with pytest.raises(EngineError, match=f"Engine '{it.name}' failed: "):
        classifier.logits(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("overflows", [True, False])
def test_onnx_runtime_is_given_its_slow_exact_kernels_only_where_the_others_overflow(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, overflows: bool
) -> None:
    pytest.importorskip("onnxruntime")
    from edgetl.runtime.engines import onnxruntime as adapter

    monkeypatch.setattr(adapter, "may_lack_vnni", lambda: overflows)
    engine = adapter.load(tiny.files(tiny.artifact("onnx-int8")), 1, "cpu")
    options = engine._session.get_session_options()  # type: ignore[attr-defined]
    try:
        value = options.get_session_config_entry("session.x64quantprecision")
    except RuntimeError:  # as ONNX Runtime says that it was not set
        value = ""
    assert value == ("1" if overflows else "")
