"""PASCAL VOC 2007 from VGG-16: from scratch, features, fine-tuned, handmade, for who has the pictures.

    transferability pack VOCdevkit data/voc2007 --size 256
    transferability run experiments/voc2007.py
    python plots/figure2.py runs/voc2007/results.csv

20 classes, 5,011 images to train and 4,952 to judge, several classes per image: sigmoid loss, and every accuracy is the
mean average precision. VGG-16 with torchvision's weights (needs internet, once); n = 13 are its convolutions, n = 15
all but the last layer. Nobody has run it yet.

Cost: 17 networks; on one GPU about half an hour by `transferability plan`; 13 days on two cores.

Beside it, as taught (a course on deep features, mAP, about): VGG from scratch 40, handcrafted Fisher vectors 70, VGG
pure transfer 83, VGG fine-tuned 85. Bags of words (R0B@words) are below Fisher vectors.
"""

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SPLIT = "imagenet-voc2007"
recipe = Recipe(
    "voc2007", steps=3000, batch=32, rate=0.003, warmup=300, crop=224, validate_every=1000, loss="sigmoid", clip=1.0
)
words = Readout("words", 224, "svm", handmade="words")
kinds = ("base", "AnB", "AnB+0.1")
study = Study(
    "voc2007",
    "voc2007",
    chain("torchvision:vgg16", 224),
    (
        Network(SPLIT, parse("baseA"), Published("torchvision:VGG16_Weights.IMAGENET1K_V1")),
        *grid(recipe, 16, [SPLIT], (0, 1, 2), "B", kinds, cuts=(13, 15)),
        Network(SPLIT, parse("R0B"), words, variant="words"),
    ),
    {SPLIT: pair("imagenet", "voc2007")},
)
