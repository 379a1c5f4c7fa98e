#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""org.vnicd1.Nic over played links: no kind of link that a sandbox can make is a nic."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from busports import same_contract  # noqa: E402
from rawbus import Bus  # noqa: E402
from vt import TOP, main, test  # noqa: E402

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


@test("played_daemon_ends_well")
def _():
    d = played()
    d.p.stdin.close()
    assert d.p.wait(10) == 0, f"it ended with {d.p.returncode}"


main()
