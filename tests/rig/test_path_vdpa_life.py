#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.12/9
# time limit: 400
"""Path vdpa while its host lives: vDPA NICs that come to a running guest and go, counters of cards, devices that nobody
knows any more, and what happens to a NIC that is vnic.ko's uplink."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nested  # noqa: E402
from scenario import main, wait_for  # noqa: E402
from vdpabed import NODE, as_before, bed, checked, guest, host, port, state  # noqa: E402

MAC, SIM_MAC, NEW_MAC = "52:54:00:00:01:0a", "52:54:00:00:01:0b", "52:54:00:00:01:0c"


@checked("a running guest gets one more NIC, a vDPA device, which reaches the outside, and gives it up again")
def _hotplug():
    h = host()
    a = bed["a"] = guest("a", MAC, "fast").start()
    a.ip("10.9.0.1/24")
    assert "link " + NODE in h.sh(f"vnicctl port attach a class fast type vdpa mac {NEW_MAC} name a2", 90)
    p = port(NEW_MAC)
    assert p["path"] == "vdpa" and p["state"] == "running" and p["socket"] == f"{NODE}/fast/a2", p
    wait_for("the NIC", lambda: "eth1" in a.nics() or None, 30, 0.3)
    a.sh("ip addr flush dev eth0")
    a.ip("10.9.0.2/24", "eth1")
    a.ping("10.9.0.200")
    assert len(state()["devices"]) == 3, state()
    h.sh(f"vnicctl port detach a {NEW_MAC}", 90)
    assert port(NEW_MAC) is None and NEW_MAC not in nested.virsh(h, "dumpxml", "a")
    assert len(state()["devices"]) == 2 and state()["links"] == [f"{NODE}/fast/a"], state()
    a.sh("ip addr add 10.9.0.1/24 dev eth0")
    a.ping("10.9.0.200")


@checked("a vDPA NIC that libvirt does not plug in leaves nothing behind")
def _refused():
    h = host()
    before = state()
    status, out = h.run(["vnicctl", "port", "attach", "a", "class", "fast", "mac", NEW_MAC], 60)
    assert status != 0 and b"type vdpa" in out, out
    # No hotplug without a free port: all eight root ports of the guest's are taken or held back.
    h.sh("virsh -q -c qemu:///system suspend a")
    for i in range(10):
        status, out = h.run(["vnicctl", "port", "attach", "a", "class", "fast", "type", "vdpa", "mac", f"52:54:00:00:02:{i:02x}",
                             "name", f"x{i}"], 90)
        if status:
            break
    assert status and b"PCI" in out, out
    assert port(f"52:54:00:00:02:{i:02x}") is None and f"{NODE}/fast/x{i}" not in state()["links"], state()
    bed["a"].destroy().undefine()
    as_before()
    assert before["records"], before


main()
