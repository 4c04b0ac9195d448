"""Random-resized crops and changes of colour: drawn by address, made on the device, a whole batch at once."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferability.draws import numpy_generator
from transferability.recipe import Recipe

RATIO = 4 / 3  # of the sides of a box, at most; Szegedy et al. 2015, section 6


def draw_changes(recipe: Recipe, size: int, owner: str, step: int) -> np.ndarray:
    """(global batch, k) float32: for each row what `resized` and `recoloured` need; k is 0 where nothing changes.

    Four numbers where crops are "resized": top, left, height and width of the box, in pixels of an image of `size`
    pixels. Three where colours are changed: factors of brightness, contrast and saturation.

    # Paper: Szegedy et al. 2015 (and torchvision) draw a box again when it does not fit into the image; here its longer
    # side is cut to the image, so that a row's draw does not depend on how often others were repeated.
    """
    columns = []
    if recipe.crops == "resized":
        draw = numpy_generator("box", owner, step).random((4, recipe.batch))
        area = recipe.least_area + (1 - recipe.least_area) * draw[0]
        ratio = np.exp((2 * draw[1] - 1) * math.log(RATIO))
        height, width = (np.minimum(1.0, np.sqrt(area * side)) * size for side in (1 / ratio, ratio))
        columns += [draw[2] * (size - height), draw[3] * (size - width), height, width]
    if recipe.colour:
        factors = numpy_generator("colour", owner, step).random((3, recipe.batch))
        columns += list(1 + recipe.colour * (2 * factors - 1))
    return np.stack(columns, 1).astype(np.float32) if columns else np.empty((recipe.batch, 0), np.float32)


def recoloured(pixels: Tensor, factors: Tensor) -> Tensor:
    """(b, 3, h, w) float32, 0 to 255: brightness, contrast and saturation changed, as torchvision's ColorJitter does.

    In this order. The contrast is around the mean grey of what is given: the crop; where crops are resized, the image.
    pixels: (b, 3, h, w), 0 to 255. factors: (b, 3), of brightness, contrast and saturation.
    """
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors.unbind(1))
    x = (pixels.float() * brightness).clamp_(0, 255)
    mean = _grey(x).mean((2, 3), keepdim=True)
    x = (contrast * x + (1 - contrast) * mean).clamp_(0, 255)
    return (saturation * x + (1 - saturation) * _grey(x)).clamp_(0, 255)


def _grey(x: Tensor) -> Tensor:
    """(b, 1, h, w): luma of ITU-R BT.601, as torchvision takes it."""
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def resized(x: Tensor, boxes: Tensor, mirror: Tensor, crop: int) -> Tensor:
    """(b, 3, crop, crop) float32: one box of each image, mirrored or not, bilinear.

    x: (b, 3, S, S) float32. boxes: (b, 4), top, left, height and width in pixels. mirror: (b,) bool.
    """
    size = x.shape[-1]
    top, left, height, width = boxes.unbind(1)
    places = (torch.arange(crop, device=x.device) + 0.5) / crop
    ys = (top[:, None] + places * height[:, None]) * (2 / size) - 1  # (b, crop), -1 to 1 from edge to edge
    xs = torch.where(mirror[:, None], 1 - places, places.expand(len(x), crop))
    xs = (left[:, None] + xs * width[:, None]) * (2 / size) - 1
    grid = torch.stack([xs[:, None, :].expand(-1, crop, -1), ys[:, :, None].expand(-1, -1, crop)], -1)
    sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)
