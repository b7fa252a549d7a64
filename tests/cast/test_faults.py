"""A cast on a cluster of several nodes on this machine, with injected failures."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lab.study.paths import measure_all
from lab.study.plan import QUICK, quick
from lab.study.trials import read
from tests.cast.conftest import PEOPLE, subject
from training.cast.cluster import ClusterOptions, opened
from training.cast.entry import FAILED, FINISHED, read_entry

ray = pytest.importorskip("ray")
REPOSITORY = Path(__file__).parents[2]
ONE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
STEPS = ("--max-train-steps", "8")
LONGEST = 180  # s to wait for a fault


@pytest.fixture
def cluster(monkeypatch):
    """Returns a cluster with a head node that runs no items; each test adds its nodes."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    started = Cluster(initialize_head=True, head_node_args={**ONE, "num_cpus": 0, "include_dashboard": False})
    yield started
    ray.shutdown()
    started.shutdown()


def wait_for(condition):
    """Waits until ``condition`` returns something true, and returns it."""
    end = time.monotonic() + LONGEST
    while not (result := condition()):
        assert time.monotonic() < end, "the condition was never met"
        time.sleep(0.05)
    return result


def node(cluster, fault, marks):
    """Adds a node on which ``fault`` occurs; see faults/sitecustomize.py."""
    marks.mkdir(exist_ok=True)
    path = str(Path(__file__).parent / "faults")
    return cluster.add_node(**ONE, env_vars={"PYTHONPATH": path, "FAULT": fault, "MARKS": str(marks)})


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def in_turn(cast, rows, out, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("training.cli.cast.installed", lambda: False)
        assert cast(rows, *STEPS, out=out) == 0


@pytest.mark.slow
def test_a_killed_process_a_lost_node_a_full_disk_and_a_damaged_row(cluster, cast, tmp_path, monkeypatch, capsys):
    """Three subjects on three machines; every fault occurs before any machine could do another one's work."""
    rows, out, marks = {name: {} for name in PEOPLE}, tmp_path / "out", tmp_path / "marks"
    in_turn(cast, rows, tmp_path / "whole", monkeypatch)
    lost, *_ = [node(cluster, fault, marks) for fault in ("held", "killed", "full disk")]

    def lose():
        wait_for((marks / "killed").exists)  # "killed" waits for the other faults
        cluster.remove_node(lost, allow_graceful=False)

    damaged = {"poor": {"subject": tmp_path / "nowhere"}}
    with ThreadPoolExecutor() as beside:
        losing = beside.submit(lose)
        assert cast(damaged | rows, *STEPS, "--address", cluster.address, "--memory", "0") == 1
        losing.result()
    assert "3 of 4 finished, 1 failed" in capsys.readouterr().out
    entries = {name: read_entry(out / name) for name in (*rows, "poor")}
    assert all(entries[name].state == FINISHED and entries[name].retries for name in rows)
    assert entries["poor"].state == FAILED and str(tmp_path / "nowhere") in entries["poor"].sentence
    assert entries["poor"].starts == 1, "an item that fails for its own reasons is not retried"
    assert all(same(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)
    logs = [(out / name / "log.txt").read_text() for name in (*rows, "poor")]
    assert any("No space left on device" in log for log in logs) and str(tmp_path / "nowhere") in logs[-1]
    assert sum("resumed after step" in log for log in logs) >= 2, "the killed and the lost subject had a state"


@pytest.mark.slow
def test_after_ctrl_c_and_a_lost_head_the_same_command_continues_with_identical_results(
    cluster, cast, tmp_path, monkeypatch, options
):
    from ray.cluster_utils import Cluster

    rows, out, marks = {name: {} for name in list(PEOPLE)[:2]}, tmp_path / "out", tmp_path / "marks"
    in_turn(cast, rows, tmp_path / "whole", monkeypatch)
    node(cluster, "held", marks)
    log = (tmp_path / "log.txt").open("w+")

    def start(address):
        command = [sys.executable, "-m", "training", "cast", f"{tmp_path}/table.csv", "--out", str(out), *options]
        command += [*STEPS, "--cpus", "1", "--memory", "0", "--address", address]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)

    first = start(cluster.address)
    wait_for((marks / "held").exists)
    (marks / "held").unlink()
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=LONGEST) == 130
    assert any((out / name / "training-state.pt").exists() for name in rows)
    second = start(cluster.address)
    wait_for((marks / "held").exists)
    cluster.head_node.kill_gcs_server(check_alive=False)
    assert second.wait(timeout=LONGEST) != 0
    cluster.shutdown()
    again = Cluster(initialize_head=True, head_node_args=ONE)
    try:
        assert start(again.address).wait(timeout=LONGEST) == 0
    finally:
        again.shutdown()
    assert all(same(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)
    assert max(read_entry(out / name).starts for name in rows) == 3


@pytest.mark.slow
def test_the_study_gives_the_same_numbers_on_a_cluster_and_in_one_process(cluster, tmp_path):
    cluster.add_node(**ONE)
    cluster.add_node(**ONE)
    plan, files = quick()[:2], [tmp_path / "one.jsonl", tmp_path / "many.jsonl"]
    with opened(ClusterOptions(cpus=1), local=False) as queue:
        measure_all(plan, files[0], QUICK, lambda: None, queue)
    with opened(ClusterOptions(cpus=1, address=cluster.address), local=False) as queue:
        measure_all(plan, files[1], QUICK, lambda: None, queue)
    single, cluster_rows = (list(read(file).values()) for file in files)
    assert single == cluster_rows and {row["variant"] for row in single} == {trial.variant.name for trial in plan}


def test_an_item_too_large_for_every_machine_is_refused_at_once(cluster, cast, capsys):
    assert cast({"anna": {}}, "--address", cluster.address, "--memory", "100000") == 2
    error = capsys.readouterr().err
    assert "100000.0 GiB" in error and "--memory" in error


def test_workers_do_not_create_their_own_environment_under_uv():
    """Under `uv run`, Ray would start workers through uv: their parent would be uv instead of Ray's node."""

    def parent(_):
        import psutil

        return psutil.Process().parent().name()

    with opened(ClusterOptions(cpus=1), local=True) as queue:
        assert dict(queue(parent, {"anna": None})) == {"anna": "raylet"}


def test_a_missing_token_is_a_user_error(cast, monkeypatch, capsys):
    """The test raises Ray's own error, because Ray reads the token only once per process."""

    def init(*_, **__):
        raise ray.exceptions.AuthenticationError("Token authentication is enabled but no token was found.")

    monkeypatch.setattr(ray, "init", init)
    assert cast({"anna": {}}, "--address", "10.0.0.1:6379") == 2
    error = capsys.readouterr().err
    assert all(value in error for value in ("10.0.0.1:6379", "Token authentication is enabled", "RAY_AUTH_MODE"))
