"""A classifier of A's features of layer n that is carried over to B by aligning their subspaces: `A5B@aligned`.

Fernando et al. 2013, "Unsupervised visual domain adaptation using subspace alignment"; a row of Ganin and Lempitsky's
tables. The first n layers are A's, frozen, in evaluation mode; nothing is trained in steps.
"""

from dataclasses import dataclass

from transferability.adversarial import refuse_choice_by_labels
from transferability.files import Refused
from transferability.recipe import Recipe

SUBSPACES = ("aligned", "source")


@dataclass(frozen=True, kw_only=True)
class Aligned(Recipe):
    """Features of layer n of A's and of B's training images, in subspaces, and a softmax classifier of A's labels.

    Of a recipe's other fields the crop, `shrink` and `scale` count, which have to be the base's. Images are seen once,
    central crops; maps are averaged over squares, so that at most 4,096 numbers are left.

    # Paper: nearest neighbours and support vector machines. Here the softmax, whose loss can be told.

    dimensions: of the subspaces.
    subspace: "aligned", the source's components turned to the target's; or "source", no adaptation: both domains in the
        source's components.
    penalty: C of the classifier's loss against half the squared norm of its weights, of unit-variance numbers.
    """

    steps: int = 0
    batch: int = 1
    rate: float = 1.0
    validate_every: int = 1
    dimensions: int = 80
    subspace: str = "aligned"
    penalty: float = 1.0

    needs_base = True

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_choice_by_labels(self)
        if self.steps:
            raise Refused(f"recipe {self.name!r}: steps is {self.steps}; subspaces are aligned in none, leave it out")
        if self.subspace not in SUBSPACES:
            raise Refused(f"recipe {self.name!r}: subspace is {self.subspace!r}, not {' or '.join(SUBSPACES)}")
        if type(self.dimensions) is not int or self.dimensions < 1:
            raise Refused(f"recipe {self.name!r}: dimensions is {self.dimensions!r}; write a whole number from 1 up")
        if not self.penalty > 0:
            raise Refused(f"recipe {self.name!r}: penalty is {self.penalty!r}; write a number above 0")
