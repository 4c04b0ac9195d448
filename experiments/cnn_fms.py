"""Chatfield's CNN-F, CNN-M and CNN-S (fast, medium, slow) on halves of ILSVRC 2012, for who has the pictures.

    transferability pack /data/ilsvrc data/ilsvrc --size 256
    transferability submit experiments/cnn_fms.py --devices-per-fleet 8

Three studies of one split: bases, selffers and transfer networks at every n. The recipe is that of Yosinski et al.
2014, so that the networks stand beside theirs.

Cost: 3 x 58 networks; `transferability plan experiments/cnn_fms.py --measure` says the days. Nobody has run it yet.

Beside it, Chatfield et al. 2014, table 3: top-5 errors on all 1,000 classes of 16.7 (F), 13.7 (M) and 13.1 % (S).
"""

from dataclasses import replace

from transferability.networks.caffenet import cnn
from transferability.recipe import PAPER
from transferability.study import Study, grid

recipe = replace(PAPER, name="cnn-fms", crop=224)

studies = [
    Study(f"cnn_fms-{kind.lower()}", "ilsvrc", (network := cnn(kind)), tuple(grid(recipe, network.depth, ["random-0"])))
    for kind in "FMS"
]
