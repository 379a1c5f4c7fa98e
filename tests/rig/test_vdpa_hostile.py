#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 900
"""Hostile drivers of vDPA devices, the rows of tests/tables/vdpa-hostile.md: vnic.ko with split and packed rings, and
vdpa_sim_net, so that the rows are fair."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from vt import run, table, test  # noqa: E402

bed = {}
NAMES = [row["test"] for row in table("vdpa-hostile")]
ONLY = os.environ.get("VNIC_HOSTILE", "sim split packed").split()


def programs():
    """A hostile driver a device and layout: {what: Program}."""
    if bed:
        return bed["programs"]
    run("modprobe", "vdpa_sim_net")
    run("modprobe", "vhost_vdpa")
    sims = [vnicdev.add(f"sim{i}", "vdpasim_net", "mac", f"52:54:00:00:20:0{i}") for i in range(2)]
    start = {"sim": ("sim", f"bad={sims[0]}", f"near={sims[1]}")}
    if {"split", "packed"} & set(ONLY):
        vnicdev.load()
        vnicdev.veth()
        vnicdev.uplink("u0")
    for layout in {"split", "packed"} & set(ONLY):
        nodes = [vnicdev.add(f"{layout}{i}", "vnic/u0", "mac", f"52:54:00:00:2{int(layout == 'packed') + 1}:0{i}")
                 for i in range(3)]
        start[layout] = (*(("packed", "event_idx") if layout == "packed" else ()),
                         *(f"{who}={n}" for who, n in zip(("bad", "near", "far"), nodes)))
    bed.update(kmsg=vnicdev.Kmsg(), start=start,
               programs={k: vnicdev.Program("vvbad", *v) for k, v in start.items() if k in ONLY})
    return bed["programs"]


def hostile(name):
    failed = []
    for what, p in programs().items():
        try:
            try:
                p(name)
            finally:
                bed["kmsg"].clean()
        except (AssertionError, OSError) as e:
            failed.append(f"{what}: {e}")
        if not p.alive():
            bed["programs"][what] = vnicdev.Program("vvbad", *bed["start"][what])
    assert not failed, "; ".join(failed)


for _name in NAMES:
    test(_name)(lambda name=_name: hostile(name))


@test("after all hostile rows slab and pages are as before")
def _leaks():
    programs()
    # Twice before: caches that grow once have grown then.
    rounds, before = int(os.environ.get("VNIC_HOSTILE_ROUNDS", "1")), None
    for n in range(rounds + 1):
        for p in bed["programs"].values():
            for name in NAMES:
                # A row's own verdict was given above.
                if p.alive():
                    p.raw(name)
        before = before or vnicdev.memory()
    after = vnicdev.memory()
    print("# " + ", ".join(f"{k}: {before[k]} -> {after[k]}" for k in before), flush=True)
    assert not vnicdev.grown(before, after), f"grown: {vnicdev.grown(before, after)}"
    bed["kmsg"].clean()


@test("what hostile drivers had open is deleted, and the module unloads")
def _end():
    for p in bed["programs"].values():
        p.__exit__()
    names = vnicdev.devices()
    vnicdev.delete(*names)
    if len(names) > 2:
        vnicdev.no_uplink("u0")
        assert not vnicdev.unreferenced(), "\n".join(vnicdev.unreferenced())
        run("modprobe", "-r", "vnic")
        run("ip", "link", "del", "u0")
    bed["kmsg"].clean()


inside.main(__file__, limit=880, tables=["vdpa-hostile"])
