"""A conditional continuous normalising flow: noise becomes a code under given attributes.

dx/dt = v(x, t, attributes) carries a standard normal distribution at t = 0 to the codes at t = 1;
Chen et al.: Neural ordinary differential equations, NeurIPS 2018, solved by torchdiffeq. It is
trained by flow matching (Lipman et al., ICLR 2023): v is fitted to the straight ways from noise to
codes, which needs no solver; the density is that of any such flow (Grathwohl et al.: FFJORD, ICLR
2019), here with the exact divergence, since a code is short.
"""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torchdiffeq import odeint

#: relative and absolute tolerance of the solver
_TOLERANCE = 1e-3
EXAMPLES = 2048
#: waves of t beside t itself
_OCTAVES = 4


class ConditionalFlow(nn.Module):
    """The field v and what is done with it.

    Args:
        codes: length of a code.
        conditions: attributes, as parts of their ranges.
        hidden: width of the three layers.
    """

    centre: Tensor
    spread: Tensor
    #: (EXAMPLES, conditions) attributes of codes that the flow was made for
    examples: Tensor

    def __init__(self, codes: int, conditions: int, hidden: int = 256) -> None:
        super().__init__()
        self.codes, self.conditions = codes, conditions
        #: mean and deviation of each place of the codes: the flow is between what is scaled alike
        self.register_buffer("centre", torch.zeros(codes))
        self.register_buffer("spread", torch.ones(codes))
        self.register_buffer("examples", torch.zeros(EXAMPLES, conditions))
        self.field = nn.Sequential(
            nn.Linear(codes + conditions + 1 + 2 * _OCTAVES, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, codes),
        )

    def prepare(self, codes: Tensor, attributes: Tensor) -> None:
        """Take centre and spread from (B, codes), and examples from (M, conditions)."""
        self.centre.copy_(codes.mean(0))
        self.spread.copy_(codes.std(0).clamp(min=1e-6))
        self.examples.copy_(attributes[torch.arange(EXAMPLES) * len(attributes) // EXAMPLES])

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """(B, codes) at (B, codes) points, (B,) times and (B, conditions)."""
        octaves = pi * 2.0 ** torch.arange(_OCTAVES)
        waves = t[:, None] * octaves
        time = torch.cat([t[:, None], waves.sin(), waves.cos()], 1)
        result: Tensor = self.field(torch.cat([x, condition, time], 1))
        return result

    def matching_loss(self, codes: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of v on the straight ways from noise to codes."""
        noise = torch.randn(codes.shape, generator=generator)
        t = torch.rand(len(codes), generator=generator)
        target = (codes - self.centre) / self.spread
        x = noise + t[:, None] * (target - noise)
        return (self.velocity(x, t, condition) - (target - noise)).square().mean()

    @torch.no_grad()
    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """(B, codes) codes of (B, codes) noise."""
        return self._carried(noise, condition, 0.0, 1.0) * self.spread + self.centre

    @torch.no_grad()
    def inverse(self, codes: Tensor, condition: Tensor) -> Tensor:
        """The noise that becomes ``codes`` under ``condition``."""
        return self._carried((codes - self.centre) / self.spread, condition, 1.0, 0.0)

    @torch.no_grad()
    def log_density(self, codes: Tensor, condition: Tensor) -> Tensor:
        """(B,) logarithms of the density of codes: that of their noise, less what the flow spreads
        on the way, the integral of the divergence of v."""

        def field(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            def at(x: Tensor, wanted: Tensor) -> Tensor:
                return self.velocity(x[None], t.expand(1), wanted[None])[0]

            x = state[0]
            jacobian = vmap(jacrev(at))(x, condition)
            return vmap(at)(x, condition), -jacobian.diagonal(dim1=1, dim2=2).sum(1)

        scaled = (codes - self.centre) / self.spread
        noise, gathered = self._solved(field, (scaled, torch.zeros(len(codes))), 1.0, 0.0)
        normal = -0.5 * (noise.square().sum(1) + self.codes * log(2 * pi))
        # run backwards, the gathered -div v is the integral of div v from 0 to 1
        return normal - gathered - self.spread.log().sum()

    def _carried(self, x: Tensor, condition: Tensor, start: float, end: float) -> Tensor:
        def field(t: Tensor, state: tuple[Tensor]) -> tuple[Tensor]:
            return (self.velocity(state[0], t.expand(len(x)), condition),)

        return self._solved(field, (x,), start, end)[0]

    @staticmethod
    def _solved(field: object, state: tuple[Tensor, ...], start: float, end: float) -> list[Tensor]:
        times = torch.tensor([start, end])
        solved = odeint(field, state, times, rtol=_TOLERANCE, atol=_TOLERANCE, method="dopri5")
        return [value[-1] for value in solved]
