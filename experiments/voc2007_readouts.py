"""Several classes per picture: average precision on PASCAL VOC 2007, by layer, for who has the pictures.

    transferability pack VOCdevkit data/voc2007 --size 256 --centre-crop
    transferability run experiments/voc2007_readouts.py
    python plots/average_precision_by_layer.py runs/voc2007_readouts

The readouts of experiments/several_labels.py, on the data set of Razavian et al. 2014, figure 2 and table 2.

Cost: 5,011 training and 4,952 validation images once, ten views for one layer, then 21 readouts of one seed: about half
an hour on two cores, estimated. Nobody has run it yet.

Expect: mean average precision (val_map_eleven) grows with n, up to the last block. Razavian et al. have 77.2 from
OverFeat with augmented images.
"""

from several_labels import readouts

study = readouts("voc2007_readouts", "voc2007")
