# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with vnicd's path vdpa, for test_path_vdpa*.py: br0 with the card, which is vnic.ko's uplink; br1 with card0, behind
which vdpa_sim_net stands as a card's own management device; "out" the outside on the card's wire; a device "theirs"."""
import json

import nested
import vnicdev
from scenario import start, test, wait_for
from vt import framed

PF = "/sys/bus/pci/devices/0000:01:00.0"
NODE = "/run/vnicd/vdpa"
CONF = """[nic pf]
address=0000:01:00.0
vnic={vnic}

[nic card0]
mgmtdev=vdpasim_net

[segment lan]
bridge=br0
uplink={pf}

[segment sim]
bridge=br1
uplink=card0

[class fast]
segment=lan
paths=vdpa
rate=2gbit

[class sim]
segment=sim
paths=vdpa

[class trusted]
segment=lan
paths=vdpa
trust=yes

[class tagged]
segment=lan
paths=vdpa,software
vlans=0,12
vlan=12
"""
bed = {}


def host():
    """The host VM: br0 with the card, br1 with what stands for another, "out" the outside on the first one's wire."""
    if "host" in bed:
        return bed["host"]
    h = bed["host"] = start()
    bed["pf"] = pf = h.sh(f"ls {PF}/net").strip()
    wire = h.sh("ls /sys/bus/pci/devices/0000:00:08.0/virtio*/net").split()[-1]
    h.sh(f"""set -e; dmesg -C
        ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up
        ip link set {pf} master br0 up; ip addr add 10.9.0.254/24 dev br0
        ip link add card0 type dummy; ip link add br1 type bridge; ip link set card0 master br1 up; ip link set br1 up
        ip netns add out; ip link set {wire} netns out name eth0; ip -n out link set eth0 up; ip -n out addr add 10.9.0.200/24 dev eth0
        ip -n out link set lo up
        ip -n out link add v12 link eth0 type vlan id 12; ip -n out link set v12 up; ip -n out addr add 10.12.0.200/24 dev v12
        modprobe vdpa_sim_net; systemctl start libvirtd""")
    bed["untouched"] = state()
    configure("yes")
    h.sh("systemctl start vnicd")
    wait_for("the uplink", lambda: f"vnic/{pf}" in h.sh("vdpa mgmtdev show"), 30, 0.3)
    wait_for("vnicd to know it", lambda: "uplink" in h.sh(f"ls {NODE}/.. >/dev/null; ls /run/vnicd/shared"), 20, 0.3)
    h.sh("vdpa dev add name theirs mgmtdev vdpasim_net")
    bed["before"] = state()
    return h


def configure(vnic):
    bed["host"].write("/etc/vnicd/vnicd.conf", CONF.format(vnic=vnic, pf=bed["pf"]))


def state():
    """What path vdpa makes, for comparison."""
    h = bed["host"]
    return {"devices": h.sh("vdpa dev show | cut -d: -f1 | sort").split(),
            "links": h.sh(f"find {NODE} -mindepth 2 2>/dev/null | sort").split(),
            "records": h.sh("ls /run/vnicd/ports 2>/dev/null").split(),
            "uplinks": h.sh("ls /sys/bus/vnic/devices 2>/dev/null || true").split()}


def as_before():
    wait_for("everything to be as before", lambda: state() == bed["before"] or None, 60, 0.5)


def uplink():
    """What vnicd says of the card as an uplink, for a failure."""
    nic = json.loads(bed["host"].sh(f"vnicctl -j nic show {bed['pf']}"))["nics"][0]
    return {k: v for k, v in nic.items() if k.startswith("v")}, state()


def port(mac):
    ports = json.loads(host().sh("vnicctl -j port show"))["ports"]
    return next((p for p in ports if p["mac"] == mac), None)


def guest(name, mac, cls, **more):
    return nested.Guest(host(), name, nested.vdpa(mac, f"{NODE}/{cls}/{name}", **more)).define()


def undo():
    """All that was done to the host is undone, by vnicd what it did."""
    h = host()
    configure("no")
    h.sh("systemctl reload vnicd; vdpa dev del theirs")
    wait_for("the end", lambda: state() == bed["untouched"] or None, 40, 0.5)
    h.sh("rmmod vnic")


checked = framed(test, host, lambda: vnicdev.vm_clean(host()))
