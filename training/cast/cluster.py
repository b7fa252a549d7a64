"""The queue on a Ray cluster: Ray places the items, begins those of a lost process or node again, and names them."""

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

from ..errors import UserError
from ..options import check, option
from .queue import Failure, Item, Queue, Result, in_turn, threads

PACKAGE = Path(__file__).parents[1]  # sent to the cluster's machines, which need only what it imports
LOOK_UP = 1.0  # s; Ctrl-C is heard in between
GRACE = 120.0  # s that running items have for saving their states
GIB = 2**30

# Ray reads it when imported. Otherwise, after `uv run`, it would send the whole folder that one is in to every machine,
# and each worker would make an environment there, of 5 GB.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")


@dataclass(frozen=True)
class ClusterOptions:
    """Where the queue runs, and what each of its items takes."""

    address: str | None = option(
        None, help="Ray cluster, such as auto or 10.0.0.1:6379; its machines must see the same folders"
    )
    gpus: float | None = option(
        None, help="GPUs an item, such as 1 or 0.5 (default: 1 where the cluster has any)", low=0, high=8
    )
    cpus: int | None = option(
        None, help="processor cores and threads an item (default: 1 beside a GPU, else as many as torch takes)", low=1
    )
    memory: float | None = option(
        None, help="GiB of memory to reserve for an item (default: by the size of the base model)", low=0
    )
    retries: int = option(3, help="how often an item is begun again after its machine or process failed", low=0)

    def __post_init__(self):
        check(self)


def installed() -> bool:
    """Whether Ray is."""
    return importlib.util.find_spec("ray") is not None


@contextlib.contextmanager
def opened(options: ClusterOptions, local: bool, memory: float | None = None) -> Generator[Queue, None, None]:
    """The queue as ``options`` say: on the cluster at their address; without one in turn, or on this machine's Ray
    where ``local``. ``memory`` is the default, in GiB. Raises UserError where the cluster cannot be reached.
    """
    cuda = torch.cuda.is_available()
    if not (options.address or local):
        with threads(options.cpus or (1 if cuda else torch.get_num_threads())):
            yield in_turn
        return
    if not installed():
        raise UserError("--address needs Ray, which is not installed: pip install 'ray[default]'.")
    import ray
    from ray.exceptions import RayError

    environment = {"py_modules": [str(PACKAGE)]} if options.address else None
    try:
        ray.init(options.address or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UserError(
            f"There is no Ray cluster at {options.address}, or it wants another token than this machine's "
            f"({str(error).splitlines()[0]}). Set RAY_AUTH_MODE=token if it was started with one; see docs/scale.md."
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
    if not any(all(machine.get(kind, 0) >= count for kind, count in wanted.items()) for machine in machines):
        raise UserError(
            f"No machine of the cluster has {gpus:g} GPUs, {cpus} cores and {gib:.1f} GiB of memory for one item. Ask "
            "for less with --gpus, --cpus and --memory, or wait for a larger machine."
        )
    return {"num_gpus": gpus, "num_cpus": cpus, "memory": int(gib * GIB) or None}


def _run(
    retries: int, resources: dict[str, Any], work: Callable[[Item], Result], items: Mapping[str, Item]
) -> Generator[tuple[str, Result | Failure], None, None]:
    """See Queue. Whatever ends it early, Ctrl-C too, has the running items save their states."""
    import ray

    task = ray.remote(max_retries=retries, **resources)(_call)
    failed_on: dict[str, list[str]] = defaultdict(list)

    def begin(name: str) -> Any:
        return task.options(name=name, label_selector=_elsewhere(failed_on[name])).remote(
            work, items[name], resources["num_cpus"]
        )

    pending = {begin(name): name for name in items}
    try:
        while pending:
            for reference in ray.wait(list(pending), timeout=LOOK_UP)[0]:
                name = pending.pop(reference)
                result = _result(reference)
                if isinstance(result, Failure) and not result.own and len(failed_on[name]) < retries:
                    failed_on[name].append(result.node)
                    pending[begin(name)] = name
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
    """What an item's work returned, or how it ended: by a signal, or after all of Ray's own retries."""
    from ray import get
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        return get(reference)
    except TaskCancelledError:
        return Failure("Its process was told to stop.", own=False)
    except RayTaskError:
        raise
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        return Failure(f"Its process ended again and again ({type(error).__name__}: {reason})", own=True)


def _elsewhere(nodes: list[str]) -> dict[str, str]:
    """Any living machine but these, as long as there is another."""
    import ray

    known = {node for node in nodes if node}
    others = any(node["Alive"] and node["NodeID"] not in known for node in ray.nodes())
    return {"ray.io/node-id": f"!in({','.join(sorted(known))})"} if known and others else {}
