#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""org.vnicd1.Nic over played links: no kind of link that a sandbox can make is a nic."""
import json
import os
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from busports import UUID, add, key, mac, path, ports, same_contract  # noqa: E402
from rawbus import Bus, DBusError, V  # noqa: E402
from vt import TOP, main, test, wait_for  # noqa: E402

PROGRAM = os.environ.get("VNIC_PLAYED", os.path.join(TOP, "build/check/tests/bus/fake_vnicd"))
_bed = {}


def fails(fn, *args, **kwargs):
    """The D-Bus error that fn raises."""
    try:
        r = fn(*args, **kwargs)
    except DBusError as e:
        return e
    raise AssertionError(f"it was taken: {r}")


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


@test("vf_of_libvirts_has_a_class")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    keys = ("class", "settings", "settings_reason")

    def told():
        m = ear.signal(lambda s: s.member == "VfsChanged")
        assert m.body == [2, 2], m.body
        v = call(b, "ListVfs", "u", 2)[0][0]
        return (v["user"], v["user_name"], *(v.get(k) for k in keys))

    def become(want):
        # Each step of the way may be told.
        for _ in range(8):
            got = told()
            if got == want:
                return
        raise AssertionError(f"{got}, not {want}")
    d.do(f"vf {PF} 2 domain own")
    become(("domain", "own", None, None, None))
    d.do("hostdev 0000:03:10.2 gold")
    become(("domain", "own", "gold", "set", ""))
    d.do("hostdev 0000:03:10.2 tin")
    become(("domain", "own", "gold", "set", "there is no class 'tin': it stays as it is"))
    d.do("hostdev 0000:03:10.2 -")
    become(("domain", "own", None, None, None))
    d.do(f"vf {PF} 2 free -")
    become(("free", "", None, None, None))


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
                        "driver": "vhost_vdpa", "node": "vhost-vdpa-0", "left": False}], devices
    assert call(b, "ListMdevTypes") == [[{"type": "nic-2q", "device_api": "vfio-pci", "available": 3}]]
    # One of vnic.ko's is its uplink's.
    d.do("vdpa v0 vnic/eth0 -")
    changed(ear, NIC, VdpaMgmtdevs=2, VdpaDevices=2)
    assert [m["name"] for m in call(b, "ListVdpa")[0]] == [f"pci/{PF}", "vnic/eth0"]
    # The manager tells of those that belong to no nic, too.
    mgmtdevs, devices = b.call("ListVdpa")
    assert sorted(m["name"] for m in mgmtdevs) == [f"pci/{PF}", "vdpasim_net", "vnic/eth0"], mgmtdevs
    assert sorted(x["name"] for x in devices) == ["sim0", "v0", "vd0"], devices
    assert b.call("ListMdevTypes") == [[
        {"type": "nic-2q", "device_api": "vfio-pci", "available": 3, "parent": PF}]]
    # One that vnicd made, for a port that there is none of.
    left = "vnic-0123456789abcdef0123456789abcdef-525400000077"
    d.do(f"vdpa {left} vdpasim_net -")
    wait_for("it", lambda: {x["name"]: x["left"] for x in b.call("ListVdpa")[1]}.get(left) is True)
    assert [x["name"] for x in b.call("ListVdpa")[1] if x["left"]] == [left]
    p = subprocess.run(["vnicctl", "-j", "diagnose"], text=True, capture_output=True, timeout=60, check=False)
    told = [c for c in json.loads(p.stdout)["checks"] if c["check"] == "vDPA"]
    assert len(told) == 1 and f"vdpa dev del {left}" in told[0]["fix"], p.stdout


@test("port_says_what_device_it_has")
def _():
    d = played()
    b = Bus()
    d.do(f"port {UUID} {mac(1)} n1")
    wait_for("the port", lambda: key(1) in ports(b))
    device = ports(b)[key(1)]["Device"]
    want = {"state": "reserved", "reason": "", "held": False, "asked": "", "pf": PF, "nic": "eth0", "vf": 0,
            "vf_addr": "0000:03:10.0", "netdev": ""}
    assert device == want, device
    ear = Bus()
    ear.listen()
    d.do(f"started {UUID}")
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.body[1].get("Path") == "sriov")
    assert m.path == path(1) and m.body[1]["Device"]["state"] == "attached", m.body
    wait_for("the nic to tell", lambda: nic_of(b)["VfsTaken"] == 1)
    v = call(b, "ListVfs", "u", 0)[0][0]
    assert (v["user"], v["user_name"], v["port"], v["device_state"]) == ("port", "web", key(1), "attached"), v


def device_of(bus, n=1):
    return ports(bus)[key(n)]["Device"]


def ask(bus, member, n=1, **more):
    return bus.call(member, "st", key(n), ports(bus)[key(n)]["Generation"], **more)


@test("device_detached_and_attached")
def _():
    played()
    b = Bus()
    ask(b, "DeviceDetach")
    p = ports(b)[key(1)]
    assert (p["Path"], p["Device"]["state"], p["Device"]["held"]) == ("software", "none", True), p
    assert "vnicctl port attach" in p["Device"]["reason"] and "pf" not in p["Device"], p
    ask(b, "DeviceDetach")
    ask(b, "DeviceAttach")
    p = ports(b)[key(1)]
    assert (p["Path"], p["Device"]["state"], p["Device"]["held"]) == ("sriov", "attached", False), p
    ask(b, "DeviceAttach")


@test("device_detach_answers_late")
def _():
    d = played()
    b, other, gone = Bus(), Bus(), Bus()
    d.do("slow on")
    g = ports(b)[key(1)]["Generation"]
    first = b.send("DeviceDetach", "st", key(1), g)
    gone.send("DeviceDetach", "st", key(1), g)
    wait_for("detaching", lambda: device_of(other)["state"] == "detaching")
    gone.close()
    # Who asks for the opposite has its will, and the first is told.
    second = other.send("DeviceAttach", "st", key(1), g)
    assert fails(b.wait, first).code == "Busy"
    d.do("slow off")
    other.wait(second)
    assert device_of(b)["state"] == "attached"


@test("nic_drained")
def _():
    played()
    b, ear = Bus(), Bus()
    ear.listen()
    call(b, "Drain")
    assert nic_of(b)["Drained"] is True and device_of(b)["state"] == "none"
    assert "not eth0: it is drained" in device_of(b)["reason"], device_of(b)
    ear.signal(lambda s: s.member == "PropertiesChanged" and s.body[1].get("Drained") is True)
    e = fails(ask, b, "DeviceAttach")
    assert e.code == "NoPath" and "it is drained" in e.message, e
    call(b, "Drain")
    call(b, "Undrain")
    wait_for("its VF", lambda: device_of(b)["state"] == "attached")
    assert nic_of(b)["Drained"] is False
    call(b, "Undrain")


@test("plan_preview_tells_of_vfs")
def _():
    d = played()
    b = Bus()
    want = {"class": V("s", "gold"), "standby": V("s", "ua-x")}
    way, reasons, steps = b.call("PlanPreview", "a{sv}", want)
    assert way == "sriov" and reasons[0].startswith("sriov: VF 1 of eth0 (0000:03:10.1)"), reasons
    assert any("0000:03:10.1" in s for s in steps), steps
    for i in range(1, 7):
        d.do(f"vf {PF} {i} domain db{i}")
    way, reasons, steps = b.call("PlanPreview", "a{sv}", want)
    assert way == "software" and "not eth0: no free VF (7 of 7 taken)" in reasons[0], reasons
    for i in range(1, 7):
        d.do(f"vf {PF} {i} free -")


@test("device_bad_port")
def _():
    played()
    b = Bus()
    g = ports(b)[key(1)]["Generation"]
    for member in ("DeviceDetach", "DeviceAttach"):
        for k, n, code in (("x", 1, "InvalidArgument"), ("../" + key(1), g, "InvalidArgument"),
                           ("a" * 65536, g, "InvalidArgument"), (key(1), 0, "InvalidArgument"),
                           (key(1), g + 1, "StaleGeneration"), (key(9), 1, "UnknownPort")):
            e = fails(b.call, member, "st", k, n)
            assert e.code == code and len(e.message) < 1024, (member, k[:40], n, str(e)[:200])
    # Nobody said that a VF may be plugged in beside its interface.
    add(b, 2)
    e = fails(ask, b, "DeviceDetach", 2)
    assert e.code == "NoPath" and "<teaming" in e.message, e
    b.call("PortDel", "st", key(2), ports(b)[key(2)]["Generation"])
    assert device_of(b)["state"] == "attached"


@test("drain_without_vfs")
def _():
    d = played()
    b = Bus()
    d.do("link eth5 5 physical 0 up")
    wait_for("it", lambda: "/org/vnicd1/nic/5" in b.objects())
    for member in ("Drain", "Undrain"):
        e = fails(call, b, member, where="/org/vnicd1/nic/5")
        assert e.code == "UnknownNic" and "eth5" in e.message, e
        assert fails(call, b, member, where="/org/vnicd1/nic/77").name.endswith("UnknownObject")
    d.do("unlink 5")


@test("device_calls_100")
def _():
    d = played()
    b, other = Bus(), Bus()
    g = ports(b)[key(1)]["Generation"]
    d.do("slow on")
    sent = [b.send("DeviceDetach", "st", key(1), g) for _ in range(100)]
    codes = []
    for s in sent[32:]:
        codes.append(fails(b.wait, s).code)
    assert set(codes) == {"LimitReached"}, codes
    assert device_of(other)["state"] == "detaching"
    d.do("slow off")
    for s in sent[:32]:
        b.wait(s)
    ask(b, "DeviceAttach")


@test("vnicctl_drains_and_detaches")
def _():
    played()
    b = Bus()

    def ctl(*words, code=0):
        p = subprocess.run(["vnicctl", *words], text=True, capture_output=True, timeout=60, check=False)
        assert p.returncode == code, (words, p.returncode, p.stdout, p.stderr)
        return p.stdout + p.stderr

    def schema_of(*words):
        text = ctl("-j", *words)
        import jsonschema
        o = json.loads(text)
        with open("/usr/share/vnicd/vnicctl.schema.json", encoding="utf-8") as f:
            jsonschema.Draft202012Validator(json.load(f)).validate(o)
        return o

    n = schema_of("nic", "show", "eth0")["nics"][0]
    assert len(n["vfs"]) == 7 and n["vfs"][0]["port"] == key(1) and n["vdpa"]["devices"][0]["name"] == "vd0", n
    assert schema_of("nic", PF)["nics"][0]["name"] == "eth0"
    assert "vfs" not in schema_of("nic")["nics"][0]
    assert schema_of("status")["status"]["nic_vfs"] == [
        {"name": "eth0", "address": PF, "vfs": 7, "taken": 1, "free": 6}], schema_of("status")
    text = ctl("nic", "show", "eth0")
    assert f"port web {mac(1)}, attached" in text and "7 of 63 made, 1 taken, 6 free" in text, text
    assert "VF 0 of eth0 (0000:03:10.0), attached" in ctl("port", "show", mac(1))

    assert f"1 port gives one back: web {mac(1)}" in ctl("--dry-run", "nic", "drain", "eth0")
    assert "VF 0 of eth0" in ctl("--dry-run", "port", "detach", "web")
    assert device_of(b)["state"] == "attached", "a dry run did it"
    assert "Drained eth0" in ctl("nic", "drain", "eth0")
    assert "eth0 is drained" in ctl("nic")
    assert "it is drained" in ctl("port", "attach", "web", code=1)
    ctl("nic", "undrain", PF)
    wait_for("its VF", lambda: device_of(b)["state"] == "attached")
    assert "until 'vnicctl port attach web'" in ctl("port", "detach", "web")
    assert device_of(b)["held"] and schema_of("port", "show", "web")["ports"][0]["device"]["held"] is True
    assert "has VF 0 of eth0 (0000:03:10.0)" in ctl("port", "attach", "web")
    ctl("nic", "drain", "eth77", code=4)
    ctl("nic", "show", "eth77", code=4)
    ctl("port", "detach", "web77", code=4)
    ctl("port", "attach", "web", "class", code=2)
    text = ctl("--dry-run", "port", "add", "class", "gold", "standby", "ua-x")
    assert "sriov: VF 1 of eth0" in text, text


@test("monitor_tells_of_vfs")
def _():
    d = played()
    with subprocess.Popen(["vnicctl", "-j", "monitor", "-n", "200", "-t", "20"], stdout=subprocess.PIPE, text=True) as p:
        # Until it listens, what changes is not for it.
        found = None
        for n in range(1, 40):
            d.do(f"vf {PF} 3 {'domain db1' if n % 2 else 'free -'}")
            time.sleep(0.15)
            if select.select([p.stdout], [], [], 0)[0]:
                found = json.loads(p.stdout.readline())
                if found["event"] == "vfs":
                    break
        p.terminate()
    assert found and (found["object"], found["id"], found["properties"]) == ("nic", "2", {"first": 3, "last": 3}), found
    d.do(f"vf {PF} 3 free -")


@test("played_daemon_ends_well")
def _():
    d = played()
    d.p.stdin.close()
    assert d.p.wait(10) == 0, f"it ended with {d.p.returncode}"


main()
