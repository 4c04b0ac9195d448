"""A base that is trained without labels, on a surrogate objective, and copied from like any other: `baseA@rotation`.

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations"; Dosovitskiy et al. 2014,
"Discriminative unsupervised feature learning with convolutional neural networks" (exemplars). What copies from such a
base names its variant: `Network(split, A3B, recipe, variant="rotation", source_variant="rotation")`.
"""

from dataclasses import dataclass, fields

from transferability.adversarial import refuse_choice_by_labels
from transferability.files import Refused
from transferability.recipe import Recipe

SURROGATES = ("rotation", "exemplar")
TURNS = 4  # of an image: by 0, 90, 180 and 270 degrees


@dataclass(frozen=True)
class Pretext(Recipe):
    """Gradient descent on labels that are made: how an image was turned, or which image it is. No label is read.

    The accuracy of such a base is that of the surrogate objective, on validation images turned in all four ways, or on
    the central crops of the exemplars. What its features are worth shows in what copies from it.

    # Paper: the exemplars are patches of 32 pixels with strong gradients, and a pseudo-class is 150 fixed draws of
    # translation, scale, rotation, contrast and colour. Here they are whole images, drawn anew at each step as `crops`,
    # `mirror` and `colour` say: without rotation or hue.

    surrogate: "rotation": each image is shown turned by 0, 90, 180 and 270 degrees in one batch, as the paper has it,
        and the network says by how much; `batch` counts turned images. "exemplar": each of `exemplars` images is a
        class of its own, and the network says which one it sees.
    exemplars: images, drawn by the seed, that are classes of their own.
    """

    surrogate: str = "rotation"
    exemplars: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_choice_by_labels(self)
        if self.class_weights != "equal":
            raise Refused(f"recipe {self.name!r}: class_weights weigh classes, and no label is read; leave it out")
        if self.surrogate not in SURROGATES:
            raise Refused(f"recipe {self.name!r}: surrogate is {self.surrogate!r}, not {' or '.join(SURROGATES)}")
        if type(self.exemplars) is not int or self.exemplars < 2:
            raise Refused(f"recipe {self.name!r}: exemplars is {self.exemplars!r}; write a whole number from 2 up")
        if self.turns and self.batch % TURNS:
            raise Refused(f"recipe {self.name!r}: batch is {self.batch}; write a multiple of {TURNS}, the turns")

    @property
    def turns(self) -> bool:
        """Whether images are turned."""
        return self.surrogate == "rotation"

    @property
    def outputs(self) -> int:
        """How many classes the surrogate objective has."""
        return TURNS if self.turns else self.exemplars

    @property
    def taken(self) -> Recipe:
        """The recipe by which images are taken from the stream: of turned ones a quarter of the batch."""
        values = {field.name: getattr(self, field.name) for field in fields(Recipe)}
        return Recipe(**values | {"batch": self.batch // TURNS if self.turns else self.batch})
