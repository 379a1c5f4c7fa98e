#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What ./try shows, inside tests/lib/sandbox: the main job, told step by step with its times. Each command
line printed is run as printed; the first thing that is not as it should be ends the tour."""
import os
import sys
import time

from daemon import Vnicd
from guest import INITRD, KERNEL, Attached
from hosted import HOST_IP, agent_of, guest_domain, mac_of, socket_of
from hoststate import same_again, snapshot
from libvirtd import Libvirtd, vhostuser
from net import Bridge
from vt import run, wait_for

CONF = """\
[segment lan]
bridge=br0

[class gold]
segment=lan
paths=software
"""
T0 = time.monotonic()


def say(text):
    print(f"\n[+{time.monotonic() - T0:5.1f} s] {text}", flush=True)


def show(*argv, only=None, timeout=60.0):
    """Run a command as an administrator would, and show what it prints."""
    print("    # " + " ".join(argv), flush=True)
    p = run(*argv, check=False, timeout=timeout)
    lines = [x for x in (p.stdout + p.stderr).splitlines() if x.strip()]
    for x in lines if only is None else [x for x in lines if only in x]:
        print("    " + x)
    sys.stdout.flush()
    if p.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} exited with status {p.returncode}")
    return p.stdout


def ping(guest, to, what):
    out = guest.sh(f"ping -c 3 -i 0.2 -W 2 {to}", timeout=15)
    print(f"    {guest.name}$ ping {to} ({what}): " + out.strip().splitlines()[-1], flush=True)


def tour():
    say("A bridge br0, as an administrator has one; the configuration: one segment, one class")
    bridge = Bridge("br0", f"{HOST_IP}/24")
    print("    " + CONF.strip().replace("\n\n", "\n").replace("\n", "\n    "))
    virt = Libvirtd()
    virt.start()
    first = snapshot(libvirt=virt, run_dir="/nowhere")

    say("vnicd-datapath and vnicd start (as their units would start them)")
    vnicd = Vnicd(CONF)
    vnicd.start()
    vnicd.wait_connected()
    show("vnicctl", "status")
    before = snapshot(libvirt=virt, with_processes=False)

    say("virsh defines two guests; each has <interface type='vhostuser'> with a socket of class gold")
    iface = {}
    for n, name in enumerate(("web", "db"), 1):
        iface[name] = vhostuser(mac_of(n), socket_of("gold", name))
        virt.define(guest_domain(name, iface[name]))
    print("    " + iface["web"].replace("><", ">\n      <").replace("\n      </", "</").replace("</source></int", "</source>\n    </int")
          .replace("/></interface", "/>\n    </interface"))
    show("vnicctl", "domain", "check", "web")

    say("virsh start: the hook asks vnicd for the ports, QEMU finds its socket listening")
    guests = {}
    for n, name in enumerate(("web", "db"), 1):
        show("virsh", "-q", "start", name)
        guests[name] = Attached(name, agent_of(name))
    for n, g in enumerate(guests.values(), 1):
        g.wait(120)
        g.ip(f"10.9.0.{n}/24")
    for n in (1, 2):
        vnicd.wait_port(mac_of(n))
    say("both guests are up; what they got:")
    show("vnicctl", "port", "show")

    say("Traffic: guest to guest, guest to the host's bridge")
    ping(guests["web"], "10.9.0.2", "the other guest")
    ping(guests["web"], HOST_IP, "the host")
    ping(guests["db"], HOST_IP, "the host")

    say("Unplug db's NIC from the running guest, and plug it in again")
    db = guests["db"]
    nic = f"grep -l {mac_of(2)} /sys/class/net/*/address 2>/dev/null"
    show("vnicctl", "port", "detach", "db", mac_of(2))
    wait_for("the guest to lose its NIC", lambda: not db.run(nic)[1].strip())
    show("vnicctl", "port", "attach", "db", "class", "gold", "mac", mac_of(2), "name", "db")
    path = wait_for("the guest to find its NIC", lambda: db.run(nic)[1].strip())
    db.ip("10.9.0.2/24", dev=path.split("/")[4])
    vnicd.wait_port(mac_of(2))
    ping(db, "10.9.0.1", "the other guest, over the new NIC")

    say("virsh destroy and undefine: everything is given back")
    for name, g in guests.items():
        g.kill()
        show("virsh", "-q", "destroy", name)
        virt.virsh("undefine", name)
    same_again(before, libvirt=virt, with_processes=False)
    show("vnicctl", "port", "show")
    print("    links, bridge ports, FDB, addresses, files in /run/vnicd, domains: as before the guests")

    say("vnicd and vnicd-datapath stop")
    vnicd.stop()
    same_again(first, libvirt=virt, run_dir="/nowhere")
    print("    links, bridge ports, FDB, addresses, processes, domains: as before vnicd")
    virt.stop()
    bridge.close()


def main():
    if sys.argv[1:] == ["--check-image"]:
        return 0 if os.path.exists(KERNEL) and os.path.exists(INITRD) else 1
    try:
        tour()
    except AssertionError as e:
        say(f"STOPPED: {e}")
        for log in ("/var/log/vnicd.log", "/var/log/vnicd-datapath.log"):
            if os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as f:
                    print(f"    last words of {log}:\n    " + "    ".join(f.readlines()[-6:]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
