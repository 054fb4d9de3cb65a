"""Argo's name of a node: which task of a workflow a pod runs, by which way, and in which iteration of a loop."""

from __future__ import annotations

import re
from typing import NamedTuple

_SEGMENT = re.compile(r"([^.()]+)((?:\([^()]*\))*)")
"""A name, and what stands behind it in parentheses: the index and the value of an iteration, the count of a retry."""
_INDEX = re.compile(r"\((\d+):")
_LOOP_PLUMBING = frozenset({"iteration-iterations", "iteration-item"})
"""Segments that KFP's compiler puts between a loop and what is in it (observed with KFP 2.17.0)."""


class Node(NamedTuple):
    """Where a pod stands in its workflow: the names from the outside in, the task last, and the loops' indices."""

    path: tuple[str, ...] = ()
    iterations: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """The task, or None when the name does not tell it."""
        return self.path[-1] if self.path else None

    @property
    def iteration(self) -> str | None:
        """The index of the iteration, or None outside loops; of nested loops ``2.0``, the outer one first."""
        return ".".join(self.iterations) or None

    @property
    def title(self) -> str | None:
        """The task with its iteration, such as ``train[2]``: what tells apart the runs of a loop."""
        return f"{self.task}[{self.iteration}]" if self.task and self.iterations else self.task


def parse_node(name: str) -> Node:
    """Read a node's name; what is not one gives an empty node.

    ``W(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).train(0).executor(0)`` is the task
    ``train`` in ``for-loop-1``, iteration 2. The workflow itself, KFP's ``root`` and a last ``executor`` are left out,
    the counts of retries as well (observed with KFP 2.17.0 on Argo 4.0.5; without retries there are no counts).
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
