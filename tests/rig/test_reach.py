#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reaches whom on one card with VFs, over a Linux bridge and over Open vSwitch's with the kernel's datapath: the
matrix of tests/tables/reach-vf.md, a test a row. Inside of a host VM of the rig; front ends without a QEMU are the guests
of software ports, VFs with the host's driver in network namespaces those with a VF."""
# rig: 6.12/11 6.1/9
# time limit: 480
import json
import os
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["VNIC_OVS_DATAPATH"] = "system"
sys.path[:0] = ["/root/tests/lib", os.path.join(HERE, "../lib")]
import inside  # noqa: E402
from devices import IGB, Pf, netdev, write  # noqa: E402
from net import Wire, eth, ip, links, mac_bytes, quiet  # noqa: E402
from ovs import Ovs  # noqa: E402
from vhost_client import Client  # noqa: E402
from vt import run, table, test, wait_for  # noqa: E402

UUID = "11111111-2222-3333-4444-555555555555"
MAC = {"soft": "52:54:00:0a:00:01", "soft2": "52:54:00:0a:00:02", "vsoft": "52:54:00:0a:00:03",
       "vf": "52:54:00:0a:00:11", "vf2": "52:54:00:0a:00:12", "vvf": "52:54:00:0a:00:13",
       "host": "52:54:00:0a:00:fe"}
VLAN = {"vsoft": 12, "vvf": 12, "outside12": 12}
BEHIND_PF = {"soft", "soft2", "vsoft", "host"}
SOFT, VFS = ("soft", "soft2", "vsoft"), ("vf", "vf2", "vvf")
COPIES = 3
ALL = "ff:ff:ff:ff:ff:ff"
CONF = """[nic pf]
address=0000:01:00.0
vfs=4
drivers-autoprobe=yes

[segment lan]
bridge=br0
uplink={pf}

[class gold]
segment=lan
vlans=0,12
"""


class Deaf(Wire):
    """As a host listens: to what is for it."""

    def __init__(self, dev, ns=None):
        super().__init__(dev, ns)
        index = links(ns)[dev]["ifindex"]
        self._s.setsockopt(263, 2, struct.pack("iHH8s", index, 1, 0, b""))


class Guest:
    """A software port with its front end."""

    def __init__(self, name, mac=None):
        self.name, self.mac = name, mac or MAC[name]
        more = ["vlan", str(VLAN[name])] if name in VLAN else []
        port = ctl("port", "add", "uuid", UUID, "mac", self.mac, "class", "gold", *more)["ports"][0]
        self.path = f"/run/vnicd/sock/gold/{port['name']}.sock"
        self.client = None
        self.plug()

    def plug(self):
        self.client = Client(self.path)
        self.client.run()
        wait_for(f"{self.name} to run", lambda: ports()[self.mac]["state"] == "running")

    def unplug(self):
        self.client.close()
        wait_for(f"{self.name} to be ready", lambda: ports()[self.mac]["state"] == "ready")

    def send(self, f):
        self.client.transmit(f)

    def receive(self, timeout):
        end = time.monotonic() + timeout
        while (f := self.client.received()) is None and time.monotonic() < end:
            time.sleep(0.002)
        return f

    def drain(self):
        while self.client.received() is not None:
            pass


def ctl(*args):
    return json.loads(run("vnicctl", "-j", *args))


def ports():
    return {p["mac"]: p for p in ctl("port", "show")["ports"]}


class Vf:
    """A VF as a guest would have it: its MAC and VLAN by the PF's driver, its interface in a namespace of its own."""

    def __init__(self, name, index, mac=None):
        self.ns, self.index, self.mac = "ns-" + name, index, mac or MAC[name]
        addr = pf().vf_addr(index)
        pf().set_vf(index, "mac", self.mac)
        pf().set_vf(index, "vlan", str(VLAN.get(name, 0)))
        # A VF takes its MAC when its driver starts.
        write("/sys/bus/pci/drivers/igbvf/unbind", addr)
        write("/sys/bus/pci/drivers/igbvf/bind", addr)
        dev = wait_for("the VF's interface", lambda: netdev(addr))
        ip("netns", "add", self.ns)
        ip("link", "set", dev, "netns", self.ns, "name", "eth0")
        quiet("eth0", self.ns)
        ip("link", "set", "eth0", "up", ns=self.ns)
        wait_for("its carrier", lambda: "LOWER_UP" in links(self.ns)["eth0"]["flags"], 20)

    def wire(self):
        return Deaf("eth0", self.ns)

    def give_back(self):
        ip("netns", "del", self.ns)
        pf().set_vf(self.index, "mac", "00:00:00:00:00:00")
        pf().set_vf(self.index, "vlan", "0")


def pf():
    return Pf(IGB)


def fdb():
    """The MACs that the card's own switch was told to be behind the PF."""
    out = json.loads(run("bridge", "-j", "fdb", "show", "dev", pf().dev) or "[]")
    return {e["mac"] for e in out if "self" in e.get("flags", [])}


def linux_bridge(dev):
    ip("link", "add", "br0", "address", MAC["host"], "type", "bridge", "forward_delay", "0", "mcast_snooping", "0",
       "vlan_filtering", "1")
    ip("link", "set", dev, "master", "br0")
    return lambda: ip("link", "del", "br0")


def ovs_bridge(dev):
    run("modprobe", "openvswitch")
    ovs = Ovs().start()
    run("ovs-vsctl", "--timeout=20", "add-br", "br0", "--", "set", "bridge", "br0",
        f"other_config:hwaddr=\"{MAC['host']}\"", "--", "set", "port", "br0", "tag=0", "vlan_mode=access",
        "--", "add-port", "br0", dev)
    wait_for("br0", lambda: links().get("br0", {}).get("address") == MAC["host"])

    def take_away():
        run("ovs-vsctl", "--timeout=20", "del-br", "br0")
        ovs.stop()
    return take_away


class Bed:
    """Everything there is, over one kind of bridge."""

    now = None

    def __init__(self, kind):
        if Bed.now:
            Bed.now.end()
        Bed.now = self
        self.kind, self.runs, self.whole = kind, {}, False
        dev = pf().dev
        if not os.path.exists("/run/netns/out"):
            ip("netns", "add", "out")
            ip("link", "set", "outside", "netns", "out", "name", "eth0")
            quiet("eth0", "out")
            ip("link", "set", "eth0", "up", ns="out")
        self.take_away = (ovs_bridge if kind == "reach-vf-ovs" else linux_bridge)(dev)
        for name in (dev, "br0"):
            quiet(name)
            ip("link", "set", name, "up")
        run("modprobe", "igbvf")
        os.makedirs("/etc/vnicd", exist_ok=True)
        with open("/etc/vnicd/vnicd.conf", "w", encoding="ascii") as f:
            f.write(CONF.format(pf=dev))
        run("systemctl", "restart", "vnicd")
        wait_for("four VFs", lambda: pf().numvfs() == 4 and all(netdev(pf().vf_addr(i)) for i in range(4)), 30, 0.2)
        self.guests = {n: Guest(n) for n in SOFT}
        self.vfs = {n: Vf(n, i) for i, n in enumerate(VFS)}
        self.mac = {**MAC, "outside": links("out")["eth0"]["address"]}
        wait_for("the card's switch to know the software ports", lambda: {MAC[n] for n in SOFT} <= fdb())
        self.whole = True

    def wires(self):
        return {**{n: v.wire() for n, v in self.vfs.items()}, "host": Deaf("br0"), "outside": Wire("eth0", "out")}

    def speak(self):
        """The emulated card gives the PF its own broadcasts back, from where the bridge then learns their sender to be:
        each software guest says something, so that it is learned anew; and the host, whom Open vSwitch has to learn, too."""
        for g in self.guests.values():
            g.send(eth(self.mac["outside"], g.mac, b"I am here"))
        with Deaf("br0") as host:
            host.send(eth(self.mac["outside"], MAC["host"], b"I am here"))
        time.sleep(0.1)

    def run_of(self, frm, rows):
        """Send all frames of a sender; {receiver: [frames that arrived]}."""
        if frm in self.runs:
            return self.runs[frm]
        self.speak()
        everybody = {**self.wires(), **self.guests}
        for g in self.guests.values():
            g.drain()
        src = "outside" if frm == "outside12" else frm
        for i, row in enumerate(rows):
            if row["from"] != frm:
                continue
            dst = ALL if row["kind"] == "broadcast" else self.mac[row["to"]]
            for copy in range(COPIES):
                everybody[src].send(eth(dst, self.mac[src], payload(i, copy), vlan=12 if frm == "outside12" else None))
                time.sleep(0.004)
        # Once for all of them: what is under way arrives in this time.
        time.sleep(0.6)
        got = {}
        for name, who in everybody.items():
            got[name] = []
            while (f := who.receive(0.05)) is not None:
                got[name].append(f)
            if name not in self.guests:
                who.close()
        self.runs[frm] = got
        return got

    def judge(self, i, row, rows):
        got = sorted(f for f in self.run_of(row["from"], rows)[row["to"]] if f"reach:{i}:".encode() in f)
        src = self.mac["outside" if row["from"] == "outside12" else row["from"]]
        dst = ALL if row["kind"] == "broadcast" else self.mac[row["to"]]
        want = [] if row["arrives"] == "no" else sorted(
            eth(dst, src, payload(i, c), vlan=12 if row["arrives"] == "tagged" else None) for c in range(COPIES))
        if row["kind"] == "broadcast" and {row["from"], row["to"]} <= BEHIND_PF and row["arrives"] == "yes":
            got = sorted(set(got))  # the card gives the PF its own broadcasts back
        assert got == want, f"{len(want)} frames should arrive, {len(got)} did: " + ", ".join(f[:40].hex() for f in got[:4])

    def end(self):
        Bed.now = None
        # An entry that moved to another port of the bridge is not vnicd's to remove.
        self.speak()
        for g in self.guests.values():
            g.client.close()
            ctl("port", "del", f"{UUID}/{g.mac}")
        for v in self.vfs.values():
            v.give_back()
        # The bridge's own MAC is told by the bridge itself, too, where it has one port that floods.
        wait_for("the card's switch to forget", lambda: not fdb() & {MAC[n] for n in SOFT})
        run("systemctl", "stop", "vnicd", "vnicd-datapath")
        pf().set_numvfs(0)
        self.take_away()


def payload(i, copy):
    head = f"reach:{i}:{copy}:".encode()
    return head + bytes((len(head) * 31 + n * 7 + copy) & 255 for n in range(70 - len(head)))


def bed(kind):
    if not Bed.now or Bed.now.kind != kind:
        return Bed(kind)
    assert Bed.now.whole, "it could not be set up: see the first of these tests"
    return Bed.now


def reaches(who, to, mac, text):
    """Does a frame of @who arrive at @to? Tried for some seconds, since the switch learns."""
    src = mac_bytes(who.mac) if hasattr(who, "mac") else b"\x52\x54\x00\x0a\x00\xfe"
    sender = who.wire() if isinstance(who, Vf) else who
    f = mac_bytes(mac) + src + b"\x88\xb5" + text.ljust(50, b".")

    def once():
        sender.send(f)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if (g := to.receive(0.1)) is not None and text in g:
                return True
        return False
    wait_for(f"{text.decode()} to arrive", once, 15, 0.1)
    if isinstance(who, Vf):
        sender.close()


def taken_and_given_back(kind):
    """A MAC that is a software port's, then a VF's, then a software port's again."""
    b = bed(kind)
    b.runs.clear()
    mac = "52:54:00:0a:00:21"
    g = Guest("moving", mac)
    everybody = [(n, w) for n, w in (("vf", b.vfs["vf"]), ("soft", b.guests["soft"]))]

    def all_reach(to, when):
        for n, w in everybody:
            reaches(w, to, mac, f"{when}, from {n}".encode())
        with Deaf("br0") as host, Wire("eth0", "out") as outside:
            reaches(host, to, mac, f"{when}, from host".encode())
            reaches(outside, to, mac, f"{when}, from outside".encode())
    try:
        wait_for("the card to know it", lambda: mac in fdb())
        all_reach(g, "before")
        g.unplug()
        wait_for("the card to forget it", lambda: mac not in fdb())
        v = Vf("moving", 3, mac)
        with v.wire() as w:
            # As a guest does that has a NIC anew: the bridge learns where it is.
            w.send(eth(ALL, mac, b"here I am"))
            all_reach(w, "with the VF")
            assert mac not in fdb()
        v.give_back()
        g.plug()
        wait_for("the card to know it again", lambda: mac in fdb())
        # To the host, since the emulated card would bring a broadcast back: Open vSwitch learns where it is now.
        g.send(eth(MAC["host"], mac, b"here I am again"))
        all_reach(g, "afterwards")
    finally:
        g.client.close()
        ctl("port", "del", f"{UUID}/{mac}")
    wait_for("the card to forget it", lambda: mac not in fdb())


def host_told(kind):
    """The bridge has a MAC of its own, which the card could not know by itself."""
    bed(kind)
    assert MAC["host"] in fdb() and links()[pf().dev]["address"] != MAC["host"], fdb()


def ended(kind):
    """All given back: the card has been told to forget, the bridge is as it was."""
    bed(kind).end()
    assert not any(n.startswith("vn0-") for n in links())


def register():
    rows = table("reach-vf")
    for kind in ("reach-vf", "reach-vf-ovs"):
        for i, row in enumerate(rows):
            if "from" not in row or not row["test"].startswith(f"{kind}-{row['from']}-to-"):
                continue
            test(row["test"])(lambda i=i, row=row, kind=kind: bed(kind).judge(i, row, mine(rows, kind)))
        for name, fn in (("host-told", host_told), ("taken-and-given-back", taken_and_given_back), ("end", ended)):
            test(f"{kind}-{name}")(lambda fn=fn, kind=kind: fn(kind))


def mine(rows, kind):
    """The rows of a kind at their places: others are nobody's."""
    return [r if "from" in r and r["test"].startswith(f"{kind}-{r['from']}-to-") else {"from": None} for r in rows]


register()
if __name__ == "__main__":
    inside.main(__file__, limit=460, tables=("reach-vf",))
