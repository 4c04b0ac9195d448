"""Views of an image, for readouts: crops, mirrored, turned (`readout.VIEWS`). Nothing is drawn.

`ten`: the four corners and the centre, each mirrored too, as Krizhevsky et al. 2012, section 4.1, and Chatfield et al.
2014, section 2.2 (C+F). `sixteen`: Razavian et al. 2014, section 3.1: the image, five crops of 4/9 of its area, two
turned ones, and all mirrored.

# Paper: Razavian et al. do not say by how much they turn images. Here by 15 degrees, the image mirrored at its edges.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferability.data.stream import TaskImages

SMALL = 2 / 3  # side of a small crop, as a share of the view's
TURN = 15.0  # degrees


def _offsets(place: str, room: int) -> tuple[int, int]:
    """(y, x) of a crop, with `room` pixels to move in. place: centre, or a corner."""
    if place == "centre":
        return room // 2, room // 2
    return (0 if "top" in place else room), (0 if "left" in place else room)


def view_of(images: TaskImages, places: np.ndarray, view: str, mean: Tensor, crop: int) -> Tensor:
    """(b, 3, crop, crop) float32: one view of the images at `places`, minus the mean image at the same place.

    mean: (S, S, 3) float32, of images of S x S pixels. view: one of the names in `readout.VIEWS`.
    """
    kind, mirrored = view.removesuffix("-mirrored"), view.endswith("-mirrored")
    room = images.size - crop
    y, x = _offsets("centre" if kind.startswith(("small", "turned")) else kind, room)
    ys, xs = np.full(len(places), y), np.full(len(places), x)
    if kind.startswith("turned"):
        whole = images.windows(places, np.zeros_like(ys), np.zeros_like(xs), images.size).float()
        difference = _turned(whole - mean.permute(2, 0, 1), TURN if kind.endswith("left") else -TURN)
        difference = difference[:, :, y : y + crop, x : x + crop]
    else:
        means = mean[y : y + crop, x : x + crop].permute(2, 0, 1)
        difference = images.windows(places, ys, xs, crop) - means
    if kind.startswith("small"):
        side = max(1, round(SMALL * crop))
        top, left = _offsets(kind.removeprefix("small-"), crop - side)
        part = difference[:, :, top : top + side, left : left + side]
        difference = F.interpolate(part, (crop, crop), mode="bilinear", antialias=True)
    return difference.flip(3) if mirrored else difference


def _turned(images: Tensor, degrees: float) -> Tensor:
    """(b, 3, s, s), turned about the centre; what is beyond the edge is mirrored in."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
