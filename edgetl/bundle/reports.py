"""What edgetl answers with. Every one of these can be printed as JSON as it stands."""

from typing import Literal

from edgetl.core.schema import Frozen

TemperatureSource = Literal["validation", "validation, cross-fitted", "test, cross-fitted", "twin"]


class LabelScore(Frozen, kw_only=True, frozen=True):
    """A label and its probability (0 to 1)."""

    label: str
    probability: float


class Prediction(Frozen, kw_only=True, frozen=True):
    """The answer for one picture.

    Attributes:
        source: the path as given, or "-" for standard input.
        label: the likeliest class.
        probability: its calibrated softmax probability, 0 to 1.
        top: the likeliest classes, best first.
        decode_ms, preprocess_ms, inference_ms: where the time went, in milliseconds.
        artifact: what answered, e.g. "tflite-int8".
        engine: through which engine, e.g. "litert 2.3.0".
        provider: computed by what, as the engine names it, e.g. "CPUExecutionProvider".
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


class ClassScore(Frozen, kw_only=True, frozen=True):
    """Precision, recall and F1 (0 to 1) of one class, and how many pictures it had."""

    label: str
    images: int
    precision: float
    recall: float
    f1: float


class Interval(Frozen, kw_only=True, frozen=True):
    """The middle 95 % of a score's bootstrap resamples (`edgetl.evaluation.bootstrap`)."""

    low: float
    high: float


class AccuracyReport(Frozen, kw_only=True, frozen=True):
    """How right a model was, and how well it knew. Scores are 0 to 1.

    Attributes:
        subject: what was measured, e.g. "tflite-int8 through litert 2.3.0".
        top1, top5: pictures whose class was the likeliest, or among the five likeliest; `top5`
            is None where there are fewer than six classes.
        balanced_accuracy: the mean of the classes' recalls, the same as `macro_recall`.
        macro_*: means over the classes that have pictures.
        weighted_*: means over the classes, by how many pictures each has.
        roc_auc: area under the ROC curve with the second label as the positive class; None
            unless there are two labels and pictures of both.
        positive: that label; None unless there are two.
        temperature: what logits are divided by before softmax.
        ece_before, ece_after: expected calibration error before and after the temperature.
        nll_before, nll_after: mean negative log likelihood in nats, likewise.
        temperature_from: "validation": fitted on the validation part; "test, cross-fitted": on
            these very pictures, but what came out "after" is of temperatures that were fitted
            without the picture in question (`edgetl.evaluation.temperature`); None: not known.
        confusion: `confusion[i][j]` is pictures of `labels[i]` called `labels[j]`.
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
    """Mean and sample standard deviation (divided by K - 1) of a score over K folds.

    The folds share most of their training pictures, so the deviation tells how much the score
    moves from fold to fold, and is no unbiased estimate of anything else (Bengio & Grandvalet
    2004, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation").
    """

    mean: float
    deviation: float


class FoldsReport(Frozen, kw_only=True, frozen=True):
    """A cross-validation: `folds.json`.

    Attributes:
        folds: in order.
        top1, macro_f1: over the folds.
        pooled: every picture once, as its own fold's network answered it. The logits are divided
            by that network's temperature (without a validation part, by the one that the picture
            is judged at), so the pooled report's own temperature is 1.
    """

    folds: tuple[FoldScore, ...]
    top1: Spread
    macro_f1: Spread
    pooled: AccuracyReport


class Twin(Frozen, kw_only=True, frozen=True):
    """The measured run behind a refitted network: the same recipe, but with pictures held out.

    Nothing is held out from a network that was trained again on every picture, so its twin's
    scores are the best estimate of its own.

    Attributes:
        run: the name of the twin's run folder, or of the folder of its folds.
        top1: fraction right, 0 to 1, in torch float32.
        top1_interval: its 95 % interval.
        images: how many pictures it was measured on.
        source: "test part", or e.g. "5 folds".
        temperature: fitted to these pictures; the refitted network's as well.
    """

    run: str
    top1: float
    top1_interval: Interval
    images: int
    source: str
    temperature: float


class LayerSensitivity(Frozen, kw_only=True, frozen=True):
    """What int8 costs when a network is float but for one activation and what makes it.

    Attributes:
        activation: the name of what is rounded: a node of the traced network.
        layers: the convolutions and linear layers that answer it, whose weights are int8 too.
        snr_db: energy of the logits over that of their error, in decibels; lower is worse.
        agreement: fraction of pictures that keep their label.
    """

    activation: str
    layers: tuple[str, ...]
    snr_db: float
    agreement: float


class ParityReport(Frozen, kw_only=True, frozen=True):
    """One artifact's golden samples, answered again by an engine of this machine.

    Attributes:
        status: "right"; "wrong" (an answer differs); "crashed" (the engine failed);
            "absent" (the engine is not installed here).
        samples: how many golden samples.
        same_label: how many kept their label.
        max_difference: largest difference of a probability, 0 to 1.
        detail: why, where it is not "right".
    """

    artifact: str
    engine: str
    status: Literal["right", "wrong", "crashed", "absent"]
    samples: int
    same_label: int
    max_difference: float
    detail: str = ""
