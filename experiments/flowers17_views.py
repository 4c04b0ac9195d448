"""What do more views of each picture bring? Flowers-17, one layer of a published network.

    transferability pack 17flowers data/flowers17 --size 256 --centre-crop
    transferability run experiments/flowers17_views.py
    python plots/augmentation.py runs/flowers17_views/results.csv

Chatfield et al. 2014, table 1, and Razavian et al. 2014 (CNNaug): the centre, the centre mirrored, ten crops, sixteen
crops and turned pictures; in training (rows of their own), in validation (pooled as sum or maximum), or in both. The
name of a variant says training views, validation views and pooling. Weights of SqueezeNet 1.0 as in
experiments/flowers17.py.

Cost: 1,360 pictures times 24 views once, then 27 readouts of three seeds: half an hour on two busy cores.

Expect: views in both help by a few points (three seeds do not suffice for an interval above 0); the sum is no worse
than the maximum.
"""

from dataclasses import replace

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import pair
from transferability.study import Study, network

SPLIT, CUT = "imagenet-flowers17", 8
architecture = chain("torchvision:squeezenet1_0", 224)
published = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
svm = Readout("svm", crop=224, classifier="svm", folds=3)
WAYS = [
    *(
        (training, judged, "sum")
        for training, judged in (("centre", "centre"), ("mirror", "centre"), ("ten", "centre"))
    ),
    *((training, judged, "sum") for training, judged in (("centre", "ten"), ("mirror", "mirror"), ("ten", "ten"))),
    *(("ten", "ten", "max"), ("sixteen", "sixteen", "sum"), ("sixteen", "sixteen", "max")),
]
readouts = [
    network(
        f"{SPLIT}/A{CUT}B@{training}-{judged}-{pooled}/seed-{seed}",
        replace(svm, name=f"{training}-{judged}-{pooled}", train_views=training, test_views=judged, pooled=pooled),
    )
    for training, judged, pooled in WAYS
    for seed in (0, 1, 2)
]
study = Study(
    "flowers17_views",
    "flowers17",
    architecture,
    (network(f"{SPLIT}/baseA", published), *readouts),
    {SPLIT: pair("imagenet", "flowers17")},
    validation=20,
)
