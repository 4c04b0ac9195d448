"""From an image to what a network sees: resized as its training images were, cropped at the centre, minus the mean."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from transferability.data.decode import Unreadable, as_rgb, decode
from transferability.data.pack import resampling_of, resized
from transferability.data.packed import read_manifest
from transferability.data.stream import ValidationBatches, task_images
from transferability.data.tasks import ChosenImages, Tasks
from transferability.files import Refused
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result
from transferability.study import Network, Study
from transferability.trained.normalisation import normalisation, read_normalisation

OneImage: TypeAlias = str | PathLike[str] | Image.Image | np.ndarray
Images: TypeAlias = OneImage | Sequence[OneImage]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """A function from images to a network's input. Call it with one image or several, of any size.

    size: side, in pixels, to which images are resized. squash: to a square, whatever their shape; else their shorter
    side, and the centre is cut out. shrink: whole factor of a box average after that. crop: side of the central
    square that the network sees. mean: (crop, crop, 3) float32, 0 to 255, which is subtracted from the pixels.
    scale: factor of the differences; one for all channels, or one for each. resampling: Pillow's filter.
    """

    size: int
    squash: bool
    shrink: int
    crop: int
    mean: np.ndarray
    scale: float | tuple[float, ...]
    resampling: str = "bicubic"

    def __call__(self, images: Images) -> Tensor:
        """(b, 3, crop, crop) float32, channels last; b is 1 for a single image.

        images: a path, a PIL image, an array of RGB pixels (height, width, 3) uint8, or several as
        (b, height, width, 3); or a list of these. Refused: a file that cannot be read, an array of another kind.
        """
        return self.normalised(self.pixels(images))

    def pixels(self, images: Images) -> Tensor:
        """(b, 3, crop, crop) uint8, channels last: the images before the mean image is subtracted."""
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = list(images)
        several = list(images) if isinstance(images, (list, tuple)) else [images]
        if not several:
            raise Refused("no image was given")
        squares = np.stack([self._square(image) for image in several])
        rows = np.arange(len(squares))
        prepared = task_images(ChosenImages(squares, rows, np.zeros_like(rows)), self.shrink)
        return torch.cat([batch.pixels for batch in ValidationBatches(prepared, self.crop)])

    def normalised(self, pixels: Tensor) -> Tensor:
        """(b, 3, crop, crop) pixels, 0 to 255 → what the network sees, float32."""
        mean = torch.from_numpy(self.mean).to(pixels.device).permute(2, 0, 1)
        difference = (pixels - mean).contiguous(memory_format=torch.channels_last)
        if isinstance(self.scale, tuple):
            return difference * torch.tensor(self.scale, device=pixels.device).view(3, 1, 1)
        return difference.mul_(self.scale)

    def _square(self, image: Any) -> np.ndarray:
        """(size, size, 3) uint8."""
        if isinstance(image, (str, PathLike)):
            try:
                image = decode(Path(image).read_bytes())
            except OSError as error:
                raise Refused(f"{image}: {error.strerror}") from None
            except Unreadable as error:
                raise Refused(f"{image} {error}") from None
        elif isinstance(image, Image.Image):
            try:
                image = as_rgb(image)
            except Unreadable as error:
                raise Refused(f"the image {error}") from None
        else:
            image = np.asarray(image)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise Refused(
                    f"an array {image.shape} of {image.dtype} is no image; give RGB pixels, (height, width, 3) uint8"
                )
            image = Image.fromarray(image)
        if not all(image.size):
            raise Refused(f"an image of {image.width} x {image.height} pixels has nothing to see")
        return np.asarray(resized(image, self.size, self.squash, self.resampling))

    # ------------------------------------------------------------------------------------------ in a file

    def metadata(self) -> dict[str, str]:
        """Everything that is needed to do the same elsewhere, as the texts that a model file has beside its weights."""
        steps = {
            "channels": "RGB, 0 to 255",
            "resize": "squash" if self.squash else "shorter side, then centre crop",
            "size": self.size,
            "filter": f"{self.resampling}, antialiased",
            "shrink": self.shrink,
            "crop": self.crop,
            "subtract": "mean_image: base64 of (crop, crop, 3) float32, little-endian",
            "scale": self.scale,
        }
        mean = base64.b64encode(np.ascontiguousarray(self.mean, "<f4").tobytes()).decode()
        return {"preprocessing": json.dumps(steps), "mean_image": mean}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> "Preprocessing":
        """What `metadata` wrote."""
        steps = json.loads(metadata["preprocessing"])
        crop, scale = steps["crop"], steps["scale"]
        mean = np.frombuffer(base64.b64decode(metadata["mean_image"]), "<f4").astype(np.float32)
        return cls(
            steps["size"],
            steps["resize"] == "squash",
            steps["shrink"],
            crop,
            mean.reshape(crop, crop, 3),
            tuple(scale) if isinstance(scale, list) else scale,
            steps["filter"].partition(",")[0],
        )


def preprocessing_of(network: Network, tasks: Tasks, folder: StudyFolder) -> Preprocessing:
    """What a network's validation images went through: with the mean image of its source's task, where it has one.

    Images of a set that was packed in the images' own size are squashed where they have another one.
    """
    recipe, letter, packed = network.training_recipe, network.mean_of, tasks.target(network).packed
    split = network.split if letter == network.treatment.target else network.source_split
    mean, scale = normalisation(network, split, letter, folder, tasks)
    start = (packed.size // recipe.shrink - recipe.crop) // 2
    place = slice(start, start + recipe.crop)
    how = str(read_manifest(packed.folder).get("resize", ""))
    squash = not how.startswith("shorter side")
    cropped = mean[place, place].copy()
    return Preprocessing(packed.size, squash, recipe.shrink, recipe.crop, cropped, scale, resampling_of(how))


def published_preprocessing(study: Study, result: Result, folder: StudyFolder) -> Preprocessing:
    """What the images of a published base go through: to the published size, the centre, its own mean.

    Where the base is another study's, whose mean is an image: squashed to that image's size.
    """
    about, crop = result.provenance["published"], study.architecture.crop
    size = int(about["resize"])
    mean, scale = read_normalisation(study.by_name[result.name], folder, size)
    start = (size - crop) // 2
    place = slice(start, start + crop)
    squash = about.get("squash", False) or bool(np.ptp(mean, axis=(0, 1)).any())
    return Preprocessing(size, squash, 1, crop, mean[place, place].copy(), scale, about["resampling"] or "bicubic")
