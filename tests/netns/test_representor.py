#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VF's representor in a bridge that filters VLANs: exec's steps, against the kernel of a sandbox. The representors
are veths, and a folder in the place of sysfs says whose they are; tests/rig has those of a driver."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hoststate import difference, snapshot  # noqa: E402
from net import ip, links  # noqa: E402
from vt import TOP, Skip, main, run, test  # noqa: E402

TOOL = os.path.join(os.environ.get("VNIC_BUILD") or os.path.join(TOP, "build/check"), "tests/unit/systool")
SYSFS, SOCK_DIR, PF = "/run/sysfs", "/run/vnicd-test-sock", "0000:03:00.0"


class Exec:
    def __init__(self):
        self.p = subprocess.Popen([TOOL, "exec", SOCK_DIR, SYSFS], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def step(self, verb, kind, error="", **fields):
        self.p.stdin.write(" ".join([verb, kind, *(f"{k}={v}" for k, v in fields.items())]) + "\n")
        self.p.stdin.flush()
        a = json.loads(self.p.stdout.readline())
        assert a["error"] == error, f"{verb} {kind} {fields}: {a}, expected '{error}'"
        return a

    def plan(self, vlan, name="rep3", master="br0", vf=3):
        """The steps of daemon/core/representor.c, ready to be done and undone: [kind, fields]."""
        at = {"ifindex": index(name), "dev": PF, "vf": vf, "master": index(master), "vlan": vlan, "mtu": 1400}
        return [[k, dict(at)] for k in ("link-mtu", "link-master", "bridge-pvid", "link-up")]

    def do(self, steps, times=1):
        for kind, fields in steps:
            if "prev" not in fields:
                fields["prev"] = self.step("probe", kind, **fields)["prev"]
            for _ in range(times):
                self.step("do", kind, **fields)

    def undo(self, steps, times=1):
        for kind, fields in reversed(steps):
            for _ in range(times):
                self.step("undo", kind, **fields)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()


def index(name):
    return links()[name]["ifindex"]


def write(file, text):
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "w", encoding="ascii") as f:
        f.write(f"{text}\n")


def represent(name, port_name, folder=None):
    at = f"{SYSFS}/bus/pci/devices/{PF}/net/{folder or name}"
    write(f"{at}/ifindex", index(name))
    if port_name:
        write(f"{at}/phys_port_name", port_name)


def vlans(name):
    out = json.loads(run("bridge", "-j", "vlan", "show", "dev", name) or "[]")
    return {v["vlan"]: sorted(v.get("flags", [])) for o in out for v in o["vlans"]}


def state():
    return {**snapshot(run_dir=SOCK_DIR, with_processes=False), "vlans": run("bridge", "vlan", "show")}


def same(before):
    diff = difference(before, state())
    assert not diff, "\n".join(diff)


def scenario(name):
    def register(fn):
        def wrapped():
            if run("ip", "link", "add", "br0", "address", "02:00:00:00:00:aa", "type", "bridge", "vlan_filtering", "1",
                   check=False).returncode:
                raise Skip("this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)")
            ip("link", "add", "br1", "type", "bridge")
            for rep in ("rep3", "rep13"):
                ip("link", "add", rep, "type", "veth", "peer", "name", "x" + rep)
            ip("link", "add", "nic3", "type", "veth", "peer", "name", "xnic3")
            ip("link", "set", "nic3", "master", "br0")
            represent("nic3", "p0")
            represent("rep3", "pf0vf3")
            represent("rep13", "c1pf0vf13")
            try:
                fn()
            finally:
                for link in ("br0", "br1", "rep3", "rep13", "nic3"):
                    ip("link", "del", link)
                run("rm", "-rf", SYSFS, SOCK_DIR)
        return test(name)(wrapped)
    return register


@scenario("representor-in-and-out: in the bridge with its VLAN alone, and as it was before; each step twice")
def in_and_out():
    with Exec() as x:
        before = state()
        for vlan, want in ((12, {12: ["Egress Untagged", "PVID"]}), (0, {1: ["Egress Untagged", "PVID"]}),
                           (1, {1: ["Egress Untagged", "PVID"]})):
            steps = x.plan(vlan)
            x.do(steps, 2)
            link = links()["rep3"]
            assert link["master"] == "br0" and link["mtu"] == 1400 and "UP" in link["flags"], link
            assert vlans("rep3") == want, vlans("rep3")
            x.undo(steps, 2)
            same(before)


@scenario("representor-there-before: one that is in the bridge already stays, with the VLANs that it had")
def there_before():
    for prepare in ([], ["vid", "12"], ["vid", "12", "untagged"], ["vid", "12", "pvid", "untagged"]):
        ip("link", "set", "rep3", "nomaster")
        ip("link", "set", "rep3", "master", "br0", "up")
        if prepare:
            run("bridge", "vlan", "add", "dev", "rep3", *prepare)
        with Exec() as x:
            before = state()
            steps = x.plan(12)
            x.do(steps, 2)
            assert vlans("rep3") == {12: ["Egress Untagged", "PVID"]} or prepare[-2:] == ["pvid", "untagged"], \
                (prepare, vlans("rep3"))
            x.undo(steps, 2)
            same(before)


@scenario("representor-other-vlans: where somebody lets more VLANs through it is refused, and nothing done")
def other_vlans():
    ip("link", "set", "rep3", "master", "br0", "up")
    run("bridge", "vlan", "add", "dev", "rep3", "vid", "20-30")
    with Exec() as x:
        before = state()
        for vlan in (12, 0):
            steps = x.plan(vlan)
            pvid = steps[2][1]
            pvid["prev"] = x.step("probe", "bridge-pvid", **pvid)["prev"]
            a = x.step("do", "bridge-pvid", "EBUSY", **pvid)
            assert "bridge vlan del dev rep3 vid 20" in a["message"], a
        same(before)


@scenario("representor-in-another-bridge: it is not taken out of there")
def another_bridge():
    ip("link", "set", "rep3", "master", "br1")
    with Exec() as x:
        before = state()
        steps = x.plan(12)
        a = x.step("do", "link-master", "EBUSY", **steps[1][1])
        assert "nomaster" in a["message"], a
        same(before)


@scenario("representor-half-way: undone from between the kernel's two answers, either way")
def half_way():
    with Exec() as x:
        ip("link", "set", "rep3", "master", "br0", "up")
        before = state()
        for commands in (["add vid 12 pvid untagged"], ["add vid 12 pvid untagged", "add vid 1 pvid untagged"], []):
            steps = x.plan(12)[2:3]
            steps[0][1]["prev"] = x.step("probe", "bridge-pvid", **steps[0][1])["prev"]
            for c in commands:
                verb, *rest = c.split()
                run("bridge", "vlan", verb, "dev", "rep3", *rest)
            x.undo(steps)
            same(before)
            x.do(steps)
            assert vlans("rep3") == {12: ["Egress Untagged", "PVID"]}, vlans("rep3")
            x.undo(steps)
            same(before)


@scenario("representor-who: another VF's, the nic itself, a link of that number by now, none at all")
def who():
    with Exec() as x:
        before = state()
        for name, error in (("rep13", "ESTALE"), ("nic3", "ESTALE"), ("br1", "ESTALE")):
            for kind, fields in x.plan(12, name=name):
                x.step("do", kind, error, **fields)
                x.step("undo", kind, **{**fields, "prev": 0})
        for kind, fields in x.plan(12, vf=4):
            x.step("do", kind, "ENODEV", **fields)
        steps = x.plan(12)
        run("rm", "-rf", f"{SYSFS}/bus/pci/devices/{PF}")
        for kind, fields in steps:
            x.step("do", kind, "ENODEV", **fields)
            x.step("undo", kind, **{**fields, "prev": 0})
        same(before)


@scenario("representor-somebody-else: taken out or given another VLAN since, it is left as it is")
def somebody_else():
    with Exec() as x:
        steps = x.plan(12)
        x.do(steps)
        run("bridge", "vlan", "add", "dev", "rep3", "vid", "40", "pvid", "untagged")
        x.undo(steps[2:3])
        assert vlans("rep3")[40] == ["Egress Untagged", "PVID"], vlans("rep3")
        ip("link", "set", "rep3", "nomaster")
        ip("link", "set", "rep3", "master", "br1")
        x.undo(steps)
        assert links()["rep3"]["master"] == "br1"


@scenario("representor-bridge-mac: a bridge that takes the least MAC of its ports' keeps the one it has")
def bridge_mac():
    ip("link", "add", "br2", "type", "bridge")
    ip("link", "set", "nic3", "nomaster")
    ip("link", "set", "nic3", "address", "02:00:00:00:00:20")
    ip("link", "set", "nic3", "master", "br2")
    ip("link", "set", "rep3", "address", "02:00:00:00:00:01")
    with Exec() as x:
        steps = x.plan(0, master="br2")[1:2]
        assert links()["br2"]["address"] == "02:00:00:00:00:20"
        x.do(steps)
        assert links()["br2"]["address"] == "02:00:00:00:00:20"
        x.undo(steps)
        assert links()["br2"]["address"] == "02:00:00:00:00:20"
    ip("link", "del", "br2")


main()
