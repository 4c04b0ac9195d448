"""What each layer of a network is and costs: calculated where the network is data, measured where it was cut."""

from functools import cache
from math import prod

from transferability.networks.caffenet import Architecture, Conv, shapes
from transferability.networks.chain import Chain, LayerFacts


@cache
def layer_facts(architecture: Architecture | Chain, classes: int) -> tuple[LayerFacts, ...]:
    """What each layer is and costs, with `classes` outputs. Refused where images are too small for the network."""
    if isinstance(architecture, Chain):
        from transferability.networks.cut import measured_facts  # loads torch, which data does without

        return measured_facts(architecture, classes)
    sizes = shapes(architecture)
    facts = []
    for (name, spec), (channels, side), (_, output_side) in zip(architecture.layers, sizes, sizes[1:], strict=False):
        if isinstance(spec, Conv):
            places = spec.output_side(side) ** 2  # before the pooling
            inputs = spec.kernel**2 * channels // spec.groups
            shape: tuple[int, ...] = (spec.channels, output_side, output_side)
            kept = places * spec.channels + prod(shape)
            # Where the maxima were; and what is normalised, in single precision, whatever the recipe's.
            kept_bytes = 8 * prod(shape) * (spec.pool + spec.lrn)
        else:
            places, inputs, shape = 1, channels * side**2, (spec.outputs or classes,)
            kept, kept_bytes = 2 * shape[0], 0
        parameters, operations = shape[0] * (inputs + 1), 2 * places * shape[0] * inputs
        facts.append(LayerFacts(name, shape, parameters, 0, operations, kept, kept_bytes))
    return tuple(facts)
