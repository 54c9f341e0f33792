"""How large training pictures are in each epoch."""

from edgetl.core.recipe import FineTune

# The part of the epochs in which pictures grow.
_GROWING = 0.75
# By what a backbone shrinks a picture on its way, at most.
_STRIDE = 32


def training_side(settings: FineTune, full_px: int, least_px: int, epoch: int) -> int:
    """The side in px of an epoch's (from 0) training pictures: evenly up to the last one.

    It differs from the network's own side by a multiple of 32 px. A layer of stride 2 keeps other
    rows of an odd number of them than of an even one; so it keeps the same in training as when the
    network is asked about whole pictures.

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
