"""Score a run or a bundle on any labelled pictures."""

from collections.abc import Sequence
from pathlib import Path

from edgetl.core.metrics import accuracy_report
from edgetl.core.progress import Progress, Silent
from edgetl.core.reports import AccuracyReport
from edgetl.data.folders import Example
from edgetl.data.source import read_for_scoring
from edgetl.data.split import SPLITS_FILE, FilesByLabel, read_split
from edgetl.pipeline.located import locate
from edgetl.pipeline.models import open_scorable
from edgetl.verify.accuracy import answer_all


def evaluate(
    target: Path,
    data: Path,
    *,
    artifact: str | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> AccuracyReport:
    """Score on labelled pictures, matched to the model's labels by name.

    Args:
        target: a run folder (scored through torch) or a bundle (through its engine).
        data: class folders, a CSV table, or "torchvision:NAME"; of one that gives parts, the
            test part, else the val part. A class the model does not know is an error.
        artifact: of a bundle, e.g. "tflite-int8".
        engine: of a bundle.

    Raises EdgetlError.
    """
    progress = progress or Silent()
    it = open_scorable(target, artifact, engine)
    examples = read_for_scoring(locate(data, progress), it.labels)
    if target.is_dir():
        _say_what_it_learned_from(target, examples, progress)
    answers = answer_all({"it": it.model}, examples, it.preprocess, progress, stage="evaluating")
    return accuracy_report(
        answers.truth,
        answers.logits["it"],
        it.labels,
        subject=it.name,
        skipped=answers.skipped,
        temperature=it.temperature,
    )


def _say_what_it_learned_from(run: Path, examples: Sequence[Example], progress: Progress) -> None:
    """A score on training pictures says little; whoever asks for one should know."""
    if not (run / SPLITS_FILE).is_file():
        return
    from edgetl.backbones.checkpoint import read_facts

    split = read_split(run / SPLITS_FILE)
    paths = [example.path.resolve() for example in examples]

    def count(part: FilesByLabel) -> int:
        known = {Path(split.root, name) for names in part.values() for name in names}
        return sum(path in known for path in paths)

    if trained := count(split.train):
        progress.say(f"note: {trained} of these {len(paths)} pictures were trained on")
    crossed = read_facts(run).temperature_from == "test, cross-fitted"
    if crossed and (fitted := count(split.test)):
        progress.say(
            f"note: the temperature was fitted to {fitted} of these {len(paths)} pictures; the "
            "calibration error is smaller than on others"
        )
