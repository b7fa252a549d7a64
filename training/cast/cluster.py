"""The queue on a Ray cluster. Ray schedules and names the items, and restarts those of a lost process or node."""

import contextlib
import functools
import importlib.util
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import MissingInput, Unavailable
from ..options import check, option
from .queue import Failure, Item, Queue, Result, in_turn, threads

PACKAGE = Path(__file__).parents[1]  # sent to the cluster's machines; they need its dependencies installed
POLL = 1.0  # s between checks for results; Ctrl-C works in between
GRACE = 120.0  # s for running items to save their states
GIB = 2**30

# Ray reads this on import. Otherwise, under `uv run`, it would send the whole working folder to every machine, where
# each worker would create its own environment of 5 GB.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")


@dataclass(frozen=True)
class ClusterOptions:
    """Where the queue runs, and the resources per item."""

    address: str | None = option(
        None,
        help="address of a Ray cluster, such as auto or 10.0.0.1:6379; its machines must share their folders",
    )
    gpus: float | None = option(
        None, help="GPUs per item, such as 1 or 0.5 (default: 1 if the cluster has any)", low=0, high=8
    )
    cpus: int | None = option(
        None, help="CPU cores and threads per item (default: 1 with a GPU, otherwise torch's number of threads)", low=1
    )
    memory: float | None = option(
        None, help="GiB of memory to reserve per item (default: by the size of the base model)", low=0
    )
    retries: int = option(3, help="how often to restart an item after its machine or process failed", low=0)

    def __post_init__(self):
        check(self)


def installed() -> bool:
    """Returns whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


@contextlib.contextmanager
def opened(options: ClusterOptions, local: bool, memory: float | None = None) -> Generator[Queue, None, None]:
    """Yields the queue for ``options``: on the Ray cluster at their address, or on this machine without an address.

    With ``local``, this machine runs Ray too; otherwise items run one after another in this process. ``memory`` is
    the default per item, in GiB. Raises UserError if the cluster cannot be reached.
    """
    cuda = torch.cuda.is_available()
    if not (options.address or local):
        with threads(options.cpus or (1 if cuda else torch.get_num_threads())):
            yield in_turn
        return
    if not installed():
        raise MissingInput("--address needs Ray, which is not installed. Install it with: pip install 'ray[default]'.")
    import ray
    from ray.exceptions import RayError

    environment = {"py_modules": [str(PACKAGE)]} if options.address else None
    try:
        ray.init(options.address or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise Unavailable(
            f"Cannot connect to a Ray cluster at {options.address} ({str(error).splitlines()[0]}). Check the address. "
            "If the cluster uses a token, set RAY_AUTH_MODE=token and use the same token here; see docs/scale.md."
        ) from error
    try:
        yield functools.partial(_run, options.retries, _resources(options, memory))
    finally:
        ray.shutdown()


def _resources(options: ClusterOptions, memory: float | None) -> dict[str, Any]:
    import ray

    gpus = options.gpus if options.gpus is not None else float(ray.cluster_resources().get("GPU", 0) >= 1)
    gib = options.memory if options.memory is not None else memory or 0.0
    cpus = options.cpus or (1 if gpus else torch.get_num_threads())
    wanted = {"GPU": gpus, "CPU": cpus, "memory": gib * GIB}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(machine.get(resource, 0) >= count for resource, count in wanted.items()) for machine in machines):
        raise Unavailable(
            f"No machine in the cluster has {gpus:g} GPUs, {cpus} cores and {gib:.1f} GiB of memory for one item. "
            "Reduce --gpus, --cpus or --memory, or add a larger machine."
        )
    return {"num_gpus": gpus, "num_cpus": cpus, "memory": int(gib * GIB) or None}


def _run(
    retries: int, resources: dict[str, Any], work: Callable[[Item], Result], items: Mapping[str, Item]
) -> Generator[tuple[str, Result | Failure], None, None]:
    """See Queue. Stopping early, for example with Ctrl-C, makes the running items save their states."""
    import ray

    task = ray.remote(max_retries=retries, **resources)(_call)
    failed_on: dict[str, list[str]] = defaultdict(list)

    def start(name: str) -> Any:
        return task.options(name=name, label_selector=_avoid_nodes(failed_on[name])).remote(
            work, items[name], resources["num_cpus"]
        )

    pending = {start(name): name for name in items}
    try:
        while pending:
            for reference in ray.wait(list(pending), timeout=POLL)[0]:
                name = pending.pop(reference)
                result = _result(reference)
                if isinstance(result, Failure) and not result.own and len(failed_on[name]) < retries:
                    failed_on[name].append(result.node)
                    pending[start(name)] = name
                else:
                    yield name, result
    finally:
        for reference in pending:
            ray.cancel(reference)
        if pending:
            ray.wait(list(pending), num_returns=len(pending), timeout=GRACE)


def _call(work: Callable[[Item], Result], item: Item, cpus: int) -> Result:
    with threads(cpus):
        return work(item)


def _result(reference: Any) -> Any:
    """Returns an item's result, or a Failure if its process was stopped or Ray's own retries ran out."""
    from ray import get
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        return get(reference)
    except TaskCancelledError:
        return Failure("The process was told to stop.", own=False)
    except RayTaskError:
        raise
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        return Failure(f"The process kept crashing ({type(error).__name__}: {reason}).", own=True)


def _avoid_nodes(nodes: list[str]) -> dict[str, str]:
    """Returns a Ray label selector that avoids ``nodes``, if any other machine is alive."""
    import ray

    avoided = {node for node in nodes if node}
    others = any(node["Alive"] and node["NodeID"] not in avoided for node in ray.nodes())
    return {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"} if avoided and others else {}
