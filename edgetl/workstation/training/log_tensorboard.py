"""Log a run to TensorBoard: event files in the run folder's `tensorboard/`."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from edgetl.core.schema import to_yaml
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.history import EpochMetrics


class TensorBoard:
    """Logs scalars by epoch, and the recipe as text."""

    def __init__(self, out: Path, recipe: Recipe, *, resume: bool) -> None:
        del resume  # TensorBoard joins a folder's event files by step
        self._writer = SummaryWriter(str(out / "tensorboard"))
        self._writer.add_text("recipe", f"```yaml\n{to_yaml(recipe)}```")

    def epoch(self, metrics: EpochMetrics) -> None:
        for name, value in metrics.scalars().items():
            self._writer.add_scalar(name, value, metrics.epoch)
        self._writer.flush()

    def end(self, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            self._writer.add_scalar(f"end/{name}", value)
        self._writer.close()
