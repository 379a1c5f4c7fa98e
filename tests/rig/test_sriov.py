#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 600
"""Guests with a VF: by virsh start and vnicctl alone, on a real card's driver, and everything back afterwards."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nested import Guest, hostdev_nic, vhostuser  # noqa: E402
from scenario import Skip, main, start, test, wait_for  # noqa: E402

PF = "0000:01:00.0"
VFS = 7
MAC = "52:54:00:09:00:%02x"
OUTSIDE = "10.9.0.254"
# Answers to a ping each 0.2 s that may be missing in a row: less than a second.
GAP = 4
ALIASED = {"alias": "ua-web", "teaming": "persistent"}
CONF = """
[nic {pf}]
vfs={vfs}
drivers-autoprobe=no

[segment lan]
bridge=br0
uplink={pf}

[class gold]
segment=lan
paths=sriov
vlans=0,12

[class silver]
segment=lan
paths=sriov,software
"""
# vnicd's own helper, asked by hand: {"op": …} on standard input, the answer on standard output.
ASK = """
import json, os, socket, subprocess, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
fd = theirs.fileno()
p = subprocess.Popen(["/usr/libexec/vnicd/vnicd-libvirt"], close_fds=False, stdin=subprocess.DEVNULL,
                     preexec_fn=lambda: os.dup2(fd, 3, inheritable=True))
theirs.close()
ours.settimeout(60)
ours.send(sys.argv[1].encode())
print(ours.recv(1 << 17).decode())
ours.close()
p.wait(10)
"""
_host = None
_before = None


def host():
    """The host VM: a bridge with the card in it, the outside in a namespace of its own, and vnicd."""
    global _host, _before
    if _host is not None:
        return _host
    vm = start()
    pf = vm.sh(f"ls /sys/bus/pci/devices/{PF}/net").strip()
    vm.sh(f"""set -e
        ip netns add out; ip link set outside netns out
        ip -n out addr add {OUTSIDE}/24 dev outside; ip -n out link set outside up
        ip link add br0 type bridge forward_delay 0; ip link set br0 up; ip link set {pf} master br0 up
        mkdir -p /etc/vnicd""")
    vm.write("/etc/vnicd/vnicd.conf", CONF.format(pf=pf, vfs=VFS))
    vm.sh("systemctl start vnicd")
    vm.pf = pf
    _host = vm
    wait_for("the datapath", lambda: ctl("status")["status"]["datapath_connected"], timeout=30)
    for _ in range(60):
        if len(nic()["vfs"]) == VFS and nic()["vfs_ready"]:
            break
        time.sleep(0.5)
    else:
        raise AssertionError(f"no {VFS} VFs: {nic()}: {vm.sh('journalctl -b -u vnicd | tail -20')}")
    _before = state()
    return vm


def ctl(*args):
    return json.loads(_host.sh("vnicctl -j " + " ".join(args), 60))


def nic():
    return ctl("nic", "show", _host.pf)["nics"][0]


def port(mac=MAC % 1):
    return {p["mac"]: p for p in ctl("port", "show")["ports"]}.get(mac)


def state():
    """All that is to be as before: VFs, their attributes, drivers and what would bind them."""
    return _host.sh(f"""cd /sys/bus/pci/devices/{PF}; cat sriov_numvfs sriov_drivers_autoprobe
        ip -d link show {_host.pf} | grep -E '^ +vf '
        for v in virtfn*; do echo $v $(basename $(readlink $v/driver) 2>/dev/null) $(cat $v/driver_override); done
        bridge fdb show dev {_host.pf} | grep static | grep 52:54:00:09 || true""")


def ask(op, **fields):
    status, out = _host.run(["python3", "-c", ASK, json.dumps({"id": 1, "op": op, **fields})], 90)
    assert status == 0, out
    return json.loads(out.decode().strip().splitlines()[-1])


def guest(name="web", number=1, cls="gold", **more):
    nic_xml = vhostuser(MAC % number, f"/run/vnicd/sock/{cls}/{name}.sock", **(more or dict(ALIASED,
                                                                                  alias=f"ua-{name}")))
    return Guest(host(), name, nic_xml)


def attached(mac=MAC % 1):
    wait_for(f"{mac} to have its VF: {port(mac)}", lambda: port(mac)["device"]["state"] == "attached", timeout=60)
    assert port(mac)["path"] == "sriov", port(mac)
    return port(mac)["device"]


def failover(g, number=1):
    """The guest's three interfaces: (failover, VF). All have the port's MAC."""
    vf = g.nic_of("igbvf")
    nics = wait_for("the VF to be taken into the team", lambda: g.nics()[vf][2] and g.nics())
    assert {m for m, _, _ in nics.values()} == {MAC % number}, nics
    return nics[vf][2], vf


def by_vf(g):
    """The guest, whose interface is up, sends by its VF: from the VF's link on, and a frame may be lost until then."""
    _, vf = failover(g)
    wait_for("the VF's link", lambda: g.run(f"grep -q 1 /sys/class/net/{vf}/carrier")[0] == 0)


def missing(text, sent):
    """The longest row of pings without an answer."""
    seen = {int(w.removeprefix("seq=")) for w in text.split() if w.startswith("seq=")}
    longest = run = 0
    for n in range(sent):
        run = 0 if n in seen else run + 1
        longest = max(longest, run)
    return longest


web = None


def running():
    """The guest of the first test."""
    if web is None:
        raise Skip("no guest")
    return web


@test("virsh start: the guest has a VF with its MAC, and pings the outside")
def starts():
    global web
    g = guest().define().start()
    device = attached()
    web = g
    dev, _ = failover(web)
    web.ip("10.9.0.1/24", dev)
    web.ping(OUTSIDE)
    said = nic()["vfs"][device["vf"]]
    assert said["address"] == device["vf_addr"] and "vfio-pci" in said["driver"], said
    assert MAC % 1 in _host.sh(f"ip link show {_host.pf} | grep 'vf {device['vf']} '")
    xml = web.virsh("dumpxml")
    assert "name='ua-vnic-web'" in xml and "<teaming type='transient' persistent='ua-web'/>" in xml, xml
    # No address of a device in what the next start reads.
    assert "hostdev" not in web.virsh("dumpxml", "--inactive"), web.virsh("dumpxml", "--inactive")


@test("the helper: what is plugged in is not again, another beside it is refused, and libvirt's list has it")
def twice():
    running()
    address, uuid = port()["device"]["vf_addr"], web.virsh("domuuid").strip()
    r = ask("attach-hostdev", domain=uuid, address=address, standby="ua-web")
    assert r.get("alias") == "ua-vnic-web", r
    other = next(v["address"] for v in nic()["vfs"] if v["address"] != address)
    r = ask("attach-hostdev", domain=uuid, address=other, standby="ua-web")
    assert r["error"]["code"] == "Busy" and address in r["error"]["message"], r
    r = ask("devices")
    assert [(d["name"], d["devices"]) for d in r["domains"]] == [
        ("web", [{"address": address, "alias": "ua-vnic-web"}])], r
    web.ping(OUTSIDE, count=1)


@test("the VF is taken and given back under ping, and the guest misses less than a second")
def taken_and_given():
    running()
    count = 150
    web.bg(f"ping -i 0.2 -c {count} {OUTSIDE}")
    _host.sh("vnicctl port detach web", 60)
    assert port()["device"]["state"] == "none" and port()["path"] == "software", port()
    assert "igbvf" not in {d for _, d, _ in web.nics().values()}, web.nics()
    assert "hostdev" not in web.virsh("dumpxml")
    web.ping(OUTSIDE, count=2)
    _host.sh("vnicctl port attach web", 60)
    attached()
    failover(web)
    _, text = web.bg_wait(limit=90)
    assert missing(text, count) <= GAP, (missing(text, count), text[-2000:])
    web.ping(OUTSIDE)


@test("virsh destroy: attributes, drivers and the number of VFs are as before")
def destroyed():
    running().destroy()
    wait_for("the port's end", lambda: port() is None, timeout=30)
    assert state() == _before, (state(), _before)


@test("started again, the guest has the same VF, also after its end from within")
def again():
    running()
    had = None
    for _ in range(2):
        web.start()
        address = attached()["vf_addr"]
        assert had in (None, address), (had, address)
        had = address
        web.run("poweroff -f", 5)
        wait_for("the guest's end", lambda: web.state() == "shut off", timeout=30)
        wait_for("the port's end", lambda: port() is None, timeout=30)
        assert state() == _before, (state(), _before)
    web.undefine()


@test("without a standby virsh start says what to write, and a class with software runs without")
def no_standby():
    host()
    g = guest("bare", 2, alias="ua-bare").define()
    status, out = _host.run(["virsh", "-q", "-c", "qemu:///system", "start", "bare"], 60)
    assert status != 0 and b"<alias name='ua-bare'/>" in out and b"<teaming type='persistent'/>" in out, out
    g.undefine()
    g = guest("soft", 2, cls="silver", alias="ua-soft").define()
    g.virsh("start", "--paused")
    assert port(MAC % 2)["path"] == "software" and "<teaming" in port(MAC % 2)["device"]["reason"], port(MAC % 2)
    g.destroy().undefine()


@test("a VF that libvirt manages is its domain's: shown so, and nobody else's")
def of_a_domain():
    host()
    # One that vnicd has not given away before: libvirt would remember that, and leave it with vfio-pci (README.md).
    vf = nic()["vfs"][-1]
    g = Guest(host(), "own", hostdev_nic(MAC % 3, vf["address"])).define()
    g.virsh("start", "--paused")

    def others(text):
        return [x for x in text.splitlines() if not re.match(r" *vf 6 |virtfn6 ", x)]

    def user():
        v = nic()["vfs"][-1]
        return v["user"], v["user_name"]
    wait_for(f"the last VF to be own's: {user()}", lambda: user() == ("domain", "own"))
    w = guest().define()
    w.virsh("start", "--paused")
    assert attached()["vf_addr"] != vf["address"]
    w.destroy().undefine()
    g.destroy().undefine()
    wait_for(f"the last VF to be free: {user()}", lambda: user()[0] == "free")
    # It is as libvirt leaves it.
    wait_for(f"the others to be as before: {_before}, is {state()}", lambda: others(state()) == others(_before))


if __name__ == "__main__":
    main()
