"""Mixup and CutMix (Zhang et al. 2018, Yun et al. 2019) of a batch, with a ratio per picture."""

import torch
from torch import Tensor

from edgetl.workstation.recipe import Augment
from edgetl.workstation.training.augment import rectangles
from edgetl.workstation.training.random_draws import Draws


class Mix:
    """Mixes pictures, or a frozen front's activations of them, and their labels.

    Both methods blend each picture with another one under a mask: mixup's is the same everywhere,
    CutMix's is a rectangle of ones. With both, each picture gets one of them at random.

    Attributes:
        mixes: whether the recipe has either method.
    """

    def __init__(
        self, augment: Augment, classes: int, *, paired: bool = False, apart: bool = False
    ) -> None:
        """Take what the recipe says.

        Args:
            augment: the recipe's augmentation.
            classes: how many classes there are.
            paired: the second half of each batch is what the first half is mixed with.
            apart: labelled pictures are mixed with labelled ones only, and the others with others.
        """
        self._augment, self._classes = augment, classes
        self._paired, self._apart = paired, apart
        self.mixes = bool(augment.mixup or augment.cutmix)

    def __call__(self, batch: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mix float [N, C, H, W] and int64 [N] into the same shape and float [N, classes].

        A picture without a label, -1, has targets of zeros. If the batch is paired, the result has
        half as many rows.
        """
        # Not by torch's one_hot, which reads the labels' values on a CPU.
        targets = torch.zeros(len(labels), self._classes, device=labels.device)
        known = (labels >= 0).float()
        targets.scatter_(1, labels.clamp(min=0)[:, None], known[:, None])
        if not self.mixes or len(batch) < 2:
            return batch, targets
        if self._paired:
            batch, others = batch.chunk(2)
            targets, other_targets = targets.chunk(2)
            draws = Draws(draws.numbers[: len(batch)])
        else:
            partners = draws.partners(labels < 0 if self._apart else None)
            others, other_targets = batch[partners], targets[partners]
        mask = self._mask(draws, batch.shape[2], batch.shape[3])
        share = mask.mean((1, 2, 3)).unsqueeze(1)
        mixed = torch.lerp(batch, others, mask.to(batch.dtype))
        return mixed, torch.lerp(targets, other_targets, share)

    def _mask(self, draws: Draws, rows: int, columns: int) -> Tensor:
        """The partner's share of each pixel, float32 [N, 1, rows, columns]."""
        blended = draws["mixup"].view(-1, 1, 1, 1).expand(-1, 1, rows, columns)
        if not self._augment.cutmix:
            return blended
        side = draws["cutmix"].sqrt()
        left, top = draws["cut_left"] - side / 2, draws["cut_top"] - side / 2
        cut = rectangles(left, top, side, side, rows, columns).float()
        if not self._augment.mixup:
            return cut
        return torch.where((draws["kind_of_mix"] < 0.5).view(-1, 1, 1, 1), blended, cut)
