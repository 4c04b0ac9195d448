"""Two domains made alike at layer n and in their images at once, beside the training itself: `A1B+@joint`.

Murez et al. 2018, "Image to image translation for domain adaptation". The features of layer n are what both domains
have in common: images of either are encoded into them, and decoded out of them into either look. B has no labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transferability.adversarial import Adversarial
from transferability.files import Refused
from transferability.recipe import refuse_negative

WEIGHTS = ("rebuilding", "cycle", "misleading", "translated_labels")


@dataclass(frozen=True)
class JointlyTranslated(Adversarial):
    """DANN at layer n (`Adversarial`), and images that can be decoded out of the features of layer n.

    Layers 1 to n are the encoder of both domains, the layers above the classifier. Two decoders make images of the
    features, in A's look and in B's; a critic of each look learns to tell its images from translations (section 3).
    All are trained in each step, by the recipe's optimiser, on the sum of: the loss on A's labels; the domain
    classifier's (equation 3); and, each with its weight, those of the images (equations 2, 4, 5, 6). With all four at 0
    the network is DANN's, bit for bit.

    # Paper: least squares for the domain classifier, at a weight that stays. Here the logistic loss, whose reversed
    # gradient grows to `strength` as `gamma` says (Ganin and Lempitsky 2015).
    # Paper: critics of images are Wasserstein's with a penalty (digits, street scenes). Here least squares on patches.
    # Paper: decoders of four transposed convolutions with batch norm; the first few have their weights in common. Here
    # one convolution and a residual block in common, then two convolutions for each look, each after the image is
    # enlarged, with instance norm: a mean over a batch depends on which images are in it.
    # Paper: encoder and decoders take turns with the critics. Here all take one step from the same weights.
    # Paper: 0 for translated labels of digits, 0.1 of street scenes. Here 1: a translated image is worth as much as it
    # was before. The weights of rebuilding, cycle and misleading are those reported for digits; that of the domain
    # classifier is 0.2 there.

    rebuilding: weight of the difference between an image and what is decoded of it in its own look (equation 2).
    cycle: weight of the difference between an image and its translation, translated back (equation 5).
    misleading: weight of being told from images of the other domain by the critics (equation 4).
    translated_labels: weight of the loss on A's labels of A's images in the look of B (equation 6).
    width: channels of a decoder's last layer but one, and of a critic's first.
    """

    start: str = "fresh"
    rebuilding: float = 0.1
    cycle: float = 0.05
    misleading: float = 0.02
    translated_labels: float = 1.0
    width: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_negative(self, *WEIGHTS)
        if type(self.width) is not int or self.width < 1:
            raise Refused(f"recipe {self.name!r}: width is {self.width!r}; write a whole number")
        if self.crop % 2 or self.crop < 8 or self.crops != "square" or self.colour:
            raise Refused(
                f"recipe {self.name!r}: decoders double images and give back what was packed: write an even crop of at "
                "least 8, crops='square' and no colour"
            )

    def decoder_operations(self, shape: Sequence[int]) -> float:
        """Floating-point operations of decoding one image out of features of a shape: the decoder's convolutions."""
        pixels, w = self.crop**2, self.width
        channels, side = (shape[0], shape[1]) if len(shape) > 1 and shape[1] > 1 else (math.prod(shape) / 9, 1)
        common = (9 * channels * 2 * w + 2 * 9 * 4 * w * w) * side**2
        return 2 * (common + 9 * 2 * w * w * pixels / 4 + 25 * w * 3 * pixels)
