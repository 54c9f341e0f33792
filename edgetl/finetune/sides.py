"""How large training pictures are in each epoch."""

from edgetl.core.recipe import FineTune

# The part of the epochs in which pictures grow.
_GROWING = 0.75
# By what a backbone shrinks a picture on its way, at most.
_STRIDE = 32


def training_side(settings: FineTune, full_px: int, least_px: int, epoch: int) -> int:
    """Side of an epoch's (from 0) training pictures: evenly up to its largest, in whole steps.

    A step is a multiple of 32 px away from the network's own side, so that what halves the
    picture on the way through the network does it at the same places in training and when it is
    asked: of an odd number of rows it keeps other ones than of an even number.

    `full_px` is the network's own side, `least_px` the smallest it takes. Where only a part of
    the network learns it is always the network's own, so that the frozen front runs once.
    """
    if settings.trainable_blocks is not None:
        return full_px

    def in_step(side_px: float) -> int:
        steps = min(round((full_px - side_px) / _STRIDE), (full_px - least_px) // _STRIDE)
        return full_px - _STRIDE * steps

    last_px = in_step(settings.train_size * full_px)
    first_px = min(settings.first_size_px or last_px, last_px)
    grown = min(1.0, epoch / max(1.0, _GROWING * (settings.total_epochs - 1)))
    return in_step(first_px + grown * (last_px - first_px))
