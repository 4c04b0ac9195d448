"""Cuts every classification network of torchvision and compares the chain with the network: `make chains`.

    python tools/chains.py [NAME …]

Each network is cut into blocks, and at every point, at the smallest input that it takes of 32, 64, 96 … pixels, and run
in evaluation and in training beside its chain: the outputs have to have the same bits (`networks/cut.py`). One process
per network, so that its memory is freed. A network that does not fit the free memory is left out, with a line that says
so. Prints a table in Markdown; the exit status is 1 if a network could not be cut.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from torchvision import models  # noqa: E402

from transferability.files import Refused  # noqa: E402
from transferability.networks.cut import SIZES, chain, checked_layers  # noqa: E402
from transferability.networks.facts import layer_facts  # noqa: E402

COPIES = 8  # of its parameters that are in memory at once, with room for what the layers put out
COLUMNS = ("network", "parameters (M)", "layers", "points", "smallest input", "seconds", "result")


def parameters_of(name: str) -> int:
    """With 1,000 outputs, as torchvision states them."""
    return int(models.get_model_weights(name).DEFAULT.meta["num_params"])


def free_memory() -> int:
    """Bytes that may be taken without others having to give some up."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def compared(name: str) -> dict[str, Any]:
    """Cuts one network and compares it; what is known of it then."""
    network = f"torchvision:{name}"
    reason = ""
    for size in SIZES:
        try:
            blocks = chain(network, size)
            checked_layers(blocks)
            points = chain(network, size, "points")
            checked_layers(points)
        except Refused as error:
            reason = str(error)
            if "cannot take images" in reason or "cannot be built" in reason:
                continue  # too small
            return {"size": size, "reason": reason}
        parameters = sum(facts.parameters for facts in layer_facts(blocks, 1000))
        return {"size": size, "parameters": parameters, "layers": blocks.depth, "points": points.depth}
    return {"size": SIZES[-1], "reason": reason}


def in_a_process(name: str) -> tuple[dict[str, Any], float]:
    """`compared` in a process of its own, and its seconds."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        return {"size": "", "reason": words[-1]}, seconds
    return json.loads(done.stdout), seconds


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(compared(sys.argv[2])))
        return
    names = sys.argv[1:] or models.list_models(module=models)
    failed = 0
    print(f"| {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * 5} --- |", flush=True)
    for name in sorted(names, key=lambda name: (parameters_of(name), name)):
        parameters = parameters_of(name)
        if COPIES * 4 * parameters > free_memory():
            row = [f"{parameters / 1e6:.1f}", "", "", "", "", "left out: too large for the free memory"]
        else:
            found, seconds = in_a_process(name)
            failed += "reason" in found
            row = [f"{found.get('parameters', parameters) / 1e6:.1f}"]
            row += [str(found.get(column, "")) for column in ("layers", "points", "size")]
            row += [f"{seconds:.0f}", found.get("reason", "same bits")]
        print(f"| {' | '.join([name, *row])} |", flush=True)
    if failed:
        print(f"{failed} networks could not be cut", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
