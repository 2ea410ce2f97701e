"""What the timeline's picture says of tasks that take turns."""

from fragenv.report.intervals import Span, Task
from fragenv.report.timeline import _longest_stretches


def test_longest_stretches__end_where_another_task_begins() -> None:
    first = Task(0, (0,), 1, [Span(0, 10), Span(20, 30), Span(30, 45)])
    second = Task(1, (1,), 1, [Span(10, 20), Span(45, 50)])
    elsewhere = Task(2, (2,), 2, [Span(0, 60)])
    found = {task.node: span for task, span in _longest_stretches([first, second, elsewhere])}
    assert found == {0: Span(20, 45), 1: Span(10, 20), 2: Span(0, 60)}
