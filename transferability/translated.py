"""A's images made to look like B's, and a network that is trained on them with A's labels: `A0B+@translated`.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks" (the translation);
Murez et al. 2018, "Image to image translation for domain adaptation" (what it is for). n = 0: it is the images that are
made alike, and no layer is copied. B's images have no labels, and no pair of images is known.
"""

from dataclasses import dataclass, replace

from transferability.adversarial import refuse_choice_by_labels
from transferability.files import Refused
from transferability.recipe import Recipe, refuse_negative


@dataclass(frozen=True)
class Translated(Recipe):
    """Two phases in one course of steps: first the translators, then a network on what the one makes of A's images.

    In the first phase each step sees `batch` images of A and as many of B. Two translators, from A's look to B's and
    back, learn to mislead a critic of each domain, and to give back what went through both. In the second phase they
    do not change; the network, drawn afresh, is trained as any other by the recipe's optimiser, rate and schedule, on
    A's images after translation, minus B's mean image.

    # Paper: Murez et al. train everything at once: features that both translators start from, the classifier on these
    # features, and a critic of the features. Here the translation comes first, and the classifier sees images.
    # Paper: Zhu et al. have 128 pixels and more, 6 or 9 residual blocks of 256 channels after two halvings, one image
    # per step, larger critics, and critics that also see earlier translations. Here: one halving, `blocks` blocks of
    # 2 x `width` channels, `batch` images, and the current translations alone.
    # Paper: translators and critics take turns. Here both take one step from the same weights.

    translation: share of the course for the translators. 0: there are none, and A's images are seen as they are.
    translator_rate: rate of Adam (betas 0.5 and 0.999) for translators and critics; in the second half of their phase
        it falls to 0 in a line, as in the paper.
    width: channels of a translator's first layer, and of a critic's.
    blocks: residual blocks of a translator.
    cycle: weight of the cycle-consistency loss (lambda of equation 3).
    identity: weight of the loss of changing what looks right already, over `cycle` (section 5.2: 0.5; 0: none).
    """

    translation: float = 0.5
    translator_rate: float = 2e-4
    width: int = 16
    blocks: int = 2
    cycle: float = 10.0
    identity: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_choice_by_labels(self)
        if not 0 <= self.translation < 1:
            raise Refused(f"recipe {self.name!r}: translation is {self.translation!r}; write a share below 1")
        refuse_negative(self, "translator_rate", "cycle", "identity")
        for field in ("width", "blocks"):
            if type(getattr(self, field)) is not int or getattr(self, field) < 1:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write a whole number")
        if self.crop % 2 or self.crop < 8 or self.crops != "square":
            raise Refused(
                f"recipe {self.name!r}: translators halve images and double them again, critics halve them twice: "
                "write an even crop of at least 8, and crops='square'"
            )

    @property
    def translator_steps(self) -> int:
        """Steps of the first phase."""
        return round(self.translation * self.steps)

    def rate_at(self, step: int) -> float:
        """The rate of Adam in the first phase; in the second that of the weights, whose schedule begins there."""
        first = self.translator_steps
        if step < first:
            return self.translator_rate * min(1.0, 2 * (first - step) / first)
        if not first:
            return super().rate_at(step)
        return replace(self, steps=self.steps - first, translation=0.0).rate_at(step - first)

    @property
    def translator_operations(self) -> float:
        """Floating-point operations of one translator for one image: its convolutions."""
        pixels, w = self.crop**2, self.width
        ends = 2 * 49 * 3 * w * pixels
        inside = (2 * 9 * 2 * w * w + 2 * self.blocks * 9 * 4 * w * w) * pixels / 4
        return 2 * (ends + inside)
