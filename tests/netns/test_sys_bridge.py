#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""daemon/exec's steps on what a bridge knows, against the kernel of a sandbox."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from net import Bridge, ip  # noqa: E402
from systoolbed import Exec, MAC, fdb, index, same, scenario, state  # noqa: E402
from vt import Skip, main, run, wait_for  # noqa: E402


@scenario("fdb: done, repeated, undone, repeated")
def fdb_step():
    with Exec() as x:
        Bridge("br0")
        i = x.tap()
        x.step("do", "fdb", "ESTALE", ifindex=i, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        before = state()
        for _ in range(2):
            x.step("do", "fdb", ifindex=i, mac=MAC)
            # A kernel with VLANs has it for each of the port's as well, though nothing filters.
            assert fdb() and all(e["ifname"] == "vn0-lan" and e["state"] == "static" and e["master"] == "br0"
                                 for e in fdb()), fdb()
        for _ in range(2):
            x.step("undo", "fdb", ifindex=i, mac=MAC)
            assert fdb() == []
            same(before)
        for mac in ("01:00:5e:00:00:01", "00:00:00:00:00:00"):
            x.step("do", "fdb", "EINVAL", ifindex=i, mac=mac)


@scenario("fdb: an entry that moved to another port is not ours to remove")
def fdb_moved():
    with Exec() as x:
        Bridge("br0")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        ip("link", "set", "t0", "master", "br0")
        i = x.tap()
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        run("bridge", "fdb", "replace", MAC, "dev", "t0", "master", "static")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"t0"}
        x.step("do", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"vn0-lan"}


def frame_from(dev, mac):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((dev, 0))
        s.send(b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x88\xb5" + bytes(46))


@scenario("fdb: an entry of ours that a frame from elsewhere moved is undone there")
def fdb_moved_by_frame():
    with Exec() as x:
        Bridge("br0")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        ip("link", "set", "v0", "master", "br0")
        for dev in ("br0", "v0", "v1"):
            ip("link", "set", dev, "up")
        i = x.tap()
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        wait_for("the veth to forward", lambda: "forwarding" in run("bridge", "link", "show", "dev", "v0"))
        before = state()
        x.step("do", "fdb", ifindex=i, mac=MAC)
        frame_from("v1", MAC)
        wait_for("the entry to move", lambda: "v0" in {e["ifname"] for e in fdb()})
        assert {e["state"] for e in fdb()} == {"static"}, fdb()
        for _ in range(2):
            x.step("undo", "fdb", ifindex=i, mac=MAC)
            assert fdb() == [], fdb()
            same(before)
        # What the bridge learned there is not ours, nor is what ages.
        frame_from("v1", MAC)
        wait_for("the bridge to learn", lambda: fdb())
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"v0"}, fdb()
        # Moved, and then somebody's own.
        x.step("do", "fdb", ifindex=i, mac=MAC)
        frame_from("v1", MAC)
        wait_for("the entry to move", lambda: "v0" in {e["ifname"] for e in fdb()})
        run("bridge", "fdb", "replace", MAC, "dev", "v0", "master", "static")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"v0"}, fdb()


@scenario("fdb: an entry that moved to another tap of ours is another port's")
def fdb_moved_to_ours():
    with Exec() as x:
        Bridge("br0")
        i, j = x.tap(), x.tap("vn0-lan2", "lan2")
        for tap in (i, j):
            x.step("do", "link-master", ifindex=tap, master=index("br0"))
        x.step("do", "fdb", ifindex=i, mac=MAC)
        x.step("do", "fdb", ifindex=j, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"vn0-lan2"}, fdb()
        x.step("undo", "fdb", ifindex=j, mac=MAC)
        assert fdb() == []


def vlan_bridge():
    p = run("ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1", check=False)
    if p.returncode != 0:
        raise Skip("this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)")


def vlans(dev):
    return sorted(v["vlan"] for p in json.loads(run("bridge", "-j", "vlan", "show")) if p["ifname"] == dev
                  for v in p["vlans"])


@scenario("bridge-vlan: done, repeated, undone, repeated")
def bridge_vlan():
    vlan_bridge()
    with Exec() as x:
        i = x.tap()
        br = index("br0")
        x.step("do", "link-master", ifindex=i, master=br)
        before = state()
        assert x.step("probe", "bridge-vlan", ifindex=i, master=br, vlan=12)["prev"] == 0
        for _ in range(2):
            x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=12)
            assert 12 in vlans("vn0-lan")
        for _ in range(2):
            x.step("undo", "bridge-vlan", ifindex=i, master=br, vlan=12, prev=0)
        same(before)
        # A VLAN that was there before stays.
        run("bridge", "vlan", "add", "vid", "20", "dev", "vn0-lan")
        assert x.step("probe", "bridge-vlan", ifindex=i, master=br, vlan=20)["prev"] == 1
        x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=20)
        x.step("undo", "bridge-vlan", ifindex=i, master=br, vlan=20, prev=1)
        assert 20 in vlans("vn0-lan")


@scenario("fdb: on a bridge that filters VLANs the entry has the port's")
def fdb_vlan():
    vlan_bridge()
    with Exec() as x:
        i = x.tap()
        br = index("br0")
        x.step("do", "link-master", ifindex=i, master=br)
        x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=12)
        for vlan, expect in ((12, 12), (0, 1)):
            before = state()
            x.step("do", "fdb", ifindex=i, mac=MAC, vlan=vlan)
            assert [e["vlan"] for e in fdb()] == [expect], fdb()
            x.step("undo", "fdb", ifindex=i, mac=MAC, vlan=vlan)
            same(before)


@scenario("bridge-vlan: refused outside its bridge and for VLANs that there are not")
def bridge_vlan_bad():
    with Exec() as x:
        Bridge("br0")
        Bridge("br1")
        i = x.tap()
        x.step("do", "bridge-vlan", "ESTALE", ifindex=i, vlan=12)
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        x.step("do", "bridge-vlan", "ESTALE", ifindex=i, master=index("br1"), vlan=12)
        for vlan in (0, 4095):
            x.step("do", "bridge-vlan", "EINVAL", ifindex=i, master=index("br0"), vlan=vlan)
        x.step("undo", "bridge-vlan", ifindex=i, master=index("br1"), vlan=12, prev=0)


main()
