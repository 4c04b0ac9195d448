"""Animals never seen, by the attributes that Animals with Attributes 2 gives them: 12 classes of Tiny ImageNet.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    python tools/make_class_tables.py awa2 AwA2-base data/tiny-imagenet/classes.csv data/awa2-attributes.csv
    transferability run experiments/zero_shot_awa2.py
    python plots/zero_shot.py runs/zero_shot_awa2/results.csv

The bases and the maps of experiments/zero_shot.py, with 85 attributes of animals in place of hypernyms. Of the 12
animals, 7, 7 and 4 fall to half A of the three random halves and train the map; the 5, 5 and 8 others judge, with 50
validation images each. AwA2-base is the folder of AwA2's lists and matrices; its own images are not needed.

Cost: 39 networks, about 2.5 minutes on two cores.

Expect 20 to 23 % where chance is 17.5 on average, with intervals of 10 points and more: seven animals are too few to
learn 85 attributes of.
"""

from dataclasses import replace

from zero_shot import architecture, attributes, bases, embedding, maps, network

from transferability.study import Study

table = {"table": "awa2-attributes.csv", "undescribed": "left out", "steps": 300, "validate_every": 300}
animals = [replace(how, **table) for how in (attributes, embedding, network)]
networks = [member for how in animals for member in maps(how, (1, 3, 5, 7))]
study = Study("zero_shot_awa2", "tiny-imagenet", architecture, (*bases, *networks))
