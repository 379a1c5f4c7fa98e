# SPDX-License-Identifier: GPL-2.0-or-later
"""Host VMs: q35 with an IOMMU, an igb with SR-IOV, two virtio-net functions for vp_vdpa; by emulation alone.

    vm = Vm("host1", kernel="6.12", libvirt="11").start()
    print(vm.sh("ip -br link"))

A VM starts from a snapshot of one that has booted (made where it is missing), so that it takes seconds. Everything
that waits has a limit, and raises store.Error or Hung at it."""
import base64
import concurrent.futures
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time

import store
from store import Error

# The last is what is taken where nobody asks for one.
KERNELS = ("6.1", "6.12-debug", "6.12")
LIBVIRTS = ("9", "11")
PORTS = 4
# More, and SeaBIOS puts what the VFs' registers are at above 4 GiB, where QEMU 10.0 mislays them.
MEMORY = 2560
PAYLOAD = 384 << 20
# With two, KVM on an emulated CPU loses a timer or an interrupt's end now and then, and the VM hangs.
CPUS = 1
BOOT_LIMIT = 180
# How much more time everything gets with a kernel that checks each access to memory and each lock.
SLOW = 5
# How much later than a command's limit its VM counts as hung.
GRACE = 15
# Should an emulated machine that runs guests lose its timer, it stands still until another interrupt comes: so a command
# that says nothing for this long has its VM given one. What hangs in earnest hangs on.
POKE = 5
CMDLINE = ("console=ttyS0 quiet panic=-1 intel_iommu=on iommu=pt net.ifnames=0 mitigations=off no_timer_check "
           "nokaslr rcupdate.rcu_expedited=1 systemd.show_status=0")
DEBUG_CMDLINE = " page_poison=1 kasan_multi_shot kmemleak=on"


# QEMU ends with the thread that has started it: one that lives as long as we do.
_spawner = concurrent.futures.ThreadPoolExecutor(1)


class Hung(Error):
    """The VM does not answer, or is gone: worth one more try with a new one."""


class Failed(Error):
    """A command in the VM ended with another status than 0."""


def connect(path, limit=5.0):
    """A connection to a socket whose path may be longer than sun_path takes."""
    fd = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(limit)
        s.connect(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
        return s
    finally:
        os.close(fd)


def lock_owner(path):
    """The pid that holds QEMU's lock on its pidfile, or None."""
    try:
        with open(path, "rb") as f:
            got = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    kind, _, _, _, pid = struct.unpack("hhqqi4x", got)
    return pid if kind != fcntl.F_UNLCK else None


class Slots:
    """Leave to run some host VMs: so many at once on this machine, all users of the cache together. QEMU inherits the
    locks, so a slot is free again when whoever asked for it and its VM are both gone."""

    def __init__(self, count):
        self.fds = []
        if not count:
            return
        places = range(1, slots() + 1)
        with store.Locked(os.path.join(store.root(), "vms.lock"), wait=lambda: store.say("waiting in line for a VM")):
            said = False
            while len(self.fds) < count:
                for n in places:
                    fd = os.open(os.path.join(store.root(), f"vm{n}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        os.close(fd)
                        continue
                    os.truncate(fd, 0)
                    os.write(fd, f"{store.TOP}, pid {os.getpid()}\n".encode())
                    self.fds.append(fd)
                    if len(self.fds) == count:
                        return
                if not said:
                    said = True
                    store.say(f"waiting: {len(places)} host VMs at once on this machine, and they run for "
                              f"{'; '.join(self._holders(places))}")
                time.sleep(0.5)

    @staticmethod
    def _holders(places):
        for n in places:
            try:
                with open(os.path.join(store.root(), f"vm{n}.lock"), encoding="utf-8") as f:
                    yield f.read().strip() or "somebody"
            except OSError:
                yield "somebody"

    @classmethod
    def inherited(cls, numbers):
        """Those whose descriptors, as "7,8", a parent process has left us."""
        self = cls.__new__(cls)
        self.fds = [int(n) for n in numbers.split(",")]
        for fd in self.fds:
            os.set_inheritable(fd, False)
        return self

    def take(self):
        """One of them, for one VM."""
        return self.fds.pop()

    def close(self):
        while self.fds:
            os.close(self.fds.pop())


def slots():
    """Two, so that a pair can run at all; more with a core and 4 GiB for each."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return max(2, min(len(os.sched_getaffinity(0)), memory // 4))


class Qmp:
    def __init__(self, path):
        self.s = connect(path)
        self.f = self.s.makefile("rw", encoding="utf-8")
        self._line()
        self("qmp_capabilities")

    def _line(self):
        try:
            line = self.f.readline()
        except OSError as e:
            raise Hung(f"QEMU does not answer: {e}") from None
        if not line:
            raise Hung("QEMU has closed its monitor")
        return json.loads(line)

    def __call__(self, command, limit=30.0, **arguments):
        self.s.settimeout(limit)
        args = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.f.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.f.flush()
        while True:
            m = self._line()
            if "error" in m:
                raise Error(f"QEMU refuses {command}: {m['error']['desc']}")
            if "return" in m:
                return m["return"]

    def migration(self, limit):
        """Wait for a migration's end."""
        end = time.monotonic() + limit
        while True:
            m = self("query-migrate")
            if m.get("status") == "completed":
                return
            if m.get("status") == "failed" or time.monotonic() > end:
                raise Hung(f"the snapshot: {m.get('status')} {m.get('error-desc', '')}")
            time.sleep(0.05)

    def close(self):
        self.f.close()
        self.s.close()


class Vm:
    """One host VM. `name` is the folder of its files under build/rig; `host` its place in a pair (1 or 2)."""

    def __init__(self, name="host1", kernel="6.12", libvirt="11", host=1, cpus=CPUS, pair=None, where=store.RUN,
                 slot=None):
        if kernel not in KERNELS or libvirt not in LIBVIRTS:
            raise Error(f"kernel is one of {', '.join(KERNELS)}, libvirt one of {', '.join(LIBVIRTS)}")
        self.name, self.kernel, self.libvirt, self.host, self.cpus = name, kernel, libvirt, host, cpus
        self.dir = os.path.join(where, name)
        # Where two VMs of a pair put the sockets of their cable.
        self.pair = pair or self.dir
        self.proc = None
        self.ids = 0
        # One of Slots; without, start() gets one.
        self.slot = slot
        # More of QEMU's arguments, that the guest sees nothing of.
        self.extra = []

    @property
    def debug(self):
        return self.kernel.endswith("-debug")

    @property
    def slow(self):
        return SLOW if self.debug else 1

    @property
    def cmdline(self):
        return CMDLINE + (DEBUG_CMDLINE if self.debug else "")

    # What it is made of.

    def parts(self):
        self.qemu_dir = os.path.join(store.file_system("11"), "qemu")
        self.root = os.path.join(store.file_system(self.libvirt), "root.ext4")
        self.kernel_dir = store.kernel(self.kernel)
        self.guest_dir = store.kernel(self.kernel.removesuffix("-debug"))
        self.settle = os.path.join(store.HERE, "guest", "settle-debug" if self.debug else "settle")
        return self

    def tool(self, program):
        """A program of the QEMU that runs host VMs, by its own loader and libraries."""
        lib = os.path.join(self.qemu_dir, "lib")
        return [os.path.join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, os.path.join(self.qemu_dir, program)]

    def machine(self):
        """What the guest sees: the same for a snapshot and for what starts from it."""
        h = self.host
        nic = f"52:54:00:{h:02x}:00"
        port = ["-device", "pcie-root-port,id={0},chassis={1},slot={1}"]

        def root_port(n):
            return [a.format(f"rp{n}", n) for a in port]
        args = ["-machine", "q35,memory-backend=mem", "-cpu", "max", "-smp", str(self.cpus), "-m", str(MEMORY),
                "-nodefaults", "-display", "none", "-no-reboot",
                "-device", "intel-iommu,intremap=on,caching-mode=on",
                "-device", "virtio-blk-pci,drive=root", "-device", "virtio-blk-pci,drive=payload",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci,id=vs,max_ports=8"]
        for i in range(PORTS):
            args += ["-device", f"virtserialport,bus=vs.0,nr={i + 1},chardev=agent{i},name=rig.{i}"]
        # The wire: one hub that the card, what is outside of the host, and the other host are on.
        args += root_port(1) + ["-device", f"igb,id=igb0,bus=rp1,netdev=wire-igb,mac={nic}:00"]
        for i in (1, 2):
            args += root_port(i + 1) + ["-device", f"virtio-net-pci,id=vdpa{i},bus=rp{i + 1},netdev=wire-vdpa{i},"
                                        f"mac={nic}:0{i},iommu_platform=on,disable-legacy=on"]
        args += ["-device", f"virtio-net-pci,id=outside,netdev=wire-out,mac={nic}:0f",
                 "-device", f"virtio-net-pci,id=manage,netdev=manage,mac={nic}:10"]
        return args

    def cables(self):
        """What QEMU's network devices are plugged into; not seen by the guest."""
        args = []
        for n in ("igb", "vdpa1", "vdpa2", "out"):
            args += ["-netdev", f"hubport,id=wire-{n},hubid=0"]
        for n in ("wire", "manage"):
            # Relative to where QEMU runs: a socket's name has no room for a long one.
            ours, theirs = (os.path.relpath(os.path.join(self.pair, f"{n}{x}"), self.dir)
                            for x in (self.host, 3 - self.host))
            ident = "cable" if n == "wire" else n
            args += ["-netdev", f"dgram,id={ident},local.type=unix,local.path={ours},"
                     f"remote.type=unix,remote.path={theirs}"]
        return args + ["-netdev", "hubport,id=wire-cable,hubid=0,netdev=cable"]

    def key(self):
        files = [os.path.join(store.HERE, "guest", f) for f in ("init", "agent", "rig-agent@.service")] + [self.settle]
        made_of = [os.path.basename(d) for d in (os.path.dirname(self.root), self.kernel_dir,
                                                 os.path.dirname(self.qemu_dir))]
        return store.digest(*files, *made_of, self.cmdline, " ".join(self.machine()))

    def initrd(self, out):
        """The kernel's modules and the rig's own files; both are archives that the kernel unpacks one after the other."""
        work = out + ".d"
        shutil.rmtree(work, ignore_errors=True)
        for d in ("bin", "sbin", "rig"):
            os.makedirs(os.path.join(work, d))
        busybox = shutil.which("busybox")
        if not busybox:
            raise Error("no busybox here: run ./check deps first")
        shutil.copy(busybox, os.path.join(work, "bin/busybox"))
        os.symlink("../bin/busybox", os.path.join(work, "sbin/modprobe"))
        guest = os.path.join(store.HERE, "guest")
        shutil.copy(os.path.join(guest, "init"), os.path.join(work, "init"))
        for f in ("agent", "rig-agent@.service"):
            shutil.copy(os.path.join(guest, f), os.path.join(work, "rig", f))
        with open(out, "wb") as f:
            with open(os.path.join(self.kernel_dir, "modules.cpio"), "rb") as m:
                shutil.copyfileobj(m, f)
            f.flush()
            subprocess.run("find . | cpio --quiet -o -H newc -R 0:0", shell=True, cwd=work, stdout=f, check=True)
        shutil.rmtree(work)

    # Its life.

    def _spawn(self, argv, detach=False):
        os.makedirs(self.dir, exist_ok=True)
        self.log = os.path.join(self.dir, "qemu.log")
        env = dict(os.environ, QEMU_MODULE_DIR=os.path.join(self.qemu_dir, "lib/modules"))
        argv = self.tool("qemu-system-x86_64") + ["-L", os.path.join(self.qemu_dir, "share"), "-name", self.name,
                                                 "-accel", "tcg,thread=multi", "-pidfile", "pid",
                                                 "-chardev", "file,id=con,path=console", "-serial", "chardev:con",
                                                 "-qmp", "unix:qmp,server=on,wait=off"] + argv
        argv += self.extra
        for i in range(PORTS):
            argv += ["-chardev", f"socket,id=agent{i},path=agent{i},server=on,wait=off"]

        if self.slot is None:
            got = Slots(1)
            self.slot = got.take()

        def alone():
            os.nice(5)
            if not detach:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        with open(self.log, "wb") as log:
            self.proc = _spawner.submit(subprocess.Popen, argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=log, env=env, start_new_session=True, preexec_fn=alone,
                                        pass_fds=[self.slot]).result()
        if detach:
            self._give_up_slot()
        end = time.monotonic() + 20
        while True:
            try:
                self.qmp = Qmp(os.path.join(self.dir, "qmp"))
                return
            except OSError:
                if self.proc.poll() is not None or time.monotonic() > end:
                    self.kill()
                    raise Error(f"QEMU did not start: {self.said()}") from None
                time.sleep(0.02)

    def said(self):
        out = ""
        for name in ("qemu.log", "console"):
            try:
                with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as f:
                    out += "".join(f.readlines()[-8:])
            except OSError:
                pass
        return out.strip() or "(nothing said)"

    def _disk(self, path, backing, kind):
        subprocess.run(self.tool("qemu-img") + ["create", "-q", "-f", "qcow2", "-b", backing, "-F", kind, path],
                       check=True, timeout=30)

    def _drives(self, disk, payload):
        return ["-drive", f"file={disk},if=none,id=root,format=qcow2,cache=unsafe",
                "-drive", f"file={payload},if=none,id=payload,format=raw,cache=unsafe,readonly=on"]

    def _boot_args(self, initrd):
        return ["-kernel", os.path.join(self.kernel_dir, "vmlinuz"), "-initrd", initrd,
                "-append", f"{self.cmdline} rig.name=host{self.host}"]

    def prepare(self):
        """Make what start() takes, where it is not there yet."""
        self.parts()
        if not store.have(self._snapshot_name(), self.key()):
            self.slot = Slots(1).take()
            self.snapshot()
            self.end()

    def _snapshot_name(self):
        return f"booted-{self.kernel}-{self.libvirt}-{self.host}"

    def snapshot(self):
        """The folder of a booted VM's memory, state and disk; made where it is not there yet."""
        self.parts()
        return store.get(self._snapshot_name(), self.key(), self._make_snapshot,
                         f"a booted host {self.host} with kernel {self.kernel}, libvirt {self.libvirt}, "
                         f"{self.cpus} CPU")

    def _make_snapshot(self, out):
        slot = self.slot if self.slot is not None else Slots(1).take()
        vm = Vm(".boot", self.kernel, self.libvirt, self.host, self.cpus, where=out, slot=slot).parts()
        os.makedirs(vm.dir)
        guest = os.path.join(vm.dir, "guest.tar")
        with tarfile.open(guest, "w") as tar:
            for name in ("vmlinuz", "guest-modules.cpio"):
                tar.add(os.path.join(vm.guest_dir, name), f"var/lib/rig-guest/{name}")
        vm._load(guest)
        disk, ram, state = (os.path.join(out, n) for n in ("disk", "ram", "state"))
        vm._disk(disk, vm.root, "raw")
        vm.initrd(os.path.join(out, "initrd"))
        try:
            vm._spawn(vm.machine() + vm.cables() + vm._drives(disk, os.path.join(vm.dir, "payload")) +
                      vm._boot_args(os.path.join(out, "initrd")) +
                      ["-object", f"memory-backend-file,id=mem,mem-path={ram},size={MEMORY}M,share=on"])
            vm.wait(BOOT_LIMIT)
            vm.put(vm.settle, "/run/rig-settle")
            vm.sh("sh /run/rig-settle", 180)
            vm.qmp("stop")
            vm.qmp("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
            vm.qmp("migrate", uri=f"file:{state}")
            vm.qmp.migration(60)
            vm.qmp("quit")
            vm.proc.wait(30)
        except Error as e:
            raise Error(f"{e}; console and log:\n{vm.said()}") from None
        finally:
            vm.kill()
            if slot != self.slot:
                os.close(slot)
            shutil.rmtree(vm.dir)

    def start(self, payload=None, cold=False, detach=False):
        """Start it; `payload` is a tar archive to unpack at /. Cold: boot."""
        snap = self.snapshot()
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        os.makedirs(self.pair, exist_ok=True)
        self._load(payload)
        self._disk(os.path.join(self.dir, "disk"), os.path.join(snap, "disk"), "qcow2")
        with open(os.path.join(self.dir, "vm.json"), "w", encoding="ascii") as f:
            json.dump({"kernel": self.kernel, "libvirt": self.libvirt, "host": self.host, "cpus": self.cpus}, f)
        if cold:
            self.boot(detach)
            return self.install(payload) if payload else self
        self._spawn(self.machine() + self.cables() + self._drives("disk", "payload") +
                    self._boot_args(os.path.join(snap, "initrd")) +
                    ["-object", f"memory-backend-file,id=mem,mem-path={snap}/ram,size={MEMORY}M,share=off",
                     "-incoming", "defer"], detach)
        try:
            self.qmp("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
            self.qmp("migrate-incoming", uri=f"file:{snap}/state")
            self.qmp.migration(60)
            self.qmp("cont")
            self.wait(60)
            self.sh(f"date -s @{int(time.time()) + 1} >/dev/null; dd if=/dev/urandom of=/dev/urandom bs=64 count=1 2>/dev/null")
            if payload:
                self.install(payload)
        except BaseException:
            self.kill()
            raise
        return self

    def install(self, payload):
        """Unpack a payload, and do what a package's scripts would."""
        self._load(payload)
        self.sh("blockdev --flushbufs /dev/vdb; tar -x --no-overwrite-dir -f /dev/vdb -C /", 120)
        self.put(os.path.join(store.HERE, "guest/installed"), "/run/rig-installed")
        # Synced as dpkg does it: a power cut must not leave files without content.
        self.sh("sh /run/rig-installed && sync", 120)
        return self

    def _load(self, payload):
        """Put a payload, or nothing, on the disk that is for it."""
        with open(os.path.join(self.dir, "payload"), "wb") as to:
            if payload:
                with open(payload, "rb") as f:
                    shutil.copyfileobj(f, to)
            if to.tell() > PAYLOAD:
                raise Error(f"the payload is larger than {PAYLOAD >> 20} MiB")
            to.truncate(PAYLOAD)

    def boot(self, detach=False):
        """Boot from its disk as it is, after a power cut or cold; until systemd says that the boot is over."""
        snap = self.snapshot()
        self._spawn(self.machine() + self.cables() + self._drives("disk", "payload") +
                    self._boot_args(os.path.join(snap, "initrd")) +
                    ["-object", f"memory-backend-memfd,id=mem,size={MEMORY}M,share=off"], detach)
        try:
            self.wait(BOOT_LIMIT)
            # The agent answers long before udev has loaded every driver and named every netdev.
            self.sh("systemctl is-system-running --wait >/dev/null || true; udevadm settle", BOOT_LIMIT)
        except BaseException:
            self.kill()
            raise
        return self

    def attach(self):
        """Use a VM that somebody else has started (rig up)."""
        if not self.pid():
            raise Error(f"no VM {self.name}: start it with tests/rig/rig up")
        with open(os.path.join(self.dir, "vm.json"), encoding="ascii") as f:
            self.__dict__.update(json.load(f))
        return self

    def pid(self):
        return lock_owner(os.path.join(self.dir, "pid"))

    def wait(self, limit):
        """Until the agent answers."""
        status, _ = self.run(["true"], limit)
        if status != 0:
            raise Hung(f"the agent of {self.name} answers with {status}")

    def kill(self):
        """End it at once, like a power cut."""
        if self.proc:
            if self.proc.poll() is None:
                self.proc.kill()
            self.proc.wait(20)
            self.proc = None
        if getattr(self, "qmp", None):
            self.qmp.close()
            self.qmp = None

    def _give_up_slot(self):
        if self.slot is not None:
            os.close(self.slot)
            self.slot = None

    def end(self):
        """End it, whoever has started it; its slot is free then."""
        self.stop()
        self._give_up_slot()

    def stop(self):
        """End it, and keep its slot."""
        self.kill()
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            limit = time.monotonic() + 20
            while self.pid() == pid and time.monotonic() < limit:
                time.sleep(0.05)

    # Commands.

    def _port(self, limit):
        """A free port of the agent: (its lock, its connection). One client a port."""
        end = time.monotonic() + limit
        while True:
            for i in range(PORTS):
                path = os.path.join(self.dir, f"agent{i}")
                fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return fd, connect(path)
                except OSError:
                    os.close(fd)
            if self.proc and self.proc.poll() is not None:
                raise Hung(f"{self.name}: QEMU has ended: {self.said()}")
            if time.monotonic() > end:
                raise Hung(f"{self.name}: no port of the agent is free or listens")
            time.sleep(0.1)

    def run(self, argv, limit=60.0, stdin=None, out=None, pty=False):
        """Run a command: (status, output). stdin: bytes, or a file descriptor; out: called with what it writes."""
        limit *= self.slow
        fd, s = self._port(limit)
        try:
            self.ids += 1
            return _converse(s, f"{os.getpid()}.{self.ids}", argv, limit, stdin, out, pty)
        except OSError as e:
            raise Hung(f"{self.name}: no answer to {' '.join(argv)[:80]}: {e or type(e).__name__}") from None
        finally:
            s.close()
            os.close(fd)

    def sh(self, command, limit=60.0):
        """Run a shell command; its output."""
        status, out = self.run(["sh", "-c", command], limit)
        if status != 0:
            raise Failed(f"{self.name}: {command[:200]}: status {status}: {out.decode(errors='replace').strip()}")
        return out.decode(errors="replace").strip()

    def put(self, path, to, limit=60.0):
        with open(path, "rb") as f:
            status, out = self.run(["sh", "-c", 'cat >"$1"', "sh", to], limit, stdin=f.read())
        if status != 0:
            raise Failed(f"{self.name}: {to}: {out.decode(errors='replace').strip()}")

    def write(self, path, text, limit=60.0):
        """Write a file, and the folder that it is in."""
        status, out = self.run(["sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path], limit, stdin=text.encode())
        if status != 0:
            raise Failed(f"{self.name}: {path}: {out.decode(errors='replace').strip()}")

    def get(self, path, limit=60.0):
        status, out = self.run(["cat", path], limit)
        if status != 0:
            raise Failed(f"{self.name}: {out.decode(errors='replace').strip()}")
        return out


def _converse(s, ident, argv, limit, stdin, out, pty):
    def send(**m):
        s.settimeout(limit)
        s.sendall(json.dumps(dict(m, id=ident)).encode() + b"\n")
    # A newline first: it ends whatever somebody before us may have left half said.
    s.sendall(b"\n")
    send(argv=argv, timeout=limit, pty=pty)
    if isinstance(stdin, (bytes, bytearray)):
        for i in range(0, len(stdin), 24 << 10):
            send(**{"in": base64.b64encode(stdin[i:i + (24 << 10)]).decode()})
        stdin = None
    if stdin is None:
        send(eof=1)
    got, buf, end = [], b"", time.monotonic() + limit + GRACE
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise ConnectionError(f"nothing for {limit:g} s")
        r, _, _ = select.select([s] + ([stdin] if stdin is not None else []), [], [], min(left, POKE))
        if not r:
            s.sendall(b"\n")
        if stdin is not None and stdin in r:
            data = os.read(stdin, 4096)
            send(**({"in": base64.b64encode(data).decode()} if data else {"eof": 1}))
            stdin = stdin if data else None
        if s not in r:
            continue
        more = s.recv(65536)
        if not more:
            raise ConnectionError("QEMU has ended")
        buf += more
        while b"\n" in buf:
            line, buf = buf.split(b"\n", 1)
            try:
                m = json.loads(line)
            except ValueError:
                continue
            if m.get("id") != ident:
                continue
            if "out" in m:
                data = base64.b64decode(m["out"])
                if out:
                    out(data)
                else:
                    got.append(data)
            if "status" in m:
                return m["status"], b"".join(got)


class Pair(list):
    """Host VMs that are started and ended together: one, or two on one wire."""

    def __init__(self, hosts=1, where=store.RUN, leave=None, **kind):
        self.leave = leave
        cable = os.path.join(where, "pair")
        super().__init__(Vm(f"host{n}", host=n, pair=cable, where=where, **kind) for n in range(1, hosts + 1))

    def start(self, payload_file=None, cold=False, detach=False):
        """All at once; where one fails, all end."""
        # In one go: two pairs with one VM each would wait for ever. They are kept until end().
        if any(vm.slot is None for vm in self):
            for vm in self:
                vm.parts()
            # A slot comes before the lock of what is made with it, always.
            leave = self.leave or Slots(len(self))
            for vm in self:
                vm.slot = leave.take()
            self.leave = None
        errors = at_once([lambda v=vm: v.start(payload_file, cold, detach) for vm in self])
        for e in errors:
            if e:
                self.end()
                raise e
        return self

    def end(self):
        for vm in self:
            vm.end()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()


def at_once(jobs):
    """Run functions in a thread each; their exceptions, None for those that went well."""
    errors = [None] * len(jobs)

    def work(i):
        try:
            jobs[i]()
        except Exception as e:  # noqa: handed to the caller
            errors[i] = e
    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return errors


def payload(kernel=None):
    """What host VMs unpack: this tree's project as it is now, built where it is not; with vnic.ko for that kernel, too."""
    more = [kernel] if kernel and kernel.endswith("-debug") else []
    if subprocess.run([os.path.join(store.HERE, "payload"), *more], stdin=subprocess.DEVNULL, stdout=2, check=False).returncode:
        raise Error("no project to install")
    return os.path.realpath(os.path.join(store.RUN, "payload.tar"))
