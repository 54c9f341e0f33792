"""What is written inside a `model.edgetl`: everything the device needs, and what was measured."""

from typing import Annotated, Literal, get_args

import msgspec

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import Interval, LayerSensitivity, TemperatureSource, Twin
from edgetl.core.schema import Frozen

SCHEMA_VERSION = 1

# Names are checked against the registries of formats and engines where they are used: a device
# opens a bundle of which it can run a part.
Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]*$", max_length=40)]
Scheme = Literal["fp32", "fp16", "int8", "int8-mixed"]
Isa = Literal["x86-64", "aarch64", "armv7"]
MeasuredPart = Literal["test", "val", "unlabelled", "train"]

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
Temperature = Annotated[float, msgspec.Meta(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)]


class Member(Frozen, kw_only=True, frozen=True):
    """One file inside the bundle."""

    name: str
    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class TensorSpec(Frozen, kw_only=True, frozen=True):
    """Name, shape and dtype of a graph's input (uint8 NHWC) or output (float32 logits)."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]


class ClassDrop(Frozen, kw_only=True, frozen=True):
    """The class an artifact lost most on: its label, pictures, and recall lost in points."""

    label: str
    images: int
    drop_pp: float


class Measured(Frozen, kw_only=True, frozen=True):
    """What an artifact scored through its own engine, beside the torch model.

    Attributes:
        engine: the engine and its version, e.g. "litert 2.3.0".
        images: number of pictures.
        part: which part of the data they are from; "unlabelled": of a folder without labels;
            "train": random crops of pictures a refitted network learned from, for want of others.
        top1: fraction right, 0 to 1; None without labels, and of pictures it learned from.
        drop_pp: torch top-1 minus this top-1, in percentage points (negative: better); None
            without labels.
        agreement: fraction of pictures where the label equals the torch model's.
        expected_drop_pp: the drop to expect by torch's own probabilities, in points, labels or not
            (`edgetl.evaluation.metrics.expected_drop`); None in bundles of before.
        drop_interval_pp: the drop's 95 % interval over pictures, each asked of both; None without
            labels, as all that follows.
        lost, won: pictures that only torch, or only the artifact, got right.
        worst_class: the class whose recall fell most; None where none fell.
        torch_ece, ece: expected calibration error, 0 to 1, of torch at the run's temperature and of
            the artifact at its own.
        temperature_from: how the artifact's was fitted; where on these pictures, both errors are of
            temperatures that were fitted without the picture in question
            (`edgetl.evaluation.temperature`). None: not fitted, or in bundles of before.
    """

    engine: str
    images: int
    part: MeasuredPart
    top1: Fraction | None
    drop_pp: float | None
    agreement: Fraction
    expected_drop_pp: float | None = None
    drop_interval_pp: Interval | None = None
    lost: int | None = None
    won: int | None = None
    worst_class: ClassDrop | None = None
    torch_ece: Fraction | None = None
    ece: Fraction | None = None
    temperature_from: TemperatureSource | None = None

    @property
    def loss_pp(self) -> float:
        """What a budget is held against: the drop, or without labels 100 minus the agreement."""
        return 100 * (1 - self.agreement) if self.drop_pp is None else self.drop_pp


class QuantizationAttempt(Frozen, kw_only=True, frozen=True):
    """A step of the int8 ladder that was tried, and how it did in the artifact's own engine.

    Attributes:
        name: "ranges", "tuned", or "float-K": K activations were left in float.
        images: pictures it was tried on; none of them is among those in `Measured`.
        expected_drop_pp: `edgetl.evaluation.metrics.expected_drop` in points.
        agreement: fraction of pictures where the label equals the torch model's.
    """

    name: str
    images: int
    expected_drop_pp: float
    agreement: Fraction


class Artifact(Frozen, kw_only=True, frozen=True):
    """One exported network: a format in a scheme, as one or two files.

    Attributes:
        temperature: what its logits are divided by before softmax; None: the manifest's.
        attempts: what was tried for it, in order.
        float_operators: what runs in float inside an int8 file, by kind and number.
        int8_macs: the share of multiply-accumulates in int8, 0 to 1; None for float schemes.
        reduced_range: its int8 weights have 7 bits, which kernels that add up in 16 bits need.
    """

    format: Name
    scheme: Scheme
    files: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=2)]
    input: TensorSpec
    output: TensorSpec
    measured: Measured | None = None
    temperature: Temperature | None = None
    attempts: tuple[QuantizationAttempt, ...] = msgspec.field(default=(), name="rungs")
    float_operators: dict[str, int] = {}
    int8_macs: Fraction | None = None
    reduced_range: bool = False

    @property
    def name(self) -> str:
        """What users type, e.g. `tflite-int8`."""
        return f"{self.format}-{self.scheme}"

    @property
    def attempt(self) -> QuantizationAttempt | None:
        """Which of those it is: the one expected to lose least; None for a float scheme."""
        return min(self.attempts, key=lambda attempt: attempt.expected_drop_pp, default=None)

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.bytes for file in self.files)


class Target(Frozen, kw_only=True, frozen=True):
    """The device a bundle was made for.

    Attributes:
        device: the name of its profile.
        isa: "x86-64", "aarch64" or "armv7".
        engines: what runs there, best first.
        threads: a sensible number there.
    """

    device: str
    isa: Isa
    engines: tuple[Name, ...]
    threads: Annotated[int, msgspec.Meta(ge=1)]


class BoardVerdict(Frozen, kw_only=True, frozen=True):
    """How an artifact did through an engine on a board, as `edgetl verify --on --record` found.

    Attributes:
        board: the name of the device's profile.
        emulated: whether an emulator played it.
        version: the engine's.
        status: "right", "wrong" or "crashed".
        peak_memory_bytes: the most resident memory of the process; None where it is not known.
    """

    board: str
    emulated: bool
    artifact: str
    engine: Name
    version: str
    status: Literal["right", "wrong", "crashed"]
    peak_memory_bytes: int | None = None


class Provenance(Frozen, kw_only=True, frozen=True):
    """Where the model comes from and how it was made.

    Attributes:
        calibration: the pictures int8 ranges were chosen by, below the folder of the data.
        calibration_seed: of their choice.
        twin: of a network that was trained again on every picture: the run that was measured in
            its place. None: it was measured itself, or by nobody.
    """

    edgetl: str
    created: str
    backbone: str
    weights: str
    data: str
    training_images: int
    calibration_images: int
    versions: dict[str, str]
    torch_top1: Fraction | None = None
    calibration: tuple[str, ...] = ()
    calibration_seed: int = 0
    twin: Twin | None = None


class Manifest(Frozen, kw_only=True, frozen=True):
    """The contents of `manifest.json`.

    Attributes:
        temperature: what logits are divided by before softmax, so that probabilities are
            calibrated.
        temperature_from: how it was fitted; None: it was not, or in bundles of before.
        sensitivities: what int8 costs each layer, worst first; empty where nobody asked.
        target: the device it was made for; None: none in particular.
        verdicts: how its artifacts did on boards, where somebody has tried.
    """

    schema_version: int
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=2, max_length=100_000)]
    preprocess: Preprocess
    artifacts: Annotated[tuple[Artifact, ...], msgspec.Meta(min_length=1)]
    golden: Member
    recipe: Member
    provenance: Provenance
    temperature: Temperature = 1.0
    sensitivities: tuple[LayerSensitivity, ...] = msgspec.field(default=(), name="blame")
    target: Target | None = None
    verdicts: tuple[BoardVerdict, ...] = ()
    temperature_from: TemperatureSource | None = None

    def members(self) -> tuple[Member, ...]:
        """Every file the bundle must hold beside the manifest itself."""
        return (*(f for a in self.artifacts for f in a.files), self.golden, self.recipe)
