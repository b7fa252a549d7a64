"""A cast on a cluster of several nodes on this machine, while they fail."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.cast.conftest import PEOPLE, subject
from training.cast.cluster import ClusterOptions, opened
from training.cast.entry import FAILED, FINISHED, TRAINING, read_entry
from training.study.paths import measure_all
from training.study.plan import QUICK, quick
from training.study.trials import read

ray = pytest.importorskip("ray")
REPOSITORY = Path(__file__).parents[2]
ONE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
STEPS = ("--max-train-steps", "60")
LONGEST = 180  # s that a fault is waited for


@pytest.fixture
def cluster(monkeypatch):
    """A head that works for nobody; nodes are added by each test."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    made = Cluster(initialize_head=True, head_node_args={**ONE, "num_cpus": 0})
    yield made
    ray.shutdown()
    made.shutdown()


def wait_for(condition):
    """What ``condition`` returns once it is true."""
    end = time.monotonic() + LONGEST
    while not (found := condition()):
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.005)
    return found


def half_written(folder):
    """Whether a state lies there that has not got its name yet."""
    return any(file != folder / "training-state.pt" for file in folder.rglob("*training-state.pt*"))


def kill_while_it_writes(entry):
    """SIGKILL for the process of the subject, while its state lies there half written."""
    folder = entry().folder

    def caught():
        now = entry()
        if now.state != TRAINING or not half_written(folder):
            return False
        os.kill(now.pid, signal.SIGSTOP)
        whole = not half_written(folder)
        os.kill(now.pid, signal.SIGCONT if whole else signal.SIGKILL)
        return not whole

    wait_for(caught)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def in_turn(cast, rows, out, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("training.cli.cast.installed", lambda: False)
        assert cast(rows, *STEPS, out=out) == 0


@pytest.mark.slow
def test_a_killed_process_a_lost_node_a_full_disk_and_a_poisoned_row(cluster, cast, tmp_path, monkeypatch, capsys):
    rows, out = {name: {} for name in PEOPLE}, tmp_path / "out"
    in_turn(cast, rows, tmp_path / "whole", monkeypatch)
    full = cluster.add_node(**ONE, env_vars={"PYTHONPATH": str(Path(__file__).parent / "full_disk")})
    nodes = {node.node_id: node for node in (full, cluster.add_node(**ONE), cluster.add_node(**ONE))}

    def faults():
        def entry(name):
            return read_entry(out / name)

        def trains_here(name):
            return entry(name).state == TRAINING and entry(name).step and full.node_id[:6] not in entry(name).node

        first = wait_for(lambda: next((name for name in rows if trains_here(name)), None))
        kill_while_it_writes(lambda: entry(first))
        starts = entry(first).starts
        wait_for(lambda: entry(first).starts > starts and trains_here(first))
        (lost,) = (node for known, node in nodes.items() if known[:6] in entry(first).node)
        cluster.remove_node(lost, allow_graceful=False)

    poisoned = {"poor": {"subject": tmp_path / "nowhere"}}
    with ThreadPoolExecutor() as beside:
        happened = beside.submit(faults)
        assert cast(poisoned | rows, *STEPS, "--address", cluster.address, "--memory", "0") == 1
        happened.result()
    assert "3 of 4 finished, 1 failed." in capsys.readouterr().out
    entries = {name: read_entry(out / name) for name in (*rows, "poor")}
    assert all(entries[name].state == FINISHED for name in rows)
    assert entries["poor"].state == FAILED and "There is no folder" in entries["poor"].sentence
    assert entries["poor"].starts == 1, "what fails for its own reasons is not tried again"
    assert sum(entries[name].retries for name in rows) >= 3, "a process, a node and a disk failed"
    assert all(same(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)
    logs = "".join((out / name / "log.txt").read_text() for name in rows)
    assert "No space left on device" in logs and "resumed after step" in logs


@pytest.mark.slow
def test_ctrl_c_and_then_a_lost_head_and_the_same_command_goes_on_to_the_bit(
    cluster, cast, tmp_path, monkeypatch, options, studio
):
    from ray.cluster_utils import Cluster

    rows, out = {name: {} for name in list(PEOPLE)[:2]}, tmp_path / "out"
    in_turn(cast, rows, tmp_path / "whole", monkeypatch)
    for _ in rows:
        cluster.add_node(**ONE)
    log = (tmp_path / "log.txt").open("w+")

    def start(address):
        command = [
            sys.executable,
            "-m",
            "training",
            "cast",
            f"{tmp_path}/table.csv",
            "--out",
            str(out),
            *options,
            *STEPS,
        ]
        command += ["--cpus", "1", "--memory", "0", "--address", address]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)

    def training():
        return any(read_entry(out / name).step and read_entry(out / name).state == TRAINING for name in rows)

    first = start(cluster.address)
    wait_for(training)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=LONGEST) == 130
    assert any((out / name / "training-state.pt").exists() for name in rows)
    before = {name: read_entry(out / name).starts for name in rows}
    second = start(cluster.address)
    wait_for(lambda: training() and any(read_entry(out / name).starts > before[name] for name in rows))
    cluster.head_node.kill_gcs_server(check_alive=False)
    assert second.wait(timeout=LONGEST) != 0
    cluster.shutdown()
    again = Cluster(initialize_head=True, head_node_args=ONE)
    try:
        assert start(again.address).wait(timeout=LONGEST) == 0
    finally:
        again.shutdown()
    assert all(same(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)


@pytest.mark.slow
def test_the_studys_trials_on_a_cluster_have_the_numbers_of_one_process(cluster, tmp_path):
    cluster.add_node(**ONE)
    cluster.add_node(**ONE)
    plan, files = quick()[:2], [tmp_path / "one.jsonl", tmp_path / "many.jsonl"]
    with opened(ClusterOptions(cpus=1), local=False) as queue:
        measure_all(plan, files[0], QUICK, lambda: None, queue)
    with opened(ClusterOptions(cpus=1, address=cluster.address), local=False) as queue:
        measure_all(plan, files[1], QUICK, lambda: None, queue)
    one, many = (list(read(file).values()) for file in files)
    assert one == many and {row["variant"] for row in one} == {trial.variant.name for trial in plan}


def test_what_no_machine_has_room_for_is_said_at_once(cluster, cast, capsys):
    assert cast({"anna": {}}, "--address", cluster.address, "--memory", "100000") == 2
    assert "No machine of the cluster has" in capsys.readouterr().err
