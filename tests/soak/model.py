#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A model of what vnicd has been told, and vnicd: random operations on both, which must agree after each.

First without deaths of vnicd and the keeper, whose memory and descriptors must stay flat meanwhile; then with. Every
now and then all is given back, and the host must read as before.

    VNICD_SOAK_SEED=N VNICD_SOAK_MINUTES=N"""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import busports  # noqa: E402
import hooks  # noqa: E402
import hoststate  # noqa: E402
from daemon import CONF, Vnicd  # noqa: E402
from net import Bridge, links  # noqa: E402
from rawbus import Bus, DBusError  # noqa: E402
from vhost_client import Client, frame  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

SEED = int(os.environ.get("VNICD_SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
MINUTES = float(os.environ.get("VNICD_SOAK_MINUTES") or 30)
GROWTH_KIB = 1024  # malloc's own; a port or a call that is kept grows past it soon
CALM = 200  # operations between two times at which all is given back
CLASSES = ("gold", "blue")


class Domain:
    """A domain with a port in each class, that libvirt has heard of and vnicd perhaps."""

    def __init__(self, n):
        self.uuid, self.name = f"11111111-2222-3333-4444-5555555555{n:02x}", f"vm{n}"
        self.nics = [(f"52:54:00:01:{n:02x}:{i:02x}", cls, f"vm{n}-{i}") for i, cls in enumerate(CLASSES)]
        self.qemu, self.guests = None, []

    def keys(self):
        return [f"{self.uuid}/{mac}" for mac, _, _ in self.nics]

    def hook(self, op, nics=None):
        return hooks.hook(op, self.uuid, self.name, nics or self.nics)

    def connect(self):
        self.guests = [Client(f"/run/vnicd/sock/{cls}/{sock}.sock").run() for _, cls, sock in self.nics]

    def hang_up(self):
        for g in self.guests:
            g.close()
        self.guests = []

    def end(self):
        """Its QEMU ends."""
        self.hang_up()
        if self.qemu:
            self.qemu.end()
        self.qemu = None


def refused(answer, *codes):
    assert "error" in answer and answer["error"]["code"] in codes, f"{answer}, not {codes}"


class Soak:
    def __init__(self):
        self.random = random.Random(SEED)
        self.bridge = Bridge("br0", "10.9.0.254/24", mac="52:54:00:00:ff:fe")
        self.v = Vnicd(CONF).start()
        self.v.wait_connected()
        self.before = hoststate.snapshot()
        self.bus = Bus()
        self.domains = [Domain(n) for n in range(4)]
        self.model = {}  # key: what its port must be; "generation" once it was seen
        self.gbit = 0
        self.did, self.failed = [], False

    # what is

    def view(self):
        return busports.ports(self.bus)

    def differs(self):
        """How vnicd's ports are not the model's, or None."""
        seen = self.view()
        if set(seen) != set(self.model):
            return f"ports {sorted(seen)}, not {sorted(self.model)}"
        for key, want in self.model.items():
            p = seen[key]
            want.setdefault("Generation", p["Generation"])
            if p["Class"] == "gold":
                want["Rate"] = self.gbit * 10**9
            wrong = {k: (p[k], v) for k, v in want.items() if p[k] != v}
            if wrong:
                return f"port {key}: {wrong} (is, should be), reason {p['Reason']!r}"
        return None

    def agree(self):
        try:
            wait_for("vnicd to agree with the model", lambda: not self.differs(), 30)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.differs()}") from None
        names = sorted(f for _, _, files in os.walk("/run/vnicd/sock") for f in files)
        want = sorted(os.path.basename(p["Socket"]) for p in self.model.values())
        assert names == want, f"sockets {names}, not {want}"
        if not self.model:
            wait_for("the tap to be gone", lambda: "vn0-lan" not in links(), 30)

    def expect(self, key, name, cls, sock):
        self.model[key] = {"Domain": name, "Class": cls, "Socket": f"/run/vnicd/sock/{cls}/{sock}.sock",
                           "State": "ready", "PeerPid": 0, "Path": "software"}

    def forget(self, d):
        for key in d.keys():
            self.model.pop(key, None)

    # libvirt's side

    def some(self, want):
        """A domain that is so, or None."""
        fit = [d for d in self.domains if want(d)]
        return self.random.choice(fit) if fit else None

    def prepare(self):
        d = self.some(lambda d: not d.qemu)
        if not d:
            return
        a = d.hook("prepare")
        assert a.get("ok"), a
        assert [p["path"] for p in a["ports"]] == ["software"] * 2, a
        d.qemu = hooks.Running(d.name)
        for (_, cls, sock), key in zip(d.nics, d.keys()):
            self.expect(key, d.name, cls, sock)

    def started(self):
        d = self.some(lambda d: d.qemu and not d.guests)
        if d:
            d.connect()
            for op in ("start", "started"):
                a = d.hook(op)
                assert a.get("ok"), a
            self.runs(d)

    def runs(self, d):
        for key in d.keys():
            self.model[key].update(State="running", PeerPid=os.getpid())

    def reconnect(self):
        d = self.some(lambda d: d.guests)
        if d:
            a = d.hook("reconnect")
            assert a.get("ok"), a

    def stopped(self, d=None):
        d = d or self.some(lambda d: d.qemu)
        if d:
            d.end()
            for op in ("stopped", "release"):
                a = d.hook(op)
                assert a.get("ok"), a
            self.forget(d)

    def released_while_it_runs(self):
        d = self.some(lambda d: d.guests)
        if d:
            refused(d.hook("release"), "Busy")

    def wrong_hook(self):
        d, other = self.random.sample(self.domains, 2)
        if d.qemu:
            return
        refused(d.hook("start"), "UnknownPort")
        refused(d.hook("prepare", [d.nics[0], (d.nics[1][0], "silver", "x")]), "UnknownClass")
        if other.qemu:
            refused(d.hook("prepare", [d.nics[1], (other.nics[0][0], "gold", "x")]), "DuplicateMac")
            refused(d.hook("prepare", [d.nics[0], (d.nics[1][0], "blue", other.nics[1][2])]), "SocketInUse")

    def hung_up(self):
        """A hook that does not wait for its answer: nothing comes of it, or the answer was there before."""
        d = self.some(lambda d: not d.qemu)
        if not d:
            return
        hooks.ask("prepare", d.uuid, d.name, d.nics).close()
        # What is asked for later is answered later; what is being undone it waits for.
        a = d.hook("release")
        assert a.get("ok"), a

    def guest_away(self):
        """A guest's QEMU reconnects by itself."""
        d = self.some(lambda d: d.guests)
        if d:
            d.hang_up()
            for key in d.keys():
                self.model[key].update(State="ready", PeerPid=0)
            self.agree()
            d.connect()
            self.runs(d)

    def traffic(self):
        pair = [d for d in self.domains if d.guests]
        if len(pair) < 2:
            return
        a, b = self.random.sample(pair, 2)
        i = self.random.randrange(2)
        f = frame(b.nics[i][0], a.nics[i][0], self.random.randbytes(40))
        a.guests[i].transmit(f)
        b.guests[i].wait_frame(f)

    # the bus' side

    def call(self, code, *args):
        """A call that must fail so."""
        try:
            r = self.bus.call(*args)
        except DBusError as e:
            assert e.code == code, f"{args[0]}: {e}, not {code}"
        else:
            raise AssertionError(f"{args[0]}: {r}, not {code}")

    def port_add(self):
        n = self.random.randrange(6)
        key, spec = busports.key(n), busports.spec(n, name=f"bus{n}")
        if key in self.model:
            self.call("Busy", "PortAdd", "a{sv}", spec)
            return
        self.call("VlanNotAllowed", "PortAdd", "a{sv}", {**spec, "vlan": busports.V("q", 9)})
        assert self.bus.call("PortAdd", "a{sv}", spec) == [busports.path(n)]
        self.expect(key, "", "gold", f"bus{n}")

    def port_del(self):
        keys = [busports.key(n) for n in range(6)]
        key = self.random.choice(keys)
        if key not in self.model:
            self.call("UnknownPort", "PortDel", "st", key, 1)
            return
        generation = self.model[key]["Generation"]
        self.call("StaleGeneration", "PortDel", "st", key, generation + 1000)
        self.bus.call("PortDel", "st", key, generation)
        del self.model[key]

    def callers_leave(self):
        n = 10 + self.random.randrange(5)
        b = Bus()
        b.send("PortAdd", "a{sv}", busports.spec(n))
        b.close()
        wait_for("the port of a caller that left to go, or be ready",
                 lambda: self.view().get(busports.key(n), {"State": "ready"})["State"] == "ready")
        p = self.view().get(busports.key(n))
        if p:
            self.bus.call("PortDel", "st", busports.key(n), p["Generation"])

    def nothing_new(self):
        for call in (("ListSegments",), ("ListClasses",), ("RefreshCounters",),
                     ("PlanPreview", "a{sv}", {"class": busports.V("s", "gold")})):
            self.bus.call(*call)

    def conf(self):
        return CONF.replace("queues=2", f"queues=2\nrate={self.gbit}gbit") if self.gbit else CONF

    def reload(self):
        if self.random.random() < 0.3:
            self.v.configure(CONF + "\n[class red]\nsegment=wan\n")
            self.call("InvalidConfig", "Reload")
            # With that one a vnicd that is killed would not start again.
            self.v.configure(self.conf())
            return
        self.gbit = self.random.randrange(3)
        self.v.configure(self.conf())
        self.bus.call("Reload")

    # deaths

    def worker_dies(self):
        workers = self.v.workers()
        if workers and any(d.guests for d in self.domains):
            os.kill(workers[0], signal.SIGKILL)
            wait_for("another worker", lambda: self.v.workers() and self.v.workers() != workers, 10)

    def vnicd_dies(self):
        self.v.daemon.kill()
        assert self.v.daemon.proc.returncode == -signal.SIGKILL, f"it had ended by itself: {self.v.daemon.said()}"
        d = self.some(lambda d: d.guests)
        gone = d if d and self.random.random() < 0.3 else None
        if gone:
            gone.end()  # libvirt, too, may be away: nobody says a word
        self.v.daemon.start()
        self.v.wait_connected(30)
        self.bus.close()
        self.bus = Bus()
        if gone:
            self.forget(gone)

    def keeper_dies(self):
        self.v.keeper.kill()
        assert self.v.keeper.proc.returncode == -signal.SIGKILL, f"it had ended by itself: {self.v.keeper.said()}"
        self.v.keeper.start()
        self.v.wait_connected(30)
        # QEMU reconnects.
        ran = [d for d in self.domains if d.guests]
        for d in ran:
            d.hang_up()
            for key in d.keys():
                self.model[key].update(State="ready", PeerPid=0)
        self.agree()
        for d in ran:
            d.connect()
            self.runs(d)

    # how it goes on

    def step(self, deaths):
        ops = ([self.prepare, self.started, self.traffic] * 6 + [self.stopped] * 4 + [self.guest_away] * 2 +
               [self.reconnect, self.released_while_it_runs, self.wrong_hook, self.hung_up] +
               [self.port_add] * 4 + [self.port_del] * 3 + [self.callers_leave, self.nothing_new, self.reload])
        if deaths:
            ops += [self.worker_dies, self.vnicd_dies, self.keeper_dies] * 2
        op = self.random.choice(ops)
        self.did.append(op.__name__)
        op()
        self.agree()

    def calm(self):
        """All is given back: the host reads as before."""
        for d in self.domains:
            if d.qemu:
                self.stopped(d)
        for n in range(6):
            key = busports.key(n)
            if key in self.model:
                self.bus.call("PortDel", "st", key, self.model.pop(key)["Generation"])
        self.agree()
        hoststate.same_again(self.before)
        return self.sizes()

    def sizes(self):
        out = {}
        for name, s in (("vnicd", self.v.daemon), ("keeper", self.v.keeper)):
            with open(f"/proc/{s.pid}/status", encoding="ascii") as f:
                out[f"{name} KiB"] = next(int(x.split()[1]) for x in f if x.startswith("VmRSS"))
            out[f"{name} descriptors"] = len(os.listdir(f"/proc/{s.pid}/fd"))
        return out

    def go(self, until, deaths):
        """Operations until that time; what the programs held each time that all was given back."""
        held = []
        while time.monotonic() < until or len(held) < 2:
            for _ in range(CALM):
                if time.monotonic() >= until and len(held) >= 1:
                    break
                self.step(deaths)
            held.append(self.calm())
        return held


_bed = {}


def soak():
    if not _bed:
        print(f"# VNICD_SOAK_SEED={SEED} VNICD_SOAK_MINUTES={MINUTES:g}", flush=True)
        _bed["s"] = Soak()
    return _bed["s"]


def go(deaths):
    s = soak()
    n = len(s.did)
    assert not s.failed, "the model and vnicd have parted before"
    s.failed = True
    try:
        held = s.go(time.monotonic() + MINUTES * 30, deaths)
        s.failed = False
    except BaseException:
        print(f"# VNICD_SOAK_SEED={SEED}: operation {len(s.did)} of them, the last: {', '.join(s.did[-12:])}")
        for part in (s.v.daemon, s.v.keeper):
            print(f"# {part.name}:", part.said(8).replace("\n", "\n#   "))
        raise
    print(f"# {len(s.did) - n} operations, all given back {len(held)} times; at the end {held[-1]}", flush=True)
    return held


@test("soak: operations agree with the model; memory and descriptors stay flat")
def _():
    held = go(False)
    # What is made once is made by then.
    first, last = held[len(held) // 4], held[-1]
    for name, now in last.items():
        room = GROWTH_KIB if name.endswith("KiB") else 0
        assert now <= first[name] + room, f"{name} grew from {first[name]} to {now}: {held}"


@test("soak: the same while vnicd, workers and the keeper are killed")
def _():
    go(True)


@test("soak: vnicd and the datapath end in an orderly way")
def _():
    s = soak()
    assert not s.failed, "the model and vnicd have parted before"
    s.bus.close()
    s.v.stop()
    assert not os.listdir("/run/vnicd/ports") and not hoststate.processes()


main()
