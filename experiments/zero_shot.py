"""Classes never seen: how well are they recognised from layer n, by attributes, by embeddings, and beside seen ones?

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/zero_shot.py
    python plots/zero_shot.py runs/zero_shot/results.csv

The base of half A of Tiny ImageNet's 200 classes, at 28 pixels, and maps from its layer n, trained on A's 100 classes
and judged on B's. What the classes are like says WordNet: of which synsets a class is a kind (the package's table
tiny-imagenet-hypernyms). @attributes: direct attribute prediction. @embedding: the bilinear map. @network: the same
with a hidden layer on the image's side and one on the class's. Three random halves, seed 0, are three units. n = 0: the
pixels; n = 8: the base's scores. B's 100 classes are of 66 to 69 kinds: the others have the hypernyms of another class.

Cost: 57 networks, about 4 minutes on two cores.

Expect, of bases at 15 %: 3.7 to 3.9 % (chance is 1), whatever the layer from 1 on and whatever the method, and 2.8 from
the pixels; attributes fail there (1.2), and are lower at n = 5. Beside seen classes hardly any image of an unseen one
is named right (0.5 %), and of 51 to 58 of the 100 none can be, since a seen class has the same hypernyms.
"""

from dataclasses import replace

from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Network, Study, grid
from transferability.zero_shot import ZeroShot

SPLITS = ("random-0", "random-1", "random-2")
architecture = small_caffenet(crop=28, width=0.25, dropout=0.1)
recipe = Recipe("zero-shot", steps=1500, batch=64, rate=0.03, warmup=100, crop=28, shrink=2, validate_every=750)
# Adam: of layers of very different sizes a rate that serves all is easier found.
course = {**vars(recipe), "steps": 500, "validate_every": 250, "warmup": 0}
course |= {"optimiser": "adamw", "rate": 1e-3, "decay": 0.0, "bias_rate": 1.0}
attributes = ZeroShot(**{**course, "name": "attributes"}, table="tiny-imagenet-hypernyms")
embedding = replace(attributes, name="embedding", by="embedding")
network = replace(embedding, name="network", hidden=(128,), class_hidden=(64,))


def maps(how: ZeroShot, cuts: tuple[int, ...]) -> list[Network]:
    """From layers of A's base, judged on B."""
    networks = grid(how, architecture.depth, SPLITS, targets="B", kinds=("AnB",), cuts=cuts)
    return [replace(member, variant=how.name) for member in networks]


bases = grid(recipe, architecture.depth, SPLITS, targets="A", kinds=("base",))
of_each = [member for how in (attributes, embedding, network) for member in maps(how, (0, 1, 3, 5, 7, 8))]
study = Study("zero_shot", "tiny-imagenet", architecture, (*bases, *of_each))
