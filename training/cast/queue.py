"""Work on named items, one after the other in this process; cluster does the same on many machines."""

import contextlib
import gc
import platform
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from ..errors import Unavailable, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Queue(Protocol):
    """Does the same work on every item and yields each name with its result, in the order in which they end."""

    def __call__(
        self, work: Callable[[Item], Result], items: Mapping[str, Item]
    ) -> Generator[tuple[str, "Result | Failure"], None, None]:
        """``work`` runs once an item, or again where a machine failed under it. Closing it stops those at work."""
        ...


@dataclass(frozen=True)
class Failure:
    """An item on which the work failed."""

    sentence: str
    own: bool  # for the item's own reasons: it would fail anywhere
    node: str = ""  # Ray's id of where it was tried


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    """The result of ``work``, or why there is none, so that one item costs no other.

    The user's mistakes are the item's own; a full disk, or anything unforeseen, may go well elsewhere.
    Either is told in the log too, since of an item that goes well elsewhere nothing else tells it.
    """
    try:
        return work(item)
    except UserError as error:
        print(error, file=sys.stderr)
        return Failure(str(error), own=not isinstance(error, Unavailable), node=node_id())
    except Exception as error:  # noqa: BLE001 - it is told in the table, with all of it in the log
        traceback.print_exc()
        return Failure(f"{type(error).__name__}: {error}", own=False, node=node_id())


def in_turn(work: Callable[[Item], Result], items: Mapping[str, Item]) -> Generator[tuple[str, Result], None, None]:
    """The items one after the other, here."""
    for name, item in items.items():
        yield name, work(item)
        gc.collect()  # or the next model has no room beside this one's cycles


def all_of(results: Iterator[tuple[str, Result | Failure]]) -> Iterator[Result]:
    """The results of a queue in which no item may fail. Raises UserError for one that did."""
    for name, result in results:
        if isinstance(result, Failure):
            raise UserError(f"{name}: {result.sentence} What was measured is kept; the same command goes on.")
        yield result


@contextlib.contextmanager
def threads(count: int) -> Generator[None, None, None]:
    """The work inside has ``count`` threads: the last bits of a sum depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def node_id() -> str:
    """Ray's id of this machine; empty outside of a cluster."""
    ray: Any = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray and ray.is_initialized() else ""


def here() -> str:
    """This machine in few words."""
    return " ".join(filter(None, (platform.node(), node_id()[:6])))
