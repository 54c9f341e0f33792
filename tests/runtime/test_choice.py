import importlib.util
from collections.abc import Callable

import msgspec
import pytest

from edgetl.bundle.manifest import Artifact, Manifest
from edgetl.core.errors import BundleError, EngineError
from edgetl.runtime import processor
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engines.registry import ENGINES, engine_spec, installed, load_engine
from edgetl.runtime.selection import choose
from tests.making import paper_contents, paper_manifest, write_paper_bundle


def manifest(*names: str) -> Manifest:
    """A manifest that offers artifacts of these names."""
    base = paper_manifest(paper_contents())
    (template,) = base.artifacts

    def artifact(name: str) -> Artifact:
        kind, scheme = name.split("-", 1)
        return msgspec.structs.replace(template, format=kind, scheme=scheme)

    return msgspec.structs.replace(base, artifacts=tuple(map(artifact, names)))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the named engines the only ones installed."""

    def set_installed(*names: str) -> None:
        libraries = {ENGINES[name].library for name in names}
        known = {info.library for info in ENGINES.values()}
        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: (
                (object() if name in libraries else None) if name in known else real(name, *rest)
            ),
        )

    return set_installed


ALL = ("onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-int8", "tflite-fp32", "tflite-int8")


def chosen(*arguments: object) -> tuple[str, str]:
    choice = choose(*arguments)
    return choice.engine, choice.artifact.name


def test_int8_through_onnx_runtime_comes_first_on_x86(only, monkeypatch) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    only(*ENGINES)
    assert chosen(manifest(*ALL)) == ("onnxruntime", "onnx-int8")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("litert", "openvino"), ("litert", "tflite-int8")),
        (("openvino",), ("openvino", "openvino-int8")),
        (("tflite-runtime",), ("tflite-runtime", "tflite-int8")),
        (("tflite-runtime", "litert"), ("litert", "tflite-int8")),
    ],
)
def test_only_installed_engines_are_chosen(only, monkeypatch, present, expected) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(processor, "int8_may_saturate", lambda: False)
    only(*present)
    assert chosen(manifest(*ALL)) == expected


def test_a_better_scheme_wins_over_an_earlier_engine(only) -> None:
    only(*ENGINES)
    assert chosen(manifest("onnx-fp32", "tflite-int8")) == ("litert", "tflite-int8")


def test_fp32_is_taken_before_fp16(only) -> None:
    only(*ENGINES)
    assert chosen(manifest("tflite-fp16", "tflite-fp32")) == ("litert", "tflite-fp32")


def test_an_artifact_brings_its_engine(only) -> None:
    only(*ENGINES)
    assert chosen(manifest(*ALL), "auto", "openvino-fp32") == ("openvino", "openvino-fp32")


def test_an_engine_brings_its_artifact(only) -> None:
    only(*ENGINES)
    assert chosen(manifest(*ALL), "litert") == ("litert", "tflite-int8")


def test_a_misspelt_engine_suggests_the_nearest() -> None:
    with pytest.raises(EngineError) as caught:
        engine_spec("onnxruntim")
    assert str(caught.value) == "There is no engine 'onnxruntim'."
    assert caught.value.hint == (
        "did you mean 'onnxruntime'? The choices are: "
        "litert, onnxruntime, openvino, tflite-runtime."
    )


@pytest.mark.parametrize("name", list(ENGINES))
def test_an_engine_that_is_not_installed_names_its_extra(only, name: str) -> None:
    only()
    with pytest.raises(EngineError) as caught:
        choose(manifest(*ALL), name)
    assert str(caught.value) == f"Engine '{name}' is not installed here."
    assert caught.value.hint == f"pip install 'edgetl[{name}]'"


def test_with_no_engine_at_all_every_fitting_extra_is_named(only) -> None:
    only()
    with pytest.raises(EngineError) as caught:
        choose(manifest("tflite-int8", "onnx-int8"))
    assert str(caught.value) == "No engine that fits is installed."
    assert caught.value.hint == (
        "pip install 'edgetl[litert]' or pip install 'edgetl[onnxruntime]' "
        "or pip install 'edgetl[tflite-runtime]'"
    )


def test_an_engine_the_bundle_has_nothing_for_says_what_there_is(only) -> None:
    only(*ENGINES)
    with pytest.raises(EngineError) as caught:
        choose(manifest("onnx-fp32", "onnx-int8"), "litert")
    assert str(caught.value) == "The bundle has nothing for engine 'litert'."
    assert caught.value.hint == "it holds: onnx-fp32, onnx-int8."


def test_an_engine_that_cannot_run_the_artifact_says_so(only) -> None:
    only(*ENGINES)
    with pytest.raises(EngineError) as caught:
        choose(manifest(*ALL), "litert", "onnx-int8")
    assert str(caught.value) == "The bundle has nothing for engine 'litert' as 'onnx-int8'."


def test_a_misspelt_artifact_suggests_the_nearest(tmp_path) -> None:
    path = write_paper_bundle(tmp_path / "m.edgetl")
    with pytest.raises(BundleError) as caught:
        Classifier(path, artifact="onnx-fp23")
    assert caught.value.hint == "did you mean 'onnx-fp32'? The choices are: onnx-fp32."


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "armv7l"])
def test_openvino_int8_is_never_chosen_on_arm(only, monkeypatch, machine: str) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    only("openvino")
    assert chosen(manifest(*ALL)) == ("openvino", "openvino-fp32")
    with pytest.raises(EngineError, match="OpenVINO's int8 gives wrong answers on ARM"):
        choose(manifest(*ALL), "openvino", "openvino-int8")


def test_openvino_int8_of_eight_bits_is_never_chosen_where_it_overflows(only, monkeypatch) -> None:
    monkeypatch.setattr(processor, "instruction_set", lambda: "x86-64")
    monkeypatch.setattr(processor, "int8_may_saturate", lambda: True)
    only("openvino")
    full = manifest(*ALL)
    assert chosen(full) == ("openvino", "openvino-fp32")
    with pytest.raises(EngineError, match="overflows on x86 processors without VNNI"):
        choose(full, "openvino", "openvino-int8")
    seven_bits = tuple(msgspec.structs.replace(a, reduced_range=True) for a in full.artifacts)
    reduced = msgspec.structs.replace(full, artifacts=seven_bits)
    assert chosen(reduced) == ("openvino", "openvino-int8")


@pytest.mark.parametrize(
    ("flags", "lacks"),
    [
        ("flags\t\t: fpu sse2 avx2 fma", True),
        ("flags\t\t: fpu sse2 avx2 avx_vnni", False),
        ("flags\t\t: avx2 avx512f avx512_vnni", False),
        ("processor\t: 0", False),
        ("", False),
    ],
)
def test_a_processor_tells_whether_it_lacks_vnni(flags: str, lacks: bool) -> None:
    assert processor.lacks_vnni(flags) == lacks


@pytest.mark.parametrize("name", [name for name in ENGINES if not installed(name)])
def test_loading_an_engine_that_is_really_missing_names_its_extra(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        load_engine(name, (b"",), threads=1)
    assert str(caught.value) == f"Engine '{name}' is not installed here."
    assert caught.value.hint == f"pip install '{ENGINES[name].requirement}'"
