#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the objects say while things happen that a sandbox cannot make happen: nics, rings, a datapath that goes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from played import Played, add, key, path, ports, release_all, same_contract  # noqa: E402
from rawbus import Bus  # noqa: E402
from vt import main, run, test  # noqa: E402

_bed = {}


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
    b = Bus()
    add(b)
    for name, where in (("Manager", "/org/vnicd1"), ("Nic", "/org/vnicd1/nic/2"), ("Port", path())):
        same_contract(b, name, where)
    release_all(b)


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


@test("port_state_is_signalled")
def _():
    d = played()
    b, ear = Bus(), Bus()
    add(b)
    ear.listen()
    d.do(f"state {key()} connected")
    changed(ear, path(), State="connected", PeerPid=4711)
    d.do(f"state {key()} running")
    changed(ear, path(), State="running", QueuesActive=1)
    # Nothing new is no signal: the next one is the quarantine's.
    d.do(f"state {key()} running")
    d.do(f"state {key()} quarantined")
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.path == path())
    assert m.body[1]["State"] == "quarantined", m.body
    assert b.get_all()["State"] == "degraded" and key() in b.get_all()["Reasons"][0]
    out = run("vnicctl", "port", "show")
    assert "quarantined" in out, out
    release_all(b)
    assert b.get_all()["State"] == "running"


@test("datapath_loss_is_signalled")
def _():
    d = played()
    b, ear = Bus(), Bus()
    ear.listen()
    d.do("datapath down")
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.path == "/org/vnicd1")
    assert m.body[1]["DatapathConnected"] is False and m.body[1]["State"] == "degraded"
    assert "played loss" in m.body[1]["Reasons"][0]
    d.do("datapath up")
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.body[1].get("State") == "running")
    assert m.body[1]["DatapathConnected"] is True and m.body[1]["Reasons"] == []


@test("missing_bridge_is_a_reason")
def _():
    d = played()
    b = Bus()
    d.do("unlink 3")
    assert b.get_all()["State"] == "degraded"
    assert "br0" in b.get_all()["Reasons"][0] and "vnicd.conf:1" in b.get_all()["Reasons"][0]
    out = run("vnicctl", "segment")
    assert "missing" in out and "ip link add br0 type bridge" in out, out
    d.do("link br0 3 bridge 0 up")
    d.do("link eth0 2 physical 3 up")
    assert b.get_all()["State"] == "running"


@test("counters_are_as_young_as_the_answer")
def _():
    played()
    b = Bus()
    for n in range(5):
        add(b, n)
    before = {k: p["Counters"]["rx_packets"] for k, p in ports(b).items()}
    b.call("RefreshCounters")
    after = {k: p["Counters"]["rx_packets"] for k, p in ports(b).items()}
    assert all(after[k] > before[k] for k in before), (before, after)
    # One who asks while another's answer is being fetched gets younger ones than that.
    serials = [b.send("RefreshCounters") for _ in range(3)]
    for s in serials:
        b.wait(s)
    again = {k: p["Counters"]["rx_packets"] for k, p in ports(b).items()}
    assert all(again[k] > after[k] for k in before)
    release_all(b)


@test("played_daemon_ends_well")
def _():
    played().stop()


main()
