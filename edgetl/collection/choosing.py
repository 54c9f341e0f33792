"""Which answered pictures are kept."""

import random
import time
from typing import NamedTuple

from edgetl.bundle.reports import Prediction
from edgetl.collection.records import Reason


class Rules(NamedTuple):
    """Which pictures are kept.

    Attributes:
        below: those whose calibrated confidence is lower than this, 0 to 1.
        share: this share of all, 0 to 1.
        every_s: of pictures of one scene, at most one for each reason in this time, in seconds.
    """

    below: float
    share: float
    every_s: float


class Scene(NamedTuple):
    """What shows the same for a long time: a camera, a stream or a video.

    Attributes:
        name: its name.
        at_s: when the picture was taken, in seconds since any moment.
    """

    name: str
    at_s: float


def scene_now(name: str) -> Scene:
    """A scene, now."""
    return Scene(name, time.monotonic())


class Chooser:
    """Chooses pictures by their predictions.

    Args:
        rules: which are kept.
        seed: of the random share.
    """

    def __init__(self, rules: Rules, seed: str) -> None:
        self._rules = rules
        self._random = random.Random(seed)
        self._kept: dict[tuple[str, Reason], float] = {}

    def choose(self, prediction: Prediction, scene: Scene | None) -> Reason | None:
        """Return why a picture is kept; None: it is not.

        Args:
            prediction: its answer.
            scene: what it shows; None: it is a picture by itself.
        """
        drawn = self._random.random() < self._rules.share
        reason: Reason
        if prediction.unknown:
            reason = "unknown"
        elif prediction.probability < self._rules.below:
            reason = "uncertain"
        elif drawn:
            reason = "random"
        else:
            return None
        return reason if scene is None or self._is_due(scene, reason) else None

    def _is_due(self, scene: Scene, reason: Reason) -> bool:
        key = (scene.name, reason)
        spent_s = scene.at_s - self._kept.get(key, -float("inf"))
        if 0 <= spent_s < self._rules.every_s:
            return False
        self._kept[key] = scene.at_s
        return True
