#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 600
"""Path vdpa: domains with <interface type='vdpa'> get their devices by virsh start and leave nothing behind; of vnic.ko
on a card that is in a bridge, and of vdpa_sim_net as a card's own management device."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nested  # noqa: E402
from scenario import main, wait_for  # noqa: E402
from vdpabed import NODE, as_before, bed, checked, configure, guest, host, port, state, undo, uplink  # noqa: E402

MAC, SIM_MAC, OTHER_MAC = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"


@checked("a domain of a card's management device: its NIC is there, and nothing is left of it")
def _sim():
    host()
    a = guest("sim", SIM_MAC, "sim").start()
    nics = a.nics()
    assert [n for n in nics.values() if n[0] == SIM_MAC and n[1] == "virtio_net"], nics
    p = port(SIM_MAC)
    assert p["path"] == "vdpa" and p["state"] == "running", p
    s = state()
    assert s["links"] == [f"{NODE}/sim/sim"] and len(s["devices"]) == 2, s
    a.destroy().undefine()
    as_before()


@checked("a domain of vnic.ko's: it reaches the host and the outside, and they it, and nothing is left of it")
def _vnic():
    a = bed["a"] = guest("a", MAC, "fast").start()
    a.ip("10.9.0.1/24")
    a.ping("10.9.0.254")
    a.ping("10.9.0.200")
    host().sh("ping -i 0.2 -c 3 -W 2 10.9.0.1; ip netns exec out ping -i 0.2 -c 3 -W 2 10.9.0.1", 60)
    p = port(MAC)
    assert p["path"] == "vdpa" and p["state"] == "running", p
    dev = [d for d in state()["devices"] if d != "theirs"]
    d = f"/sys/bus/vdpa/devices/{dev[0]}"
    assert host().sh(f"cat {d}/vnic/rate {d}/vnic/weight {d}/vnic/allow {d}/vnic/mac").split() == \
        ["2000000000", "100", "multicast", MAC], dev
    assert p["vdpa"]["name"] == dev[0] and p["vdpa"]["mgmtdev"] == f"vnic/{bed['pf']}" and p["vdpa"]["node"], p
    assert p["counters"]["tx_packets"] >= 6 and p["counters"]["rx_packets"] >= 6, p
    nic = json.loads(host().sh(f"vnicctl -j nic show {bed['pf']}"))["nics"][0]
    assert nic["vnic_wanted"] and nic["vnic_ready"] and not nic["vnic_reason"] and nic["vdpa_devices"] == 1, nic
    findings = json.loads(host().sh("vnicctl -j domain check a"))["findings"]
    assert not [f for f in findings if f["severity"] == "error"], findings


@checked("vnicd dies and comes back: the guest has noticed nothing, and its port is as it was")
def _restart():
    a, h = bed["a"], host()
    a.bg("ping -i 0.1 -c 60 10.9.0.200", "/tmp/ping")
    h.sh("systemctl kill -s KILL vnicd")
    wait_for("vnicd", lambda: h.run(["vnicctl", "status"])[0] == 0, 30, 0.3)
    status, out = a.bg_wait("/tmp/ping")
    assert status == 0 and " 0% packet loss" in out, out
    wait_for("the port", lambda: (port(MAC) or {}).get("state") == "running", 20, 0.3)
    h.sh("systemctl restart vnicd-datapath", 60)
    a.ping("10.9.0.254")
    assert port(MAC)["state"] == "running", port(MAC)


@checked("vnic=no while a device is in use: it stays an uplink until the domain has ended, then no more; and again")
def _uplink():
    a, h = bed["a"], host()
    configure("no")
    h.sh("systemctl reload vnicd")
    time.sleep(2)
    assert bed["pf"] in state()["uplinks"]
    a.ping("10.9.0.254")
    a.destroy().undefine()
    try:
        wait_for("the uplink to go", lambda: not state()["uplinks"], 40, 0.5)
    except AssertionError:
        raise AssertionError(uplink()) from None
    assert state()["devices"] == ["theirs"], state()
    configure("yes")
    h.sh("systemctl reload vnicd")
    as_before()


@checked("vnicd is killed at any time of a start: the domain's end leaves nothing")
def _kills():
    h = host()
    g = guest("k", OTHER_MAC, "fast")
    for delay in (0.02, 0.1, 0.2, 0.3, 0.45, 0.6, 0.9, 1.5):
        h.sh(f"(sleep {delay}; systemctl kill -s KILL vnicd) >/dev/null 2>&1 & virsh -q -c qemu:///system start k; wait; true", 120)
        wait_for("vnicd", lambda: h.run(["vnicctl", "status"])[0] == 0, 30, 0.3)
        g.destroy()
        as_before()
    g.undefine()


@checked("a class' VLAN and two queue pairs: it reaches who is in that VLAN, and nobody else; a socket of that class is in software")
def _tagged():
    h = host()
    g = nested.Guest(h, "t", nested.vdpa(OTHER_MAC, f"{NODE}/tagged/t", queues=2), vcpus=2).define().start()
    g.ip("10.12.0.1/24").ip("10.9.0.3/24")
    g.ping("10.12.0.200")
    assert not g.reaches("10.9.0.200", 3)
    dev = next(d for d in state()["devices"] if d != "theirs")
    assert h.sh(f"cat /sys/bus/vdpa/devices/{dev}/vnic/vlan").strip() == "12"
    assert json.loads(h.sh(f"vdpa -j dev config show {dev}"))["config"][dev]["max_vq_pairs"] == 2
    plan = json.dumps(json.loads(h.sh("vnicctl -j --dry-run port add class tagged")))
    assert '"path": "software"' in plan and "not yet behind a socket" in plan, plan
    g.destroy().undefine()
    as_before()


@checked("a domain of a trusted class is in no VLAN: it has those that it asks for, and the nic is told of these alone")
def _trunk():
    g, h = guest("u", OTHER_MAC, "trusted").start(), host()
    g.ip("10.9.0.3/24")
    g.ping("10.9.0.200")
    d = f"/sys/bus/vdpa/devices/{next(d for d in state()['devices'] if d != 'theirs')}/vnic"
    assert h.sh(f"cat {d}/vlans {d}/allow").split() == ["1-4094", "mac", "vlan", "promisc", "allmulti", "multicast"]
    g.sh("ip link add link eth0 name v12 type vlan id 12")
    g.ip("10.12.0.1/24", "v12")
    g.ping("10.12.0.200")
    assert h.sh(f"cat {d}/denied").strip() == "0"
    g.destroy().undefine()
    as_before()


@checked("a domain's QEMU is killed: its device goes")
def _crash():
    h = host()
    g = guest("c", OTHER_MAC, "fast").start()
    h.sh(f"kill -9 {g.pid()}")
    as_before()
    g.undefine()


@checked("a process has the device's node open: it is deleted once that has ended, and nobody is held up meanwhile")
def _held():
    h = host()
    g = guest("h", OTHER_MAC, "fast")
    hook = "virsh -q -c qemu:///system dumpxml h | /etc/libvirt/hooks/qemu.d/vnicd h {} begin -"
    h.sh(hook.format("prepare"), 60)
    assert port(OTHER_MAC)["state"] == "ready", port(OTHER_MAC)
    h.sh(f"systemd-run -q --unit=holder bash -c 'exec 9<>{NODE}/fast/h; sleep 1000'")
    # Not by opening it: one process at a time can, and it would be this one.
    held = "readlink /proc/$(systemctl show -P MainPID holder)/fd/9 | grep vhost-vdpa"
    wait_for("it to be open", lambda: h.run(["bash", "-c", held])[0] == 0, 20, 0.2)
    h.run(["bash", "-c", hook.format("release")], 60)
    time.sleep(3)
    assert len(state()["devices"]) == 2 and port(OTHER_MAC)["state"] == "releasing", (state(), port(OTHER_MAC))
    assert h.sh("vdpa dev show", 5)  # vDPA's lock is nobody's
    h.sh("systemctl stop holder")
    as_before()
    g.undefine()


@checked("one interface, one name: what cannot be is refused before the domain starts, and says why")
def _refused():
    h = host()
    g = nested.Guest(h, "r", nested.vdpa(MAC, f"{NODE}/sim/r", queues=4)).define()
    status, out = h.run(["virsh", "-c", "qemu:///system", "start", "r"], 60)
    assert status != 0 and b"queue pair" in out, out
    g.undefine()
    as_before()


@checked("the sections go: everything is as it was found")
def _end():
    undo()


main()
