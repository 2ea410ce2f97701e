"""The generative systems, by name. A further one is a file of its own and a line here."""

from __future__ import annotations

from fragenv.generate.baselines import MutationGenerator, RandomGenerator
from fragenv.generate.cgvae import CgvaeGenerator
from fragenv.generate.controller import ControllerGenerator
from fragenv.generate.dgmg import DgmgGenerator
from fragenv.generate.flow import FlowGenerator
from fragenv.generate.generator import GENERATORS, Generator
from fragenv.generate.graphrnn import GraphRnnGenerator
from fragenv.generate.gvae import GvaeGenerator
from fragenv.generate.molgan import MolGanGenerator
from fragenv.generate.ws_flex import WsFlexGenerator

_ALL: tuple[type[Generator], ...] = (
    RandomGenerator,
    MutationGenerator,
    WsFlexGenerator,
    DgmgGenerator,
    GvaeGenerator,
    FlowGenerator,
    ControllerGenerator,
    GraphRnnGenerator,
    CgvaeGenerator,
    MolGanGenerator,
)
for _system in _ALL:
    GENERATORS.add(str(_system.name), _system)
