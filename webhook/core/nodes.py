"""Parses Argo's node names: which task of a workflow a pod runs, and in which sub-pipelines and loop iterations."""

from __future__ import annotations

import re
from typing import NamedTuple

_SEGMENT = re.compile(r"([^.()]+)((?:\([^()]*(?:\([^()]*\)[^()]*)*\))*)")
"""A name, followed in parentheses by the index and value of an iteration, or by the number of a retry.

A value may contain parentheses itself, but not parentheses within them.
"""
_INDEX = re.compile(r"\((\d+):")
_LOOP_PLUMBING = frozenset({"iteration-iterations", "iteration-item"})
"""Segments that KFP's compiler inserts between a loop and its tasks (observed with KFP 2.17.0)."""


class Node(NamedTuple):
    """A pod's position in its workflow: the names from the outermost to the task, and the indices of the loops."""

    path: tuple[str, ...] = ()
    iterations: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """Return the task, or None if the name does not contain it."""
        return self.path[-1] if self.path else None

    @property
    def iteration(self) -> str | None:
        """Return the index of the iteration, or None outside loops. Nested loops: ``2.0``, the outer one first."""
        return ".".join(self.iterations) or None

    @property
    def title(self) -> str | None:
        """Return the task with its iteration, such as ``train[2]``, to distinguish the runs of a loop."""
        return f"{self.task}[{self.iteration}]" if self.task and self.iterations else self.task


def parse_node(name: str) -> Node:
    """Read a node's name. Other text gives an empty node.

    ``W(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).train(0).executor(0)`` is the task
    ``train`` in ``for-loop-1``, iteration 2. The workflow, KFP's ``root``, a final ``executor`` and the numbers of
    retries are left out (observed with KFP 2.17.0 on Argo 4.0.5; without retries there are no such numbers).
    """
    segments: list[tuple[str, str]] = _SEGMENT.findall(name)
    if segments and segments[-1][0] == "executor":
        segments.pop()
    first = 2 if len(segments) > 2 and segments[1][0] == "root" else 1
    path = [name for name, _ in segments[first:]]
    if ":" not in name:
        return Node(tuple(path))
    around = [name for name in path[:-1] if name not in _LOOP_PLUMBING]
    indices = [match[1] for _, behind in segments[first:] if (match := _INDEX.search(behind))]
    return Node((*around, *path[-1:]), tuple(indices))
