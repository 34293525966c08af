"""Processes that compute with torch share the cores and sleep while they wait."""

import os
import subprocess
import sys

from argenseg_model.threads import torch_environment, usable_cores


def test_processes_share_the_cores() -> None:
    cores = usable_cores()
    assert torch_environment({}) == {"OMP_WAIT_POLICY": "PASSIVE"}  # torch knows better than to take all
    assert torch_environment({}, processes=max(2, cores))["OMP_NUM_THREADS"] == "1"
    assert torch_environment({}, processes=10 * cores)["OMP_NUM_THREADS"] == "1"


def test_what_a_person_chose_stays() -> None:
    chosen = {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE", "HOME": "/home/a"}
    assert torch_environment(chosen, processes=2) == chosen


def test_threads_that_are_decided_outweigh_the_environment() -> None:
    environment = torch_environment({"OMP_NUM_THREADS": "3"}, threads=2)
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "2")
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_torch_heeds_it_when_it_is_imported_later() -> None:
    code = (
        "from argenseg_model.threads import be_a_good_neighbour; be_a_good_neighbour(); import torch;"
        "print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"OMP_NUM_THREADS": "1", "OMP_DISPLAY_ENV": "true"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert said.stdout.strip() == "1"
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said.stderr
