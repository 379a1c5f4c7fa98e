#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
"""What ./try --rig shows, in a host VM: virtual functions and, where the kernel is one for vnic.ko, vDPA by virsh and
vnicctl alone, told step by step with its times. Each command line printed is run as printed; the first thing that is
not as it should be ends the tour."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Failed, Hung, end, kind, start, wait_for  # noqa: E402
import nested  # noqa: E402

PF = "0000:01:00.0"
WEB, DB, APP = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
HOST_IP, OUTSIDE_IP = "10.9.0.254", "10.9.0.253"
T0 = time.monotonic()
CONF = """\
[nic %s]
vfs=7

[segment lan]
bridge=br0
uplink=%s

[class fast]
segment=lan
paths=sriov,software

[class plain]
segment=lan
paths=software
"""

VDPA = """\
[nic %s]
vnic=yes

[segment lan]
bridge=br0
uplink=%s

[class direct]
segment=lan
paths=vdpa
"""


def say(text):
    print(f"\n[+{time.monotonic() - T0:5.1f} s] {text}", flush=True)


def indent(text):
    print("    " + text.strip().replace("\n\n", "\n").replace("\n", "\n    "), flush=True)


def show(host, command, limit=90.0):
    """Run a command as an administrator would, and show what it prints."""
    print("    # " + command, flush=True)
    out = "\n".join(x for x in host.sh(command, limit).splitlines() if x.strip())
    if out:
        indent(out)
    return out


def state(host):
    """What must read as before: what vnicd may leave behind, and every VF with its attributes and driver. The sockets
    that its services listen on stay in /run/vnicd, for the next ones."""
    text = host.sh("cd /root/tests/lib && python3 -B -c 'import hoststate, json; "
                   "print(json.dumps(hoststate.snapshot(), indent=1, sort_keys=True))'; ip -d link show dev $(ls "
                   f"/sys/bus/pci/devices/{PF}/net); cd /sys/bus/pci/devices/{PF}; grep . sriov_numvfs "
                   "sriov_drivers_autoprobe; for v in virtfn*; do [ -e $v ] || continue; echo $v "
                   "$(readlink $v/driver) $(cat $v/driver_override); done")
    return "\n".join(x.rstrip(",") for x in text.splitlines()
                     if x.strip() and not re.search(r"/run/vnicd/(datapath|hook)\.sock", x))


def same(before, after, what):
    if before != after:
        gone = [x for x in before.splitlines() if x not in after.splitlines()]
        come = [x for x in after.splitlines() if x not in before.splitlines()]
        raise Failed(f"{what} is not as before:\n- " + "\n- ".join(gone) + "\n+ " + "\n+ ".join(come))


def device(host, mac):
    ports = json.loads(host.sh("vnicctl -j port show"))["ports"]
    return next(p for p in ports if p["mac"] == mac).get("device") or {}


def ping(guest, to, what):
    out = guest.ping(to)
    print(f"    {guest.name}$ ping {to} ({what}): " + out.splitlines()[-1], flush=True)


def gap(text):
    """The longest time between two answers, in seconds, of a ping every 0.1 s that says all its sequence numbers."""
    seen = sorted({int(x) for x in re.findall(r"seq=(\d+)", text)})
    if not seen:
        raise Failed("no ping was answered: " + text[-300:])
    return max([b - a for a, b in zip(seen, seen[1:])] or [0]) * 0.1, len(seen)


def vdpa(host, pf):
    """The card once more, now as an uplink of vnic.ko."""
    say("The same card as an uplink of vnic.ko, which makes vDPA devices on any card; one guest on such a device")
    before = state(host)
    host.write("/etc/vnicd/vnicd.conf", VDPA % (pf, pf))
    indent(VDPA % (pf, pf))
    show(host, "systemctl reload vnicd")
    wait_for("the uplink", lambda: f"vnic/{pf}" in host.sh("vdpa mgmtdev show || true"), 30, 0.3)
    app = nested.Guest(host, "app", nested.vdpa(APP, "/run/vnicd/vdpa/direct/app"))
    indent(app.interfaces[0].replace("><", ">\n  <").replace("\n  </", "</"))
    app.define()
    show(host, "virsh -q start app")
    app.wait().ip("10.9.0.3/24")
    for to, what in ((HOST_IP, "the host"), (OUTSIDE_IP, "outside")):
        ping(app, to, what)
    show(host, "vnicctl port show")
    show(host, "virsh -q destroy app")
    app.undefine()
    wait_for("the device to be gone", lambda: not host.sh("vdpa dev show").strip(), 30, 0.3)
    host.sh("sed -i '/^\\[nic/,/^$/d' /etc/vnicd/vnicd.conf")
    show(host, "systemctl reload vnicd")
    wait_for("the uplink to be released", lambda: not host.sh("ls /sys/bus/vnic/devices").strip(), 30, 0.3)
    same(before, state(host), "the host")
    print("    no device, no uplink: as before", flush=True)


def tour():
    which = kind()
    say(f"A host of its own: emulated, kernel {which['kernel']}, libvirt {which['libvirt']}; an Intel 82576 (igb) with "
        "SR-IOV in the bridge br0, an IOMMU; what is outside of it is on the same wire")
    host = start()
    pf = host.sh(f"ls /sys/bus/pci/devices/{PF}/net").strip()
    host.sh(f"ip link add br0 type bridge forward_delay 0; ip link set {pf} master br0 up; ip link set br0 up; "
            f"ip addr add {HOST_IP}/24 dev br0; modprobe vfio-pci; ip netns add outside; "
            f"ip link set outside netns outside; ip -n outside addr add {OUTSIDE_IP}/24 dev outside; "
            "ip -n outside link set outside up")
    host.write("/etc/vnicd/vnicd.conf", CONF % (pf, pf))
    indent(CONF % (pf, pf))
    first = state(host)

    say("systemctl start vnicd: it gives the nic its VFs")
    show(host, "systemctl start vnicd")
    wait_for("the VFs", lambda: host.run(["sh", "-c", "vnicctl -j nic show | grep -c virtfn; "
                                          f"[ $(ls -d /sys/bus/pci/devices/{PF}/virtfn* | wc -l) = 7 ]"])[0] == 0, 30, 0.3)
    wait_for("the datapath", lambda: b'"datapath_connected":true' in host.run(["vnicctl", "-j", "status"])[1], 20, 0.2)
    show(host, f"vnicctl nic show {pf}")
    before = state(host)

    say("virsh define and start two guests: web of class fast, db of class plain")
    web = nested.Guest(host, "web", nested.vhostuser(WEB, "/run/vnicd/sock/fast/web.sock", alias="ua-web",
                                                     teaming="persistent"))
    db = nested.Guest(host, "db", nested.vhostuser(DB, "/run/vnicd/sock/plain/db.sock"))
    indent(web.interfaces[0].replace("><", ">\n  <").replace("\n  </", "</"))
    for g in (web, db):
        g.define()
        show(host, f"virsh -q start {g.name}")
    for n, g in enumerate((web, db), 1):
        g.wait()
        g.ip(f"10.9.0.{n}/24")
    vf = web.nic_of("igbvf", 60)
    wait_for("the VF to carry web", lambda: device(host, WEB).get("state") == "attached", 30, 0.3)
    show(host, "vnicctl port show")
    print(f"    web$ its VF is {vf}: " + " ".join(web.nics()[vf][:2]), flush=True)

    say("Traffic: to the other guest, to the host, to the outside")
    for g, to, what in ((web, "10.9.0.2", "db, on the software path"), (web, HOST_IP, "the host"),
                        (web, OUTSIDE_IP, "outside"), (db, OUTSIDE_IP, "outside")):
        ping(g, to, what)

    say("The VF is taken out of the running guest and given again; a ping goes on meanwhile")
    web.bg(f"ping -i 0.1 -c 250 {OUTSIDE_IP}", "/tmp/ping")
    time.sleep(2)
    show(host, "vnicctl port detach web")
    wait_for("the guest to be without", lambda: device(host, WEB).get("state") in (None, "none"), 30, 0.3)
    time.sleep(4)
    show(host, "vnicctl port attach web")
    wait_for("the VF", lambda: device(host, WEB).get("state") == "attached", 60, 0.3)
    _, out = web.bg_wait("/tmp/ping", 60)
    longest, answers = gap(out)
    print(f"    web$ {answers} of 250 pings answered, the longest gap {longest:.1f} s", flush=True)

    say("virsh destroy and undefine: everything is given back")
    for g in (web, db):
        show(host, f"virsh -q destroy {g.name}")
        g.undefine()
    wait_for("the ports to be gone", lambda: not json.loads(host.sh("vnicctl -j port show"))["ports"], 30, 0.3)
    same(before, state(host), "the host")
    print("    every attribute of the seven VFs, their drivers, links, FDB: as before the guests")

    say("The configuration without [nic]: the VFs go")
    host.sh("sed -i '/^\\[nic/,/^$/d' /etc/vnicd/vnicd.conf")
    show(host, "systemctl reload vnicd")
    wait_for("the VFs to go", lambda: host.sh(f"cat /sys/bus/pci/devices/{PF}/sriov_numvfs").strip() == "0", 30, 0.3)
    if which["kernel"] == "6.12":
        vdpa(host, pf)
    say("vnicd stops")
    show(host, "systemctl stop vnicd vnicd-datapath")
    same(first, state(host), "the host")
    print("    numvfs, autoprobe, links, files, processes: as before vnicd")


def once():
    """(status, None), or what hung: an emulated machine may, on a busy one."""
    try:
        tour()
    except Hung as e:
        return 1, e
    except (AssertionError, Failed) as e:
        say(f"STOPPED: {e}")
        return 1, None
    finally:
        end()
    return 0, None


def main():
    status, hung = once()
    if hung:
        say(f"The emulated host hangs ({hung}): it is ended, and the tour begun once more")
        status, hung = once()
    if hung:
        say(f"STOPPED: the emulated host hangs again ({hung}): is this machine very busy?")
    return status


if __name__ == "__main__":
    sys.exit(main())
