"""Runs work on named items one after another in this process; cluster does the same on many machines."""

import contextlib
import gc
import platform
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from ..errors import TrainingFailed, Unavailable, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Queue(Protocol):
    """Runs the same work on every item and yields each name with its result, in the order of completion."""

    def __call__(
        self, work: Callable[[Item], Result], items: Mapping[str, Item]
    ) -> Generator[tuple[str, "Result | Failure"], None, None]:
        """Runs ``work`` once per item, again if its machine failed. Closing the generator stops running items."""
        ...


@dataclass(frozen=True)
class Failure:
    """An item whose work failed."""

    sentence: str
    own: bool  # caused by the item itself, so that it would fail on any machine
    node: str = ""  # Ray's id of the machine


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    """Returns the result of ``work`` or a Failure, so that one failed item does not stop the others.

    User errors are the item's own. A full disk or an unexpected error may not occur on another machine. Both are
    logged here, since an item that later succeeds elsewhere leaves no other trace of the error.
    """
    try:
        return work(item)
    except UserError as error:
        print(error, file=sys.stderr)
        return Failure(str(error), own=not isinstance(error, Unavailable), node=node_id())
    except Exception as error:  # noqa: BLE001 - reported in the table, with the traceback in the log
        traceback.print_exc()
        return Failure(f"{type(error).__name__}: {error}", own=False, node=node_id())


def in_turn(work: Callable[[Item], Result], items: Mapping[str, Item]) -> Generator[tuple[str, Result], None, None]:
    """Runs the items one after another in this process."""
    for name, item in items.items():
        yield name, work(item)
        gc.collect()  # frees this model's reference cycles before the next model loads


def all_of(results: Iterator[tuple[str, Result | Failure]]) -> Iterator[Result]:
    """Yields the results of a queue. Raises UserError for the first item that failed."""
    for name, result in results:
        if isinstance(result, Failure):
            raise TrainingFailed(
                f"{name}: {result.sentence} Finished results are saved. Run the same command to continue."
            )
        yield result


@contextlib.contextmanager
def threads(count: int) -> Generator[None, None, None]:
    """Sets torch's number of threads to ``count`` inside the block; the last bits of sums depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def node_id() -> str:
    """Returns Ray's id of this machine, or an empty string outside a cluster."""
    ray: Any = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray and ray.is_initialized() else ""


def here() -> str:
    """Returns a short name of this machine."""
    return " ".join(filter(None, (platform.node(), node_id()[:6])))
