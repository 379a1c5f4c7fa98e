#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicctl port attach and detach, and domain check: vnicctl, vnicd, vnicd-libvirt, libvirtd and guests."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hosted import Host, mac_of, require, socket_of  # noqa: E402
from libvirtd import domain, ports, vhostuser  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402

NEW = "52:54:00:00:77:01"
bed = {}


def setup():
    """The host with guest a, which boots, and domain off, which does not run; made once."""
    require()
    if not bed:
        host = Host().start()
        host.vnicd.wait_connected()
        bed["a"], = host.boot("a")
        host.libvirt.define(domain("off", vhostuser(mac_of(9), socket_of("gold", "off"))))
        bed["host"] = host
    return bed["host"], bed["host"].vnicd, bed["host"].libvirt, bed["a"]


def ctl(*args, timeout=60.0):
    """(status, all that vnicctl wrote)."""
    p = run("vnicctl", *args, check=False, timeout=timeout)
    return p.returncode, p.stdout + p.stderr


def refused(word, *args, **kw):
    _, vnicd, virt, _ = setup()
    before = sorted(vnicd.ports())
    status, text = ctl(*args, **kw)
    assert status not in (0, 2) and word in text, (status, text)
    assert sorted(vnicd.ports()) == before and not os.path.exists(socket_of("gold", "new")), text
    if virt.proc:
        assert NEW not in virt.virsh("dumpxml", "a"), text


def macs(guest):
    return guest.sh("cat /sys/class/net/*/address").split()


def helpers():
    out = []
    for p in os.listdir("/proc"):
        try:
            with open(f"/proc/{p}/comm", encoding="ascii") as f:
                if f.read().strip() == "vnicd-libvirt":
                    out.append(int(p))
        except OSError:
            pass
    return out


@test("hotplug: attach gives a running guest a NIC that carries its frames, detach takes it and all of it")
def there_and_back():
    _, vnicd, virt, a = setup()
    sockets = sorted(os.listdir("/run/vnicd/sock/gold"))
    for _ in range(2):
        status, text = ctl("port", "attach", "a", "class", "gold", "mac", NEW, "name", "new", "queues", "2")
        assert status == 0 and socket_of("gold", "new") in text, text
        wait_for("the guest's new NIC", lambda: NEW in macs(a))
        dev = a.sh(f"grep -l {NEW} /sys/class/net/*/address").split("/")[4]
        a.sh(f"ip link set eth0 down; ip link set {dev} up; ip addr add 10.9.0.77/24 dev {dev}")
        a.ping("10.9.0.254")
        assert vnicd.wait_port(NEW)["queues"] == 2
        xml = virt.virsh("dumpxml", "a")
        assert NEW in xml and NEW not in virt.virsh("dumpxml", "--inactive", "a"), xml
        status, text = ctl("port", "detach", "a", NEW)
        assert status == 0, text
        assert NEW not in macs(a) and NEW not in virt.virsh("dumpxml", "a")
        assert sorted(vnicd.ports()) == [mac_of(1)] and sorted(os.listdir("/run/vnicd/sock/gold")) == sockets
        a.sh("ip link set eth0 up")
    a.ping("10.9.0.254")


@test("hotplug: an attached NIC's port goes with its guest, as any other")
def goes_with_guest():
    _, vnicd, virt, _ = setup()
    virt.define(domain("short", vhostuser(mac_of(8), socket_of("gold", "short"))))
    virt.virsh("start", "--paused", "short")
    status, text = ctl("port", "attach", "short", "class", "gold", "mac", NEW, "name", "new")
    assert status == 0, text
    assert sorted(vnicd.ports()) == [mac_of(1), mac_of(8), NEW]
    virt.virsh("destroy", "short")
    assert sorted(vnicd.ports()) == [mac_of(1)]
    virt.virsh("undefine", "short")


@test("hotplug: what cannot be attached is refused with the reason, and leaves nothing")
def refusals():
    _, _, virt, _ = setup()
    new = ("mac", NEW, "name", "new")
    refused("nobody", "port", "attach", "nobody", "class", "gold", *new)
    # A dry run says the same, as it says nothing that could not be.
    for dry in ((), ("--dry-run",)):
        refused("does not run", *dry, "port", "attach", "off", "class", "gold", *new)
        refused("platinum", *dry, "port", "attach", "a", "class", "platinum", *new)
        refused("13", *dry, "port", "attach", "a", "class", "gold", *new, "vlan", "13")
        refused(mac_of(1), *dry, "port", "attach", "a", "class", "gold", "mac", mac_of(1), "name", "new")
        refused("standby", *dry, "port", "attach", "a", "class", "gold", *new, "standby", "ua-0")
    virt.define(domain("private", shared=False))
    virt.virsh("start", "--paused", "private")
    for dry in ((), ("--dry-run",)):
        refused("<access mode='shared'/>", *dry, "port", "attach", "private", "class", "gold", *new)
    virt.virsh("destroy", "private")
    virt.virsh("undefine", "private")
    refused(NEW, "port", "detach", "a", NEW)
    # A dry run does not promise what cannot be.
    refused("virsh list --all", "--dry-run", "port", "attach", "nobody", "class", "gold", *new)
    refused(NEW, "--dry-run", "port", "detach", "a", NEW)
    refused("domain b has no port", "--dry-run", "port", "detach", "b", mac_of(1))
    for args in (("attach", "a", "class", "gold", *new), ("detach", "a", mac_of(1))):
        status, text = ctl("--dry-run", "port", *args)
        assert status == 0 and "Would" in text, (args, text)


@test("hotplug: a guest that does not give its NIC up keeps it, and its port")
def mute_guest():
    _, vnicd, virt, _ = setup()
    virt.define(domain("mute", vhostuser(mac_of(8), socket_of("gold", "mute"))))
    virt.virsh("start", "--paused", "mute")
    vnicd.wait_port(mac_of(8), "connected")
    status, text = ctl("port", "detach", "mute", mac_of(8), timeout=90)
    assert status == 7 and "did not give up" in text, (status, text)
    assert vnicd.ports()[mac_of(8)]["state"] == "connected"
    assert mac_of(8) in virt.virsh("dumpxml", "mute")
    virt.virsh("destroy", "mute")
    virt.virsh("undefine", "mute")


@test("hotplug: vnicd-libvirt killed is replaced by the next request")
def helper_killed():
    setup()
    assert ctl("domain", "check", "a")[0] == 0
    old = helpers()
    assert len(old) == 1, old
    os.kill(old[0], signal.SIGKILL)
    wait_for("its end", lambda: not os.path.exists(f"/proc/{old[0]}"))
    assert ctl("domain", "check", "a")[0] == 0
    assert len(helpers()) == 1 and helpers() != old


@test("hotplug: libvirtd away is said, and no port is left; back, all works")
def libvirtd_away():
    _, vnicd, virt, a = setup()
    virt.kill()
    refused("libvirt", "port", "attach", "a", "class", "gold", "mac", NEW, "name", "new")
    virt.start()
    status, text = ctl("port", "attach", "a", "class", "gold", "mac", NEW, "name", "new")
    assert status == 0, text
    wait_for("the guest's new NIC", lambda: NEW in macs(a))
    assert ctl("port", "detach", "a", NEW)[0] == 0
    assert sorted(vnicd.ports()) == [mac_of(1)]


@test("hotplug: libvirtd hung: vnicd stays awake, the request ends with a time-out")
def libvirtd_hung():
    _, vnicd, virt, _ = setup()
    virt.proc.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        p = run("sh", "-c", f"vnicctl port attach a class gold mac {NEW} name new & sleep 1; vnicctl -j port show; wait $!",
                check=False, timeout=90)
        assert p.returncode == 7 and "libvirt" in p.stderr, p
        assert mac_of(1) in p.stdout, p
        assert time.monotonic() - start < 60
    finally:
        virt.proc.send_signal(signal.SIGCONT)
    wait_for("libvirtd to answer", lambda: virt.virsh("list", check=False).returncode == 0)
    assert sorted(vnicd.ports()) == [mac_of(1)]
    assert ctl("domain", "check", "a")[0] == 0


@test("hotplug: domain check of good, running, wrong and unknown domains")
def check():
    _, vnicd, virt, _ = setup()
    for name in ("a", "off"):
        status, text = ctl("domain", "check", name)
        assert status == 0, text
    virt.define(domain("wrong", vhostuser(mac_of(8), "/run/vnicd/sock/brass/w.sock", reconnect=None), shared=False,
                       metadata=ports({"mac": mac_of(7), "vlan": "4"})))
    status, text = ctl("domain", "check", "wrong")
    for word in ("<access mode='shared'/>", "'brass'", "known: ", "<reconnect enabled='yes' timeout='1'/>", mac_of(7)):
        assert status == 1 and word in text, (word, status, text)
    virt.define(domain("none"))
    status, text = ctl("domain", "check", "none")
    assert status == 0 and "none does not use vnicd" in text, (status, text)
    virt.virsh("undefine", "none")
    virt.define(domain("taken", vhostuser(mac_of(1), socket_of("gold", "taken"))))
    status, text = ctl("domain", "check", "taken")
    assert status == 1 and mac_of(1) in text and "'a'" in text, text
    status, text = ctl("domain", "check", "nobody")
    assert status == 4 and "nobody" in text, (status, text)
    for name in ("wrong", "taken"):
        virt.virsh("undefine", name)
    assert sorted(vnicd.ports()) == [mac_of(1)], "check made a port"


@test("hotplug: all ends in an orderly way, vnicd-libvirt too")
def orderly():
    host, vnicd, virt, _ = setup()
    virt.virsh("undefine", "off")
    host.shutdown()
    wait_for("vnicd-libvirt to end with vnicd", lambda: not helpers())


if __name__ == "__main__":
    main()
