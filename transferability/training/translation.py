"""What gives images another look: translators (Zhu et al. 2017), decoders (Murez et al. 2018), and their critics."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.data.stream import FleetImages, TaskImages
from transferability.draws import normal
from transferability.translated import Translated

STD = 0.02  # of first weights; Zhu et al. 2017, section 7.1
SHOWN = 10  # images of either domain, before and after


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Module:
    """A convolution that keeps the size: the image is reflected at its border (section 7.2)."""
    return nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, padding_mode="reflect")


class Block(nn.Module):
    """A residual block of two convolutions. (b, channels, h, w) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        inside: Tensor = self.second(F.relu(F.instance_norm(self.first(x))))
        return x + F.instance_norm(inside)


class Translator(nn.Module):
    """(b, 3, h, w) images from -1 to 1 → the same, in another look. h and w are even."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.begin, self.down = _conv(3, width, 7), nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.blocks = nn.Sequential(*(Block(2 * width) for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1)
        self.end = _conv(width, 3, 7)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.begin, self.down):
            x = F.relu(F.instance_norm(layer(x)))
        x = F.relu(F.instance_norm(self.up(self.blocks(x))))
        return torch.tanh(self.end(x))


class Critic(nn.Module):
    """(b, 3, h, w) images → (b, 1, h', w') scores of patches: 1 for images of its domain, 0 for translations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 4, 2, 1), nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.last = nn.Conv2d(2 * width, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        scores: Tensor = self.last(F.leaky_relu(F.instance_norm(self.second(x)), 0.2))
        return scores


def critic_losses(critic: Critic, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """(): what the makers of images learn by, and what their critic does; least squares (section 4).

    The gradient of the first does not reach the critic, nor that of the second the makers.
    """
    constant = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    misled = torch.func.functional_call(critic, constant, (made,))
    scores = critic(torch.cat([real, made.detach()]))
    wanted = torch.cat([torch.ones_like(scores[: len(real)]), torch.zeros_like(scores[len(real) :])])
    return F.mse_loss(misled, torch.ones_like(misled)), F.mse_loss(scores, wanted)


@torch.no_grad()
def draw_parts(module: nn.Module, owner: str, name: str) -> None:
    """Draws all first weights of a module for an owner; biases are 0. name: of the draw."""
    for path, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.zero_()
        else:
            parameter.copy_(normal(parameter.shape, STD, "weights", owner, name, path))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Views(NamedTuple):
    """(b, 3, h, w) images of A, and what is made of them: their look in B, and back again."""

    before: Tensor
    after: Tensor
    back: Tensor


class Translators(nn.Module):
    """From A's look to B's (`there`), back (`back`), and a critic for each look; weights drawn for an owner."""

    def __init__(self, recipe: Translated, owner: str) -> None:
        super().__init__()
        self.recipe = recipe
        self.there, self.back = (Translator(recipe.width, recipe.blocks) for _ in range(2))
        self.critic_a, self.critic_b = (Critic(recipe.width) for _ in range(2))
        draw_parts(self, owner, "translators")

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        """(): what translators and critics learn by, of (n, 3, h, w) images of either domain, from -1 to 1.

        Equation 3 with the least-squares losses of section 4.
        """
        recipe = self.recipe
        as_b, as_a = self.there(a), self.back(b)
        loss = F.l1_loss(self.back(as_b), a) + F.l1_loss(self.there(as_a), b)
        if recipe.identity:
            loss = loss + recipe.identity * (F.l1_loss(self.there(b), b) + F.l1_loss(self.back(a), a))
        loss = recipe.cycle * loss
        for critic, real, made in ((self.critic_b, b, as_b), (self.critic_a, a, as_a)):
            misled, told = critic_losses(critic, real, made)
            loss = loss + misled + told
        return loss

    @torch.no_grad()
    def views(self, pixels: Tensor) -> Views:
        """Of (b, 3, h, w) uint8 images of A."""
        after = self.translated(pixels)
        return Views(pixels, after, as_pixels(self.back(as_input(after))))

    @torch.no_grad()
    def translated(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) uint8 images of A in the look of B."""
        return as_pixels(self.there(as_input(pixels)))


class Look(nn.Module):
    """(b, 2 width, h, w) → (b, 3, c, c) images from -1 to 1 in one domain's look. c is even."""

    def __init__(self, width: int, crop: int) -> None:
        super().__init__()
        self.crop, self.inside, self.end = crop, _conv(2 * width, width, 3), _conv(width, 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.instance_norm(self.inside(_enlarged(x, self.crop // 2))))
        return torch.tanh(self.end(_enlarged(x, self.crop))).float()


class Decoders(nn.Module):
    """(b, …) features of a shape → (b, 3, c, c) images in either look; and a critic of each. Drawn for an owner.

    Where features have no places, a fully connected layer spreads them over 3 x 3.
    """

    dropout = 0.0  # what a fleet asks of each layer

    def __init__(self, shape: Sequence[int], width: int, crop: int, owner: str) -> None:
        super().__init__()
        self.has_places = len(shape) == 3 and min(shape[1:]) > 1
        features = int(np.prod(shape))
        self.begin = _conv(shape[0], 2 * width, 3) if self.has_places else nn.Linear(features, 2 * width * 9)
        self.block = Block(2 * width)
        self.look_a, self.look_b = (Look(width, crop) for _ in range(2))
        self.critic_a, self.critic_b = (Critic(width) for _ in range(2))
        draw_parts(self, owner, "decoders")

    def forward(self, features: Tensor) -> Tensor:
        """What both looks are made of."""
        x = self.begin(features if self.has_places else features.flatten(1))
        x = x if self.has_places else x.unflatten(1, (-1, 3, 3))
        out: Tensor = self.block(F.relu(F.instance_norm(x)))
        return out


def _enlarged(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def as_input(pixels: Tensor) -> Tensor:
    """Images from -1 to 1."""
    return pixels.float() / 127.5 - 1


def as_pixels(x: Tensor) -> Tensor:
    """uint8 images."""
    return ((x.float() + 1) * 127.5).round().to(torch.uint8)


def first_images(images: FleetImages, crop: int) -> tuple[Tensor, Tensor]:
    """(k, 3, c, c) uint8, centres: of A the first image of each class, of B the first of all; at most SHOWN of each."""
    assert images.beside is not None
    firsts = np.unique(images.training.labels, return_index=True)[1][:SHOWN]
    offset = np.full(SHOWN, (images.training.size - crop) // 2)

    def centres(part: TaskImages, places: np.ndarray) -> Tensor:
        return part.windows(places, offset[: len(places)], offset[: len(places)], crop)

    return centres(images.training, firsts), centres(images.beside, np.arange(min(SHOWN, len(images.beside.rows))))


def sheet(of_a: Views, of_b: Tensor) -> dict[str, np.ndarray]:
    """(k, c, c, 3) uint8: images of A `before` and `after` translation, and `back` again; images of B `target`."""
    parts = {**of_a._asdict(), "target": of_b}
    return {name: part.permute(0, 2, 3, 1).cpu().contiguous().numpy() for name, part in parts.items()}
