"""The schema of the manifest in a `model.edgetl`: what the device needs, and what was measured."""

from typing import Annotated, Literal, get_args

import msgspec

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.profile import Profile
from edgetl.bundle.reports import (
    ForeignScore,
    Interval,
    LayerSensitivity,
    TeacherFacts,
    TemperatureSource,
    Twin,
)
from edgetl.core.schema import Frozen

SCHEMA_VERSION = 1

# Names are checked against the registries of formats and engines only when they are used, so that
# a device can open a bundle even if it can run only some of its artifacts.
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*\Z", max_length=40)]
Scheme = Literal["fp32", "fp16", "int8", "int8-mixed"]
Isa = Literal["x86-64", "aarch64", "armv7"]
MeasuredPart = Literal["test", "val", "unlabelled", "train"]

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Distance = Annotated[float, msgspec.Meta(gt=0.0)]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
Temperature = Annotated[float, msgspec.Meta(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)]


class Member(Frozen, kw_only=True, frozen=True):
    """One file inside the bundle.

    Attributes:
        name: its path in the zip, e.g. "artifacts/onnx-int8.onnx".
        sha256: the hash of its content, in hex.
        bytes: its size.
    """

    name: str
    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class TensorSpec(Frozen, kw_only=True, frozen=True):
    """A graph's input (uint8 NHWC) or output (float32 logits).

    Attributes:
        name: the tensor's name in the graph; in TFLite files it has another one.
        shape: its dimensions, with a batch of 1.
        dtype: the type of its values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]


class ClassDrop(Frozen, kw_only=True, frozen=True):
    """The class whose recall fell most.

    Attributes:
        label: the class.
        images: how many pictures of it were measured.
        drop_pp: how much of its recall was lost, in percentage points.
    """

    label: str
    images: int
    drop_pp: float


class Measured(Frozen, kw_only=True, frozen=True):
    """The scores of an artifact in its own engine, compared with the torch model.

    Attributes:
        engine: the engine and its version, e.g. "litert 2.3.0".
        images: number of pictures.
        part: the part of the data they are from; "unlabelled": a folder without labels; "train":
            random crops of the training pictures of a refitted network, which has no others.
        top1: fraction classified correctly, 0 to 1; None without labels and for "train".
        drop_pp: torch top-1 minus this top-1, in percentage points (negative: better); None
            without labels.
        agreement: fraction of pictures where the label equals the torch model's.
        expected_drop_pp: the expected drop by torch's own probabilities, in points; needs no labels
            (`edgetl.evaluation.metrics.expected_drop`); None in older bundles.
        drop_interval_pp: the drop's 95 % interval by the paired bootstrap over pictures. This and
            all following fields are None without labels.
        lost, won: number of pictures that only torch, or only the artifact, classified correctly.
        worst_class: the class whose recall fell most; None if no recall fell.
        torch_ece, ece: expected calibration error, 0 to 1, of torch at the run's temperature and of
            the artifact at its own.
        temperature_from: how the artifact's temperature was fitted. If it was fitted on these
            pictures, both errors use, for each picture, a temperature that was fitted without it
            (`edgetl.evaluation.temperature`). None: not fitted, or an older bundle.
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
        """The loss in points that a budget limits: the drop, or 100 minus the agreement in %."""
        return 100 * (1 - self.agreement) if self.drop_pp is None else self.drop_pp


class FeatureMap(Frozen, kw_only=True, frozen=True):
    """The last feature map, which an artifact outputs beside its logits, and what that costs.

    The costs are compared with the same artifact without this output, in the engine and on the
    machine that the bundle was measured with.

    Attributes:
        shape: height, width and channels; the output is float32 [1, height, width, channels].
        added_bytes: how much larger the files are.
        added_ms: how much longer an inference takes on one thread, the median over pairs of calls.
        logits_differ: the largest difference of a logit on a few held-out pictures; 0: bit-equal.
    """

    shape: tuple[Count, Count, Count]
    added_bytes: int
    added_ms: float
    logits_differ: float


class UnknownRule(Frozen, kw_only=True, frozen=True):
    """When an artifact answers "unknown", and what that costs and gives on its own pictures.

    Attributes:
        min_confidence: below this calibrated probability of the likeliest class it does.
        max_appearance_distance: above this distance of a picture's brightness, colours, contrast
            and sharpness to those of the training pictures it does
            (`edgetl.runtime.unknown.AppearanceDistance`); None: it does not look at them.
        max_feature_distance: above this distance of the features to the nearest class it does
            (`edgetl.runtime.unknown.ClassDistance`); None: the artifact has no feature map.
        images: number of pictures that these were fitted to; the network was not trained on them
            unless `part` is "train".
        part: the part of the data they are from; "unlabelled": a folder without labels; "train":
            random crops of training pictures.
        answered: the share of these pictures that are answered. Each is judged by a rule fitted to
            other pictures of these (5 folds).
        top1: top-1 on those that are answered; None without labels and for "train".
        foreign: the scores on foreign pictures; None if no folder was given.
    """

    min_confidence: Fraction
    max_appearance_distance: Distance | None
    max_feature_distance: Distance | None
    images: int
    part: MeasuredPart
    answered: Fraction
    top1: Fraction | None
    foreign: ForeignScore | None = None


class QuantizationAttempt(Frozen, kw_only=True, frozen=True):
    """A step of the int8 ladder that was tried, and its scores in the artifact's own engine.

    Attributes:
        name: "ranges", "tuned", or "float-K": K activations were left in float.
        images: number of pictures it was evaluated on; none of them is among those in `Measured`.
        expected_drop_pp: `edgetl.evaluation.metrics.expected_drop` in points.
        agreement: fraction of pictures where the label equals the torch model's.
    """

    name: str
    images: int
    expected_drop_pp: float
    agreement: Fraction


class Artifact(Frozen, kw_only=True, frozen=True):
    """One exported network: one or two files in a format and a numeric scheme.

    Attributes:
        format: the format of its files, e.g. "tflite".
        scheme: the numbers it computes in; "int8-mixed": int8, with some layers in float.
        files: its files, in the order in which the format lists their suffixes.
        input: the pixels that the graph takes.
        output: the logits that the graph returns.
        measured: its scores in its own engine; None: not measured.
        temperature: what its logits are divided by before softmax; None: the manifest's.
        attempts: the steps of the int8 ladder that were tried for it, in order.
        float_operators: the number of operators of each kind that run in float in an int8 file.
        int8_macs: the share of multiply-accumulates in int8, 0 to 1; None for float schemes.
        reduced_range: whether its int8 weights have only 7 bits, as kernels need that accumulate
            in 16 bits.
        feature_map: its second output, from which heatmaps are made; None: it has only logits.
        unknown: when it answers "unknown"; None: it cannot.
        profile: how it answered the held-out pictures; None: an older bundle.
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
    feature_map: FeatureMap | None = None
    unknown: UnknownRule | None = None
    profile: Profile | None = None

    @property
    def name(self) -> str:
        """The artifact's name, as users type it, e.g. `tflite-int8`."""
        return f"{self.format}-{self.scheme}"

    @property
    def attempt(self) -> QuantizationAttempt | None:
        """The attempt that was chosen, with the least expected drop; None for float schemes."""
        return min(self.attempts, key=lambda attempt: attempt.expected_drop_pp, default=None)

    @property
    def bytes(self) -> int:
        """Total size of its files in bytes."""
        return sum(file.bytes for file in self.files)


class Target(Frozen, kw_only=True, frozen=True):
    """The device a bundle was made for.

    Attributes:
        device: the name of its profile.
        isa: "x86-64", "aarch64" or "armv7".
        engines: the engines that run there, best first.
        threads: the number of threads to use there by default.
    """

    device: str
    isa: Isa
    engines: tuple[Name, ...]
    threads: Annotated[int, msgspec.Meta(ge=1)]


class BoardVerdict(Frozen, kw_only=True, frozen=True):
    """The result of an artifact in an engine on a board, from `edgetl verify --on --record`.

    Attributes:
        board: the name of the device's profile.
        emulated: whether the board was emulated.
        artifact: the artifact that ran, e.g. "tflite-int8".
        engine: the engine that ran it.
        version: the engine's version.
        status: "right", "wrong" or "crashed".
        peak_memory_bytes: the peak resident memory of the process; None if it is not known.
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
        edgetl: the version of edgetl that wrote the bundle.
        created: when, in ISO 8601.
        backbone: the architecture.
        weights: the weights that training started from.
        data: the folder or data set that it was trained on.
        training_images, calibration_images: the number of pictures that it was trained on, and
            that int8 was calibrated on.
        versions: the versions of the packages that trained and exported it.
        torch_top1: top-1 of the torch model on the pictures that the artifacts were measured on, 0
            to 1; None without labels.
        calibration: the pictures that int8 was calibrated on, as paths below the data folder.
        calibration_seed: the seed with which they were chosen.
        added: how many of the training pictures were added to the data's own (`finetune --add`), by
            the name of the folder or table that they are from.
        twin: for a network that was refitted on every picture: the run that was measured instead.
            None: the network itself was measured, or nothing was.
        teacher: the network that taught this one (`finetune --teacher`); None if only labels did.
        unlabelled: how many pictures the teacher alone labelled (`finetune --unlabelled`), by the
            name of the folder that they are from.
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
    added: dict[str, int] = {}
    twin: Twin | None = None
    teacher: TeacherFacts | None = None
    unlabelled: dict[str, int] = {}


class Manifest(Frozen, kw_only=True, frozen=True):
    """The contents of `manifest.json`.

    Attributes:
        schema_version: the version of the bundle format.
        labels: the classes, in the order of the logits.
        preprocess: how a picture becomes the network's input.
        artifacts: the exported networks.
        golden: the golden samples.
        recipe: the recipe that it was trained with, as YAML.
        provenance: where the model comes from.
        temperature: what logits are divided by before softmax, so that probabilities are
            calibrated.
        temperature_from: how it was fitted; None: not fitted, or an older bundle.
        sensitivities: what int8 costs at each layer, worst first; empty if not measured.
        target: the device it was made for; None if no device was named.
        verdicts: the results of its artifacts on boards; empty if none were recorded.
        head: the weights of the last linear layer, which turn a feature map into a heatmap:
            little-endian float32 [outputs, channels]; None: no artifact has a feature map.
        training_statistics: where the training pictures lie, by appearance and by features, to
            recognise pictures unlike them (`edgetl.runtime.unknown.TrainingStatistics`); None: no
            such pictures were at hand, or an older bundle.
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
    head: Member | None = None
    training_statistics: Member | None = None

    def __post_init__(self) -> None:
        for artifact in self.artifacts:
            if artifact.profile and len(artifact.profile.classes) != len(self.labels):
                raise ValueError(f"the profile of '{artifact.name}' is of other classes")

    def members(self) -> tuple[Member, ...]:
        """Every file that the bundle must hold in addition to the manifest."""
        optional = (member for member in (self.head, self.training_statistics) if member)
        return (*(f for a in self.artifacts for f in a.files), self.golden, self.recipe, *optional)
