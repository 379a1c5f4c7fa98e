# SPDX-License-Identifier: GPL-2.0-or-later
"""A VF's representor in a bridge that filters VLANs: exec's steps, against a kernel. Where representors come from is the
caller's: a World with

    name                what tests' names begin with
    tool, sysfs, pf     systool, the folder that it takes for sysfs, the PF's address
    rep, vf             a representor of VF number vf; there is none of the next VF
    other, nic          the representor of another VF, the PF's own interface
    make(), clean()     before and after each test
    lose()              the PF is gone
    settle()            wait for udev, which gives interfaces other MACs
"""
import json
import subprocess

from hoststate import difference, snapshot
from net import ip, links
from vt import Skip, run, test

world = None
SOCK_DIR = "/run/vnicd-test-sock"


class Exec:
    def __init__(self):
        self.p = subprocess.Popen([world.tool, "exec", SOCK_DIR, world.sysfs], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def step(self, verb, kind, error="", **fields):
        self.p.stdin.write(" ".join([verb, kind, *(f"{k}={v}" for k, v in fields.items())]) + "\n")
        self.p.stdin.flush()
        a = json.loads(self.p.stdout.readline())
        assert a["error"] == error, f"{verb} {kind} {fields}: {a}, expected '{error}'"
        return a

    @staticmethod
    def plan(vlan, name=None, master="br0", vf=None):
        """The steps of daemon/core/representor.c, ready to be done and undone: [kind, fields]."""
        at = {"ifindex": index(name or world.rep), "dev": world.pf, "vf": world.vf if vf is None else vf,
              "master": index(master), "vlan": vlan, "mtu": 1400}
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


def vlans(name):
    out = json.loads(run("bridge", "-j", "vlan", "show", "dev", name) or "[]")
    return {v["vlan"]: sorted(v.get("flags", [])) for o in out for v in o["vlans"]}


def state():
    return {**snapshot(run_dir=SOCK_DIR, with_processes=False), "vlans": run("bridge", "vlan", "show")}


def same(before):
    diff = difference(before, state())
    assert not diff, "\n".join(diff)


_all = []


def scenario(name):
    def register(fn):
        def wrapped():
            if run("ip", "link", "add", "br0", "address", "02:00:00:00:00:aa", "type", "bridge", "vlan_filtering", "1",
                   check=False).returncode:
                raise Skip("this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)")
            ip("link", "add", "br1", "type", "bridge")
            world.make()
            ip("link", "set", world.nic, "master", "br0")
            try:
                fn()
            finally:
                world.clean()
                for link in ("br0", "br1"):
                    ip("link", "del", link)
                run("rm", "-rf", SOCK_DIR)
        _all.append((name, wrapped))
        return wrapped
    return register


@scenario("in-and-out")
def in_and_out():
    """In the bridge with its VLAN alone, and as it was before; each step twice."""
    with Exec() as x:
        before = state()
        for vlan, want in ((12, {12: ["Egress Untagged", "PVID"]}), (0, {1: ["Egress Untagged", "PVID"]}),
                           (1, {1: ["Egress Untagged", "PVID"]})):
            steps = x.plan(vlan)
            x.do(steps, 2)
            link = links()[world.rep]
            assert link["master"] == "br0" and link["mtu"] == 1400 and "UP" in link["flags"], link
            assert vlans(world.rep) == want, vlans(world.rep)
            x.undo(steps, 2)
            same(before)


@scenario("there-before")
def there_before():
    """One that is in the bridge already stays, with the VLANs that it had."""
    for prepare in ([], ["add vid 12"], ["add vid 12 untagged"], ["del vid 1", "add vid 12 pvid untagged"]):
        ip("link", "set", world.rep, "nomaster")
        ip("link", "set", world.rep, "master", "br0", "up")
        for words in prepare:
            verb, *rest = words.split()
            run("bridge", "vlan", verb, "dev", world.rep, *rest)
        with Exec() as x:
            before = state()
            steps = x.plan(12)
            x.do(steps, 2)
            assert vlans(world.rep) == {12: ["Egress Untagged", "PVID"]}, (prepare, vlans(world.rep))
            x.undo(steps, 2)
            same(before)


@scenario("other-vlans")
def other_vlans():
    """Where somebody lets more VLANs through it is refused, and nothing done."""
    ip("link", "set", world.rep, "master", "br0", "up")
    run("bridge", "vlan", "add", "dev", world.rep, "vid", "20-30")
    with Exec() as x:
        before = state()
        for vlan in (12, 0):
            steps = x.plan(vlan)
            pvid = steps[2][1]
            pvid["prev"] = x.step("probe", "bridge-pvid", **pvid)["prev"]
            a = x.step("do", "bridge-pvid", "EBUSY", **pvid)
            assert f"bridge vlan del dev {world.rep} vid 20" in a["message"], a
        same(before)


@scenario("in-another-bridge")
def another_bridge():
    """It is not taken out of there."""
    ip("link", "set", world.rep, "master", "br1")
    with Exec() as x:
        before = state()
        steps = x.plan(12)
        a = x.step("do", "link-master", "EBUSY", **steps[1][1])
        assert "nomaster" in a["message"], a
        same(before)


@scenario("half-way")
def half_way():
    """Undone from between the kernel's two answers, either way."""
    with Exec() as x:
        ip("link", "set", world.rep, "master", "br0", "up")
        before = state()
        for commands in (["add vid 12 pvid untagged"], ["add vid 12 pvid untagged", "add vid 1 pvid untagged"], []):
            steps = x.plan(12)[2:3]
            steps[0][1]["prev"] = x.step("probe", "bridge-pvid", **steps[0][1])["prev"]
            for c in commands:
                verb, *rest = c.split()
                run("bridge", "vlan", verb, "dev", world.rep, *rest)
            x.undo(steps)
            same(before)
            x.do(steps)
            assert vlans(world.rep) == {12: ["Egress Untagged", "PVID"]}, vlans(world.rep)
            x.undo(steps)
            same(before)


@scenario("who")
def who():
    """Another VF's, the nic itself, a link of that number by now, none at all."""
    with Exec() as x:
        before = state()
        for name, error in ((world.other, "ESTALE"), (world.nic, "ESTALE"), ("br1", "ESTALE")):
            for kind, fields in x.plan(12, name=name):
                x.step("do", kind, error, **fields)
                x.step("undo", kind, **{**fields, "prev": 0})
        for kind, fields in x.plan(12, vf=world.vf + 1):
            x.step("do", kind, "ENODEV", **fields)
        same(before)
        steps = x.plan(12)
        world.lose()
        for kind, fields in steps:
            x.step("do", kind, "ENODEV", **fields)
            x.step("undo", kind, **{**fields, "prev": 0})


@scenario("somebody-else")
def somebody_else():
    """Taken out or given another VLAN since, it is left as it is."""
    with Exec() as x:
        steps = x.plan(12)
        x.do(steps)
        run("bridge", "vlan", "add", "dev", world.rep, "vid", "40", "pvid", "untagged")
        x.undo(steps[2:3])
        assert vlans(world.rep)[40] == ["Egress Untagged", "PVID"], vlans(world.rep)
        ip("link", "set", world.rep, "nomaster")
        ip("link", "set", world.rep, "master", "br1")
        x.undo(steps)
        assert links()[world.rep]["master"] == "br1"


@scenario("bridge-mac")
def bridge_mac():
    """A bridge that takes the least MAC of its ports' keeps the one it has."""
    ip("link", "add", "br2", "type", "bridge")
    try:
        ip("link", "set", world.nic, "nomaster")
        ip("link", "set", world.nic, "address", "02:00:00:00:00:20")
        ip("link", "set", world.nic, "master", "br2")
        ip("link", "set", world.rep, "address", "02:00:00:00:00:01")
        world.settle()
        mac = links()["br2"]["address"]
        with Exec() as x:
            steps = x.plan(0, master="br2")[1:2]
            x.do(steps)
            assert links()["br2"]["address"] == mac
            x.undo(steps)
            assert links()["br2"]["address"] == mac
    finally:
        ip("link", "del", "br2")


def register(of):
    global world
    world = of
    for name, fn in _all:
        test(f"{of.name}-{name}")(fn)
