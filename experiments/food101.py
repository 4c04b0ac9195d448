"""Food-101 from VGG-16: from scratch, features, fine-tuned, handmade, for who has the pictures.

    transferability pack food-101 data/food101 --size 256
    transferability run experiments/food101.py
    python plots/figure2.py runs/food101/results.csv

101 classes of 1,000 images: many, and of a kind that ImageNet hardly has. A folder per class (`images/` of the
download); each seed draws 250 per class to judge. VGG-16 with torchvision's weights (needs internet, once). Nobody has
run it yet.

Cost: 17 networks; on one GPU not measured: `transferability plan` says what it takes on your machine.

Beside it, as taught (a course on deep features, of UPMC Food-101, 100,000 images of the web, %, about): handcrafted 25,
VGG pure transfer 40, VGG from scratch 53, VGG fine-tuned 65. There scratch is above pure transfer, which it is not on
VOC 2007 (`voc2007.py`): the pair says that more data and a farther target turn the order round.
"""

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SPLIT = "imagenet-food101"
recipe = Recipe("food101", steps=30_000, batch=64, rate=0.01, warmup=1500, crop=224, validate_every=5000, clip=1.0)
words = Readout("words", 224, "svm", handmade="words", penalties=(1,))
kinds = ("base", "AnB", "AnB+0.1")
study = Study(
    "food101",
    "food101",
    chain("torchvision:vgg16", 224),
    (
        Network(SPLIT, parse("baseA"), Published("torchvision:VGG16_Weights.IMAGENET1K_V1")),
        *grid(recipe, 16, [SPLIT], (0, 1, 2), "B", kinds, cuts=(13, 15)),
        Network(SPLIT, parse("R0B"), words, images_per_class=100, variant="words"),
    ),
    {SPLIT: pair("imagenet", "food101")},
    validation=250,
)
