#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 600
"""vnic.ko's devices with frames in flight: SUSPEND and RESUME, state, resets, guests that are killed; a NIC that is
slow or full."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from vnicbed import MAC, WHO, WIRE, card, checked, late  # noqa: E402
from vnicdev import BUS, add, delete, driver, policy, read, stats, uplink_stats  # noqa: E402
from vt import SLOW, run, wait_for  # noqa: E402


# ---- state ----

@checked("SUSPEND and RESUME, or all anew from the state: no frame in flight is lost, doubled or out of order")
def _suspend():
    for i in (0, 1):
        add(f"x{i}", "vnic/u0", "mac", MAC % (0x70 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open x{i} {vnicdev.node(f'x{i}')}")
        d("packet o out/eth0")
        for how in ("", "packed event_idx", "layout=odd event_idx", "packed layout=indirect indirect"):
            for i in (0, 1):
                d(f"up x{i} num=128 {how}")
            for to in ("o", "x1"):
                # A rate that any machine keeps up with makes frames wait in the ring; otherwise they are gone at once.
                policy("x0", rate=int(8000000 / SLOW) if to == "o" else 0)
                a = d(f"switch x0 {to} n={1200 if to == 'o' else 6000} rounds={15 if to == 'o' else 60} how=both side=from min=60 max=1514 timeout=3000")
                assert to != "o" or a["in_flight"] > 0, a
                print(f"# {how or 'split'} to {to}: {a['in_flight']} in flight at {a['rounds']} rounds, {a['longest_us']} us at most")
            # Who is suspended receives nothing meanwhile, and nothing twice.
            d("switch x0 x1 n=3000 rounds=30 how=both side=to lossy timeout=100")
            d("switch o x1 n=3000 rounds=30 how=both side=to lossy timeout=100")
            for i in (0, 1):
                d(f"reset x{i}")
    delete("x0", "x1")


@checked("frames whose pages the NIC has are waited for at SUSPEND, and none is lost, doubled or out of order")
def _with_the_nic():
    name = card()
    vnicdev.uplink(name)
    add("c", f"vnic/{name}")
    with driver() as d:
        d(f"open c {vnicdev.node('c')}")
        d(f"packet o {WIRE}")
        for how in ("", "packed event_idx", "layout=indirect"):
            d(f"up c num=256 {how}")
            before = stats("c")["tx"]
            with late(name, d):
                a = d("switch c o n=2000 rounds=40 how=both side=from min=300 max=1514 timeout=3000")
            pages = stats("c")["tx"]["zerocopy"] - before["zerocopy"]
            print(f"# {how or 'split'}: {a['in_flight']} frames in flight at {a['rounds']} rounds, {a['longest_us']} us at most; "
                  f"{pages} of 2000 without a copy")
            assert a["in_flight"] >= a["rounds"] and pages > 1000, (a, pages)
            d("resets c o rounds=10")
            d("reset c")
    delete("c")
    vnicdev.no_uplink(name)


@checked("a NIC that has no room holds its devices' frames back, also through SUSPEND, and none is lost or out of order")
def _busy():
    name = card()
    # As short as it takes: a burst fills it.
    run("ethtool", "-G", name, "tx", "80")
    assert card() == name
    vnicdev.uplink(name)

    def busy():
        return uplink_stats(name)["busy"]
    add("c", f"vnic/{name}", "max_vqp", "2")
    with driver() as d:
        d(f"open c {vnicdev.node('c')}")
        d(f"packet o {WIRE}")
        for how in ("", "packed event_idx", "pairs=2"):
            d(f"up c num=256 {how}")
            before = busy()
            with late(name, d):
                d("stream c o n=5000 min=60 max=1514 window=200 timeout=5000")
                streamed = busy()
                a = d("switch c o n=3000 rounds=30 how=both side=from min=60 max=1514 window=200 timeout=5000")
                # Thrown away, and nothing left of it.
                d("resets c o rounds=10")
            print(f"# {how or 'split'}: no room {streamed - before} times in 5000 frames, then {busy() - streamed} times; "
                  f"{a['in_flight']} in flight at {a['rounds']} rounds")
            assert streamed - before >= 10 and busy() - streamed >= 5, (before, streamed, busy())
            d("stream c o n=500 min=60 max=1514")
            d("reset c")
    delete("c")
    vnicdev.no_uplink(name)
    run("ethtool", "-G", name, "tx", "256")


@checked("after a reset under traffic the device writes not one byte to memory that was its guest's")
def _resets():
    for i in (0, 1):
        add(f"y{i}", "vnic/u0", "mac", MAC % (0x78 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open y{i} {vnicdev.node(f'y{i}')}")
        d("packet o out/eth0")
        for how in ("", "packed event_idx"):
            for i in (0, 1):
                d(f"up y{i} num=128 {how}")
            d("resets y0 o rounds=25")
            d("resets y0 y1 rounds=25")
            for i in (0, 1):
                d(f"reset y{i}")
    delete("y0", "y1")


@checked("a guest that is killed under traffic leaves nothing behind, ten times")
def _killed():
    add("k", "vnic/u0", "mac", MAC % 0x80)
    flood = subprocess.Popen(["ip", "netns", "exec", "out", "ping", "-q", "-f", "-c", "100000", WHO["g1"]],
                             stdout=subprocess.DEVNULL)
    before = None
    for n in range(12):
        if n == 2:
            before = vnicdev.memory()
        d = driver()
        d(f"open k {vnicdev.node('k')}")
        d("up k num=256")
        d("packet o out/eth0")
        d.tell("stream k o n=100000 size=1500 window=200")
        time.sleep(0.2)
        os.kill(d.p.pid, signal.SIGKILL)
        d.p.wait()
        wait_for("its device to be free", lambda: read(f"{BUS}/devices/k/vnic/status").startswith("0x00"), 5)
    grown = vnicdev.grown(before, vnicdev.memory())
    flood.terminate()
    flood.wait()
    assert not grown, grown
    delete("k")

inside.main(__file__, limit=580)
