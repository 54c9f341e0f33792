"""The result of a search: its trials, as `search.json` stores them."""

from typing import Literal

from edgetl.core.schema import Frozen
from edgetl.workstation.ranges import Ranges, Scalar

SEARCH_FILE = "search.json"
State = Literal["finished", "pruned", "running", "waiting", "failed"]


class Trial(Frozen, kw_only=True, frozen=True):
    """A training with values out of the ranges.

    Attributes:
        number: from 1, where Optuna counts from 0; its run is in the folder `trials/NUMBER`.
        state: "pruned": ended early, because others were better at the same point or the values
            cannot be trained with; "failed": interrupted, or its process died; does not count.
        values: the value of each searched key, as it was trained with; empty if none was drawn.
        val_loss: mean calibrated cross-entropy on the validation pictures, in nats; of a pruned
            trial that of its last epoch. None if it has none.
        val_top1: top-1 on the same pictures, 0 to 1.
        seconds: how long it took; None if it did not end.
        own: whether these are the recipe's own values.
        reason: why it was pruned or failed; empty otherwise.
    """

    number: int
    state: State
    values: dict[str, Scalar] = {}
    val_loss: float | None = None
    val_top1: float | None = None
    seconds: float | None = None
    own: bool = False
    reason: str = ""


class Search(Frozen, kw_only=True, frozen=True):
    """A search, so far or to its end.

    Attributes:
        data: the pictures, as the user named them.
        storage: where the study is, without its password.
        study: the study's name there.
        wanted: how many trials the study is to have.
        ranges: what was searched, by the recipe's keys.
        val_images: how many pictures trials are compared on.
        trials: all trials, in order of their numbers.
        best: the number of the finished trial with the lowest validation loss.
        importances: each key's share of what decides whether a trial is among the best, 0 to 1
            (PED-ANOVA, Watanabe et al. 2023); empty if too few trials are finished.
    """

    data: str
    storage: str
    study: str
    wanted: int
    ranges: Ranges
    val_images: int
    trials: tuple[Trial, ...]
    best: int | None = None
    importances: dict[str, float] = {}

    def trial(self, number: int) -> Trial:
        """The trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)

    def having(self, *states: State) -> list[Trial]:
        """The trials in these states."""
        return [trial for trial in self.trials if trial.state in states]

    @property
    def counted(self) -> int:
        """How many trials have ended and count."""
        return len(self.having("finished", "pruned"))

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, the lowest loss first."""
        return sorted(self.having("finished"), key=lambda trial: trial.val_loss or 0.0)

    @property
    def own(self) -> Trial | None:
        """The finished trial of the recipe's own values; None if there is none."""
        return next((trial for trial in self.having("finished") if trial.own), None)
