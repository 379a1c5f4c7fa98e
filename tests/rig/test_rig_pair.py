#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# hosts: 2
# time limit: 180
"""A pair of host VMs: what a scenario with two of them may rely on."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import main, start, test  # noqa: E402

MANAGE = {1: "10.77.0.1", 2: "10.77.0.2"}
WIRE = {1: "10.9.0.1", 2: "10.9.0.2"}


def nic(host, mac_end):
    """The name of a host's own interface by the last byte of its MAC."""
    return host.sh(f"ip -br link | awk '/52:54:00:0{host.host}:00:{mac_end}/ {{ print $1 }}'")


@test("two hosts reach each other by the management link")
def _manage():
    pair = start(2)
    for h in pair:
        h.sh(f"ip link set {nic(h, '10')} up; ip addr add {MANAGE[h.host]}/24 dev {nic(h, '10')}")
    for h in pair:
        assert h.sh("hostname") == f"host{h.host}"
        h.sh(f"ping -c 3 -i 0.2 -w 20 host{3 - h.host}")


@test("a VF of one host reaches the PF of the other, by the wire")
def _wire():
    a, b = start(2)
    b.sh(f"ip link set {nic(b, '00')} up; ip addr add {WIRE[2]}/24 dev {nic(b, '00')}")
    pf = "/sys/bus/pci/devices/0000:01:00.0"
    a.sh(f"ip link set {nic(a, '00')} up; echo 1 >{pf}/sriov_numvfs; udevadm settle")
    vf = a.sh(f"ls {pf}/virtfn0/net")
    a.sh(f"ip link set {vf} up; ip addr add {WIRE[1]}/24 dev {vf}")
    a.sh(f"ping -c 3 -i 0.2 -w 30 -I {vf} {WIRE[2]}", 40)


@test("a power cut of one host leaves the other alone")
def _cut():
    a, b = start(2)
    b.stop()
    a.sh("true")
    b.boot()
    assert a.sh("hostname") == "host1" and b.sh("hostname") == "host2"


main()
