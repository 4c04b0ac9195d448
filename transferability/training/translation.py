"""Translators between the looks of two domains, and their critics (Zhu et al. 2017)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.draws import normal
from transferability.translated import Translated

STD = 0.02  # of first weights; Zhu et al. 2017, section 7.1


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
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 1:
                    parameter.zero_()
                else:
                    parameter.copy_(normal(parameter.shape, STD, "weights", owner, "translators", name))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        """(): what translators and critics learn by, of (n, 3, h, w) images of either domain, from -1 to 1.

        Equation 3 with the least-squares losses of section 4. The gradient of a translator's loss does not reach the
        critics, nor theirs the translators.
        """
        recipe, mse = self.recipe, F.mse_loss
        as_b, as_a = self.there(a), self.back(b)
        loss = F.l1_loss(self.back(as_b), a) + F.l1_loss(self.there(as_a), b)
        if recipe.identity:
            loss = loss + recipe.identity * (F.l1_loss(self.there(b), b) + F.l1_loss(self.back(a), a))
        loss = recipe.cycle * loss
        for critic, real, made in ((self.critic_b, b, as_b), (self.critic_a, a, as_a)):
            constant = {name: parameter.detach() for name, parameter in critic.named_parameters()}
            misled = torch.func.functional_call(critic, constant, (made,))
            scores = critic(torch.cat([real, made.detach()]))
            wanted = torch.cat([torch.ones_like(scores[: len(real)]), torch.zeros_like(scores[len(real) :])])
            loss = loss + mse(misled, torch.ones_like(misled)) + mse(scores, wanted)
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


def as_input(pixels: Tensor) -> Tensor:
    """Images from -1 to 1."""
    return pixels.float() / 127.5 - 1


def as_pixels(x: Tensor) -> Tensor:
    """uint8 images."""
    return ((x.float() + 1) * 127.5).round().to(torch.uint8)
