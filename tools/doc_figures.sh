#!/usr/bin/env bash
# Draws the figures of README.md and docs/ into docs/images, from the tables in experiments/results and from the paper's
# published accuracies. Some need the runs themselves, and are left as they are without: the filters of
# runs/tiny_imagenet_cpu, and its features; those of runs/demo_domains and of runs/retrieval, runs/office_readouts and
# runs/several_labels, with their packed sets; what runs/flowers17_views says of its images; the sheets of
# runs/translated. PYTHON is the interpreter to use.
#
#     tools/doc_figures.sh
#
# Not drawn here: docs/images/report.png (a screenshot of runs/demo/report.html) and docs/images/leet.png (of wandb leet).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
runs=${TRANSFERABILITY_RUNS:-runs}
images=docs/images
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Draws plots/SCRIPT from TABLE (the word --paper: the paper's accuracies) and keeps the named figures with a prefix:
# draw PREFIX SCRIPT TABLE FIGURE...
draw() {
    local prefix=$1 script=$2 table=$3 figure
    shift 3
    "$python" "plots/$script" $table --out "$scratch/$prefix" >/dev/null
    for figure in "$@"; do cp "$scratch/$prefix/$figure.png" "$images/$prefix-$figure.png"; done
}

draw paper all.py --paper figure1 figure2 figure3 table1 reduced_data preserved paired
draw demo figure2.py experiments/results/demo.csv figure2 figure2-manmade-natural
draw demo-seeds figure2.py experiments/results/demo_seeds.csv figure2
draw tiny figure2.py experiments/results/tiny_imagenet_cpu.csv figure2 figure2-manmade-natural
draw tiny figure3.py experiments/results/tiny_imagenet_cpu.csv figure3
draw tiny trained_twice.py experiments/results/tiny_imagenet_cpu.csv trained_twice trained_twice-manmade-natural
curves="experiments/results/tiny_imagenet_cpu_curves.csv --results experiments/results/tiny_imagenet_cpu.csv"
draw tiny training_curves.py "$curves --split manmade-natural" training_curves-manmade-natural
draw random-features figure3.py experiments/results/random_features.csv figure3
draw dip paired.py experiments/results/dip-converged.csv paired
draw residual figure2.py experiments/results/resnet_halves.csv figure2
draw flowers17-lite0 figure2.py experiments/results/flowers17_lite0.csv figure2-imagenet-flowers17
draw flowers17-squeezenet figure2.py experiments/results/flowers17_squeezenet.csv figure2-imagenet-flowers17
draw rules rules.py experiments/results/rules.csv rules
draw rules three_benefits.py "experiments/results/rules_curves.csv --results experiments/results/rules.csv" three_benefits
draw shared multitask.py experiments/results/multitask.csv multitask
draw unseen zero_shot.py experiments/results/zero_shot.csv zero_shot
draw translated domains.py experiments/results/translated.csv domains
draw pretext pretext.py experiments/results/pretext.csv pretext
draw networks layer_times.py "experiments/results/layers_caffenet.csv experiments/results/layers_resnet18.csv" layer_times
draw readouts readout_by_layer.py "experiments/results/retrieval.csv --measure val_map" readout_by_layer-imagenet-flowers17
draw readouts augmentation.py experiments/results/flowers17_views.csv augmentation-imagenet-flowers17
draw readouts readout_by_layer.py "experiments/results/several_labels.csv --measure val_map_eleven" readout_by_layer-imagenet-corel5k
draw regimes regimes.py "experiments/results/regimes.csv experiments/results/regimes-flowers17.csv" regimes
bases="$(echo experiments/results/better_bases-*.csv) --curves experiments/results/better_bases_curves.csv"
draw better-bases backbones.py "$bases" backbones
published="$(echo experiments/results/backbones-*.csv) --curves experiments/results/backbones_curves.csv"
layers="$(echo experiments/results/layers_squeezenet1_0.csv experiments/results/layers_tf_efficientnet_lite*.csv)"
draw published backbones.py "$published --layers $layers" backbones
draw rules-few rules.py experiments/results/rules_flowers17-5.csv rules-imagenet-flowers17
caltech=$(echo experiments/results/caltech101-*.csv) # EfficientNet-Lite0 is the first
draw readouts readout_by_layer.py "$caltech" readout_by_layer-imagenet-caltech101
draw readouts few_pictures.py "${caltech%% *}" few_pictures-imagenet-caltech101
draw readouts readout_against_retraining.py experiments/results/tiny_imagenet_cpu_readouts.csv readout_against_retraining
in_256_colours() { # IMAGE: a third of the bytes
    "$python" -c "
from PIL import Image
Image.open('$1').convert('RGB').quantize(256).save('$1', optimize=True)"
}
features() { # FILE EXPERIMENT NETWORK
    "$python" -m transferability.cli features "experiments/$2.py" "$3" "$scratch/$1.npz" >/dev/null
}
if [ -d "$runs/retrieval/features" ] && [ -d "$runs/office_readouts/features" ] && [ -d "$runs/several_labels" ]; then
    features hog retrieval imagenet-flowers17/R0B@hog
    features fire2 retrieval imagenet-flowers17/A2B@plain
    features fire9 retrieval imagenet-flowers17/A9B@plain
    features office7 office_readouts amazon-webcam/A7B@20@source
    features office18 office_readouts amazon-webcam/A18B@20@source
    data=${TRANSFERABILITY_DATA:-data}
    draw readouts embedding.py "$scratch/hog.npz $scratch/fire2.npz $scratch/fire9.npz" embedding-imagenet-flowers17
    draw readouts embedding.py "$scratch/office7.npz $scratch/office18.npz" embedding-amazon-webcam
    shown="$scratch/fire2.npz $scratch/fire9.npz --data $data/flowers17 --queries 4 --nearest 6 --width 3.2"
    draw readouts neighbours.py "$shown" neighbours-imagenet-flowers17
    shown="$runs/several_labels --data $data/corel5k"
    draw readouts average_precision_by_layer.py "$shown" average_precision_by_layer-imagenet-corel5k
    in_256_colours "$images/readouts-neighbours-imagenet-flowers17.png"
else
    echo "$runs has no features of retrieval, office_readouts and several_labels: their figures are left as they are"
fi
if [ -d "$runs/tiny_imagenet_cpu/features" ]; then
    features tiny1 tiny_imagenet_cpu_readouts random-0/A1B@softmax
    features tiny6 tiny_imagenet_cpu_readouts random-0/A6B@softmax
    "$python" plots/embedding.py "$scratch/tiny1.npz" "$scratch/tiny6.npz" --out "$scratch/tiny" >/dev/null
    mv "$scratch/tiny/embedding-random-0.png" "$images/readouts-embedding-tiny.png"
    in_256_colours "$images/readouts-embedding-tiny.png"
else
    echo "$runs/tiny_imagenet_cpu has no features: layers 1 and 6 in the plane are left as they are"
fi
if [ -d "$runs/flowers17_views" ]; then
    "$python" plots/confusion.py "$runs/flowers17_views" imagenet-flowers17/A8B@centre-centre-sum --pairs 4 --width 4.5 \
        --data "${TRANSFERABILITY_DATA:-data}/flowers17" --out "$scratch/confusion" >/dev/null
    mv "$scratch"/confusion/*.png "$images/readouts-confusion-imagenet-flowers17.png"
    in_256_colours "$images/readouts-confusion-imagenet-flowers17.png"
else
    echo "$runs/flowers17_views is not there: its confusion matrix is left as it is"
fi
draw digits domains.py experiments/results/digits.csv domains
draw digits aligned_layers.py experiments/results/digits_curves.csv aligned_layers-mnist-usps
draw office domains.py experiments/results/office_domains.csv domains
draw demo-domains aligned_layers.py experiments/results/aligned_layers_curves-1.csv aligned_layers-painted-drawn
if [ -f "$runs/demo_domains/results.csv" ]; then
    for network in B6A@without B6A@with; do
        "$python" -m transferability.cli features experiments/demo_domains.py "painted-drawn/$network" \
            "$scratch/$network.npz" >/dev/null
    done
    draw demo-domains embedding.py "$scratch/B6A@without.npz $scratch/B6A@with.npz" embedding-painted-drawn
else
    echo "$runs/demo_domains has no results.csv: the features of the two domains are left as they are"
fi
if [ -d "$runs/tiny_imagenet_cpu/random-0" ]; then
    bases=$(echo "$runs"/tiny_imagenet_cpu/{random-0,manmade-natural}/base[AB]/seed-0/weights.safetensors)
    draw tiny filters.py "$bases" filters
else
    echo "$runs/tiny_imagenet_cpu has no weights: the filters are left as they are"
fi
if [ -d "$runs/translated" ]; then
    for split in mnist-usps mnist-mnistm; do
        for network in A0B+@translated A1B+@joint; do
            "$python" plots/translated.py "$runs/translated" "$split/$network" --out "$scratch/translated" >/dev/null
        done
        cp "$scratch/translated/translated-$split-A0B+@translated-seed-0.png" "$images/translated-$split.png"
        cp "$scratch/translated/translated-$split-A1B+@joint-seed-0.png" "$images/translated-$split-joint.png"
    done
else
    echo "$runs/translated is not there: the sheets of translated images are left as they are"
fi
"$python" - <<END # in 256 colours: a third of the bytes
from pathlib import Path
from PIL import Image
embedding = Path("$images/demo-domains-embedding-painted-drawn.png")
Image.open(embedding).convert("RGB").quantize(256).save(embedding, optimize=True)
from transferability.data.demo import contact_sheet
contact_sheet(Path("$scratch/sheet.png"))
Image.open("$scratch/sheet.png").quantize(256).save("$images/demo-pictures.png", optimize=True)
END
git status --short "$images"
