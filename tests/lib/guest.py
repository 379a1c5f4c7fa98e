# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests: a small Linux under QEMU (emulated CPU, no KVM needed) that runs commands for a test.

    a = Guest("a", [vhost_user("52:54:00:00:00:0a", "/run/a.sock")]).start()
    print(a.sh("ip -o link"))

start() returns once the guest's agent answers (3 s on an idle core; several may boot at once with
start(wait=False) and wait()). Everything is bounded by timeouts and ends with the test's process."""
import atexit
import base64
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

from vt import TOP, wait_for

IMAGE = os.environ.get("VNIC_GUEST_IMAGE", os.path.join(TOP, "build/cache/guest/current"))
KERNEL = os.path.join(IMAGE, "vmlinuz")
INITRD = os.path.join(IMAGE, "initrd")
WIRE = os.path.join(IMAGE, "wire")
# pci=nomsi: Debian's QEMU 7.2 dies when a vhost-user NIC starts with MSI-X and there is no KVM (it hands the
# vectors to KVM all the same). With INTx it takes the way through QEMU that it takes for other devices.
CMDLINE = ("console=ttyS0 quiet pci=nomsi mitigations=off nokaslr no_timer_check swiotlb=noforce "
           "rcupdate.rcu_expedited=1 panic=-1")
PORT = "vnic.agent"
_live = []


def die_with_me():
    """For Popen's preexec_fn: the child is killed when the thread that started it ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


class Failed(AssertionError):
    """A command in a guest ended with another status than 0."""


class Qmp:
    """A QMP connection. Events that arrive meanwhile are kept in .events, as (name, data)."""

    def __init__(self, path, timeout=20.0):
        self.events = []
        self._buf = b""
        self._s = socket.socket(socket.AF_UNIX)
        self._s.settimeout(timeout)
        self._s.connect(path)
        self._line(timeout)
        self("qmp_capabilities")

    def _line(self, timeout):
        end = time.monotonic() + timeout
        while b"\n" not in self._buf:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._s.settimeout(left)
            try:
                more = self._s.recv(65536)
            except socket.timeout:
                return None
            if not more:
                raise AssertionError("QEMU closed its QMP connection (has it died?)")
            self._buf += more
        line, self._buf = self._buf.split(b"\n", 1)
        return json.loads(line)

    def __call__(self, command, timeout=20.0, **arguments):
        """Run a command; its "return". Underscores in argument names become dashes."""
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self._s.settimeout(timeout)
        self._s.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        end = time.monotonic() + timeout
        while True:
            m = self._line(max(0.0, end - time.monotonic()))
            if m is None:
                raise AssertionError(f"QMP {command}: no answer within {timeout:g} s")
            if "event" in m:
                self.events.append((m["event"], m.get("data", {})))
            elif "error" in m:
                raise AssertionError(f"QMP {command}: {m['error']['desc']}")
            elif "return" in m:
                return m["return"]

    def poll(self, timeout=0.0):
        """Take in events that came without being asked for."""
        end = time.monotonic() + timeout
        while True:
            m = self._line(max(0.001, end - time.monotonic()))
            if m is None:
                return self.events
            if "event" in m:
                self.events.append((m["event"], m.get("data", {})))

    def wait_event(self, name, timeout=20.0):
        """The data of the first event of that name that was not taken yet; takes it."""
        end = time.monotonic() + timeout
        while True:
            for i, (n, data) in enumerate(self.events):
                if n == name:
                    del self.events[i]
                    return data
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout:g} s in vain for the QMP event {name}")
            self.poll(0.05)

    def close(self):
        self._s.close()


class Nic:
    """QEMU's arguments for one NIC. `props` are further device properties, as {"csum": "off"}; `pci`
    False for none. Names in the arguments carry the NIC's position, put in by Guest."""

    def __init__(self, mac, backend, props=None, queues=1):
        self.mac = mac
        self._backend = backend
        self.queues = queues
        self.props = dict(props or {})

    def args(self, i):
        dev = f"virtio-net-pci,id=nic{i},netdev=net{i},mac={self.mac}"
        if self.queues > 1:
            dev += f",mq=on,vectors={2 * self.queues + 2}"
        dev += "".join(f",{k}={v}" for k, v in self.props.items())
        return [a.replace("%i", str(i)) for a in self._backend] + ["-device", dev]


def vhost_user(mac, path, queues=1, server=False, reconnect=1, props=None):
    """A NIC on a vhost-user socket; QEMU connects to it, or listens with server=True."""
    how = "server=on,wait=off" if server else f"reconnect={reconnect}"
    return Nic(mac, ["-chardev", f"socket,id=chr%i,path={path},{how}",
                     "-netdev", f"vhost-user,id=net%i,chardev=chr%i,queues={queues}"], props, queues)


def tap(mac, ifname, props=None):
    """A NIC on a tap of QEMU's own, without any part of ours: the reference."""
    return Nic(mac, ["-netdev", f"tap,id=net%i,ifname={ifname},script=no,downscript=no,vhost=off"], props)


class Agent:
    """The command agent of guest/init over its virtio-serial socket."""

    def __init__(self, path):
        self.path = path
        self._s = None
        self._buf = b""

    def _connect(self):
        self._s = socket.socket(socket.AF_UNIX)
        self._s.settimeout(10)
        self._s.connect(self.path)
        self._buf = b"\n"

    def close(self):
        if self._s:
            self._s.close()
        self._s = None

    def run(self, cmd, timeout):
        """(status, output). A connection that breaks is an error; the next run makes a new one."""
        if self._s is None:
            self._connect()
        tag = f"@{uuid.uuid4().int >> 80}"
        secs = max(1, int(timeout))
        try:
            # The leading newline ends whatever an earlier connection may have left half said.
            self._s.sendall(f"\n{tag} {secs} {base64.b64encode(cmd.encode()).decode()}\n".encode())
            end = time.monotonic() + timeout + 5
            while True:
                while b"\n" in self._buf:
                    line, self._buf = self._buf.split(b"\n", 1)
                    f = line.decode(errors="replace").split()
                    if len(f) >= 2 and f[0] == tag:
                        out = base64.b64decode(f[2]) if len(f) > 2 else b""
                        return int(f[1]), out.decode(errors="replace")
                self._s.settimeout(max(0.01, end - time.monotonic()))
                more = self._s.recv(65536)
                if not more:
                    raise ConnectionError("the guest's QEMU is gone")
                self._buf += more
        except (OSError, ConnectionError) as e:
            self.close()
            raise AssertionError(f"no answer from the guest's agent to: {cmd}: {e}") from None


class _Qemu:
    """One QEMU process with its sockets; a migrating guest has two for a while."""

    def __init__(self, argv, where):
        self.dir = where
        self.log = os.path.join(where, "qemu.log")
        self.argv = argv
        with open(self.log, "w", encoding="utf-8") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         preexec_fn=die_with_me)
        self.agent = Agent(os.path.join(where, "agent"))
        self.qmp = None

    def said(self):
        out = f"QEMU ended with status {self.proc.returncode}\n" if self.proc.poll() is not None else ""
        for name in ("qemu.log", "console"):
            try:
                with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as f:
                    out += "".join(f.readlines()[-6:])
            except OSError:
                pass
        return out.strip() or "(it said nothing)"

    def connect(self, timeout):
        """QMP; QEMU opens it only once its netdevs have their backends."""
        path = os.path.join(self.dir, "qmp")
        end = time.monotonic() + timeout
        while self.qmp is None:
            if self.proc.poll() is not None:
                raise AssertionError(f"QEMU ended with status {self.proc.returncode}: {self.said()}")
            try:
                self.qmp = Qmp(path, timeout=max(1.0, end - time.monotonic()))
            except OSError:
                if time.monotonic() > end:
                    raise AssertionError(f"QEMU's QMP socket never came (waiting for a backend?): "
                                         f"{self.said()}") from None
                time.sleep(0.02)

    def kill(self):
        self.agent.close()
        if self.qmp:
            self.qmp.close()
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)


class Guest:
    """A guest. `nics` are Nic objects, eth0 and up in their order; `memory` in MiB, shared (memfd), as
    vhost-user needs; `args` go to QEMU as they are; with `hotplug` memory can be added. Usable in a with statement."""

    def __init__(self, name, nics=(), memory=96, cpus=1, args=(), cmdline="", hotplug=False):
        self.name = name
        self.nics = list(nics)
        self.memory = memory
        self.cpus = cpus
        self.args = list(args)
        self.cmdline = cmdline
        self.hotplug = hotplug
        self.qemu = None

    def _spawn(self, nics, incoming=False):
        if not os.path.exists(INITRD):
            raise AssertionError("no guest image: run tests/lib/guest-image outside of the sandbox first")
        d = tempfile.mkdtemp(prefix=f"guest-{self.name}-")
        argv = ["qemu-system-x86_64", "-name", self.name, "-accel", "tcg,thread=multi", "-cpu", "max",
                "-machine", "q35,vmport=off,memory-backend=mem", "-m", f"{self.memory}{',slots=4,maxmem=1G' if self.hotplug else ''}",
                "-object", f"memory-backend-memfd,id=mem,size={self.memory}M,share=on",
                "-smp", str(self.cpus), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", KERNEL, "-initrd", INITRD, "-append", f"{CMDLINE} {self.cmdline}".strip(),
                "-chardev", f"file,id=con,path={d}/console", "-serial", "chardev:con",
                "-qmp", f"unix:{d}/qmp,server=on,wait=off",
                "-device", "virtio-serial-pci,id=vser",
                "-chardev", f"socket,id=agent,path={d}/agent,server=on,wait=off",
                "-device", f"virtserialport,bus=vser.0,chardev=agent,name={PORT}"]
        for i, nic in enumerate(nics):
            argv += nic.args(i)
        if incoming:
            argv += ["-incoming", f"unix:{d}/migrate"]
        q = _Qemu(argv + self.args, d)
        if self not in _live:
            _live.append(self)
        return q

    def start(self, wait=True, timeout=60.0):
        """Start QEMU; with wait, until the agent answers."""
        self.qemu = self._spawn(self.nics)
        return self.wait(timeout) if wait else self

    def wait(self, timeout=60.0):
        """Until the guest has booted and its agent answers."""
        try:
            self.qemu.connect(timeout)
            self.qemu.agent.run("true", timeout)
        except AssertionError as e:
            raise AssertionError(f"guest {self.name} did not come up: {e}; {self.qemu.said()}") from None
        return self

    @property
    def pid(self):
        return self.qemu.proc.pid

    def run(self, cmd, timeout=20.0):
        """Run a shell command in the guest: (status, output)."""
        try:
            return self.qemu.agent.run(cmd, timeout)
        except AssertionError as e:
            time.sleep(0.2)
            raise AssertionError(f"guest {self.name}: {e}; {self.qemu.said()}") from None

    def sh(self, cmd, timeout=20.0):
        """Run a shell command in the guest; its output. Raises Failed with it on another status than 0."""
        status, out = self.run(cmd, timeout)
        if status != 0:
            raise Failed(f"guest {self.name}: {cmd}: status {status}: {out.strip()}")
        return out.strip()

    def bg(self, cmd, out="/tmp/bg.out"):
        """Run a command in the background; its output goes to a file in the guest, its status to FILE.rc."""
        self.sh(f"rm -f {out}.rc; ( ( {cmd} ) >{out} 2>&1; echo $? >{out}.tmp; mv {out}.tmp {out}.rc ) "
                f"</dev/null >/dev/null 2>&1 &")

    def bg_wait(self, out="/tmp/bg.out", timeout=60.0):
        """Wait for a command of bg(): (status, output)."""
        rc = wait_for(f"the background command of guest {self.name}",
                      lambda: self.run(f"cat {out}.rc 2>/dev/null")[1].strip(), timeout, 0.1)
        return int(rc), self.sh(f"cat {out}")

    def qmp(self, command, **arguments):
        return self.qemu.qmp(command, **arguments)

    def ip(self, address, dev="eth0", mtu=None):
        """Bring an interface up with an address, as "10.0.0.1/24"."""
        if mtu:
            self.sh(f"ip link set {dev} mtu {mtu}")
        self.sh(f"ip link set {dev} up; ip addr add {address} dev {dev}")
        return self

    def ping(self, to, count=3, size=56, timeout=10.0):
        """Ping with each answer wanted; raises otherwise."""
        return self.sh(f"ping -c {count} -i 0.2 -s {size} -w {int(timeout)} {to}", timeout + 2)

    def reaches(self, to, seconds=5):
        """Whether one ping is answered within that time."""
        return self.run(f"ping -c 1 -w {int(seconds)} {to}", seconds + 2)[0] == 0

    def carrier_changes(self, dev="eth0"):
        """How often the guest saw its link go up or down so far."""
        return int(self.sh(f"cat /sys/class/net/{dev}/carrier_changes"))

    def migrate(self, nics, cancel=False, bandwidth=64 << 20, downtime_ms=300, timeout=60.0):
        """Migrate live to a new QEMU on this host whose NICs are `nics` (same MACs and properties). With
        cancel=True cancel half way, and the guest stays where it is. Returns QEMU's query-migrate."""
        dst = self._spawn(nics, incoming=True)
        src = self.qemu
        try:
            dst.connect(timeout)
            src.qmp.poll()
            src.qmp.events.clear()
            # Slow enough that a migration to be cancelled is certainly under way.
            src.qmp("migrate-set-parameters", max_bandwidth=(1 << 20) if cancel else bandwidth,
                    downtime_limit=downtime_ms)
            src.qmp("migrate", uri=f"unix:{dst.dir}/migrate")

            def status():
                return src.qmp("query-migrate")

            if cancel:
                wait_for("the migration to copy memory",
                         lambda: status().get("ram", {}).get("transferred", 0) > 200000, timeout)
                src.qmp("migrate_cancel")
            end = wait_for("the migration to end", lambda: (m := status())["status"] in
                           ("completed", "failed", "cancelled") and m, timeout)
            if end["status"] != ("cancelled" if cancel else "completed"):
                raise AssertionError(f"guest {self.name}: the migration {end['status']}: "
                                     f"{end.get('error-desc', '')} {dst.said()}")
            if cancel:
                dst.kill()
                return end
            dst.qmp.wait_event("RESUME", timeout)
        except BaseException:
            dst.kill()
            raise
        self.qemu, self.nics = dst, list(nics)
        src.kill()
        return end

    def kill(self):
        """End QEMU at once."""
        if self.qemu:
            self.qemu.kill()
        if self in _live:
            _live.remove(self)

    def __enter__(self):
        return self if self.qemu else self.start()

    def __exit__(self, *exc):
        self.kill()


class Attached(Guest):
    """A guest that somebody else runs (libvirt): commands only, over its agent's socket."""

    def __init__(self, name, agent_path):
        super().__init__(name)
        self.agent = Agent(agent_path)

    def wait(self, timeout=60.0):
        wait_for(f"the agent's socket of {self.name}", lambda: os.path.exists(self.agent.path), timeout)
        self.agent.run("true", timeout)
        return self

    def run(self, cmd, timeout=20.0):
        return self.agent.run(cmd, timeout)

    def kill(self):
        self.agent.close()


def start_all(*guests, timeout=90.0):
    """Boot several guests side by side."""
    for g in guests:
        g.start(wait=False)
    for g in guests:
        g.wait(timeout)


@atexit.register
def _kill_all():
    for g in list(_live):
        g.kill()
