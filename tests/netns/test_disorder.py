#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# time limit: 240
"""Hooks, D-Bus calls, deaths and changes of the host in any order: afterwards the host is as it was.

    DISORDER_SEED=N DISORDER_SECONDS=N repeat a run, or lengthen it."""
import os
import random
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hooks  # noqa: E402
import hoststate  # noqa: E402
from daemon import CONF, Vnicd  # noqa: E402
from net import Bridge, links  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402

SEED = int(os.environ.get("DISORDER_SEED", "1"))
SECONDS = float(os.environ.get("DISORDER_SECONDS", "20"))
# A domain each: UUID, name and two NICs.
DOMAINS = [(f"11111111-2222-3333-4444-55555555555{i}", f"vm{i}",
            [f"52:54:00:00:{i:02x}:01", f"52:54:00:00:{i:02x}:02"]) for i in range(4)]


class Disorder:
    def __init__(self):
        self.random = random.Random(SEED)
        self.bridge = Bridge("br0", "10.9.0.254/24", mac="52:54:00:00:ff:fe")
        self.v = Vnicd(CONF).start()
        self.v.wait_connected()
        self.before = hoststate.snapshot()
        self.hooks, self.calls, self.did = [], [], []

    def ask(self, op, domain):
        """A hook that asks and does not wait yet."""
        uuid, name, macs = domain
        try:
            return hooks.ask(op, uuid, name, [(m, "gold" if i else "blue", f"{name}{i}") for i, m in enumerate(macs)])
        except OSError:
            return None

    def hook(self):
        op = self.random.choice(["prepare"] * 4 + ["start", "started", "stopped", "release", "reconnect"])
        s = self.ask(op, self.random.choice(DOMAINS))
        if s:
            self.hooks.append(s)
        return op

    def hang_up(self):
        if self.hooks:
            self.hooks.pop(self.random.randrange(len(self.hooks))).close()

    def guest(self):
        """A front end that connects and says nothing, or nonsense."""
        _uuid, name, _macs = self.random.choice(DOMAINS)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            try:
                s.connect(f"/run/vnicd/sock/gold/{name}1.sock")
                s.send(self.random.randbytes(self.random.randrange(40)))
            except OSError:
                pass

    def ctl(self):
        uuid, name, macs = self.random.choice(DOMAINS)
        mac = self.random.choice(macs)
        argv = self.random.choice([
            ["port", "add", "uuid", uuid, "mac", mac, "class", "gold", "name", f"{name}1"],
            ["port", "del", f"{uuid}/{mac}"], ["port", "show"], ["status"], ["segment", "show"], ["nic", "show"],
            ["--dry-run", "port", "add", "uuid", uuid, "mac", mac, "class", "gold"]])
        self.calls.append(subprocess.Popen(["vnicctl", "-j", *argv], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if self.random.random() < 0.3:
            self.calls[-1].kill()
        return " ".join(argv)

    def die(self):
        service = self.random.choice([self.v.daemon, self.v.keeper])
        service.kill()
        assert service.proc.returncode == -9, f"{service.name} had ended by itself: {service.said()}"
        if self.random.random() < 0.3:
            time.sleep(self.random.random())
        service.start()
        return service.name

    def reload(self):
        if self.v.daemon.running():
            self.v.configure(CONF if self.random.random() < 0.5 else CONF.replace("queues=2", "queues=2\nrate=1gbit"))
            self.v.daemon.proc.send_signal(1)

    def host(self):
        argv = self.random.choice([
            ["link", "del", "vn0-lan"], ["link", "set", "vn0-lan", "nomaster"], ["link", "set", "vn0-lan", "down"],
            ["link", "set", "br0", "type", "bridge", "vlan_filtering", "1"],
            ["link", "set", "br0", "type", "bridge", "vlan_filtering", "0"],
            ["link", "set", "br0", "down"], ["link", "set", "br0", "up"]])
        run("ip", *argv, check=False)
        return " ".join(argv)

    def step(self):
        act = self.random.choice([self.hook] * 10 + [self.hang_up] * 4 + [self.ctl] * 3 + [self.host] * 2 +
                                 [self.guest] * 3 + [self.die, self.reload])
        self.did.append(f"{act.__name__} {act() or ''}".strip())
        time.sleep(self.random.choice([0, 0, 0, 0.01, 0.05]))
        self.calls = [c for c in self.calls if c.poll() is None]

    def settle(self):
        """Everybody hangs up, every domain is released."""
        while self.hooks:
            self.hooks.pop().close()
        for c in self.calls:
            c.wait(30)
        self.v.configure(CONF)
        run("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "0", check=False)
        run("ip", "link", "set", "br0", "up")
        self.v.wait_connected(30)

        def released():
            for d in DOMAINS:
                answer = hooks.answer(self.ask("release", d))
                assert answer.get("ok") or answer["error"]["code"] in ("Busy", "StepFailed"), answer
            return not self.v.ports()
        wait_for("all ports to be gone", released, 30, 0.2)
        wait_for("the tap to be gone", lambda: "vn0-lan" not in links(), 30)

    def descriptors(self):
        """vnicd's and the keeper's. A vnicd that found ports when it started has asked libvirt of them: without the
        socket to its helper, then."""
        helpers = sum(name == "vnicd-libvirt" for _, name in hoststate.processes())
        return (len(os.listdir(f"/proc/{self.v.daemon.pid}/fd")) - helpers,
                len(os.listdir(f"/proc/{self.v.keeper.pid}/fd")))


@test("hooks, calls, deaths and a changing host in any order leave nothing behind")
def _():
    d = Disorder()
    fds = d.descriptors()
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            d.step()
        d.settle()
        hoststate.same_again(d.before)
        wait_for(f"no descriptor to be left over, was {fds}, now {d.descriptors()}",
                 lambda: all(n <= was + 1 for n, was in zip(d.descriptors(), fds)))
        # And it still serves.
        answer = hooks.answer(d.ask("prepare", DOMAINS[0]))
        assert answer.get("ok") and len(answer["ports"]) == 2, answer
        answer = hooks.answer(d.ask("release", DOMAINS[0]))
        assert answer.get("ok"), answer
        hoststate.same_again(d.before)
        # A sanitizer that found something makes this another status.
        d.v.stop()
    except BaseException:
        print(f"# seed {SEED}, {len(d.did)} steps, the last: {'; '.join(d.did[-12:])}")
        print("# vnicd:", d.v.daemon.said(8).replace("\n", "\n#   "))
        raise


main()
