#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""org.vnicd1.Nic over played links: no kind of link that a sandbox can make is a nic."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from busports import UUID, key, mac, ports, same_contract  # noqa: E402
from rawbus import Bus  # noqa: E402
from vt import TOP, main, test, wait_for  # noqa: E402

PROGRAM = os.environ.get("VNIC_PLAYED", os.path.join(TOP, "build/check/tests/bus/fake_vnicd"))
_bed = {}


class Played:
    def __init__(self):
        self.p = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("connected")

    def expect(self, line):
        got = self.p.stdout.readline().strip()
        assert got == line, f"played vnicd says {got!r}, not {line!r}"

    def do(self, words):
        self.p.stdin.write(words + "\n")
        self.p.stdin.flush()
        self.expect("ok")


def played():
    if not _bed:
        _bed["d"] = Played()
    return _bed["d"]


def changed(ear, where, **want):
    """The next PropertiesChanged of an object; its properties are exactly these."""
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.path == where)
    assert m.body[1] == want, f"{m.body[1]}, not {want}"


@test("nic_introspection_is_the_contract")
def _():
    played()
    same_contract(Bus(), "Nic", "/org/vnicd1/nic/2")


@test("nic_follows_its_link")
def _():
    d = played()
    b, ear = Bus(), Bus()
    nic = b.objects()["/org/vnicd1/nic/2"]["org.vnicd1.Nic"]
    assert (nic["Name"], nic["Master"], nic["Segment"], nic["Kind"]) == ("eth0", "br0", "lan", "physical"), nic
    ear.listen()
    d.do("link eth0 2 physical 3 down")
    changed(ear, "/org/vnicd1/nic/2", Up=False, Carrier=False)
    d.do("link eth1 2 physical 3 down")
    changed(ear, "/org/vnicd1/nic/2", Name="eth1")
    d.do("link eth0 2 physical 0 up")
    changed(ear, "/org/vnicd1/nic/2", Name="eth0", Master="", Segment="", Up=True, Carrier=True)
    d.do("link eth0 2 physical 3 up")
    changed(ear, "/org/vnicd1/nic/2", Master="br0", Segment="lan")
    # A bridge that gets another name is another bridge to the configuration.
    d.do("link br7 3 bridge 0 up")
    changed(ear, "/org/vnicd1/nic/2", Master="br7", Segment="")
    d.do("link br0 3 bridge 0 up")
    changed(ear, "/org/vnicd1/nic/2", Master="br0", Segment="lan")


@test("nic_comes_and_goes")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    d.do("link eth5 5 physical 0 up")
    m = ear.signal(lambda s: s.member == "InterfacesAdded")
    assert m.body[0] == "/org/vnicd1/nic/5" and m.body[1]["org.vnicd1.Nic"]["Name"] == "eth5"
    assert "/org/vnicd1/nic/5" in b.objects()
    d.do("unlink 5")
    m = ear.signal(lambda s: s.member == "InterfacesRemoved")
    assert m.body[0] == "/org/vnicd1/nic/5" and "org.vnicd1.Nic" in m.body[1]
    assert "/org/vnicd1/nic/5" not in b.objects()


PF = "0000:03:00.0"
NIC = "/org/vnicd1/nic/2"
ALONE = "/org/vnicd1/nic/pf_0000_04_00_0"
I_NIC = "org.vnicd1.Nic"


def nic_of(bus, where=NIC):
    return bus.objects()[where][I_NIC]


def call(bus, member, *args, where=NIC):
    return bus.call(member, *args, path=where, interface=I_NIC)


@test("nic_has_vfs")
def _():
    d = played()
    b, ear = Bus(), Bus()
    n = nic_of(b)
    assert (n["SriovTotalvfs"], n["VfsWanted"], n["VfsReady"], n["L2FwdOffload"]) == (-1, -1, False, "absent"), n
    assert call(b, "ListVfs", "u", 0) == [[]]
    ear.listen()
    d.do(f"pf 2 {PF} 63 7")
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and "VfsFree" in s.body[1])
    assert m.path == NIC and m.body[1]["VfsFree"] == 7, m.body
    m = ear.signal(lambda s: s.member == "VfsChanged")
    assert (m.path, m.body) == (NIC, [0, 6]), (m.path, m.body)
    n = nic_of(b)
    want = {"SriovTotalvfs": 63, "SriovNumvfs": 7, "Autoprobe": False, "EswitchMode": "legacy", "L2FwdOffload": "off",
            "Ntuple": "on [fixed]", "Channels": 2, "ChannelsMax": 8, "VfsTaken": 0, "VfsFree": 7, "VfsWanted": 7,
            "VfsReady": True, "VfsReason": "", "Address": PF, "Driver": "igb", "NumaNode": 0}
    assert {k: n[k] for k in want} == want, n
    vfs = call(b, "ListVfs", "u", 0)[0]
    assert [v["index"] for v in vfs] == list(range(7)), vfs
    want = {"index": 3, "address": "0000:03:10.3", "driver": "", "driver_override": "", "iommu_group": 23,
            "group_shared": False, "numa_node": 0, "netdev": "", "representor": "", "mac": "02:00:00:00:10:03",
            "vlan": 0, "qos": 0, "vlan_proto": "802.1Q", "max_tx_rate": 0, "min_tx_rate": 0, "spoofchk": True,
            "trust": False, "link_state": "auto", "query_rss": False, "user": "free", "user_name": ""}
    assert vfs[3] == want, vfs[3]
    assert [v["index"] for v in call(b, "ListVfs", "u", 5)[0]] == [5, 6]
    assert call(b, "ListVfs", "u", 7) == [[]] and call(b, "ListVfs", "u", 2**32 - 1) == [[]]


@test("vf_is_taken")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    d.do(f"vf {PF} 2 domain db1")
    d.do(f"vf {PF} 4 netns -")
    changed(ear, NIC, VfsTaken=2, VfsFree=5)
    m = ear.signal(lambda s: s.member == "VfsChanged")
    assert m.body == [2, 4], m.body
    vfs = call(b, "ListVfs", "u", 0)[0]
    assert [(v["user"], v["user_name"]) for v in vfs[2:5]] == [("domain", "db1"), ("free", ""), ("netns", "")], vfs
    d.do(f"vf {PF} 2 free -")
    d.do(f"vf {PF} 4 free -")
    changed(ear, NIC, VfsTaken=0, VfsFree=7)


@test("vf_attribute_unknown")
def _():
    # What the driver does not tell has no key: a false there would be a lie.
    d = played()
    d.do(f"vf {PF} 6 unknown -")
    v = call(Bus(), "ListVfs", "u", 6)[0][0]
    assert not {"mac", "vlan", "qos", "trust", "max_tx_rate", "link_state", "query_rss", "spoofchk"} & set(v), v
    d.do(f"pf 2 {PF} 63 7")


@test("vfs_4096")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    d.do("pf 0 0000:04:00.0 4096 4096")
    m = ear.signal(lambda s: s.member == "InterfacesAdded")
    assert m.body[0] == ALONE, m.body
    n = m.body[1][I_NIC]
    assert (n["Ifindex"], n["Name"], n["Address"], n["VfsFree"], n["Up"]) == (0, "", "0000:04:00.0", 4096, False), n
    got = []
    while True:
        vfs = call(b, "ListVfs", "u", len(got), where=ALONE)[0]
        assert len(vfs) <= 512, len(vfs)
        if not vfs:
            break
        got += vfs
    assert [v["index"] for v in got] == list(range(4096))
    # One signal for all that change in one go.
    for i in range(0, 4096, 64):
        d.do(f"vf 0000:04:00.0 {i} driver vfio-pci")
    last = 0
    while last < 4032:
        m = ear.signal(lambda s: s.member == "VfsChanged" and s.path == ALONE)
        assert m.body[0] >= last, m.body
        last = m.body[1]
    d.do("unpf 0000:04:00.0")
    m = ear.signal(lambda s: s.member == "InterfacesRemoved")
    assert m.body[0] == ALONE and ALONE not in b.objects()


@test("nic_without_netdev_gets_one")
def _():
    d = played()
    b, ear = Bus(), Bus()
    d.do("pf 0 0000:04:00.0 8 0")
    d.do("link eth4 4 physical 0 up")
    wait_for("its object", lambda: ALONE in b.objects())
    ear.listen()
    d.do("pf 4 0000:04:00.0 8 0")
    m = ear.signal(lambda s: s.member == "InterfacesRemoved")
    assert m.body[0] == ALONE
    n = nic_of(b, "/org/vnicd1/nic/4")
    assert (n["SriovTotalvfs"], n["Address"]) == (8, "0000:04:00.0"), n
    d.do("unlink 4")
    d.do("unpf 0000:04:00.0")
    wait_for("no object", lambda: not {ALONE, "/org/vnicd1/nic/4"} & set(b.objects()))


@test("nic_has_vdpa_and_mdev")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    d.do(f"vdpa vd0 pci/{PF} {PF}")
    d.do("vdpa sim0 vdpasim_net -")
    d.do(f"mdev {PF} nic-2q 3")
    changed(ear, NIC, VdpaMgmtdevs=1, VdpaDevices=1, MdevTypes=1)
    mgmtdevs, devices = call(b, "ListVdpa")
    assert mgmtdevs == [{"name": f"pci/{PF}", "net": True, "max_vqp": 4, "features": 1 << 32}], mgmtdevs
    assert devices == [{"name": "vd0", "mgmtdev": f"pci/{PF}", "device_id": 1, "vendor_id": 0, "max_vqs": 3,
                        "driver": "vhost_vdpa", "node": "vhost-vdpa-0"}], devices
    assert call(b, "ListMdevTypes") == [[{"type": "nic-2q", "device_api": "vfio-pci", "available": 3}]]
    # The manager tells of those that belong to no nic, too.
    mgmtdevs, devices = b.call("ListVdpa")
    assert sorted(m["name"] for m in mgmtdevs) == [f"pci/{PF}", "vdpasim_net"], mgmtdevs
    assert sorted(x["name"] for x in devices) == ["sim0", "vd0"], devices
    assert b.call("ListMdevTypes") == [[
        {"type": "nic-2q", "device_api": "vfio-pci", "available": 3, "parent": PF}]]


@test("port_says_what_device_it_has")
def _():
    d = played()
    b = Bus()
    d.do(f"port {UUID} {mac(1)} n1")
    wait_for("the port", lambda: key(1) in ports(b))
    p = ports(b)[key(1)]
    assert p["Device"]["state"] in ("none", "reserved") and "reason" in p["Device"], p


@test("played_daemon_ends_well")
def _():
    d = played()
    d.p.stdin.close()
    assert d.p.wait(10) == 0, f"it ended with {d.p.returncode}"


main()
