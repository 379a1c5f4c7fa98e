#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""50 domains started at once, half of them destroyed meanwhile: tests/tables/fifty.md."""
# time limit: 600
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hosted  # noqa: E402
from hoststate import descriptors, same_again, snapshot  # noqa: E402
from libvirtd import domain, vhostuser  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

N = 50
bed = {}


def name(i):
    return f"vm{i:02d}"


def setup():
    hosted.require()
    if not bed:
        h = hosted.Host().start()
        bed["before"] = snapshot(h.libvirt)
        for i in range(N):
            h.libvirt.define(domain(name(i), vhostuser(hosted.mac_of(i), hosted.socket_of("gold", name(i)))))
        bed["h"] = h
    return bed["h"]


def start(h, i):
    return h.libvirt.virsh("start", "--paused", name(i), check=False, timeout=180)


def destroy(h, i):
    h.libvirt.virsh("destroy", name(i), check=False)


def listed(folder):
    """What is in a folder; a class's goes with its last port."""
    return os.listdir(folder) if os.path.isdir(folder) else []


def check_ports(h, alive):
    """Exactly these domains have ports, each its own."""
    def settled():
        ports = h.vnicd.ports()
        want = {hosted.mac_of(i) for i in alive}
        return (ports,) if set(ports) == want and all(p["peer_pid"] for p in ports.values()) else None
    try:
        ports, = wait_for("the ports of exactly the domains that live", settled, 30)
    except AssertionError as e:
        ports = h.vnicd.ports()
        want = {hosted.mac_of(i) for i in alive}
        raise AssertionError(f"{e}: missing {sorted(want - set(ports))}, too many {sorted(set(ports) - want)}, "
                             f"without peer {[m for m, p in ports.items() if not p['peer_pid']]}") from None
    for i in alive:
        p = ports[hosted.mac_of(i)]
        assert p["peer_pid"] == h.libvirt.pid(name(i)), f"{name(i)}: port has pid {p['peer_pid']}"
        assert p["name"] == name(i) and p["domain"] == name(i), p
        assert p["socket"] == hosted.socket_of("gold", name(i)), p
        assert p["state"] == "connected", p
    sockets = {f[:-5] for f in listed("/run/vnicd/sock/gold") if f.endswith(".sock")}
    assert sockets == {name(i) for i in alive}, f"socket files: {sorted(sockets)}"
    records = listed("/run/vnicd/ports")
    assert len(records) == len(alive), f"{len(records)} records for {len(alive)} ports: {records}"
    assert h.vnicd.keeper.running() and h.vnicd.daemon.running()


def clear(h, which):
    bad = [e for e in hosted.at_once([lambda i=i: destroy(h, i) for i in which]) if e]
    assert not bad, bad[0]
    check_ports(h, [])


@test("fifty-started-at-once")
def started():
    h = setup()
    t = time.monotonic()
    results = {}
    bad = [e for e in hosted.at_once([lambda i=i: results.update({i: start(h, i)}) for i in range(N)], 240) if e]
    assert not bad, bad[0]
    failed = [f"{name(i)}: {r.stderr.strip()}" for i, r in results.items() if r.returncode != 0]
    assert not failed, failed[:3]
    print(f"# {N} domains in {time.monotonic() - t:.1f} s", flush=True)
    check_ports(h, range(N))
    clear(h, range(N))
    bed["fds"] = fds(h)


def fds(h):
    return {s.name: descriptors(s.pid) for s in (h.vnicd.daemon, h.vnicd.keeper)}


def half_round(h):
    rng = random.Random(7)
    doomed = set(rng.sample(range(N), N // 2))
    results = {}

    def shoot(i):
        time.sleep(rng.random() * 8)
        wait_for("the domain to start", lambda: h.libvirt.state(name(i)) not in ("", "shut off")
                 or i in results, 200, 0.2)
        destroy(h, i)

    jobs = [lambda i=i: results.update({i: start(h, i)}) for i in range(N)]
    bad = [e for e in hosted.at_once(jobs + [lambda i=i: shoot(i) for i in doomed], 300) if e]
    assert not bad, bad[0]
    # One whose start was still to come when it was shot at lives, and is destroyed now.
    for i in doomed:
        if h.libvirt.state(name(i)) != "shut off":
            destroy(h, i)
    alive = [i for i in range(N) if i not in doomed]
    failed = [f"{name(i)}: {results[i].stderr.strip()}" for i in alive if results[i].returncode != 0]
    assert not failed, failed[:3]
    check_ports(h, alive)
    clear(h, alive)


@test("fifty-half-destroyed-while-starting")
def half():
    half_round(setup())


@test("fifty-again")
def again():
    h = setup()
    half_round(h)

    def same():
        return fds(h) == bed["fds"]
    try:
        wait_for("the descriptors to be as before", same, 15, 0.2)
    except AssertionError as e:
        raise AssertionError(f"{e}: were {bed['fds']}, are {fds(h)}") from None


@test("fifty-end")
def end():
    h = setup()
    for i in range(N):
        h.libvirt.virsh("undefine", name(i))
    same_again(bed["before"], libvirt=h.libvirt)
    h.libvirt.stop()
    h.vnicd.stop()


main()
