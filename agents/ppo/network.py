"""The network: encodes the static graph once, then scores every choice of a state.

No parameter depends on the size of the graph, the number of choices or of slots, so one set of
weights serves every model and chip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GraphConv

from fragenv.env.observation import CHOICE_DYNAMIC, GLOBAL, NODE_DYNAMIC, SLOTS
from fragenv.env.static import CHIP, CHOICE_STATIC, NODE_STATIC

#: logits of EVICT and SPILL at the start, against those of RUN around 0: the rule that evicts and
#: spills on demand is seldom beaten
RARELY = -4.0


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with a ReLU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class GraphEncoder(nn.Module):
    """Static features to node and choice embeddings.

    Message passing in both directions of the edges (GraphConv, Morris et al., AAAI 2019), mean over
    neighbours, with residuals.
    """

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.nodes = mlp(len(NODE_STATIC) + len(CHIP), hidden, hidden)
        self.forward_layers = nn.ModuleList(
            GraphConv(hidden, hidden, aggr="mean") for _ in range(layers)
        )
        self.backward_layers = nn.ModuleList(
            GraphConv(hidden, hidden, aggr="mean") for _ in range(layers)
        )
        self.choices = mlp(hidden + len(CHOICE_STATIC), hidden, hidden)

    def forward(
        self,
        node_static: Tensor,
        choice_static: Tensor,
        chip: Tensor,
        edge_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One graph: (N, F), (N, C, K), (G,), (2, E) to (N, H) and (N, C, H)."""
        count = node_static.shape[0]
        nodes = self.nodes(torch.cat([node_static, chip.expand(count, -1)], dim=-1))
        for ahead, back in zip(self.forward_layers, self.backward_layers, strict=True):
            nodes = nodes + torch.relu(ahead(nodes, edge_index) + back(nodes, edge_index.flip(0)))
        wide = nodes.unsqueeze(1).expand(-1, choice_static.shape[1], -1)
        return nodes, self.choices(torch.cat([wide, choice_static], dim=-1))


class PolicyNetwork(nn.Module):
    """Scores actions and values states, given the embeddings of their graphs."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.size = {"hidden": hidden, "layers": layers}
        self.encoder = GraphEncoder(hidden, layers)
        self.context = mlp(len(GLOBAL) + len(CHIP), hidden, hidden)
        self.node = mlp(hidden + len(NODE_DYNAMIC), hidden, hidden)
        self.choice_in = nn.Linear(len(CHOICE_DYNAMIC), hidden)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.run = nn.Linear(hidden, 1)
        self.spill = mlp(2 * hidden, hidden, 1)
        self.evict = mlp(hidden + len(SLOTS), hidden, 1)
        self.value = mlp(2 * hidden, hidden, 1)
        for head in (self.spill[-1], self.evict[-1]):
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, RARELY)
        nn.init.orthogonal_(self.run.weight, 0.1)
        nn.init.zeros_(self.run.bias)

    def forward(
        self,
        nodes: Tensor,
        choices: Tensor,
        graph: Tensor,
        observation: dict[str, Tensor],
        legal: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, actions) and values (B, 1).

        Args:
            nodes, choices: embeddings (D, N, H) and (D, N, C, H) of the D distinct graphs.
            graph: (B,), which of the graphs each state belongs to.
            observation: features of the B states, in their layout's shapes.
            legal: (B, actions) bool. RUNs that are not legal are not scored: their logits are 0,
                for the mask to remove. Few of a state's RUNs are legal, and scoring them is most
                of the work. None: all are scored.
        """
        chip, mask = observation["chip"], observation["node_mask"].unsqueeze(-1)
        context = self.context(torch.cat([observation["global"], chip], dim=-1))  # (B, H)
        of_states = nodes.expand(len(graph), -1, -1) if len(nodes) == 1 else nodes[graph]
        state = torch.relu(self.node(torch.cat([of_states, observation["node_dynamic"]], dim=-1)))
        wide = context.unsqueeze(1).expand(-1, state.shape[1], -1)
        both = torch.cat([state, wide], dim=-1)  # (B, N, 2H)
        run = self._score_runs(choices, graph, both, observation["choice_dynamic"], legal)
        nodes_logits = torch.cat([run, self.spill(both)], dim=-1)  # (B, N, C + 1)
        slots = observation["slots"]
        of_slots = context.unsqueeze(1).expand(-1, slots.shape[1], -1)
        evict = self.evict(torch.cat([of_slots, slots], dim=-1)).squeeze(-1)
        logits = torch.cat([evict, nodes_logits.flatten(1)], dim=-1)
        pooled = (state * mask).sum(1) / mask.sum(1)
        return logits, self.value(torch.cat([pooled, context], dim=-1))

    def _score_runs(
        self,
        choices: Tensor,
        graph: Tensor,
        both: Tensor,
        dynamic: Tensor,
        legal: Tensor | None,
    ) -> Tensor:
        """(B, N, C) logits of RUN, 0 where ``legal`` says no."""
        states, count, options, _ = dynamic.shape
        if legal is None:
            scored = torch.arange(states * count * options, device=dynamic.device)
        else:
            first = legal.shape[-1] - count * (options + 1)  # EVICT comes before
            runs = legal[:, first:].reshape(states, count, options + 1)[..., :options]
            scored = runs.reshape(-1).nonzero().squeeze(-1)
        per_state = count * options
        embedded = graph[scored // per_state] * per_state + scored % per_state
        static = choices.flatten(0, 2).index_select(0, embedded)
        moving = self.choice_in(dynamic.flatten(0, 2).index_select(0, scored))
        around = self.mix(both).flatten(0, 1).index_select(0, scored // options)
        found: Tensor = self.run(torch.relu(static + moving + around)).squeeze(-1)
        logits = found.new_zeros(states * per_state).index_copy(0, scored, found)
        return logits.reshape(states, count, options)
