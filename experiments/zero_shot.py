"""Classes never seen: how well are they recognised from layer n, by attributes, by embeddings, and beside seen ones?

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/zero_shot.py:zero_shot
    python plots/zero_shot.py runs/zero_shot/results.csv

The base of half A of Tiny ImageNet's 200 classes, at 28 pixels, and maps from its layer n, trained on A's 100 classes
and judged on B's. What the classes are like says WordNet: of which synsets a class is a kind (the package's table
tiny-imagenet-hypernyms). @attributes: direct attribute prediction. @embedding: the bilinear map. @network: the same
with a hidden layer on the image's side and one on the class's. Three random halves, seed 0, are three units. n = 0: the
pixels; n = 8: the base's scores. B's 100 classes are of 66 to 69 kinds: the others have the hypernyms of another class.

zero_shot_awa2: the 12 of these classes that Animals with Attributes 2 describes, by its 85 attributes. A base of 100
classes; those of the 12 that fall to A, 7, 7 and 4, train the map, and the 5, 5 and 8 others judge. AwA2's files make
its table:

    python tools/make_class_tables.py awa2 AwA2-base data/tiny-imagenet/classes.csv data/awa2-attributes.csv
    transferability run experiments/zero_shot.py:zero_shot_awa2

Cost: COST.

Expect: EXPECT
"""

from dataclasses import replace

from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Study, grid
from transferability.zero_shot import ZeroShot

SPLITS = ("random-0", "random-1", "random-2")
architecture = small_caffenet(crop=28, width=0.25, dropout=0.1)
recipe = Recipe("zero-shot", steps=1500, batch=64, rate=0.03, warmup=100, crop=28, shrink=2, validate_every=750)
# Adam: of layers of very different sizes a rate that serves all is easier found.
course = {**vars(recipe), "steps": 500, "validate_every": 250, "warmup": 0}
course |= {"optimiser": "adamw", "rate": 1e-3, "decay": 0.0, "bias_rate": 1.0}
hypernyms = {**course, "table": "tiny-imagenet-hypernyms"}
awa2 = {**course, "table": "awa2-attributes.csv", "undescribed": "left out", "steps": 300, "validate_every": 300}


def study(name: str, fields: dict[str, object], cuts: tuple[int, ...]) -> Study:
    attributes = ZeroShot(**{**fields, "name": "attributes"})
    embedding = ZeroShot(**{**fields, "name": "embedding", "by": "embedding"})
    network = replace(embedding, name="network", hidden=(128,), class_hidden=(64,))
    maps = [
        replace(member, variant=how.name)
        for how in (attributes, embedding, network)
        for member in grid(how, architecture.depth, SPLITS, targets="B", kinds=("AnB",), cuts=cuts)
    ]
    bases = grid(recipe, architecture.depth, SPLITS, targets="A", kinds=("base",))
    return Study(name, "tiny-imagenet", architecture, (*bases, *maps))


studies = [study("zero_shot", hypernyms, (0, 1, 3, 5, 7, 8)), study("zero_shot_awa2", awa2, (1, 3, 5, 7))]
