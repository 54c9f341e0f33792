"""`model.edgetl`: a zip of uncompressed members, checked when opened, never unpacked to disk.

A bundle is untrusted input: names, sizes, hashes and the manifest's schema are all checked before
any of its content reaches an engine.
"""

import hashlib
import io
import re
import struct
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgetl.bundle.manifest import SCHEMA_VERSION, Artifact, BoardVerdict, Manifest, Member
from edgetl.core.errors import BundleError, SchemaError
from edgetl.core.files import atomic_write, sha256_of
from edgetl.core.schema import MAX_DOCUMENT_BYTES, from_json, to_json, unknown_choice_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST_NAME = "manifest.json"
MAX_BUNDLE_BYTES = 4 * 1024**3
MAX_MEMBERS = 100
# Large, because the hashing thread must reacquire the GIL after each chunk while others import.
_CHUNK = 1 << 22
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")
# What zipfile raises for a damaged file: RuntimeError for an encrypted member or an unknown method,
# ValueError for a name that is not UTF-8.
_BAD_ZIP = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError)
_REMAKE = "make the bundle again with `edgetl export`, or copy it again from where it was made."


def member_of(name: str, content: bytes) -> Member:
    """The name, sha256 and size of a file that is about to be written into a bundle."""
    return Member(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


class Bundle:
    """An opened `model.edgetl`, all of whose members are checked against its manifest.

    Members are read from the file, and checked again, only when they are requested: a bundle of
    many artifacts takes no more memory than the artifact that runs.

    `digest` is the hex sha256 of the manifest. It identifies the whole content, because the
    manifest lists the sha256 of every member.

    Args:
        path: the file.
        wait: whether to return only after all members are checked. Otherwise they are checked in a
            background thread, and the caller must call `require_whole` before using a result.

    Raises BundleError if the file is missing, truncated, altered, unsafe or too new.
    """

    def __init__(self, path: str | Path, *, wait: bool = True) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise BundleError(
                f"'{path}' is not a file.",
                hint="make one with `edgetl export RUN -o model.edgetl`.",
            )
        self.manifest, self.digest, self._places = _open_manifest(self.path)
        self._failure: BundleError | None = None
        self._check = threading.Thread(target=self._check_all, daemon=True)
        self._check.start()
        if wait:
            self.require_whole()

    def require_whole(self) -> None:
        """Wait until all members are checked. Raises BundleError if one does not match."""
        self._check.join()
        if self._failure:
            raise self._failure

    def _check_all(self) -> None:
        try:
            for member in self.manifest.members():
                for _ in self._chunks(member):
                    pass
        except BundleError as failure:
            self._failure = failure

    def _read(self, member: Member) -> bytes:
        """Read and check a member's content. Raises BundleError."""
        return b"".join(bytes(chunk) for chunk in self._chunks(member))

    def _chunks(self, member: Member) -> Iterator[memoryview]:
        """Yield a member's content in chunks that share a buffer; the end checks its sha256.

        The sha256 is stronger than the zip's own checksum, which is therefore not computed.
        """
        digest, buffer = hashlib.sha256(), memoryview(bytearray(min(_CHUNK, member.bytes)))
        left = member.bytes
        try:
            with self.path.open("rb") as file:
                file.seek(self._places[member.name])
                mark, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                file.seek(name + extra, io.SEEK_CUR)
                while mark == b"PK\x03\x04" and (count := file.readinto(buffer[:left])):
                    digest.update(buffer[:count])
                    left -= count
                    yield buffer[:count]
        except (OSError, struct.error) as error:
            raise _damaged(self.path, error) from error
        if left or digest.hexdigest() != member.sha256:
            raise _mismatch(self.path, member.name)

    def file_sha256(self) -> str:
        """The hex sha256 of the file itself, as `sha256sum` prints it.

        Raises BundleError if another bundle has taken its place since it was opened.
        """
        try:
            sha256 = sha256_of(self.path)
            digest = _open_manifest(self.path)[1]
        except OSError as error:
            raise _damaged(self.path, error) from error
        if digest != self.digest:
            raise BundleError(
                f"'{self.path}' was replaced while it was loaded.", hint="start again."
            )
        return sha256

    def artifact(self, name: str) -> Artifact:
        """The artifact of a name, e.g. `onnx-int8`. Raises BundleError that lists the artifacts."""
        for artifact in self.manifest.artifacts:
            if artifact.name == name:
                return artifact
        names = [artifact.name for artifact in self.manifest.artifacts]
        raise BundleError(
            f"'{self.path}' has no artifact '{name}'.", hint=unknown_choice_hint(name, names)
        )

    def files(self, artifact: Artifact) -> tuple[bytes, ...]:
        """The contents of an artifact's files, in the order of its format. Raises BundleError."""
        return tuple(self._read(file) for file in artifact.files)

    def golden(self) -> "dict[str, NDArray[np.generic]]":
        """The golden samples: `inputs`, uint8 [N, H, W, 3], and the logits of each artifact.

        The logits, float32 [N, classes], are stored under the artifact's name. Raises BundleError.
        """
        return self._arrays(self.manifest.golden)

    def training_statistics(self) -> "dict[str, NDArray[np.generic]]":
        """The arrays of `edgetl.runtime.unknown.TrainingStatistics`, by their names.

        Raises BundleError if the bundle has none, or they cannot be read.
        """
        if self.manifest.training_statistics is None:
            raise BundleError(f"'{self.path}' has no statistics of its training pictures.")
        return self._arrays(self.manifest.training_statistics)

    def _arrays(self, member: Member) -> "dict[str, NDArray[np.generic]]":
        """Read a member that is a npz file, which cannot expand either. Raises BundleError."""
        import numpy as np  # takes 0.1 s, so it must not delay the start of the background check

        content = self._read(member)
        try:
            entries = zipfile.ZipFile(io.BytesIO(content)).infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("an array is compressed")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("its arrays overlap")
            with np.lib.npyio.NpzFile(io.BytesIO(content), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception as error:  # zipfile and numpy raise many kinds for a damaged file
            raise BundleError(f"'{self.path}': '{member.name}' cannot be read: {error}.") from error

    def head_weights(self) -> "NDArray[np.float32]":
        """The last layer's weights, float32 [outputs, channels], to make heatmaps with.

        Raises BundleError if the bundle has none, or they do not fit its artifacts.
        """
        import numpy as np

        made = [a for a in self.manifest.artifacts if a.feature_map]
        if self.manifest.head is None or not made:
            raise BundleError(
                f"'{self.path}' has no feature maps, which heatmaps are made from.",
                hint="export again with --explain-output.",
            )
        first = made[0]
        assert first.feature_map
        outputs, channels = first.output.shape[-1], first.feature_map.shape[-1]
        content = self._read(self.manifest.head)
        if len(content) != 4 * outputs * channels:
            raise BundleError(f"'{self.path}': '{self.manifest.head.name}' has the wrong size.")
        weights = np.frombuffer(content, "<f4").reshape(outputs, channels)
        if not np.isfinite(weights).all():
            raise BundleError(f"'{self.path}': '{self.manifest.head.name}' is not finite.")
        return weights

    def contents(self) -> dict[str, bytes]:
        """The contents of all members except the manifest, by name. Raises BundleError."""
        return {member.name: self._read(member) for member in self.manifest.members()}

    def recipe_text(self) -> str:
        """The resolved recipe, as YAML. Raises BundleError."""
        return self._read(self.manifest.recipe).decode("utf-8", errors="replace")


def write_bundle(path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """Write a bundle atomically, through a temporary file next to `path`.

    Args:
        path: the file to write.
        manifest: lists all members with their sizes and sha256.
        contents: the members' contents by name.

    Raises EdgetlError if `path` cannot be written, BundleError if the contents do not match the
    manifest.
    """
    _check_listing(manifest, {name: len(content) for name, content in contents.items()}, path)
    for member in manifest.members():
        if member_of(member.name, contents[member.name]) != member:
            raise _mismatch(path, member.name)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        out.writestr(_entry(MANIFEST_NAME), to_json(manifest))
        for name, content in contents.items():
            out.writestr(_entry(name), content)


def record_verdicts(bundle: Bundle, verdicts: Sequence[BoardVerdict]) -> None:
    """Rewrite a bundle with these verdicts, which replace all older ones on the same boards.

    Raises EdgetlError if it cannot be written; the file is then unchanged.
    """
    boards = {verdict.board for verdict in verdicts}
    others = [verdict for verdict in bundle.manifest.verdicts if verdict.board not in boards]
    manifest = msgspec.structs.replace(bundle.manifest, verdicts=(*others, *verdicts))
    write_bundle(bundle.path, manifest, bundle.contents())


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry with a fixed date, so that the same contents give the same file."""
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _open_manifest(path: Path) -> tuple[Manifest, str, dict[str, int]]:
    """Read the manifest and check the zip's member names and sizes against it.

    Returns the manifest, its hex sha256, and each member's offset in the file. Raises BundleError.
    """
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise BundleError(f"'{path}' is larger than {MAX_BUNDLE_BYTES // 2**30} GB.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_MEMBERS:
                raise BundleError(f"'{path}' has more than {MAX_MEMBERS} members.")
            sizes: dict[str, int] = {}
            for entry in entries:
                _check_entry(entry, path)
                if entry.filename in sizes:
                    raise BundleError(f"'{path}' has two members named '{entry.filename}'.")
                sizes[entry.filename] = entry.file_size
            size = sizes.pop(MANIFEST_NAME, None)
            usable = size is not None and size <= MAX_DOCUMENT_BYTES
            text = archive.read(MANIFEST_NAME) if usable else None
    except _BAD_ZIP as error:
        raise _damaged(path, error) from error
    if text is None:
        raise BundleError(f"'{path}' has no usable {MANIFEST_NAME}.", hint=_REMAKE)
    manifest = _read_manifest(text, path)
    _check_listing(manifest, sizes, path)
    places = {entry.filename: entry.header_offset for entry in entries}
    return manifest, hashlib.sha256(text).hexdigest(), places


def _damaged(path: Path, error: Exception) -> BundleError:
    return BundleError(f"'{path}' is damaged or not a bundle: {error}.", hint=_REMAKE)


def _mismatch(path: Path, name: str) -> BundleError:
    return BundleError(f"'{path}': '{name}' does not match its sha256.", hint=_REMAKE)


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    if not _SAFE_NAME.fullmatch(entry.filename):
        raise BundleError(f"'{path}' has a member with an unsafe name: '{entry.filename}'.")
    # Uncompressed members cannot expand, so no more is ever read than the size of the file.
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise BundleError(f"'{path}': member '{entry.filename}' is compressed.", hint=_REMAKE)
    if entry.file_size > path.stat().st_size:
        raise BundleError(f"'{path}' is damaged: '{entry.filename}' is cut short.", hint=_REMAKE)


class _Version(msgspec.Struct):
    schema_version: int


def _read_manifest(text: bytes, path: Path) -> Manifest:
    where = f"'{path}': {MANIFEST_NAME}"
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where} cannot be read: {error}.", hint=_REMAKE) from error
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"'{path}' has schema version {version}; this edgetl reads up to {SCHEMA_VERSION}.",
            hint="update it: pip install --upgrade edgetl",
        )
    try:
        return from_json(text, Manifest, where=where)
    except SchemaError as error:
        raise BundleError(str(error), hint=error.hint) from error


def _check_listing(manifest: Manifest, sizes: Mapping[str, int], path: Path) -> None:
    """Raises BundleError unless the members other than the manifest are exactly those it lists."""
    listed = {member.name: member for member in manifest.members()}
    extra = sorted(set(sizes) - set(listed))
    if extra:
        raise BundleError(f"'{path}' has a member its manifest does not list: '{extra[0]}'.")
    for name, member in listed.items():
        if name not in sizes:
            raise BundleError(f"'{path}' lacks its member '{name}'.", hint=_REMAKE)
        if sizes[name] != member.bytes:
            raise _mismatch(path, name)
