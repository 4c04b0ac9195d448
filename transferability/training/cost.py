"""What a fleet costs: operations, bytes, and an estimate of hours. Calculated, not measured. Needs no torch."""

from collections.abc import Sequence
from math import prod

from transferability.jointly_translated import JointlyTranslated
from transferability.multitask import MOST_HEADS, LabelHeads
from transferability.networks.facts import layer_facts
from transferability.recipe import Recipe
from transferability.study import Fleet, Network, Study, fleets
from transferability.translated import Translated

# Floating-point operations per second that small CaffeNets reach on one core, and CaffeNet in bfloat16 on one GPU.
# Round numbers for a first estimate.
CORE_SPEED, GPU_SPEED = 40e9, 60e12
# What a trained network takes, in multiples of its weights, with its gradient and what the optimiser keeps.
TRAINED_COPIES = {"sgd": 3, "adamw": 4}
CLASSES = 1000  # for memory, where the number of classes matters little
SAFETY = 1.5  # memory is calculated, or measured without a validation, and the allocator wastes some of it

# ------------------------------------------------------------------------------------------ operations


def operations(study: Study, network: Network, classes: int = 100) -> tuple[float, float]:
    """(frozen, trained): floating-point operations per training image in a network's frozen and trained layers.

    The backward pass costs twice the forward pass, except in the first trained layer, whose input needs no gradient,
    and in frozen layers above trained ones, whose weights need none: they are counted among the trained.
    """
    plans = network.layers(study.architecture.depth)
    layers, n = layer_facts(study.architecture, classes), network.treatment.n
    costs = [layer.operations for layer in layers]
    if network.is_zero_shot:  # no layers above n, but a map to as many numbers as there are classes, more or less
        features = prod(layers[n - 1].shape) if n else 3 * study.architecture.crop**2
        return float(sum(costs[:n])), 4.0 * features * classes
    if isinstance(network.recipe, LabelHeads):
        heads = sum(costs[n:-1]) * classes + costs[-1]  # the last layer has one output in each
        return 0.0, float(3 * (sum(costs[:n]) + heads) - costs[0])
    trained = [cost for cost, plan in zip(costs, plans, strict=True) if plan.rate]
    frozen, first = sum(costs) - sum(trained), trained[0] if trained else 0
    if network.treatment.top:
        return 0.0, float(3 * sum(trained) - first + 2 * frozen)
    if isinstance(network.recipe, Translated):  # four passes of translators, with gradient; then one beside the network
        share, passes = network.recipe.translation, network.recipe.translator_operations
        return 0.0, share * 4 * 3 * passes + (1 - share) * (3 * sum(trained) - first + passes * bool(share))
    if isinstance(network.recipe, JointlyTranslated):  # two images and two translations; six decoded images
        decoding = network.recipe.decoder_operations(layers[n - 1].shape)
        return 0.0, float(3 * (4 * sum(costs[:n]) + 2 * sum(costs[n:])) + 3 * 6 * decoding)
    if network.aligns_domains:  # as many images of the other domain are seen beside each
        return 0.0, 2 * float(3 * sum(trained) - first)
    return float(frozen), float(3 * sum(trained) - first)


def fleet_operations(study: Study, fleet: Fleet, classes: int = 100) -> float:
    """Floating-point operations of a whole fleet's training: each shared frozen prefix counts once."""
    if not fleet.trains:
        return 0.0
    prefixes: dict[str, float] = {}
    total = 0.0
    for network in fleet.networks:
        frozen, trained = operations(study, network, classes)
        total += trained
        prefixes[network.treatment.source] = max(frozen, prefixes.get(network.treatment.source, 0.0))
    return (sum(prefixes.values()) + total) * fleet.recipe.steps * fleet.recipe.batch


def estimate(study: Study, divided: Sequence[Fleet], workers: int) -> str:
    """A line for people: operations of the fleets, and hours on this machine's cores or on one GPU."""
    divided = [fleet for fleet in divided if fleet.trains]
    total = sum(fleet_operations(study, fleet) for fleet in divided)
    images = sum(fleet.recipe.steps * fleet.recipe.batch for fleet in divided)
    cores, gpu = total / (CORE_SPEED * workers) / 3600, total / GPU_SPEED / 3600
    return (
        f"{images:,} images read, {total:.3g} floating-point operations: about {hours(cores)} on {workers} cores "
        f"(at {CORE_SPEED / 1e9:.0f} GFLOP/s each), {hours(gpu)} on one GPU (at {GPU_SPEED / 1e12:.0f} TFLOP/s)"
    )


def hours(value: float) -> str:
    """Hours in words: 3 min, 5.2 h, 12 days."""
    if value < 1:
        return f"{max(1, round(value * 60))} min"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:.0f} days"


# ------------------------------------------------------------------------------------------ memory


def fleet_memory(study: Study, fleet: Fleet, devices: int = 1) -> float:
    """Bytes that training `fleet` takes on each of `devices`: calculated, to a third or so.

    A trained weight takes 12 bytes (itself, gradient, momentum; 16 with AdamW), a frozen one 4. Each network keeps what
    its backward pass needs: a layer's input, its output before and after pooling, and where the maxima were. A frozen
    prefix keeps only the features that it hands on.
    """
    architecture, recipe = study.architecture, fleet.recipe
    width = 2 if recipe.precision == "bfloat16" else 4
    images = recipe.batch / devices * (1 + (fleet.aligns_domains or fleet.shares_layers))
    images *= 1 + isinstance(recipe, JointlyTranslated)  # translations go the same way
    layers = layer_facts(architecture, CLASSES)
    weights = activations = 0.0
    for network in fleet.networks:
        plans, n = network.layers(architecture.depth), network.treatment.n
        for place, (layer, plan) in list(enumerate(zip(layers, plans, strict=True)))[network.treatment.frozen :]:
            if plan.origin == "absent":
                continue
            # How many labels there are is not known here.
            heads = MOST_HEADS if isinstance(recipe, LabelHeads) and n <= place < architecture.depth - 1 else 1
            weights += heads * 4 * (TRAINED_COPIES[recipe.optimiser] if plan.rate else 1) * layer.parameters
            activations += heads * images * (width * layer.kept + layer.kept_bytes)
    for n in fleet.prefixes.values():
        activations += images * width * sum(prod(layer.shape) for layer in layers[:n])
    return weights + activations + images * 3 * architecture.crop**2 * 4 * 2


def checkpoint_bytes(study: Study, fleet: Fleet) -> float:
    """Size of the fleet's checkpoint: weight and momentum of everything that is trained."""
    parameters = [layer.parameters for layer in layer_facts(study.architecture, CLASSES)]
    trained = 0.0
    for network in fleet.networks:
        plans = network.layers(study.architecture.depth)
        trained += sum(count for count, plan in zip(parameters, plans, strict=True) if plan.rate)
    copies = TRAINED_COPIES[fleet.recipe.optimiser] - 1 + (fleet.recipe.stop == "inner")  # no gradient; the best state
    return 4 * copies * trained


def sizes_that_fit(study: Study, chosen: Sequence[Network], devices: int = 1) -> str:
    """A line for people: what the largest fleet takes, and which --fleet-size fits into GPUs of the usual sizes."""
    # Splits and seeds repeat each other: one of each kind of group is enough.
    trained = [network for network in chosen if isinstance(network.recipe, Recipe) and network.recipe.steps]
    if not trained:
        return "no layer is trained"
    groups = {
        tuple((member.short_name, member.recipe) for member in fleet.networks): fleet for fleet in fleets(trained)
    }
    networks = [network for fleet in groups.values() for network in fleet.networks]

    def most(size: int) -> float:
        return max(fleet_memory(study, fleet, devices) for fleet in fleets(networks, size)) / 1e9

    largest = max(len(fleet.networks) for fleet in groups.values())
    whole = most(largest)
    checkpoint = max(checkpoint_bytes(study, fleet) for fleet in groups.values()) / 1e9
    parts = [
        f"memory, calculated: the largest fleet ({largest} networks) takes about {max(whole, 0.1):,.1f} GB of a GPU "
        f"(and its checkpoint {max(checkpoint, 0.1):,.1f} GB of disk, written at each validation)"
    ]
    for gigabytes in (16, 24, 40, 80, 141):
        if whole <= 0.9 * gigabytes:
            parts.append(f"{gigabytes} GB take it")
            break
        low, high = 0, largest  # fits, does not fit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if most(middle) <= 0.9 * gigabytes else (low, middle)
        if not low:
            parts.append(f"{gigabytes} GB take not even one network")
        else:  # a limit of 27 halves 28 networks: what counts is 14
            parts.append(f"{gigabytes} GB take --fleet-size {max(len(f.networks) for f in fleets(networks, low))}")
    return "; ".join(parts)
