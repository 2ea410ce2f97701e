"""x"""
from __future__ import annotations
import random
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.windows import Window


def synthetic(operators: int, seed: int) -> DataflowGraph:
    """A network of at least ``operators`` operators: blocks of published networks, shuffled."""
    chance = random.Random(seed)
    net = _Network()
    while net.size < operators:
        chance.choice((net.plain, net.residual, net.inverted, net.fire, net.inception))()
    return net.builder.finish(f"synthetic{operators}", [net.x])


class _Network:
    """Grows block by block from one tensor of 16 channels."""

    def __init__(self) -> None:
        self.builder = GraphBuilder()
        self.x = self.builder.input("x", (16, 8, 8))
        self.size = 0

    def conv(self, x: Value, k: int, kernel: int = 1, groups: int = 1, relu: bool = True) -> Value:
        pad = kernel // 2
        window = Window((kernel, kernel), (1, 1), (pad,) * 4)
        y = self.builder.conv(f"conv{self.size}", x, f"t{self.size}", k, window, groups)
        self.size += 1
        return self.relu(y) if relu else y

    def relu(self, x: Value) -> Value:
        self.size += 1
        return self.builder.relu(f"relu{self.size}", x, f"t{self.size}r")

    def add(self, a: Value, b: Value) -> Value:
        self.size += 1
        return self.builder.add(f"add{self.size}", a, b, f"t{self.size}a")

    def concat(self, *parts: Value) -> None:
        self.size += 1
        self.x = self.builder.concat(f"concat{self.size}", parts, f"t{self.size}c", 0)

    def plain(self) -> None:
        self.x = self.conv(self.x, 16, 3)

    def residual(self) -> None:
        y = self.conv(self.conv(self.x, 16, 3), 16, 3, relu=False)
        self.x = self.relu(self.add(y, self.x))

    def inverted(self) -> None:
        y = self.conv(self.conv(self.x, 64), 64, 3, groups=64)
        self.x = self.add(self.conv(y, 16, relu=False), self.x)

    def fire(self) -> None:
        y = self.conv(self.x, 4)
        self.concat(self.conv(y, 8), self.conv(y, 8, 3))

    def inception(self) -> None:
        x = self.x
        branch = self.conv(self.conv(x, 4), 4, 3)
        pool = self.builder.max_pool(
            f"pool{self.size}", x, f"t{self.size}p", Window((3, 3), (1, 1), (1,) * 4), False
        )
        self.size += 1
        self.concat(self.conv(x, 4), branch, self.conv(self.conv(x, 2), 4, 3), self.conv(pool, 4))
