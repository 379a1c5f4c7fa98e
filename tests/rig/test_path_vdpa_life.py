#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.12/9
# time limit: 600
"""Path vdpa while its host lives: vDPA NICs that come to a running guest and go, counters of cards, devices that nobody
knows any more, and what happens to a NIC that is vnic.ko's uplink."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nested  # noqa: E402
from scenario import main, wait_for  # noqa: E402
from vdpabed import NODE, PF, as_before, bed, checked, guest, host, port, state, undo  # noqa: E402

MAC, SIM_MAC, NEW_MAC = "52:54:00:00:01:0a", "52:54:00:00:01:0b", "52:54:00:00:01:0c"
UUID = "0b87b30f-fefb-4867-888d-001c13e1fe5c"


@checked("a running guest gets one more NIC, a vDPA device, which reaches the outside, and gives it up again")
def _hotplug():
    h = host()
    a = bed["a"] = guest("a", MAC, "fast").start()
    a.ip("10.9.0.1/24")
    assert "link " + NODE in h.sh(f"vnicctl port attach a class fast type vdpa mac {NEW_MAC} name a2", 90)
    p = port(NEW_MAC)
    assert p["path"] == "vdpa" and p["state"] == "running" and p["socket"] == f"{NODE}/fast/a2", p
    wait_for("the NIC", lambda: "eth1" in a.nics() or None, 30, 0.3)
    v = port(MAC)["vdpa"]
    assert v["pairs"] == 1 and (v["nic_queue"].isdigit() or v["nic_queue"].startswith("any: ")), v
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


@checked("counters of a card's device are its driver's own; a device that is set up by nobody has none, and says why")
def _counters():
    h = host()
    h.sh(f"vnicctl port add uuid {UUID} mac {NEW_MAC} class sim type vdpa name lone")
    p = port(NEW_MAC)
    assert p["vdpa"]["no_counters"] == "no guest's driver has set it up" and not p["vdpa"]["stats"], p
    assert "none: no guest's driver" in h.sh(f"vnicctl port show {NEW_MAC}")
    h.sh(f"vnicctl port del {NEW_MAC}")
    g = guest("sim", SIM_MAC, "sim").start()
    g.ip("10.8.0.1/24")
    g.run("ping -c 2 -w 3 10.8.0.2")
    p = port(SIM_MAC)
    assert not p["vdpa"]["no_counters"] and p["counters"]["tx_packets"] > 0 and p["counters"]["tx_bytes"] > 0, p
    names = {(s["queue"], s["name"]) for s in p["vdpa"]["stats"]}
    assert {(0, "rx packets"), (1, "tx packets")} <= names, p
    g.destroy().undefine()
    as_before()


@checked("somebody deletes a device that is in use, which holds vDPA's lock: vnicd answers as ever")
def _lock():
    h = host()
    h.sh(f"vnicctl port add uuid {UUID} mac {NEW_MAC} class sim type vdpa name lone")
    h.sh("vdpa dev add name busy mgmtdev vdpasim_net; echo vhost_vdpa >/sys/bus/vdpa/devices/busy/driver_override; "
         "echo busy >/sys/bus/vdpa/drivers_probe; sleep 1; "
         "n=$(ls /sys/bus/vdpa/devices/busy | grep vhost-vdpa); "
         "systemd-run -q --unit=holder bash -c \"exec 9<>/dev/$n; sleep 1000\"; sleep 1; "
         "systemd-run -q --unit=deleter vdpa dev del busy; sleep 3")
    assert h.run(["timeout", "2", "vdpa", "dev", "show"], 20)[0] != 0
    for _ in range(3):
        h.sh("vnicctl status && vnicctl port show && vnicctl nic show", 8)
    assert "does not answer" in port(NEW_MAC)["vdpa"]["no_counters"], port(NEW_MAC)
    h.sh("systemctl stop holder")
    wait_for("the device to be deleted", lambda: "busy" not in state()["devices"] or None, 20, 0.3)
    wait_for("counters", lambda: "set it up" in port(NEW_MAC)["vdpa"]["no_counters"] or None, 20, 0.5)
    h.sh(f"vnicctl port del {NEW_MAC}")
    as_before()


@checked("records that are lost: a device that nobody uses goes; that of a guest is its port's as before, and goes with it")
def _lost():
    h = host()
    hook = "virsh -q -c qemu:///system dumpxml l | /etc/libvirt/hooks/qemu.d/vnicd l {} begin -"
    g = guest("l", MAC, "fast")
    h.sh(hook.format("prepare"), 60)
    assert len(state()["devices"]) == 2
    h.sh("systemctl stop vnicd; rm /run/vnicd/ports/*; systemctl start vnicd")
    as_before()
    g.start()
    g.ip("10.9.0.1/24").ping("10.9.0.200")
    h.sh("systemctl stop vnicd; rm -r /run/vnicd/ports /run/vnicd/shared; systemctl start vnicd")
    wait_for("the port", lambda: (port(MAC) or {}).get("state") == "running", 30, 0.3)
    p = port(MAC)
    assert p["class"] == "fast" and p["domain"] == "l" and p["rate"] == 2000000000 and not p["reason"], p
    assert state()["links"] == [f"{NODE}/fast/l"] and state()["records"], state()
    g.ping("10.9.0.200")
    g.destroy().undefine()
    wait_for("nothing to be left", lambda: len(state()["devices"]) == 1 and not state()["links"] or None, 60, 0.5)


def nic():
    """What vnicd says of the card; {} where it is not there."""
    nics = json.loads(host().sh("vnicctl -j nic show"))["nics"]
    return next((n for n in nics if n["address"] == "0000:01:00.0" and n["name"]), {})


def ready(limit=60):
    wait_for(f"the uplink: {nic()}", lambda: nic().get("vnic_ready"), limit, 0.5)


@checked("the uplink is renamed and gets another MTU under a guest, which notices nothing")
def _rename():
    h, card = host(), bed["pf"]
    g = bed["g"] = guest("g", MAC, "fast").start()
    g.ip("10.9.0.1/24").ping("10.9.0.200")
    h.sh(f"ip link set {card} down; ip link set {card} name card9; ip link set card9 up")
    wait_for("the name", lambda: port(MAC)["vdpa"]["mgmtdev"] == "vnic/card9" or None, 20, 0.3)
    g.ping("10.9.0.200")
    h.sh("ip link set card9 mtu 1400")
    g.ping("10.9.0.200")
    h.sh(f"ip link set card9 mtu 1500; ip link set card9 down; ip link set card9 name {card}; ip link set {card} up")
    wait_for("the name", lambda: port(MAC)["vdpa"]["mgmtdev"] == f"vnic/{card}" or None, 20, 0.3)
    ready()
    g.ping("10.9.0.200")
    assert port(MAC)["state"] == "running" and not port(MAC)["reason"], port(MAC)


@checked("the uplink moves to another namespace under a guest, and back: that is said, and it is one again after the guest")
def _namespace():
    h, card, g = host(), bed["pf"], bed["g"]
    h.sh(f"ip netns add away; ip link set {card} netns away")
    wait_for("the reason", lambda: "nic of its vDPA device has gone" in port(MAC)["reason"], 20, 0.3)
    assert not g.reaches("10.9.0.200", 2) and not nic(), nic()
    h.sh(f"ip -n away link set {card} netns 1; ip link set {card} master br0 up")
    wait_for("what is in the way", lambda: "a guest uses a device" in nic().get("vnic_reason", ""), 40, 0.5)
    assert not nic()["vnic_ready"], nic()
    status, out = h.run(["vnicctl", "port", "attach", "g", "class", "fast", "type", "vdpa", "mac", NEW_MAC], 60)
    assert status != 0 and b"nic show" in out, out
    g.destroy()
    ready()
    g.start()
    g.ip("10.9.0.1/24").ping("10.9.0.200")
    g.destroy().undefine()
    h.sh("ip netns del away")
    wait_for("nothing to be left", lambda: state()["devices"] == ["theirs"] or None, 60, 0.5)


@checked("the card is unplugged and comes back, and the module is unloaded behind vnicd's back: both are made good")
def _unplug():
    h, card = host(), bed["pf"]
    h.sh(f"echo 1 >{PF}/remove")
    wait_for("the uplink to go", lambda: not state()["uplinks"], 20, 0.3)
    h.sh(f"echo 1 >/sys/bus/pci/rescan; sleep 2; n=$(ls {PF}/net); [ $n = {card} ] || ip link set $n name {card}; "
         f"ip link set {card} master br0 up")
    ready()
    h.sh("rmmod vnic")
    wait_for("the uplink", lambda: state()["uplinks"] == [card], 40, 0.5)
    ready()
    g = guest("u", MAC, "fast").start()
    assert h.run(["rmmod", "vnic"], 20)[0] != 0
    g.ip("10.9.0.1/24").ping("10.9.0.200")
    g.destroy().undefine()
    as_before()


@checked("what was done to the host for all of this is undone")
def _end():
    undo()


main()
