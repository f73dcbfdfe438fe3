import shutil
import subprocess

import pytest
import torch

from tuneward.errors import MachineError
from tuneward.modeling import machine
from tuneward.workflows.doctor import doctor

GIB = 2**30


def test_cached_files_do_not_count_against_a_containers_limit(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB - 4096}\n")
    (tmp_path / "memory.stat").write_text(f"anon {GIB // 4}\ninactive_file {GIB // 2}\nactive_file {GIB // 8}\n")
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    assert machine.available_memory_bytes() == GIB // 2 + GIB // 8 + 4096


def test_without_a_limit_the_kernels_estimate_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    free = machine.available_memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1\n")
    (tmp_path / "memory.stat").write_text("")
    assert abs(machine.available_memory_bytes() - free) < GIB


@pytest.mark.parametrize(
    ("asked", "there", "taken"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_device_is_taken_as_asked(monkeypatch, asked, there, taken):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert machine.choose_device(asked) == taken


def test_a_gpu_that_is_not_there_is_refused_with_a_cure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError) as caught:
        machine.choose_device("cuda")
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-ENV-004", "training.device")
    assert "`cpu`" in fault.cure


def test_a_computing_child_looks_seldom_before_it_sleeps_unless_the_user_chose():
    assert machine.computing({"A": "b"}) == {"A": "b", "GOMP_SPINCOUNT": machine.SPINS}
    for own in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}):
        assert machine.computing(own) == own


@pytest.mark.parametrize("there", [True, False])
def test_a_training_starts_with_jemalloc_where_there_is_one_and_the_user_set_nothing(monkeypatch, there):
    monkeypatch.setattr(machine, "_has_jemalloc", lambda: there)
    started = {"LD_PRELOAD": machine.JEMALLOC, "MALLOC_CONF": machine.KEEPS}
    assert machine.with_jemalloc({"A": "b"}) == ({"A": "b", **started} if there else {"A": "b"})
    for own in ({"LD_PRELOAD": "libmine.so"}, {"MALLOC_CONF": "narenas:1"}):
        assert machine.with_jemalloc(own) == own


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a compiler")
@pytest.mark.parametrize(
    ("library", "there"),
    [
        ("void mallctl(void) {}", True),
        ("void nothing(void) {}", False),
        ("#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) { abort(); }", False),
        ("#include <unistd.h>\n__attribute__((constructor)) static void begin(void) { pause(); }", False),
        (None, False),
    ],
    ids=["whole", "another", "crashes", "hangs", "damaged"],
)
def test_a_jemalloc_with_which_no_process_starts_is_done_without(tmp_path, monkeypatch, library, there):
    built = tmp_path / machine.JEMALLOC
    if library is None:
        built.write_bytes(b"\x7fELF")
    else:
        (tmp_path / "library.c").write_text(library)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", built, tmp_path / "library.c"], check=True)
    monkeypatch.setattr(machine.ctypes.util, "find_library", lambda name: machine.JEMALLOC)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_TRIAL_SECONDS", 1)
    assert machine._has_jemalloc.__wrapped__() is there


@pytest.mark.parametrize(("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8)])
def test_threads_keep_to_a_containers_share(tmp_path, monkeypatch, quota, expected):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert machine.threads() == expected


def test_the_users_number_of_threads_comes_first(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.threads() == 3


@pytest.mark.parametrize(
    ("listed", "built", "told"), [("avx512_bf16", True, True), ("avx512_bf16", False, False), ("avx2", True, None)]
)
def test_kernels_are_asked_for_where_the_processor_could_run_them(tmp_path, monkeypatch, listed, built, told):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {listed}\n", encoding="ascii")
    monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("tuneward.modeling.kernels.loading.compiled", lambda: object() if built else None)
    assert machine.look(tmp_path).kernels is told
    lines = doctor(tmp_path).checks
    verdicts = {check.verdict: check for check in lines if check.name == "kernels"}
    assert set(verdicts) == {None: set(), True: {"ok"}, False: {"note"}}[told]
    assert all(check.cure for verdict, check in verdicts.items() if verdict == "note")
