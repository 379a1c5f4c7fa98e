#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 600
"""What happens to vnic.ko's uplinks: renamed, without carrier, deleted, moved, unbound under traffic; a thousand devices
made and deleted under traffic; unloaded at last."""
import errno
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from devices import IGB  # noqa: E402
from vnicbed import PCI, WHO, WIRE, card, checked, matrix, ns, ping, reaches  # noqa: E402
from vnicdev import BUS, VNIC, add, delete, driver, read, refuses, stats, write  # noqa: E402
from vt import SLOW, run, wait_for  # noqa: E402


# ---- what happens to uplinks ----

@checked("an uplink that is renamed keeps its devices under the new name")
def _renamed():
    run("ip", "link", "set", "u0", "name", "wire0")
    wait_for("its new name", lambda: os.path.isdir(f"{VNIC}/devices/wire0"), 3)
    assert "vnic/wire0" in json.loads(run("vdpa", "-j", "mgmtdev", "show"))["mgmtdev"]
    ping("g1", WHO["out"])
    run("vdpa", "dev", "add", "name", "w", "mgmtdev", "vnic/wire0")
    delete("w")
    run("ip", "link", "set", "wire0", "name", "u0")
    wait_for("its old name", lambda: os.path.isdir(f"{VNIC}/devices/u0"), 3)
    ping("g1", WHO["out"])


@checked("a guest sees its uplink's carrier")
def _carrier():
    def carrier():
        return ns("g1", "cat", "/sys/class/net/eth0/carrier").strip()
    assert carrier() == "1"
    run("ip", "-n", "out", "link", "set", "eth0", "down")
    wait_for("no carrier", lambda: carrier() == "0", 5)
    # Neighbours on this host need no wire.
    run("ip", "-n", "out", "link", "set", "eth0", "up")
    wait_for("carrier", lambda: carrier() == "1", 5)
    wait_for("the outside", lambda: reaches("g1", WHO["out"]), 10)


def made_and_used(name):
    """An uplink t0 with devices, one used by the kernel's driver, one by a process, one by nobody."""
    run("ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1")
    run("ip", "link", "set", "t0", "up")
    run("ip", "link", "set", "t1", "up")
    vnicdev.uplink("t0")
    dev = add(f"{name}1", "vnic/t0", driver="virtio_vdpa")
    run("ip", "link", "set", dev, "up")
    add(f"{name}2", "vnic/t0")
    run("vdpa", "dev", "add", "name", f"{name}3", "mgmtdev", "vnic/t0")
    d = driver()
    d(f"open d {vnicdev.node(f'{name}2')}")
    d("up d")
    d("packet o t1")
    d("stream d o n=100")
    return d, dev


def gone_at_last(d, name):
    """The link is lost; frames go nowhere; the devices go once nobody uses them."""
    wait_for("no link", lambda: d("config d")["status"] & 1 == 0, 5)
    d("suspend d")
    d("resume d")
    d("reset d")
    d("up d")
    d("close d")
    d.__exit__()
    write(f"{BUS}/devices/{name}1/driver/unbind", f"{name}1")
    try:
        wait_for("the uplink's end", lambda: not os.path.exists(f"{VNIC}/devices/t0"), 10)
    except AssertionError as e:
        said = {n: read(f"{BUS}/devices/{n}/vnic/status") for n in vnicdev.devices() if n.startswith(name)}
        raise AssertionError(f"{e}: {said}") from e
    assert not any(n.startswith(name) for n in vnicdev.devices()), vnicdev.devices()


@checked("an uplink that is deleted takes the link of its devices, and them once nobody uses them")
def _deleted():
    for n in range(3):
        d, _ = made_and_used(f"t{n}_")
        d.tell("stream d o n=100000 lossy timeout=200")
        time.sleep(0.05)
        run("ip", "link", "del", "t0")
        d.answer()
        if n == 1:
            # Its name is taken as long as they are used.
            run("ip", "link", "add", "t0", "type", "dummy")
            refuses(f"{VNIC}/new_uplink", "t0", errno.EBUSY)
            run("ip", "link", "del", "t0")
        gone_at_last(d, f"t{n}_")


@checked("an uplink that moves to another namespace is let go")
def _moved():
    d, _ = made_and_used("m")
    run("ip", "netns", "add", "far")
    run("ip", "link", "set", "t0", "netns", "far")
    gone_at_last(d, "m")
    run("ip", "netns", "del", "far")
    run("ip", "link", "del", "t1", check=False)


@checked("a card whose driver is unbound under traffic, ten times, with devices on it")
def _unbound():
    for n in range(10):
        name = card()
        vnicdev.uplink(name)
        add(f"c{n}", f"vnic/{name}")
        with driver() as d:
            d(f"open d {vnicdev.node(f'c{n}')}")
            d("up d num=256 packed" if n & 1 else "up d num=256")
            d(f"packet o {WIRE}")
            d("stream d o n=300 min=60 max=1514 window=100")
            d("stream o d n=300 min=60 max=1514 window=100")
            if not n:
                s = stats("c0")
                print(f"# on the card: {s['tx']['zerocopy']} frames without a copy, {s['tx']['copied']} copied")
                assert s["tx"]["zerocopy"] > 100 and s["tx"]["copied"] > 10, s
            d.tell("stream d o n=1000000 size=1500 lossy timeout=300 window=200")
            time.sleep(0.1)
            write(f"{PCI}/driver/unbind", IGB)
            wait_for("no uplink", lambda c=name: not read(f"{VNIC}/devices/{c}/netdev") if os.path.exists(
                f"{VNIC}/devices/{c}") else True, 5)
            d.kill()
        wait_for("the uplink's end", lambda c=name: not os.path.exists(f"{VNIC}/devices/{c}"), 10)
        write("/sys/bus/pci/drivers/igb/bind", IGB)
    assert f"c{n}" not in vnicdev.devices()


@checked("1,000 devices are made and deleted under traffic from four sides; slab and pages are as before")
def _thousand():
    # Fewer where all is slower, and the machine isn't busy with pings alone.
    rounds, pause = int(1000 / SLOW), f"{0.002 * SLOW:g}"
    floods = [subprocess.Popen([*(("ip", "netns", "exec", n) if n else ()), "ping", "-q", "-i", pause, "-s", "1000", WHO[to]],
                               stdout=subprocess.DEVNULL) for n, to in (("out", "g1"), ("g1", "g2"), ("soft", "g2"), (None, "g1"))]
    before, vdpa = None, vnicdev.Netlink()
    try:
        for n in range(rounds):
            if n == rounds // 10:
                before = vnicdev.memory()
            name = f"d{n}"
            vdpa.add(name, "vnic/u0", f"52:54:00:40:{n >> 8:02x}:{n & 255:02x}")
            if n % 50 == 7:
                with driver() as d:
                    d(f"open d {vnicdev.bind(name, 'vhost_vdpa')}")
                    d("up d packed" if n & 1 else "up d")
                    d("packet o out/eth0")
                    d("stream o d n=50")
            vdpa.delete(name)
        after = vnicdev.memory()
    finally:
        for p in floods:
            p.terminate()
            p.wait()
    print("# " + ", ".join(f"{k}: {before[k]} -> {after[k]}" for k in before), flush=True)
    assert not vnicdev.grown(before, after), vnicdev.grown(before, after)
    matrix(WHO)


@checked("all is given back, the module unloads and loads again")
def _end():
    for n in ("g1", "g2"):
        delete(n)
    vnicdev.no_uplink("u0")
    assert not vnicdev.unreferenced(), "\n".join(vnicdev.unreferenced())
    run("modprobe", "-r", "vnic")
    ping("soft", WHO["out"])
    run("modprobe", "vnic")
    vnicdev.uplink("u0")
    run("modprobe", "-r", "vnic")
    ping(None, WHO["out"])
    assert not os.path.exists(VNIC)

inside.main(__file__, limit=580)
