"""The texts that `edgetl finetune` prints at its end."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgetl.bundle.reports import AccuracyReport, FoldsReport, Twin
    from edgetl.workstation.training.adaptation.record import AdaptationReport
    from edgetl.workstation.training.rate_finder import FoundRates
    from edgetl.workstation.training.run import Outcome


def calibration_line(outcome: "Outcome") -> str:
    """Format the temperature, what it was fitted to, and the remaining calibration error."""
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
    """Format the score that a refitted network is expected to have: that of its twin.

    The twin has the same recipe and was measured on held-out pictures. The text is e.g. "top-1
    93.10% (95% interval ...) ...".
    """
    from edgetl.cli.show import between

    return (
        f"top-1 {twin.top1:.2%} (95% interval {between(twin.top1_interval)}) on {twin.images} "
        f"pictures ({twin.source}), measured on '{twin.run}': same recipe, these pictures held out"
    )


def refit_closing(outcome: "Outcome") -> str:
    """Format a refit's number of pictures, its time, expected score, and the next command."""
    facts, run = outcome.checkpoint, outcome.run
    assert facts.twin is not None  # a refit always has one
    return (
        f"{run} trained on all {facts.training_images} pictures in {outcome.seconds:.0f} s; "
        f"expect {twin_text(facts.twin)}\nnext: edgetl export {run}"
    )


def run_text(outcome: "Outcome") -> str:
    """Format a run's scores, how long it took, and the next command."""
    from edgetl.workstation.training.history import CURVES_FILE

    lines = [_score(report) for report in (outcome.val, outcome.test) if report]
    if not lines:
        lines = ["no picture was held out to validate or test on: nothing was scored"]
    lines.append(calibration_line(outcome))
    curves = outcome.run / CURVES_FILE
    drawn = f", curves in {curves}" if curves.is_file() else ""
    pace = f", {outcome.pace}" if outcome.pace else ""
    adapted = outcome.adaptation
    # int8 ranges should be those of the place that the network was adapted to.
    there = f" --calibration {adapted.source}" if adapted and adapted.picked != "plain" else ""
    lines.append(
        f"{outcome.run} made in {outcome.seconds:.0f} s{pace}{drawn}; "
        f"next: edgetl export {outcome.run}{there}"
    )
    return "\n".join(lines)


def _score(report: "AccuracyReport") -> str:
    from edgetl.cli.show import between

    return (
        f"{report.subject}: top-1 {report.top1:.2%} (95% interval "
        f"{between(report.top1_interval)}), macro F1 {report.macro_f1:.3f}, "
        f"{report.images} pictures"
    )


def adaptation_text(report: "AdaptationReport") -> str:
    """Format a table of the plain network and the adapted ones, and which was picked."""
    from edgetl.cli.show import between, paragraph, percent, table

    checked = report.check is not None
    header = ["candidate", "test top-1", "information", "mean confidence"]
    header += ["top-1 there", "95% interval"] if checked else []
    rows = []
    for each in report.candidates:
        mark = " (picked)" if each.name == report.picked else ""
        row = [each.name + mark, percent(each.test_top1), f"{each.information:.3f}",
               percent(each.confidence)]  # fmt: skip
        if checked and each.target_interval:
            row += [percent(each.target_top1), between(each.target_interval)]
        rows.append(row)
    apart = "held apart" if report.held_apart else "the same ones: too few to hold some apart"
    said = (
        f"adapted to {report.learned_from} pictures of {report.source}; picked by the information "
        f"of the answers to {report.judged_on} pictures ({apart}), without labels"
    )
    return f"{table(header, rows)}\n{paragraph(said)}"


def folds_text(report: "FoldsReport") -> str:
    """Format the scores of the folds, their mean and deviation, and that of all pictures pooled."""
    from edgetl.cli.show import percent, table

    rows = [(f.run, str(f.images), percent(f.top1), percent(f.macro_f1)) for f in report.folds]
    top1, f1 = report.top1, report.macro_f1
    rows.append(("mean", "-", percent(top1.mean), percent(f1.mean)))
    rows.append(("deviation", "-", percent(top1.deviation), percent(f1.deviation)))
    scores = table(("fold", "pictures", "top-1 %", "macro F1 %"), rows)
    return f"{scores}\n{_score(report.pooled)}"


def rates_text(found: "FoundRates") -> str:
    """Format the learning rates that a range test suggests, and the rule behind them."""
    if not found.suggestion or not found.suggested:
        return f"no rate suggested: the loss neither fell nor rose; see {found.picture}"
    why = {
        "fall": "the middle of the loss's longest fall",
        "rise": "a third of where the loss begins to rise; it did not fall before",
    }
    return (
        f"--set finetune.backbone_rate={found.suggested.backbone_rate:.2g} "
        f"--set finetune.head_rate={found.suggested.head_rate:.2g}\n"
        f"{why[found.suggestion.rule]}: {found.picture}"
    )
