"""A finished network's temperature and scores, from its logits on held-out pictures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.reports import AccuracyReport, TemperatureSource
from edgetl.evaluation.metrics import accuracy_report
from edgetl.evaluation.temperature import Calibration, cross_fit, fit_temperature, fixed
from edgetl.workstation.backbones.checkpoint import Checkpoint


class HeldOutLogits(NamedTuple):
    """A part's true classes, int64 [N], and the network's logits for it, float32 [N, C]."""

    truth: NDArray[np.int64]
    logits: NDArray[np.float32]


class Judged(NamedTuple):
    """Scores of each part, None if there is no such part, and the temperature to ship."""

    val: AccuracyReport | None
    test: AccuracyReport | None
    temperature: float
    temperature_from: TemperatureSource | None


def judge(val: HeldOutLogits | None, test: HeldOutLogits | None, facts: Checkpoint) -> Judged:
    """Fit the temperature and score both parts.

    The temperature is fitted on the validation part, or else cross-fitted on the test part
    (`edgetl.evaluation.temperature`). A refitted network, which has neither, gets its twin's;
    otherwise it is 1.
    """
    if val:
        temperature = fit_temperature(val.truth, val.logits)
        reports = [
            _report(part, fixed(temperature, len(part.truth), "validation"), facts, name)
            if part
            else None
            for part, name in ((val, "val"), (test, "test"))
        ]
        return Judged(reports[0], reports[1], temperature, "validation")
    if test:
        crossed = cross_fit(test.truth, test.logits)
        report = _report(test, crossed, facts, "test")
        return Judged(None, report, crossed.temperature, crossed.source)
    if facts.twin:
        return Judged(None, None, facts.twin.temperature, "twin")
    return Judged(None, None, 1.0, None)


def _report(
    held_out: HeldOutLogits, calibration: Calibration, facts: Checkpoint, part: str
) -> AccuracyReport:
    return accuracy_report(
        held_out.truth,
        held_out.logits,
        facts.labels,
        subject=f"torch float32, {part}",
        temperature=calibration.temperature,
        judged_at=calibration.per_picture,
        temperature_from=calibration.source,
    )
