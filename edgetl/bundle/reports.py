"""The results that edgetl returns; each of them can be printed as JSON."""

from typing import Literal

from edgetl.core.schema import Frozen

ParityStatus = Literal["right", "wrong", "crashed", "absent"]
TemperatureSource = Literal["validation", "validation, cross-fitted", "test, cross-fitted", "twin"]


class LabelScore(Frozen, kw_only=True, frozen=True):
    """A label and its probability (0 to 1)."""

    label: str
    probability: float


class Heatmap(Frozen, kw_only=True, frozen=True):
    """Which parts of a picture speak for a label: a class activation map (Zhou et al. 2016).

    Attributes:
        label: the label.
        logits: rows from the top, columns from the left, of the square that the network sees (the
            centre crop): how much each cell adds to the label's logit, compared with the mean of
            the other labels' logits. Negative: it speaks against the label.
    """

    label: str
    logits: tuple[tuple[float, ...], ...]


class Prediction(Frozen, kw_only=True, frozen=True):
    """The classification of one picture.

    Attributes:
        source: the path as given, the name of a camera or stream, or "-" for standard input; of a
            video's frame the path and the time in seconds, as in "clip.avi#t=12.40".
        label: the likeliest class, or "unknown" where `unknown` is true.
        probability: the calibrated softmax probability of the likeliest class, 0 to 1.
        top: the likeliest classes, best first.
        decode_ms, preprocess_ms, inference_ms: the time each step took, in milliseconds.
        artifact: the artifact that ran, e.g. "tflite-int8".
        engine: the engine and its version, e.g. "litert 2.3.0".
        provider: the engine's name for what it computed on, e.g. "CPUExecutionProvider".
        heatmap: which parts of the picture speak for the likeliest class; None unless requested.
        unknown: whether the picture is too unlike the training classes to be answered; None unless
            requested.
        distance: how far the picture is from the training pictures, by its features or by its
            appearance, as a fraction of the distance at which the bundle answers "unknown"; None
            unless requested.
    """

    source: str
    label: str
    probability: float
    top: tuple[LabelScore, ...]
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    artifact: str
    engine: str
    provider: str
    heatmap: Heatmap | None = None
    unknown: bool | None = None
    distance: float | None = None


class ClassScore(Frozen, kw_only=True, frozen=True):
    """Precision, recall and F1 (0 to 1) of one class, and how many pictures it has."""

    label: str
    images: int
    precision: float
    recall: float
    f1: float


class Interval(Frozen, kw_only=True, frozen=True):
    """The 95 % bootstrap interval of a score (`edgetl.evaluation.bootstrap`).

    Attributes:
        low, high: its ends, in the score's unit.
    """

    low: float
    high: float


class CorruptionScore(Frozen, kw_only=True, frozen=True):
    """Top-1 (0 to 1) on pictures with a corruption, e.g. "blur", of a severity of 1 to 5."""

    corruption: str
    severity: int
    top1: float
    top1_interval: Interval


class ForeignScore(Frozen, kw_only=True, frozen=True):
    """How well an artifact tells foreign pictures from its own. Scores are 0 to 1.

    Attributes:
        folder: the name of the folder that the foreign pictures are from.
        images: how many there were.
        auroc: the probability that a foreign picture looks less like the training classes than one
            of the artifact's own held-out pictures (area under the ROC curve).
        auroc_interval: its 95 % bootstrap interval.
        confidence_auroc: the same for the largest softmax probability alone.
        fpr95: the share of foreign pictures that look as much like the training classes as the
            95 % of its own pictures that look most like them.
        answered: the share of foreign pictures that the rule does not call unknown.
    """

    folder: str
    images: int
    auroc: float
    auroc_interval: Interval
    confidence_auroc: float
    fpr95: float
    answered: float


class UnknownScore(Frozen, kw_only=True, frozen=True):
    """How an artifact's rule for unknown pictures does in an engine. Scores are 0 to 1.

    Attributes:
        artifact, engine: e.g. "tflite-int8", and the engine with its version.
        images: the number of the artifact's own pictures.
        answered: the share of them that is answered.
        top1: top-1 on those that are answered; None if there are none.
        foreign: the scores on the foreign pictures.
    """

    artifact: str
    engine: str
    images: int
    answered: float
    top1: float | None
    foreign: ForeignScore


class AccuracyReport(Frozen, kw_only=True, frozen=True):
    """The accuracy and calibration of a model. Scores are 0 to 1.

    Attributes:
        subject: what was measured, e.g. "tflite-int8 through litert 2.3.0".
        top1, top5: fraction of pictures whose class is the likeliest, or among the five
            likeliest; `top5` is None if there are fewer than six classes.
        balanced_accuracy: the mean of the classes' recalls, the same as `macro_recall`.
        macro_*: means over the classes that have pictures.
        weighted_*: means over the classes, weighted by the number of pictures of each class.
        roc_auc: area under the ROC curve with the second label as the positive class; None
            unless there are two labels and pictures of both.
        positive: the positive class of `roc_auc`; None unless there are two labels.
        temperature: what logits are divided by before softmax.
        ece_before, ece_after: expected calibration error without and with the temperature.
        nll_before, nll_after: mean negative log likelihood in nats without and with it.
        images, skipped: how many pictures were scored, and how many could not be read.
        temperature_from: "validation": fitted on the validation part; "test, cross-fitted": fitted
            on the pictures of this report, but the scores "after" use, for each picture, a
            temperature that was fitted without it (`edgetl.evaluation.temperature`); None: not
            known.
        confusion: `confusion[i][j]` is the number of pictures of class `labels[i]` that were
            classified as `labels[j]`.
        corruptions: accuracy on corrupted pictures; empty if that was not measured.
        unknown: how each artifact tells foreign pictures; empty if that was not measured.
    """

    subject: str
    top1: float
    top1_interval: Interval
    top5: float | None
    balanced_accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    macro_f1_interval: Interval
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    roc_auc: float | None
    roc_auc_interval: Interval | None
    positive: str | None
    temperature: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    images: int
    skipped: int
    per_class: tuple[ClassScore, ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    temperature_from: TemperatureSource | None = None
    corruptions: tuple[CorruptionScore, ...] = ()
    unknown: tuple[UnknownScore, ...] = ()


class FoldScore(Frozen, kw_only=True, frozen=True):
    """One fold's test part, scored by the network that was trained without it.

    Attributes:
        run: the name of its run folder, e.g. "fold-1".
        images: how many pictures were scored.
        top1, macro_f1: 0 to 1.
    """

    run: str
    images: int
    top1: float
    macro_f1: float


class Spread(Frozen, kw_only=True, frozen=True):
    """Mean and sample standard deviation (divisor K - 1) of a score over K folds.

    The folds share most of their training pictures, so the deviation shows how much the score
    varies from fold to fold, but is not an unbiased estimate of anything else (Bengio & Grandvalet
    2004, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation").
    """

    mean: float
    deviation: float


class FoldsReport(Frozen, kw_only=True, frozen=True):
    """The result of a cross-validation: the contents of `folds.json`.

    Attributes:
        folds: the folds' scores, in order.
        top1, macro_f1: mean and deviation over the folds.
        pooled: the report on the test pictures of all folds, each classified by the network that
            was trained without it. The logits are already divided by that network's temperature
            (without a validation part, by the temperature cross-fitted for that picture), so the
            pooled report's own temperature is 1.
    """

    folds: tuple[FoldScore, ...]
    top1: Spread
    macro_f1: Spread
    pooled: AccuracyReport


class Twin(Frozen, kw_only=True, frozen=True):
    """The measured run behind a refitted network: the same recipe, but with pictures held out.

    A refitted network was trained on every picture, so no picture is left to measure it on. The
    scores of its twin are the best estimate of its own.

    Attributes:
        run: the name of the twin's run folder, or of the folder that holds its folds.
        top1: fraction classified correctly, 0 to 1, in torch float32.
        top1_interval: its 95 % interval.
        images: how many pictures it was measured on.
        source: "test part", or e.g. "5 folds".
        temperature: fitted to these pictures; the refitted network uses it too.
    """

    run: str
    top1: float
    top1_interval: Interval
    images: int
    source: str
    temperature: float


class TeacherFacts(Frozen, kw_only=True, frozen=True):
    """The network that taught another one, beside the labels.

    Attributes:
        source: its run folder or weights file as the user named it, in a bundle without its folder;
            or "imagenet".
        backbone: its architecture.
        sha256: the hash of its weights file, in hex.
        top1: its fraction of test pictures classified correctly, 0 to 1; None if it has no test
            part.
        probed: whether it was not fine-tuned: its head is a linear probe, fitted to the training
            pictures of the network that it taught.
    """

    source: str
    backbone: str
    sha256: str
    top1: float | None
    probed: bool = False


class LayerSensitivity(Frozen, kw_only=True, frozen=True):
    """What int8 costs when only one activation and the layers that compute it are quantized.

    Attributes:
        activation: the name of the activation's node in the traced network.
        layers: the convolutions and linear layers that compute it, whose weights are int8 too.
        snr_db: energy of the float logits over that of their error, in decibels; lower is worse.
        agreement: fraction of pictures whose predicted label stays the same, 0 to 1.
    """

    activation: str
    layers: tuple[str, ...]
    snr_db: float
    agreement: float


class ParityReport(Frozen, kw_only=True, frozen=True):
    """One artifact's golden samples, run again through an engine on this machine.

    Attributes:
        status: "right"; "wrong" (a probability differs by more than the tolerance, or the engine
            is known to be wrong on this machine); "crashed" (the engine failed); "absent" (the
            engine is not installed here).
        samples: number of golden samples.
        same_label: number of samples whose predicted label is the workstation's.
        max_difference: largest difference of a probability, 0 to 1.
        detail: the reason if the status is not "right".
    """

    artifact: str
    engine: str
    status: ParityStatus
    samples: int
    same_label: int
    max_difference: float
    detail: str = ""
