#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 300
"""Path vmdq on a real driver: a VF with igbvf is the queue of one port's virtio NIC, and everybody reaches it."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import main, start, test, wait_for  # noqa: E402

PF = "/sys/bus/pci/devices/0000:01:00.0"
UUID = "11111111-2222-3333-4444-555555555555"
QUEUE, TAGGED, PLAIN = "52:54:00:00:00:0a", "52:54:00:00:00:0c", "52:54:00:00:00:0b"
CONF = """[nic pf]
address=0000:01:00.0
vfs={vfs}

[segment lan]
bridge=br0
uplink={pf}

[class queue]
segment=lan
paths=vmdq,software
vlans=0,12

[class only]
segment=lan
paths=vmdq

[class plain]
segment=lan
"""
bed = {}


def host():
    """The host VM: br0 with the PF, "out" a namespace with eth0, the outside on the same wire."""
    if "host" in bed:
        return bed["host"]
    h = bed["host"] = start()
    bed["pf"] = pf = h.sh(f"ls {PF}/net").strip()
    # Which of two got which name is the kernel's affair.
    wire = h.sh("ls /sys/bus/pci/devices/0000:00:08.0/virtio*/net").split()[-1]
    h.sh(f"""set -e
        ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up
        ip link set {pf} master br0 up; ip addr add 10.9.0.254/24 dev br0
        ip netns add out; ip link set {wire} netns out name eth0; ip -n out link set eth0 up; ip -n out addr add 10.9.0.200/24 dev eth0
        ip -n out link add v12 link eth0 type vlan id 12; ip -n out link set v12 up
        ip -n out addr add 10.12.0.200/24 dev v12; ip -n out link set lo up
        modprobe igbvf""")
    bed["untouched"] = vfs()
    h.write("/etc/vnicd/vnicd.conf", CONF.format(vfs=3, pf=pf))
    h.sh("systemctl start vnicd")
    wait_for("three VFs", lambda: len(vfs()) == 3, 20, 0.2)
    wait_for("vnicd to know them", lambda: nic()["vfs_free"] == 3, 20, 0.2)
    bed["before"] = vfs()
    return h


def nic():
    return json.loads(bed["host"].sh(f"vnicctl -j nic show {bed['pf']}"))["nics"][0]


def vfs():
    """Each VF's attributes by the PF's driver, its own driver and override, and its netdev's MAC."""
    told = json.loads(bed["host"].sh(f"ip -j -d link show {bed['pf']}"))[0].get("vfinfo_list", [])
    out = []
    for v in told:
        d = f"{PF}/virtfn{v['vf']}"
        v["driver"], v["override"], v["net"] = bed["host"].sh(
            f"basename $(readlink {d}/driver || echo -) ; cat {d}/driver_override; cat {d}/net/*/address 2>/dev/null || echo -"
        ).split()[:3]
        out.append(v)
    return out


def ctl(*args):
    return json.loads(host().sh(f"vnicctl -j {' '.join(args)}"))


def port(mac):
    return next((p for p in ctl("port", "show")["ports"] if p["mac"] == mac), None)


def add(mac, cls, *more):
    host().sh(f"vnicctl port add uuid {UUID} mac {mac} class {cls} {' '.join(more)}")
    return port(mac)


def guests(*specs, pings=()):
    """Front ends in the host VM; what they said of their pings. They go on answering."""
    h = host()
    stop_guests()
    h.sh("systemd-run --unit=guests --property=StandardOutput=file:/run/guests.out python3 -B "
         "/root/tests/lib/echo_guests.py " + " ".join(",".join(s) for s in specs) +
         "".join(f" --ping {a} {b}" for a, b in pings))
    wait_for("the guests", lambda: "serving" in h.sh("cat /run/guests.out 2>/dev/null || true") or
             h.sh("systemctl is-active guests || true").strip() != "active", 60, 0.3)
    return h.sh("cat /run/guests.out; systemctl is-active guests || journalctl -u guests | tail -20")


def stop_guests():
    host().sh("systemctl stop guests 2>/dev/null; systemctl reset-failed guests 2>/dev/null; rm -f /run/guests.out; true")


def ping(address, ns=None, count=5):
    at = f"ip netns exec {ns} " if ns else ""
    host().sh(f"{at}ping -i 0.2 -c {count} -W 2 {address}", 60)


@test("a port of path vmdq has a VF of its own: its MAC, the host's driver, its netdev up, deaf, and the datapath's")
def _made():
    p = add(QUEUE, "queue")
    assert p["path"] == "vmdq" and p["device"]["state"] == "queue", p
    v = vfs()[p["device"]["vf"]]
    assert v["address"] == QUEUE and v["net"] == QUEUE and v["driver"] == "igbvf", v
    d = f"{PF}/virtfn{p['device']['vf']}/net"
    name = host().sh(f"ls {d}").strip()
    link = json.loads(host().sh(f"ip -j link show {name}"))[0]
    assert {"UP", "NOARP"} <= set(link["flags"]) and "inet6" not in host().sh(f"ip addr show {name}"), link
    assert host().sh(f"cd /proc/sys/net; cat ipv6/conf/{name}/disable_ipv6 ipv4/conf/{name}/forwarding").split() == ["1", "0"]
    assert "NM_UNMANAGED=1" in host().sh(f"udevadm info /sys/class/net/{name}")
    taken = [x for x in nic()["vfs"] if x["index"] == p["device"]["vf"]]
    assert taken and taken[0].get("port"), taken
    bed["queue"] = p


@test("who has a queue reaches the outside, the host and a software port, and they it")
def _reach():
    a, b = bed["queue"], add(PLAIN, "plain")
    assert b["path"] == "software", b
    said = guests((a["socket"], QUEUE, "10.9.0.1"), (b["socket"], PLAIN, "10.9.0.2"),
                  pings=[("10.9.0.1", "10.9.0.200"), ("10.9.0.1", "10.9.0.254"), ("10.9.0.1", "10.9.0.2"),
                         ("10.9.0.2", "10.9.0.1")])
    assert said.count(" ok") == 4, said
    for address in ("10.9.0.1", "10.9.0.2"):
        ping(address)
        ping(address, "out")
    fdb = host().sh("bridge fdb show br br0")
    assert f"{QUEUE} dev vn0-lan" not in fdb and f"{PLAIN} dev vn0-lan" in fdb, fdb


@test("its worker dies, vnicd and the datapath are restarted: it is reached as before")
def _deaths():
    h = host()
    for unit in ("vnicd", "vnicd-datapath"):
        h.sh(f"systemctl kill -s KILL {unit}", 30)
        wait_for("vnicd to be there", lambda: h.run(["vnicctl", "-j", "status"])[1].find(
            b'"datapath_connected":true') >= 0, 30, 0.3)
        wait_for("its port", lambda: port(QUEUE) and port(QUEUE)["path"] == "vmdq", 20, 0.3)
        ping("10.9.0.1", "out")
    h.sh("for p in $(pgrep -f -- '--[w]orker'); do kill -9 $p; done")
    ping("10.9.0.1", "out")
    ping("10.9.0.2", "out")


@test("a VLAN is the card's: frames have its tag outside, and none in the guest")
def _vlan():
    stop_guests()
    p = add(TAGGED, "queue", "vlan", "12")
    v = vfs()[p["device"]["vf"]]
    assert p["path"] == "vmdq" and json.dumps(v).find('"vlan": 12') >= 0, v
    said = guests((p["socket"], TAGGED, "10.12.0.1"), pings=[("10.12.0.1", "10.12.0.200")])
    assert said.count(" ok") == 1, said
    ping("10.12.0.1", "out")


@test("where no VF is free the class says why, or the port is a software port")
def _full():
    add("52:54:00:00:00:21", "only")
    status, out = host().run(["sh", "-c", f"vnicctl port add uuid {UUID} mac 52:54:00:00:00:22 class only 2>&1"])[:2]
    assert status != 0 and b"no free VF (3 of 3 taken)" in out, out
    assert add("52:54:00:00:00:23", "queue")["path"] == "software"


@test("released, every attribute, driver and MAC reads as before; and without VFs the nic as untouched")
def _back():
    h = host()
    for p in ctl("port", "show")["ports"]:
        h.sh(f"vnicctl port del {p['key']}")
    now = vfs()
    assert now == bed["before"], f"before: {bed['before']}\nnow: {now}"
    assert h.sh("ls /run/vnicd/ports").strip() == ""
    h.write("/etc/vnicd/vnicd.conf", CONF.format(vfs=0, pf=bed["pf"]))
    h.sh("vnicctl reload")
    wait_for("no VFs", lambda: vfs() == bed["untouched"], 20, 0.2)


main()
