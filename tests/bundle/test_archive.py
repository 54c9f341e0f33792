import hashlib
import os
import struct
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle.archive import MANIFEST_NAME, Bundle, write_bundle
from edgetl.core.errors import BundleError, EdgetlError
from edgetl.core.schema import to_json
from tests.making import inside, paper_contents, paper_manifest, write_paper_bundle

REMAKE = "make the bundle again with `edgetl export`, or copy it again from where it was made."


def repack(path: Path, members: list[tuple[str, bytes]], compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, content in members:
            out.writestr(name, content)
    return path


def paper_members() -> list[tuple[str, bytes]]:
    contents = paper_contents()
    return [(MANIFEST_NAME, to_json(paper_manifest(contents)).encode()), *contents.items()]


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        Bundle(path)
    return caught.value


def same(one: Bundle, other: Bundle) -> bool:
    artifact = one.manifest.artifacts[0]
    return (
        one.manifest == other.manifest
        and one.files(artifact) == other.files(artifact)
        and one.recipe_text() == other.recipe_text()
        and all(np.array_equal(one.golden()[k], v) for k, v in other.golden().items())
    )


def test_what_is_written_is_what_is_read(paper_bundle: Path) -> None:
    bundle, contents = Bundle(paper_bundle), paper_contents()
    assert bundle.manifest == paper_manifest(contents)
    assert bundle.files(bundle.artifact("onnx-fp32")) == (contents["artifacts/onnx-fp32.onnx"],)
    assert bundle.recipe_text() == "seed: 7\n"
    assert {k: (v.shape, str(v.dtype)) for k, v in bundle.golden().items()} == {
        "inputs": ((2, 16, 16, 3), "uint8"),
        "onnx-fp32": ((2, 2), "float32"),
    }


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_paper_bundle(tmp_path / "one.edgetl").read_bytes()
    assert write_paper_bundle(tmp_path / "two.edgetl").read_bytes() == one


def test_members_are_stored_uncompressed(paper_bundle: Path) -> None:
    with zipfile.ZipFile(paper_bundle) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_missing_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.edgetl")
    assert str(error) == f"'{tmp_path / 'none.edgetl'}' is not a file."
    assert error.hint == "make one with `edgetl export RUN -o model.edgetl`."


def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.edgetl"
    path.write_bytes(b"\xff\xd8 a photograph by another name")
    error = refusal(path)
    assert str(error) == f"'{path}' is damaged or not a bundle: File is not a zip file."
    assert error.hint == REMAKE


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_bundle_cut_short_is_refused(paper_bundle: Path, part: float) -> None:
    content = paper_bundle.read_bytes()
    paper_bundle.write_bytes(content[: int(part * len(content))])
    assert "is damaged or not a bundle" in str(refusal(paper_bundle))


@pytest.mark.parametrize("flip", [0x01, 0x08, 0x80, 0xFF])
def test_one_altered_byte_is_refused_or_changes_nothing(paper_bundle: Path, flip: int) -> None:
    content, whole = paper_bundle.read_bytes(), Bundle(paper_bundle)
    # Every fifteenth byte reaches headers and contents; the directory is taken whole.
    directory = content.index(b"PK\x01\x02")
    refused = 0
    for place in [*range(0, directory, 15), *range(directory, len(content))]:
        altered = bytearray(content)
        altered[place] ^= flip
        paper_bundle.write_bytes(altered)
        try:
            assert same(Bundle(paper_bundle), whole), f"byte {place} changed the contents"
        except BundleError:
            refused += 1
    assert refused > 100


def test_an_altered_network_is_named(paper_bundle: Path) -> None:
    members = dict(paper_members())
    members["artifacts/onnx-fp32.onnx"] = members["artifacts/onnx-fp32.onnx"].replace(b"a", b"A", 1)
    repack(paper_bundle, list(members.items()))
    error = refusal(paper_bundle)
    expected = f"'{paper_bundle}': 'artifacts/onnx-fp32.onnx' does not match its sha256."
    assert str(error) == expected
    assert error.hint == REMAKE


def test_a_bundle_from_a_newer_edgetl_asks_for_an_update(paper_bundle: Path) -> None:
    members = dict(paper_members())
    newer = paper_manifest(paper_contents(), schema_version=2)
    # A newer schema may hold keys this edgetl never heard of: the version is read first.
    text = to_json(newer).replace('"labels"', '"unheard_of": 1,\n"labels"', 1)
    repack(paper_bundle, list((members | {MANIFEST_NAME: text.encode()}).items()))
    error = refusal(paper_bundle)
    assert str(error) == f"'{paper_bundle}' has schema version 2; this edgetl reads up to 1."
    assert error.hint == "update it: pip install --upgrade edgetl"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "artifacts/../../x", "a\\b", ".hidden", "a/b/c", "C:x", "x\n"]
)
def test_a_member_with_an_unsafe_name_is_refused(paper_bundle: Path, name: str) -> None:
    repack(paper_bundle, [*paper_members(), (name, b"x")])
    assert "has a member with an unsafe name" in str(refusal(paper_bundle))
    assert not (paper_bundle.parent.parent / "x").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_refused(paper_bundle: Path, method: int) -> None:
    repack(paper_bundle, paper_members(), method)
    expected = f"'{paper_bundle}': member 'manifest.json' is compressed."
    assert str(refusal(paper_bundle)) == expected


def test_an_encrypted_member_is_refused(paper_bundle: Path) -> None:
    content = bytearray(paper_bundle.read_bytes())
    with zipfile.ZipFile(paper_bundle) as archive:
        directory = archive.start_dir
    flags = struct.unpack_from("<H", content, directory + 8)[0]
    struct.pack_into("<H", content, directory + 8, flags | 1)
    paper_bundle.write_bytes(content)
    assert "is damaged or not a bundle" in str(refusal(paper_bundle))


def test_a_member_the_manifest_does_not_list_is_refused(paper_bundle: Path) -> None:
    repack(paper_bundle, [*paper_members(), ("extra.bin", b"x")])
    expected = f"'{paper_bundle}' has a member its manifest does not list: 'extra.bin'."
    assert str(refusal(paper_bundle)) == expected


@pytest.mark.parametrize("name", list(paper_contents()))
def test_a_member_that_is_not_there_is_named(paper_bundle: Path, name: str) -> None:
    repack(paper_bundle, [member for member in paper_members() if member[0] != name])
    assert str(refusal(paper_bundle)) == f"'{paper_bundle}' lacks its member '{name}'."


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(paper_bundle: Path) -> None:
    repack(paper_bundle, [*paper_members(), paper_members()[-1]])
    assert str(refusal(paper_bundle)) == f"'{paper_bundle}' has two members named 'recipe.yaml'."


def test_a_bundle_without_a_manifest_is_refused(paper_bundle: Path) -> None:
    repack(paper_bundle, paper_members()[1:])
    assert str(refusal(paper_bundle)) == f"'{paper_bundle}' has no usable manifest.json."


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"{}", "missing required field `schema_version`"),
        (b"not json", "cannot be read"),
        (b'{"schema_version": 1}', "missing required field `labels`"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_manifest_that_breaks_its_schema_is_refused(
    paper_bundle: Path, text: bytes, part: str
) -> None:
    repack(paper_bundle, [(MANIFEST_NAME, text), *paper_members()[1:]])
    assert part in str(refusal(paper_bundle))


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-300, 1e300])
def test_a_temperature_that_would_break_softmax_is_refused(
    paper_bundle: Path, temperature: float
) -> None:
    manifest = msgspec.to_builtins(paper_manifest(paper_contents()))
    text = msgspec.json.encode(manifest | {"temperature": temperature})
    repack(paper_bundle, [(MANIFEST_NAME, text), *paper_members()[1:]])
    assert "`$.temperature`" in str(refusal(paper_bundle))


def test_too_many_members_are_refused_before_any_is_read(paper_bundle: Path) -> None:
    repack(paper_bundle, [(f"m{i}", b"") for i in range(101)])
    assert str(refusal(paper_bundle)) == f"'{paper_bundle}' has more than 100 members."


def test_a_misspelt_artifact_suggests_the_nearest(paper_bundle: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle(paper_bundle).artifact("onnx-fp23")
    assert str(caught.value) == f"'{paper_bundle}' has no artifact 'onnx-fp23'."
    assert caught.value.hint == "did you mean 'onnx-fp32'? The choices are: onnx-fp32."


def test_golden_samples_that_are_no_arrays_are_refused(paper_bundle: Path) -> None:
    contents = paper_contents() | {"golden.npz": b"not arrays"}
    write_bundle(paper_bundle, paper_manifest(contents), contents)
    with pytest.raises(BundleError, match=r"golden\.npz. cannot be read"):
        Bundle(paper_bundle).golden()


def test_golden_samples_never_unpickle(paper_bundle: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "witness"),)

    trap = np.empty(1, object)
    trap[0] = Trap()
    np.savez(tmp_path / "trap.npz", inputs=trap)
    contents = paper_contents() | {"golden.npz": (tmp_path / "trap.npz").read_bytes()}
    write_bundle(paper_bundle, paper_manifest(contents), contents)
    with pytest.raises(BundleError, match=r"golden\.npz. cannot be read"):
        Bundle(paper_bundle).golden()
    assert not (tmp_path / "witness").exists()


def test_a_bundle_is_not_written_where_its_contents_do_not_fit(tmp_path: Path) -> None:
    contents = paper_contents()
    wrong = contents | {"recipe.yaml": b"seed: 8\n"}
    with pytest.raises(BundleError, match=r"'recipe\.yaml' does not match its sha256"):
        write_bundle(tmp_path / "m.edgetl", paper_manifest(contents), wrong)
    assert inside(tmp_path) == []


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="cannot be written: No such file or directory"):
        write_paper_bundle(tmp_path / "missing" / "m.edgetl")
    assert inside(tmp_path) == []


def test_the_version_is_checked_even_when_it_is_no_number(paper_bundle: Path) -> None:
    manifest = msgspec.to_builtins(paper_manifest(paper_contents())) | {"schema_version": "9"}
    repack(paper_bundle, [(MANIFEST_NAME, msgspec.json.encode(manifest)), *paper_members()[1:]])
    assert "Expected `int`, got `str`" in str(refusal(paper_bundle))


def test_a_bundle_of_before_refits_opens(paper_bundle: Path) -> None:
    manifest = msgspec.to_builtins(paper_manifest(paper_contents()))
    del manifest["temperature_from"], manifest["provenance"]["twin"]
    repack(paper_bundle, [(MANIFEST_NAME, msgspec.json.encode(manifest)), *paper_members()[1:]])
    opened = Bundle(paper_bundle).manifest
    assert opened.temperature_from is opened.provenance.twin is None


def test_the_hash_of_the_file_is_that_of_the_bundle_that_was_opened(tmp_path: Path) -> None:
    path = write_paper_bundle(tmp_path / "model.edgetl")
    bundle = Bundle(path)
    assert bundle.file_sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = msgspec.structs.replace(bundle.manifest, labels=bundle.manifest.labels[::-1])
    write_bundle(path, manifest, bundle.contents())
    with pytest.raises(BundleError) as caught:
        bundle.file_sha256()
    assert str(caught.value) == f"'{path}' was replaced while it was loaded."
    path.unlink()
    with pytest.raises(BundleError, match="No such file"):
        bundle.file_sha256()
