"""Crops of whole batches at once, each with a box of its own, as the device would resize them.

Every output pixel is a weighted mean of the source pixels under a triangle as wide as the reduction
(never narrower than one source pixel), which is what Pillow's antialiased bilinear resize does, and
so what the device does. Along each axis that is one small matrix for each picture: two batched
products resample a batch, on a CPU as on a GPU, and inside a CUDA graph. torch's and torchvision's
own antialiased resize take one box for a whole batch; `grid_sample` does not antialias.
"""

import torch
from torch import Tensor


def crop_and_resize(pixels: Tensor, boxes: Tensor, side_px: int) -> Tensor:
    """Resample a box of each picture to a square, rounded to whole grey levels as on the device.

    The result is within one grey level of Pillow's, which also rounds between the axes.

    Args:
        pixels: uint8 [N, S, S, 3].
        boxes: float32 [N, 4], each picture's left, top, width and height in source pixels. A box
            with a negative width reaches to the left of its first edge, and the crop is mirrored;
            a negative height turns it upside down. Boxes lie within the picture.
        side_px: side of the crops.

    Returns float32 [N, 3, side_px, side_px], whole numbers from 0 to 255.
    """
    count, source_px = pixels.shape[:2]
    # Whole numbers up to 2,048 are exact in float16, sums are made in float32, and tensor cores
    # make the products nearly free. CPUs have no fast float16.
    dtype = torch.float16 if pixels.device.type == "cuda" else torch.float32
    across = resize_weights(boxes[:, 0], boxes[:, 2], source_px, side_px).to(dtype)
    down = resize_weights(boxes[:, 1], boxes[:, 3], source_px, side_px).to(dtype)
    # Rows first: interleaved colours stay together, so the source need not be rearranged.
    flat = pixels.reshape(count, source_px, source_px * 3).to(dtype)
    rows = torch.bmm(down, flat).view(count, side_px, source_px, 3)
    planes = rows.permute(0, 3, 1, 2).reshape(count, 3 * side_px, source_px)
    crops = torch.bmm(planes, across.transpose(1, 2)).float().round_()
    return crops.view(count, 3, side_px, side_px)


def resize_weights(first: Tensor, length: Tensor, source_px: int, side_px: int) -> Tensor:
    """The weight of each source pixel in each output pixel, along one axis.

    Args:
        first: float32 [N], where each box begins, in source pixels.
        length: float32 [N], its length in source pixels; negative: it extends towards 0.
        source_px, side_px: pixels of the source and of the output.

    Returns float32 [N, side_px, source_px]; each row sums to 1.
    """
    device = first.device
    out = torch.arange(side_px, device=device, dtype=torch.float32) + 0.5
    centres = first[:, None] + out * (length / side_px)[:, None]
    width = (length.abs() / side_px).clamp(min=1)
    source = torch.arange(source_px, device=device, dtype=torch.float32) + 0.5
    distance = (source - centres[:, :, None]).abs() / width[:, None, None]
    weights = (1 - distance).clamp(min=0)
    return weights / weights.sum(2, keepdim=True)
