"""The picture of a training."""

from __future__ import annotations

from fragenv.report.training_plot import same_cost, training_figure


def test_same_cost__names_stand_together_cheapest_first() -> None:
    found = same_cost({"b": 3.2711, "far": 4.0, "a": 3.2712})
    assert [(names, round(cost, 3)) for names, cost in found] == [
        (["b", "a"], 3.271),
        (["far"], 4.0),
    ]


def test_training_figure__one_line_for_equal_costs() -> None:
    figure = training_figure([1, 2], [-9.0, -4.0], [5.0, 4.0], {"x": 3.0, "y": 3.0, "z": 3.5})
    bottom = figure.axes[1]
    labels = [str(line.get_label()) for line in bottom.get_lines()]
    assert labels == ["greedy rollout", "best so far", "3.000 x,\ny", "3.500 z"]
