"""What `edgetl finetune` prints of temperatures and of a refit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgetl.core.reports import Twin
    from edgetl.finetune.run import Outcome


def calibration_line(outcome: "Outcome") -> str:
    """The temperature, what it was fitted to, and the calibration error it leaves."""
    facts, report = outcome.checkpoint, outcome.test or outcome.val
    if facts.temperature_from is None or report is None:
        return "temperature 1: no held-out pictures to fit it to, probabilities are not calibrated"
    error = f"calibration error {report.ece_after:.2%}"
    if facts.temperature_from == "validation":
        return f"temperature {facts.temperature:.3f}, fitted on the validation part; {error}"
    return (
        f"temperature {facts.temperature:.3f}, fitted on the test part; {error}, cross-fitted: "
        "each picture at a temperature fitted without it"
    )


def twin_text(twin: "Twin") -> str:
    """Whose score stands for a refitted network's, e.g. "top-1 93.1% (95% interval ...) ..."."""
    from edgetl.cli.show import between

    return (
        f"top-1 {twin.top1:.2%} (95% interval {between(twin.top1_interval)}) on {twin.images} "
        f"pictures ({twin.source}), measured on '{twin.run}': same recipe, these pictures held out"
    )


def refit_closing(outcome: "Outcome") -> str:
    """What the network that learned from every picture is, and what comes next."""
    facts, run = outcome.checkpoint, outcome.run
    assert facts.twin is not None  # a refit always has one
    return (
        f"{run} trained on all {facts.training_images} pictures in {outcome.seconds:.0f} s; "
        f"expect {twin_text(facts.twin)}\nnext: edgetl export {run}"
    )
