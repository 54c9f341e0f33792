"""docs/bundle-format.md names every key, and its reader does what edgetl does."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import typing
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

import edgetl
from edgetl.bundle.archive import MANIFEST_NAME, Bundle, write_bundle
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import BundleError
from edgetl.runtime.preprocess import load_pixels
from edgetl.runtime.softmax import class_logits
from tests.making import draw

PAGE = Path(edgetl.__file__).parents[1] / "docs" / "bundle-format.md"
Members = list[tuple[str, bytes]]
ALLOWED = {"numpy", "onnxruntime", "PIL"} | set(sys.stdlib_module_names)


def reader_code() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(code)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "reader.py"
    path.write_text(reader_code())
    return path


@pytest.fixture(scope="module")
def reader(script: Path) -> ModuleType:
    pytest.importorskip("onnxruntime")
    spec = importlib.util.spec_from_file_location("reader_of_the_page", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def blend(pictures: Path, tmp_path: Path) -> Path:
    """A picture between two classes, of which no network is sure."""
    one, other = (Image.open(pictures / kind / "00.png") for kind in ("checks", "slope"))
    Image.blend(one, other, 0.5).save(tmp_path / "blend.png")
    return tmp_path / "blend.png"


def run(script: Path, bundle: Path, picture: Path) -> subprocess.CompletedProcess[str]:
    # -I: neither the working folder nor the environment can bring edgetl in.
    command = [sys.executable, "-I", str(script), str(bundle), str(picture)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_reader_imports_nothing_of_edgetl() -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(reader_code())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported and imported <= ALLOWED


def test_the_reader_answers_as_edgetl_does(
    script: Path, tiny_bundle: Path, pictures: Path, blend: Path
) -> None:
    pytest.importorskip("onnxruntime")
    classify = edgetl.Classifier(tiny_bundle, artifact="onnx-int8", engine="onnxruntime")
    for picture in (pictures / "stripes" / "00.png", blend):
        result, expected = run(script, tiny_bundle, picture), classify(picture)
        assert result.returncode == 0, result.stderr
        label, probability = result.stdout.rstrip("\n").split("\t")
        assert label == expected.label
        assert float(probability) == pytest.approx(expected.probability, abs=1e-5)


def test_an_artifacts_own_temperature_comes_before_the_manifests(
    reader: ModuleType, tiny: Bundle, blend: Path, tmp_path: Path
) -> None:
    answers = []
    for own, shared in ((None, 4.0), (2.0, 4.0)):
        artifacts = tuple(
            msgspec.structs.replace(artifact, temperature=own)
            for artifact in tiny.manifest.artifacts
        )
        manifest = msgspec.structs.replace(tiny.manifest, artifacts=artifacts, temperature=shared)
        path = tmp_path / "tempered.edgetl"
        write_bundle(path, manifest, tiny.contents())
        expected = edgetl.Classifier(path, artifact="onnx-int8", engine="onnxruntime")(blend)
        label, probability = reader.classify(path, blend)
        assert (label, probability) == (
            expected.label,
            pytest.approx(expected.probability, abs=1e-5),
        )
        answers.append(probability)
    assert answers[0] < answers[1] - 1e-3


@pytest.mark.parametrize(
    "name", [MANIFEST_NAME, "artifacts/onnx-int8.onnx", "golden.npz", "recipe.yaml"]
)
def test_the_reader_refuses_a_bundle_with_one_altered_byte(
    script: Path, tiny_bundle: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("onnxruntime")
    altered = tmp_path / "altered.edgetl"
    shutil.copy(tiny_bundle, altered)
    with zipfile.ZipFile(altered) as archive:
        entry = archive.getinfo(name)
    with altered.open("r+b") as file:
        place = entry.header_offset + 30 + len(name) + entry.file_size // 2
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    result = run(script, altered, pictures / "checks" / "00.png")
    assert result.returncode != 0
    assert result.stdout == ""
    assert "Bad CRC-32" in result.stderr


@pytest.mark.parametrize("name", ["artifacts/tflite-int8.tflite", "recipe.yaml"])
def test_the_reader_checks_hashes_where_the_zips_checksums_are_right(
    reader: ModuleType, tiny_bundle: Path, tmp_path: Path, name: str
) -> None:
    altered = tmp_path / "altered.edgetl"
    with zipfile.ZipFile(tiny_bundle) as old, zipfile.ZipFile(altered, "w") as new:
        for entry in old.infolist():
            content = bytearray(old.read(entry))
            if entry.filename == name:
                content[len(content) // 2] ^= 1
            new.writestr(entry.filename, bytes(content))
    with pytest.raises(ValueError, match="members differ from the manifest"):
        reader.read_bundle(altered)


def unsafe(members: Members) -> Members:
    return [*members, ("../x", b"x")]


def twice(members: Members) -> Members:
    return [*members, members[-1]]


def extra(members: Members) -> Members:
    return [*members, ("extra.bin", b"x")]


def missing(members: Members) -> Members:
    return members[:-1]


def newer(members: Members) -> Members:
    text = members[0][1].replace(b'"schema_version": 1', b'"schema_version": 2')
    return [(MANIFEST_NAME, text), *members[1:]]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "compression", "problem"),
    [
        (list, zipfile.ZIP_DEFLATED, "compressed"),
        (unsafe, zipfile.ZIP_STORED, "unsafe name"),
        (twice, zipfile.ZIP_STORED, "two with one name"),
        (extra, zipfile.ZIP_STORED, "members differ"),
        (missing, zipfile.ZIP_STORED, "members differ"),
        (newer, zipfile.ZIP_STORED, "newer reader"),
    ],
)
def test_the_reader_refuses_what_edgetl_refuses(
    reader: ModuleType,
    paper_bundle: Path,
    change: Callable[[Members], Members],
    compression: int,
    problem: str,
) -> None:
    assert reader.read_bundle(paper_bundle)[0]["labels"] == ["cat", "dog"]
    with zipfile.ZipFile(paper_bundle) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(paper_bundle, "w", compression) as new:
        for name, content in change(members):
            new.writestr(name, content)
    with pytest.raises(BundleError):
        Bundle(paper_bundle)
    with pytest.raises(ValueError, match=problem):
        reader.read_bundle(paper_bundle)


class OneLogit:
    """A session whose graph has one sigmoid output."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="pixels")]

    def run(self, _: None, inputs: dict[str, Any]) -> list[np.ndarray]:
        return [inputs["pixels"].reshape(1, -1)[:, :1].astype(np.float32)]


def test_the_reader_makes_two_logits_of_one(reader: ModuleType) -> None:
    pictures = np.array([3, 5], np.uint8).reshape(2, 1, 1, 1)
    answers = reader.logits(OneLogit(), pictures)
    assert answers.tolist() == [[0, 3], [0, 5]]
    assert np.array_equal(answers, class_logits(np.array([[3], [5]], np.float32)))


def odd_pictures(folder: Path) -> Iterator[Path]:
    """Pictures that take every turn of the page's steps."""
    photo = draw("checks", 1, 300, 211)
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        photo.save(folder / f"turned{orientation}.jpg", exif=exif)
    photo.resize((20, 17)).save(folder / "small.jpg")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    for mode in ("1", "L", "P", "RGBA", "LA"):
        photo.convert(mode).save(folder / f"{mode}.png")
    photo.quantize(8).save(folder / "transparent.png", transparency=3)
    deep = (np.asarray(photo.convert("L")).astype(np.uint16) * 257) ^ 77
    Image.fromarray(deep).save(folder / "deep.png")
    photo.convert("L").save(folder / "frames.gif", save_all=True, append_images=[draw("slope", 2)])
    yield from sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("size_px", "crop", "resize"), [(32, 1.0, "bilinear"), (100, 0.875, "bicubic")]
)
def test_the_reader_prepares_every_picture_as_edgetl_does(
    reader: ModuleType, tmp_path: Path, size_px: int, crop: float, resize: Any
) -> None:
    half = (0.5, 0.5, 0.5)
    spec = Preprocess(size_px=size_px, crop=crop, resize=resize, mean=half, std=half)
    paths = list(odd_pictures(tmp_path))
    assert len(paths) == 18
    for path in paths:
        pixels = reader.prepare(path, **msgspec.to_builtins(spec))
        assert np.array_equal(pixels, load_pixels(path, spec)), path.name


def struct_keys(kind: Any) -> Iterator[str]:
    """The JSON keys of a struct and of all structs inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from struct_keys(field.type)
    for inner in typing.get_args(kind):
        yield from struct_keys(inner)


def json_keys(value: Any) -> Iterator[str]:
    """The keys of a JSON document, but not those that name packages and operators."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in ("versions", "float_operators"):
                yield from json_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from json_keys(inner)


def test_the_page_names_every_key_of_a_manifest(tiny_bundle: Path) -> None:
    page = PAGE.read_text()
    with zipfile.ZipFile(tiny_bundle) as archive:
        written = set(json_keys(msgspec.json.decode(archive.read(MANIFEST_NAME))))
    keys = set(struct_keys(Manifest))
    assert written <= keys
    assert len(keys) > 70
    assert sorted(key for key in keys if f"`{key}`" not in page) == []
