"""Images laid over patches of photographs, by absolute difference: how MNIST becomes MNIST-M.

Ganin and Lempitsky 2015, section 5: "we blend digits from the original set over patches randomly extracted from color
photos": for a digit of intensity I1 and a patch of colours I2 it is |I1 - I2|, pixel by pixel. Which photograph and
which of its patches is drawn for the name of the image, so it is the same whenever it is packed.

# Paper: the photographs are those of BSDS500; here those that are given.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from transferability.data.decode import decode
from transferability.data.listing import ImageLists, ImageRef, folder_tree, listed_tree, read_encoded, zip_entries
from transferability.data.pools import is_picture
from transferability.draws import numpy_generator
from transferability.files import Refused, shown


def laid_over(lists: ImageLists, photographs: Path) -> ImageLists:
    """The same images, each over a photograph of a folder or a zip. Refused where there are none."""
    tree = folder_tree(photographs) if photographs.is_dir() else listed_tree(photographs, zip_entries(photographs))
    entries = tree.below("")
    known = [image for name, image in sorted(entries.items()) if image is not None and is_picture(name)]
    if not known:
        raise Refused(f"{shown(photographs)} holds no photographs to lay pictures over")

    def over(image: ImageRef) -> ImageRef:
        return image._replace(over=known[int(numpy_generator("photograph", image.name).integers(len(known)))])

    sets = [{c: [over(image) for image in images] for c, images in part.items()} for part in lists.sets.values()]
    return replace(
        lists,
        arrangement=f"{lists.arrangement}, over patches of photographs",
        train=sets[0],
        val=sets[1],
        domains={over(image): domain for image, domain in lists.domains.items()},
        several={over(image): labels for image, labels in lists.several.items()},
    )


def over_patch(pixels: np.ndarray, image: ImageRef) -> np.ndarray:
    """(S, S, 3) uint8: the absolute difference of an image's pixels, (S, S, 3) uint8, and a patch of its photograph."""
    assert image.over is not None
    side, photograph = len(pixels), _photograph(image.over, len(pixels))
    height, width = photograph.shape[:2]
    draw = numpy_generator("patch", image.name)
    y, x = int(draw.integers(height - side + 1)), int(draw.integers(width - side + 1))
    patch = photograph[y : y + side, x : x + side]
    return np.abs(pixels.astype(np.int16) - patch).astype(np.uint8)


@lru_cache(maxsize=256)  # in every worker
def _photograph(photograph: ImageRef, side: int) -> np.ndarray:
    """(H, W, 3) uint8; enlarged where a side is shorter than `side`."""
    image = decode(read_encoded(photograph))
    factor = side / min(image.size)
    if factor > 1:
        size = tuple(max(side, round(factor * length)) for length in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    return np.asarray(image)
