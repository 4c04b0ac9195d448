"""Installs the lowest versions that pyproject.toml allows, and runs studies, `ask` and the plots with them.

    python tools/lower_bounds.py [FOLDER]      # or: make lowest

FOLDER (.lowest) gets a virtual environment of its own, `venv`, and what the commands write. Each requirement of the
package and of its extras (except dev) is installed in exactly the version of its lower bound; what those packages
need themselves comes in the newest version that they allow, as it does for a user. The package itself is installed
from a copy, so that files which are missing in the built package are missed here. Prints a line per command; exit
status 1 if one fails, or if W&B has something to say.

Cost: 6 GB (torch with CUDA) and about six minutes on two cores. Needs a package registry.

Found with Python 3.11 in November 2026, by trying:

- pillow: 10.0 has neither `ImageFont.load_default(size)` (the demo) nor `has_transparency_data` (every picture).
- typer: with click 8.3 or newer, which typer 0.12 to 0.15 allow, each command of 0.12.5 prints the version and ends
  with exit status 0; `--help` of 0.13 to 0.15 ends in a TypeError. 0.16 works with click 8.0 to 8.5.
- wandb: 0.27 is the first with `finish_timeout`; before, no run was opened.
- onnxscript: 0.5 does not know torch 2.11; 0.6 does.
- all others work at their bounds: imagehash 4.3, matplotlib 3.8, numpy 1.26, onnx 1.17, onnxruntime 1.20, orjson 3.10,
  pandas 2.1, rich 13.0, safetensors 0.4, scikit-image 0.22, scikit-learn 1.3, scipy 1.11.1, timm 1.0.17, torch 2.11
  with torchvision 0.26, lightning 2.5, torchmetrics 1.4, wandb-workspaces 0.3, litdata 0.2.50.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
EXTRAS = ("train", "readout", "ask", "timm", "wandb", "dashboard", "onnx", "bench")
SMOKE = str(PROJECT / "experiments" / "smoke.py")
NETWORKS = 28  # of the smoke study
PICTURES = """# pictures of several kinds, as users have them, in two classes
from pathlib import Path
from PIL import Image
for part in ("train", "val"):
    for name in ("cat", "dog"):
        folder = Path("pictures", part, name)
        folder.mkdir(parents=True, exist_ok=True)
        for mode, file in (("RGB", "a.jpg"), ("L", "b.jpg"), ("CMYK", "c.jpg"), ("RGBA", "d.png"), ("P", "e.gif")):
            Image.new(mode, (40, 30)).save(folder / file)
"""
READOUTS = """# readouts of every kind, on the smoke study's kind of bases
from dataclasses import replace
from transferability.networks import small_caffenet
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.study import Study, grid, network
recipe = Recipe(name="smoke", steps=12, batch=16, rate=0.01, crop=28, validate_every=6)
svm = Readout("svm", crop=28, classifier="svm", folds=2)
others = ("softmax", "sigmoid", "nearest", "neighbours", "retrieval")
kinds = [svm, *(replace(svm, name=name, classifier=name) for name in others)]
handmade = [replace(svm, name=name, handmade=name) for name in ("hog", "words", "pixels")]
networks = [
    *grid(recipe, 8, ["random-0"], kinds=("base", "AnB"), cuts=(3,)),
    network("random-0/A3B@softmax", replace(svm, name="softmax", classifier="softmax")),
    *(network(f"random-0/A3B@10@{kind.name}", kind) for kind in kinds),
    *(network(f"random-0/R0B@10@{kind.name}", kind) for kind in handmade),
]
study = Study("readouts", "demo", small_caffenet(crop=28, width=0.08, dropout=0.5), tuple(networks))
"""
ASKED = """# a network with published names and noise for weights, and pictures enough for an answer
from pathlib import Path
import numpy, torch, torchvision
from PIL import Image
from safetensors.torch import save_file
torch.manual_seed(0)
save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), "noise.safetensors")
draw = numpy.random.default_rng(0)
for name, shade in (("dark", 60), ("light", 160)):
    Path("shades", name).mkdir(parents=True, exist_ok=True)
    for index in range(20):
        pixels = draw.integers(0, 90, (40, 40, 3)) + shade
        Image.fromarray(pixels.astype("uint8")).save(Path("shades", name, f"{index}.png"))
"""
ASK = ["--network", "torchvision:squeezenet1_1", "--weights", "noise.safetensors", "--minutes", "0.5"]
ASK += ["--mean", "127,127,127", "--std", "64,64,64"]
LITDATA = """# litdata writes and reads, as benchmarks/benchmark.py has it do
import litdata, torch
writer = litdata.streaming.Cache("litdata", chunk_bytes="64MB")
for index in range(8):
    writer[index] = {"image": torch.zeros(4, 4, 3, dtype=torch.uint8), "label": index}
writer.done()
writer.merge()
loader = litdata.StreamingDataLoader(litdata.StreamingDataset("litdata", shuffle=True), batch_size=4, num_workers=0)
assert sorted(label for batch in loader for label in batch["label"].tolist()) == list(range(8))
"""


def lowest() -> dict[str, str]:
    """Name → lowest version of each requirement of the package and its extras; an error where one has no bound."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(line for extra in EXTRAS for line in project["optional-dependencies"][extra]),
    ]
    versions = {}
    for requirement in requirements:
        if requirement.startswith(f"{project['name']}["):  # another extra
            continue
        bound = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)", requirement)
        if bound is None:
            sys.exit(f"pyproject.toml: {requirement!r} is not NAME>=VERSION")
        versions[bound[1]] = bound[2]
    return versions


def install(folder: Path) -> Path:
    """Makes the environment and installs everything; its folder of programs."""
    programs = folder / "venv" / "bin"
    if not (programs / "python").exists():
        venv.create(folder / "venv", with_pip=True)
    copy = folder / "project"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(PROJECT / "transferability", copy / "transferability", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    pins = [f"{name}=={version}" for name, version in lowest().items()]
    print(f"installs {', '.join(pins)}", flush=True)
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, f"{copy}[{','.join(EXTRAS)}]", *pins], check=True)
    # Installed again even if only its code has changed since the last time.
    subprocess.run([*command, "--no-deps", "--force-reinstall", str(copy)], check=True)
    return programs


def commands(programs: Path) -> list[list[str]]:
    """What is run, in this order, in a folder of its own."""
    python, program = str(programs / "python"), str(programs / "transferability")
    results, readouts = "runs/smoke/results.csv", "runs/readouts/results.csv"
    smoke = {"filters": ["runs/smoke"], "training_curves": ["runs/smoke/curves.csv"]}
    smoke |= {plot: [results] for plot in ("figure2", "figure3", "paired", "table1", "trained_twice")}
    smoke |= {plot: [readouts] for plot in ("readout_by_layer", "readout_against_retraining")}
    smoke |= {"confusion": ["runs/readouts", "random-0/A3B@10@svm/seed-0", "--data", "data/demo"]}
    return [
        [program, "--version"],
        [program, "--help"],
        [program, "train", "--help"],
        [python, "-c", PICTURES],
        [program, "pack", "pictures", "data/pictures", "--size", "32"],
        [program, "verify", "data/pictures"],
        [program, "pack", "demo", "data/demo"],
        [program, "plan", SMOKE],
        [program, "run", SMOKE, "--wandb", "offline"],
        [program, "status", SMOKE],
        [program, "results", SMOKE],
        [program, "claims", results],
        [program, "track", SMOKE],
        [program, "report", SMOKE, "--wandb", "offline"],
        [program, "dashboard", SMOKE, "--file", "dashboard.json"],
        [program, "run", "readouts.py"],
        [program, "results", "readouts.py"],
        [program, "export", "readouts.py", "random-0/baseA", "base.onnx"],
        [program, "layers", "timm:resnet10t", "--crop", "32", "--csv", "layers.csv"],
        [python, "-c", ASKED],
        [program, "ask", "shades", *ASK],
        [program, "predict", "runs/shades-squeezenet1-1/best.safetensors", "shades/dark/0.png"],
        *([python, str(PROJECT / "plots" / f"{plot}.py"), *table, "--out", "figures"] for plot, table in smoke.items()),
        *documented(python),
        [python, "-c", LITDATA],
    ]


def documented(python: str) -> list[list[str]]:
    """The figures of the documentation that are drawn from committed tables: what tools/doc_figures.sh says of them."""
    lines = (PROJECT / "tools" / "doc_figures.sh").read_text().splitlines()
    drawn = [shlex.split(line) for line in lines if line.startswith("draw ")]
    # draw PREFIX SCRIPT TABLE FIGURE...
    return [
        [python, str(PROJECT / "plots" / script), *_paths(table), "--out", f"figures-{prefix}"]
        for _, prefix, script, table, *_ in drawn
    ]


def _paths(table: str) -> list[str]:
    return [str(PROJECT / word) if word.startswith("experiments/") else word for word in table.split()]


def works(command: list[str], folder: Path) -> bool:
    """Runs a command in `folder` and prints a line about it, and what it printed if it fails."""
    start = time.monotonic()
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    name = " ".join([Path(command[0]).name, *(word.replace(f"{PROJECT}/", "") for word in command[1:])]).split("\n")[0]
    # W&B speaks only where something is not logged; a command that prints nothing has done nothing.
    failed = ended.returncode != 0 or "W&B:" in ended.stderr
    if command[0].endswith("transferability"):
        failed |= not ended.stdout or (ended.stdout.startswith("transferability ") and "--version" not in command)
    print(f"{'FAILED' if failed else 'works '} {time.monotonic() - start:6.1f} s  {name}", flush=True)
    if failed:
        print(ended.stdout[-2000:], ended.stderr[-4000:], sep="\n", flush=True)
    return not failed


def main(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    programs = install(folder)
    place = folder / "work"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "readouts.py").write_text(READOUTS)
    outcomes = [works(command, place) for command in commands(programs)]
    runs = len(list(place.glob("runs/smoke/random-0/*/seed-0/wandb/*run-*/run-*.wandb")))
    if runs != NETWORKS:
        print(f"FAILED: {runs} of {NETWORKS} networks have a W&B run")
    print(f"{sum(outcomes)} passed, {len(outcomes) - sum(outcomes)} failed")
    return all(outcomes) and runs == NETWORKS


if __name__ == "__main__":
    sys.exit(0 if main(Path(sys.argv[1] if len(sys.argv) > 1 else ".lowest").resolve()) else 1)
