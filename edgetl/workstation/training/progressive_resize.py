"""The size of training pictures in each epoch."""

from edgetl.workstation.recipe import FineTune

# The fraction of the epochs in which pictures grow.
_GROWING = 0.75
# While they grow, their side is a multiple of this many px: kernels are chosen anew for each side,
# so there should be few.
_STEP = 32
# The last side differs from the network's own by a multiple of this many px.
_UNIT = 8


def training_side(settings: FineTune, full_px: int, least_px: int, epoch: int) -> int:
    """The side, in px, of the training pictures in an epoch (from 0); grows linearly to the last.

    `full_px` is the network's own side, `least_px` the smallest it takes. If only a part of the
    network is trained, the side is always the network's own, so that the frozen front runs once.
    """
    if settings.trainable_blocks is not None:
        return full_px
    less_px = _UNIT * round((1 - settings.train_size) * full_px / _UNIT)
    last_px = max(least_px, full_px - less_px)
    first_px = min(max(least_px, settings.first_size_px or last_px), last_px)
    grown = min(1.0, epoch / max(1.0, _GROWING * (settings.total_epochs - 1)))
    if grown == 1:
        return last_px
    side_px = first_px + grown * (last_px - first_px)
    return min(last_px, max(first_px, _STEP * round(side_px / _STEP)))
