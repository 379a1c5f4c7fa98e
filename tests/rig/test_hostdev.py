#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 420
"""Guests with a VF of libvirt's own managing: libvirt gives it MAC and VLAN, vnicd what else its class says, and after
them the card's driver says the same of it as before. Rows of tests/tables/rig-kill.md."""
import json
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nested import Guest, hostdev_nic, virsh  # noqa: E402
from scenario import main, start, test, wait_for  # noqa: E402
from libvirtd import ports  # noqa: E402

PF = "0000:01:00.0"
VFS = 7
MAC = "52:54:00:09:00:%02x"
OUTSIDE = "10.9.0.254"
CONF = """
[nic {pf}]
vfs={vfs}
drivers-autoprobe=no
{nic}

[segment lan]
bridge=br0
uplink={pf}

[class gold]
segment=lan
rate={rate}
spoofchk=no
trust=yes

[class silver]
segment=lan
"""
# What the class of each says, and what a VF is like that nobody has touched.
GOLD, SILVER, PLAIN = (100, False, True), (0, True, False), (0, True, False)
NETWORK = """<network><name>vfs</name><forward mode='hostdev' managed='yes'>{addresses}</forward></network>"""
_host = None


def host():
    global _host
    if _host is not None:
        return _host
    vm = start()
    vm.pf = vm.sh(f"ls /sys/bus/pci/devices/{PF}/net").strip()
    vm.sh(f"""set -e
        ip netns add out; ip link set outside netns out
        ip -n out addr add {OUTSIDE}/24 dev outside; ip -n out link set outside up
        ip link add br0 type bridge forward_delay 0; ip link set br0 up; ip link set {vm.pf} master br0 up
        mkdir -p /etc/vnicd""")
    _host = vm
    config()
    vm.sh("systemctl start vnicd")
    wait_for("the datapath", lambda: ctl("status")["status"]["datapath_connected"], timeout=30)
    wait_for(f"{VFS} VFs", lambda: len(nic()["vfs"]) == VFS and nic()["vfs_ready"], timeout=30)
    # igb takes a rate only once it knows the link's speed.
    wait_for("a rate to be taken", lambda: vm.run(["ip", "link", "set", vm.pf, "vf", "0", "max_tx_rate", "0"])[0] == 0,
             timeout=30)
    return vm


def config(nic_lines="", rate="100mbit"):
    _host.write("/etc/vnicd/vnicd.conf", CONF.format(pf=_host.pf, vfs=VFS, nic=nic_lines, rate=rate))


def ctl(*args):
    return json.loads(_host.sh("vnicctl -j " + " ".join(args), 60))


def nic():
    return ctl("nic", "show", _host.pf)["nics"][0]


def vf(i):
    return nic()["vfs"][i]


def kernel(i):
    """(rate, spoofchk, trust, MAC, VLAN) of a VF, as the kernel says by iproute2."""
    v = json.loads(_host.sh(f"ip -j -d link show {_host.pf}"))[0]["vfinfo_list"][i]
    assert v["vf"] == i, v
    return v["rate"]["max_tx"], v["spoofchk"], v["trust"], v["address"], (v.get("vlan_list") or [{}])[0].get("vlan", 0)


def until(what, fn, say, timeout):
    """wait_for() that says what there was instead."""
    try:
        wait_for(what, fn, timeout=timeout, every=0.3)
    except AssertionError as e:
        raise AssertionError(f"{e}: {say()}: {_host.sh('journalctl -b -u vnicd | tail -8')}") from None


def is_set(i, cls, what, limit=15):
    until(f"VF {i} to be as class {cls} says", lambda: vf(i).get("settings") == "set" and vf(i)["class"] == cls and
          kernel(i)[:3] == what, lambda: (vf(i), kernel(i)), limit)
    assert vf(i)["settings_reason"] == "", vf(i)


def is_plain(i, limit=20):
    until(f"VF {i} to be as before", lambda: kernel(i)[:3] == PLAIN and "class" not in vf(i) and not records(),
          lambda: (vf(i), kernel(i), records()), limit)


def records():
    return _host.sh("ls /run/vnicd/shared | grep ^vf: || true").split()


def own(name, i, number, cls=None, vlan=None, **more):
    """A domain with VF i by its own XML."""
    wish = {"mac": MAC % number, "class": cls, **more}
    return Guest(host(), name, hostdev_nic(MAC % number, vf(i)["address"], vlan),
                 metadata=ports(wish) if cls else "").define()


def kill(unit):
    _host.sh(f"kill -9 $(systemctl show -p MainPID --value {unit})")


def restart_vnicd():
    """It is killed, and is there again by systemd."""
    kill("vnicd")
    wait_for("vnicd", lambda: b'"datapath_connected":true' in _host.run(["vnicctl", "-j", "status"])[1], 40, 0.2)


@test("hostdev-runs")
def runs():
    """A guest with a VF of libvirt's runs, pings, and has what its class says; then all is as before."""
    host()
    before = [kernel(i) for i in range(VFS)]
    g = own("own", 6, 1, "gold").start()
    is_set(6, "gold", GOLD)
    v = vf(6)
    assert (v["user"], v["user_name"]) == ("domain", "own"), v
    # What libvirt has set is as libvirt has set it.
    assert kernel(6)[3] == MAC % 1, kernel(6)
    shown = _host.sh(f"vnicctl nic show {_host.pf}")
    assert "domain own, class gold" in shown, shown
    dev = g.nic_of("igbvf")
    assert g.nics()[dev][0] == MAC % 1, g.nics()
    g.ip("10.9.0.1/24", dev).ping(OUTSIDE)
    assert [kernel(i) for i in range(6)] == before[:6]
    # Out of the running guest and in again, by virsh.
    xml = hostdev_nic(MAC % 1, v["address"])
    g.detach(xml)
    is_plain(6, 40)
    g.attach(xml)
    is_set(6, "gold", GOLD)
    g.virsh("destroy")
    is_plain(6)
    g.undefine()
    wait_for("the last VF to be free", lambda: vf(6)["user"] == "free")


@test("hostdev-class-changes")
def changes():
    """The class' settings, and another class in the metadata, are followed while it runs."""
    host()
    g = own("own", 5, 2, "gold", vlan=12)
    g.virsh("start", "--paused")
    is_set(5, "gold", GOLD)
    assert kernel(5)[3:] == (MAC % 2, 12), kernel(5)
    config(rate="50mbit")
    _host.sh("vnicctl reload")
    is_set(5, "gold", (50, False, True))
    config()
    _host.sh("vnicctl reload")
    is_set(5, "gold", GOLD)

    def say(cls, rate=""):
        g.virsh("metadata", "--uri", "urn:vnicd:1", "--key", "vnic", "--live", "--set",
                f"<ports><port mac='{MAC % 2}' class='{cls}'{rate}/></ports>")
    say("silver", " rate='30mbit'")
    is_set(5, "silver", (30, True, False))
    say("silver")
    is_set(5, "silver", SILVER)
    say("tin")
    wait_for("its class to be missed", lambda: "no class 'tin'" in vf(5)["settings_reason"])
    say("gold")
    is_set(5, "gold", GOLD)
    assert kernel(5)[3:] == (MAC % 2, 12), kernel(5)
    # Somebody else's hand.
    _host.sh(f"ip link set {_host.pf} vf 5 trust off max_tx_rate 7")
    is_set(5, "gold", GOLD)
    g.virsh("destroy")
    is_plain(5)
    g.undefine()


@test("hostdev-network")
def network():
    """A VF that a hostdev network picks, and one whose class the nic names."""
    host()
    addresses = "".join("<address type='pci' domain='0x{}' bus='0x{}' slot='0x{}' function='0x{}'/>".format(
        *re.split("[:.]", vf(i)["address"])) for i in (3, 4))
    _host.write("/run/rig/vfs.xml", NETWORK.format(addresses=addresses))
    virsh(_host, "net-define", "/run/rig/vfs.xml")
    virsh(_host, "net-start", "vfs")
    xml = f"<interface type='network'><mac address='{MAC % 3}'/><source network='vfs'/></interface>"
    g = Guest(_host, "net", xml, metadata=ports({"mac": MAC % 3, "class": "gold"})).define()
    other = Guest(_host, "bare", xml.replace(MAC % 3, MAC % 4)).define()
    g.virsh("start", "--paused")
    other.virsh("start", "--paused")
    users = wait_for("both to be known", lambda: {v["user_name"]: v["index"] for v in nic()["vfs"]
                                                  if v["user"] == "domain"}.keys() == {"net", "bare"} and
                     {v["user_name"]: v["index"] for v in nic()["vfs"] if v["user"] == "domain"})
    is_set(users["net"], "gold", GOLD)
    # Of no class: left as it is, until the nic names one.
    assert kernel(users["bare"])[:3] == PLAIN and "class" not in vf(users["bare"]), vf(users["bare"])
    config("hostdev-class=gold")
    _host.sh("vnicctl reload")
    is_set(users["bare"], "gold", GOLD)
    config()
    _host.sh("vnicctl reload")
    wait_for("the nic's class to be taken back", lambda: kernel(users["bare"])[:3] == PLAIN)
    for x in (g, other):
        x.virsh("destroy")
        x.undefine()
    for i in users.values():
        is_plain(i)
    virsh(_host, "net-destroy", "vfs")
    virsh(_host, "net-undefine", "vfs")


@test("hostdev-refused")
def refused():
    """virsh start says that there is no such class, and what is libvirt's to set."""
    host()
    for wish, words in (({"class": "tin"}, "no class 'tin'"), ({"class": "gold", "vlan": "3"}, "takes class and rate only"),
                        ({"rate": "1gbit"}, "class='NAME'")):
        g = Guest(host(), "own", hostdev_nic(MAC % 5, vf(2)["address"]), metadata=ports({"mac": MAC % 5, **wish})).define()
        status, out = _host.run(["virsh", "-q", "-c", "qemu:///system", "start", "--paused", "own"], 60)
        assert status != 0 and words in out.decode(), out
        check = _host.run(["vnicctl", "domain", "check", "own"], 60)[1].decode()
        assert words in check, check
        g.undefine()
    assert kernel(2)[:3] == PLAIN and not records()


@test("hostdev-kill-vnicd")
def killed():
    """SIGKILL of vnicd while it is set, and its domain ends meanwhile."""
    host()
    g = own("own", 1, 6, "gold")
    g.virsh("start", "--paused")
    is_set(1, "gold", GOLD)
    restart_vnicd()
    is_set(1, "gold", GOLD, 40)
    assert records() == [f"vf:{vf(1)['address']}.json"], records()
    _host.sh("systemctl stop vnicd")
    g.virsh("destroy")
    assert kernel(1)[:3] == GOLD
    _host.sh("systemctl start vnicd")
    is_plain(1, 40)
    g.undefine()


@test("hostdev-kill-vnicd-at-work")
def killed_at_work():
    """SIGKILL at random points while it is being set and put back, four times."""
    host()
    g = own("own", 0, 7, "gold")
    for n in range(4):
        g.virsh("start", "--paused")
        time.sleep(random.uniform(0, 0.4))
        restart_vnicd()
        is_set(0, "gold", GOLD, 40)
        g.virsh("destroy")
        time.sleep(random.uniform(0, 0.4))
        restart_vnicd()
        is_plain(0, 40)
    g.undefine()


@test("hostdev-kill-libvirtd")
def without_libvirt():
    """What is set stays while libvirtd is away, and is put back once it tells of the domain's end."""
    host()
    g = own("own", 1, 8, "gold")
    g.virsh("start", "--paused")
    is_set(1, "gold", GOLD)
    kill("libvirtd")
    time.sleep(1)
    assert kernel(1)[:3] == GOLD and vf(1)["settings"] == "set", vf(1)
    wait_for("libvirtd", lambda: _host.run(["virsh", "-q", "-c", "qemu:///system", "version"], 30)[0] == 0, 60, 1)
    is_set(1, "gold", GOLD, 40)
    g.virsh("destroy")
    is_plain(1, 60)
    g.undefine()


if __name__ == "__main__":
    main()
