#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The netdev of a VF that is one port's queue: exec's step, against the kernel of a sandbox. The netdev is a veth's
end, and a folder in the place of sysfs says whose it is; tests/rig has that of a driver."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from net import ip, links  # noqa: E402
from vt import TOP, main, run, test  # noqa: E402

TOOL = os.path.join(os.environ.get("VNIC_BUILD") or os.path.join(TOP, "build/check"), "tests/unit/systool")
SYSFS, SOCK_DIR, PF, VF = "/run/sysfs", "/run/vnicd-test-sock", "0000:03:00.0", "0000:03:10.1"
STEP = {"dev": PF, "vf": 1, "vf-addr": VF, "mtu": 1400}


def step(verb, error="", **more):
    line = " ".join([verb, "queue-netdev", *(f"{k}={v}" for k, v in {**STEP, **more}.items())])
    out = subprocess.run([TOOL, "exec", SOCK_DIR, SYSFS], input=line + "\n", capture_output=True, text=True, timeout=20,
                         check=True).stdout
    a = json.loads(out)
    assert a["error"] == error, f"{line}: {a}, expected '{error}'"
    return a


def vf_has(name):
    """VF 1 is there, and its netdev is that one; None: it has none."""
    run("rm", "-rf", SYSFS)
    at = f"{SYSFS}/bus/pci/devices"
    os.makedirs(f"{at}/{VF}/net")
    os.makedirs(f"{at}/{PF}")
    os.symlink(f"../{VF}", f"{at}/{PF}/virtfn1")
    if name:
        os.makedirs(f"{at}/{VF}/net/{name}")
        with open(f"{at}/{VF}/net/{name}/ifindex", "w", encoding="ascii") as f:
            f.write(f"{links()[name]['ifindex']}\n")


def sysctl(name):
    with open(f"/proc/sys/net/{name}", encoding="ascii") as f:
        return f.read().strip()


def scenario(name):
    def register(fn):
        def wrapped():
            ip("link", "add", "q0", "type", "veth", "peer", "name", "x0")
            vf_has("q0")
            try:
                fn()
            finally:
                ip("link", "del", "x0")
                run("rm", "-rf", SYSFS, SOCK_DIR)
        return test(name)(wrapped)
    return register


@scenario("queue-up: up, with its MTU, and deaf: no ARP, no IPv6, nothing forwarded; a second time nothing changes")
def up():
    ip("link", "set", "x0", "up")
    for _ in range(2):
        a = step("do")
        assert a["ifindex"] == links()["q0"]["ifindex"], a
        q = links()["q0"]
        assert {"UP", "NOARP"} <= set(q["flags"]) and q["mtu"] == 1400, q
        assert [sysctl(f"ipv{n}/conf/q0/{k}") for n, k in ((6, "disable_ipv6"), (4, "forwarding"), (4, "rp_filter"))] == [
            "1", "0", "1"]
        assert "inet" not in run("ip", "addr", "show", "q0")


@scenario("queue-down: undone it is down, also without the ifindex of a step that was begun and not finished")
def down():
    i = step("do")["ifindex"]
    step("undo", ifindex=i)
    assert "UP" not in links()["q0"]["flags"]
    step("do")
    step("undo")
    assert "UP" not in links()["q0"]["flags"]
    step("undo", ifindex=i)


@scenario("queue-not-there: no netdev yet is told from no VF and from another one; undone, none of them matters")
def not_there():
    vf_has(None)
    a = step("do", "EAGAIN")
    assert "no interface" in a["message"], a
    step("undo", ifindex=5)
    step("do", "ENODEV", vf=2)
    step("undo", vf=2)
    step("do", "ESTALE", **{"vf-addr": "0000:03:10.2"})
    step("undo", **{"vf-addr": "0000:03:10.2"})


@scenario("queue-taken: one that somebody has put into a bridge is left alone, and it is said")
def taken():
    ip("link", "add", "br0", "type", "bridge")
    ip("link", "set", "q0", "master", "br0")
    a = step("do", "EBUSY")
    assert "q0" in a["message"] and "NOARP" not in links()["q0"]["flags"], a
    ip("link", "del", "br0")


@scenario("queue-another: undone where the VF has another netdev by now, that one stays as it is")
def another():
    i = step("do")["ifindex"]
    ip("link", "add", "r0", "type", "veth", "peer", "name", "rx0")
    ip("link", "set", "r0", "up")
    vf_has("r0")
    step("undo", ifindex=i)
    assert "UP" in links()["r0"]["flags"]
    ip("link", "del", "r0")


@scenario("queue-mtu: an MTU that its driver does not take is told in the kernel's words")
def mtu():
    a = step("do", "EINVAL", mtu=200000)
    assert "mtu" in a["message"], a


if __name__ == "__main__":
    main()
