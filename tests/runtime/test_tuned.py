from pathlib import Path

import msgspec
import pytest

from edgetl.benchmarking.fastest import tune
from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Isa, Manifest, Target
from edgetl.core.errors import EngineError
from edgetl.core.progress import Silent
from edgetl.devices.profiles import load_device
from edgetl.runtime.classifier import Classifier, usable_cores
from edgetl.runtime.engines.registry import ENGINES, installed, load_engine
from edgetl.runtime.processor import instruction_set
from edgetl.runtime.selection import choose, engine_and_provider, preferred_engines
from edgetl.runtime.tuned import Tuned, read_tuned, tuned_file, write_tuned

ISA = instruction_set()
several_engines = pytest.mark.skipif(
    not all(map(installed, ("onnxruntime", "openvino", "litert"))),
    reason="onnxruntime, openvino and litert are not all installed here",
)


def found(**changes: object) -> Tuned:
    facts = {"artifact": "openvino-fp32", "engine": "openvino", "provider": "cpu", "threads": 1}
    return Tuned(**facts | {"p50_ms": 1.0} | changes)


def order(manifest: Manifest) -> list[str]:
    return [spec.name for spec in preferred_engines(manifest)]


def made_for(manifest: Manifest, isa: str, *names: str) -> Manifest:
    target = Target(device="a-board", isa=isa, engines=names, threads=1)
    return msgspec.structs.replace(manifest, target=target)


@several_engines
def test_tuning_tries_what_answers_rightly_and_keeps_the_fastest(tiny: Bundle, cache: Path) -> None:
    tried = tune(tiny, Silent())
    assert {way.artifact for way in tried} == {a.name for a in tiny.manifest.artifacts}
    assert {way.threads for way in tried} >= {1, usable_cores()}
    assert [way.p50_ms for way in tried] == sorted(way.p50_ms for way in tried)
    assert read_tuned(tiny) == tried[0]


@several_engines
def test_what_was_found_fastest_is_run(tiny: Bundle, cache: Path) -> None:
    assert Classifier(tiny).artifact.name != "openvino-fp32"
    write_tuned(tiny, found())
    classifier = Classifier(tiny)
    assert (classifier.artifact.name, classifier.engine_name) == ("openvino-fp32", "openvino")
    assert classifier.threads == 1


@several_engines
def test_what_the_user_says_goes_before_what_was_found(tiny: Bundle, cache: Path) -> None:
    write_tuned(tiny, found())
    assert Classifier(tiny, engine="litert").artifact.name == "tflite-int8"
    assert Classifier(tiny, artifact="onnx-int8").engine_name == "onnxruntime"
    assert Classifier(tiny, threads=usable_cores()).threads == usable_cores()


@several_engines
def test_what_was_found_and_is_no_longer_installed_is_passed_over(
    tiny: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tuned(tiny, found())
    monkeypatch.setattr("edgetl.runtime.classifier.installed", lambda name: name != "openvino")
    assert Classifier(tiny).engine_name != "openvino"


def test_a_damaged_finding_is_as_none(tiny: Bundle, cache: Path) -> None:
    write_tuned(tiny, found())
    tuned_file(tiny).write_text("{")
    assert read_tuned(tiny) is None


def test_findings_belong_to_one_bundle(tiny: Bundle, paper_bundle: Path, cache: Path) -> None:
    write_tuned(tiny, found())
    assert read_tuned(Bundle(paper_bundle)) is None


@several_engines
@pytest.mark.skipif(ISA is None, reason="no profile has this instruction set")
def test_the_device_a_bundle_was_made_for_orders_the_engines(tiny: Bundle) -> None:
    ours = made_for(tiny.manifest, ISA, "openvino", "litert")
    assert order(ours)[:2] == ["openvino", "litert"]
    assert len(order(ours)) == len(ENGINES.own())
    assert choose(ours).engine == "openvino"
    theirs = made_for(tiny.manifest, "armv7", "openvino", "litert")
    assert order(theirs) == [spec.name for spec in ENGINES.own()]


@pytest.mark.parametrize(
    ("isa", "profile"),
    [("x86-64", "x86-vnni"), ("aarch64", "arm64-generic"), ("armv7", "armv7-generic")],
)
def test_a_bundle_made_for_no_device_takes_the_order_of_this_processors_profile(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, isa: Isa, profile: str
) -> None:
    monkeypatch.setattr("edgetl.runtime.selection.instruction_set", lambda: isa)
    advised = list(load_device(profile).engines)
    assert order(tiny.manifest)[: len(advised)] == advised


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnxruntime:cud", "Engine 'onnxruntime' has no provider 'cud'."),
        ("litert:gpu", "Engine 'litert' has no provider 'gpu'."),
        ("onyxruntime:cuda", "There is no engine 'onyxruntime'."),
    ],
)
def test_a_provider_nobody_knows_is_refused(text: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine_and_provider(text)
    assert str(caught.value) == message
    assert "The choices are" in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "provider"),
    [("onnxruntime", "cuda"), ("onnxruntime", "tensorrt"), ("openvino", "npu")],
)
def test_a_provider_that_is_not_here_is_an_error_and_never_another(
    tiny: Bundle, engine: str, provider: str
) -> None:
    pytest.importorskip(engine)
    files = tiny.files(choose(tiny.manifest, engine).artifact)
    try:
        loaded = load_engine(engine, files, threads=1, provider=provider)
    except EngineError as error:
        assert str(error) == f"Engine '{engine}' has no '{provider}' here."
        assert "cpu" in error.hint
    else:  # a machine that has it
        assert provider in loaded.provider.lower()
