# SPDX-License-Identifier: GPL-2.0-or-later
"""vDPA devices in the host VM, told what to do through a driver in user space (tests/vdpa): for scenarios that run inside
of it (inside.py)."""
import contextlib
import glob
import json
import os
import re
import socket
import struct
import subprocess
import time

from vt import TOP, run, wait_for

PROGRAMS = os.path.join(TOP, "tests/vdpa")
BUS = "/sys/bus/vdpa"
TROUBLE = re.compile(r"BUG:|WARNING:|kernel BUG|Oops:|Call Trace|refcount|general protection|use-after|list_(add|del)|KASAN|lockdep|"
                     r"scheduling while atomic|sleeping function|Bad page|bad_page|hung task|stall|leak|unregister_netdevice: waiting|"
                     r"page allocation failure|double free|possible (recursive|circular)|INFO: (possible|trying|task|rcu)|ODEBUG|"
                     r"suspicious RCU|inconsistent lock|invalid wait context|held lock|nested lock|ref_tracker|(leaked|bad) reference", re.I)
HARMLESS = re.compile(r"taints kernel|drop_caches|clocksource|kmemleak: ")


def troubles(line):
    return TROUBLE.search(line) and not HARMLESS.search(line)


def trouble(said):
    """Of lines that the kernel said, the first that tells of a mistake, with those around it; or nothing."""
    for i, line in enumerate(said):
        if troubles(line):
            return "\n".join(said[max(0, i - 2):i + 60])
    return ""


class Failed(AssertionError):
    """What the driver in user space has found."""


def complain(said):
    """Fail where the kernel said something; all of it is shown, as a report's beginning is what tells most."""
    if said:
        print("# the kernel:\n# " + said.replace("\n", "\n# "), flush=True)
        raise AssertionError("the kernel says: " + next(x for x in said.splitlines() if troubles(x)))


def looks_at_locks():
    """Whether the kernel has lockdep, which gives up at the first thing that it finds. It must not have when we begin."""
    if not os.path.exists("/proc/lockdep_stats"):
        return None
    return re.search(r"debug_locks: *1$", read("/proc/lockdep_stats"), re.M) is not None


class Kmsg:
    """What the kernel says from now on."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.lines = []
        self.locks = looks_at_locks()
        assert self.locks is not False, "lockdep gave up before the first test"

    def new(self):
        out = []
        while True:
            try:
                out.append(os.read(self.fd, 8192).decode(errors="replace").partition(";")[2].strip())
            except BlockingIOError:
                break
            except BrokenPipeError:
                out.append("(lines were lost)")
        self.lines += out
        return out

    def clean(self):
        """No warning, oops or the like was said."""
        complain(trouble(self.new()))
        assert looks_at_locks() == self.locks, "lockdep has given up; the kernel's log says why"


def vm_clean(vm):
    """As Kmsg.clean(), of a host VM from outside."""
    complain(trouble(vm.sh("dmesg -c").splitlines()))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read().strip()


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def refuses(path, text, error=None):
    """Writing this fails (with that errno)."""
    try:
        write(path, text)
    except OSError as e:
        assert error is None or e.errno == error, f"{path}: {e}"
        return
    raise AssertionError(f"{path} takes {text!r}")


# ---- devices ----

def bind(name, driver):
    """A vDPA device to vhost_vdpa or virtio_vdpa; its node in /dev, or its netdev."""
    d = f"{BUS}/devices/{name}"
    write(f"{d}/driver_override", driver)
    if os.path.exists(f"{d}/driver") and os.path.basename(os.readlink(f"{d}/driver")) != driver:
        write(f"{d}/driver/unbind", name)
    if not os.path.exists(f"{d}/driver"):
        write(f"{BUS}/drivers_probe", name)
    if driver == "vhost_vdpa":
        return wait_for(f"{name} in /dev", lambda: node(name))
    return wait_for(f"the netdev of {name}", lambda: netdev(name))


def node(name):
    found = glob.glob(f"{BUS}/devices/{name}/vhost-vdpa-*")
    path = f"/dev/{os.path.basename(found[0])}" if found else None
    return path if path and os.path.exists(path) else None


def netdev(name):
    found = glob.glob(f"{BUS}/devices/{name}/virtio*/net/*")
    return os.path.basename(found[0]) if found else None


def add(name, mgmtdev, *words, driver="vhost_vdpa"):
    """vdpa dev add, bound to a driver; what bind() returns."""
    run("vdpa", "dev", "add", "name", name, "mgmtdev", mgmtdev, *words)
    return bind(name, driver) if driver else None


def delete(*names):
    for name in names:
        run("vdpa", "dev", "del", name)


def devices():
    return list(json.loads(run("vdpa", "-j", "dev", "show")).get("dev", {}))


def stats(name):
    """A device's counters, by direction: {"tx": {...}, "rx": {...}}."""
    out = {}
    for line in read(f"{BUS}/devices/{name}/vnic/stats").splitlines():
        f = line.replace(":", " ").replace("=", " ").split()
        if len(f) == 2:
            what, value = f
            side, _, key = what.partition("_")
            out.setdefault(side, {})[key] = int(value)
        elif len(f) == 3:
            out.setdefault(f[0], {})[f[1]] = int(f[2])
    return out


def queue_frames(name, index):
    """Frames of one queue, by vDPA's vendor statistics."""
    said = json.loads(run("vdpa", "-j", "dev", "vstats", "show", name, "qidx", str(index)))["vstats"][name]
    return int(next(v for k, v in said.items() if k.strip() == "frames"))


def policy(name, **values):
    for key, value in values.items():
        write(f"{BUS}/devices/{name}/vnic/{key}", f"{value}\n")


class Netlink:
    """vDPA's generic netlink without a process for each request, which takes most of the time in an emulated host."""
    GET_FAMILY, FAMILY_NAME, FAMILY_ID = 3, 2, 1
    DEV_NEW, DEV_DEL = 3, 4
    MGMT_BUS, MGMT_DEV, NAME, NET_MAC = 1, 2, 4, 10

    def __init__(self):
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)  # NETLINK_GENERIC
        self.s.settimeout(60)
        for kind, value in self._ask(0x10, self.GET_FAMILY, [(self.FAMILY_NAME, b"vdpa\0")]):
            if kind == self.FAMILY_ID:
                self.family = struct.unpack("=H", value)[0]

    def _ask(self, family, command, attrs):
        """The attributes of what comes back; OSError where the kernel refuses."""
        body = struct.pack("=BBH", command, 1, 0)
        for kind, value in attrs:
            body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        self.s.send(struct.pack("=IHHII", 16 + len(body), family, 5, 1, 0) + body)  # a request, acknowledged
        out = []
        while True:
            data = self.s.recv(65536)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == 2:
                    error = -struct.unpack_from("=i", data, 16)[0]
                    if error:
                        raise OSError(error, f"{os.strerror(error)}: vDPA's command {command}")
                    return out
                at = 20
                while at + 4 <= length:
                    n, what = struct.unpack_from("=HH", data, at)
                    out.append((what & 0x3fff, data[at + 4:at + n]))
                    at += (n + 3) & ~3
                data = data[(length + 3) & ~3:]

    def add(self, name, mgmtdev, mac):
        bus, _, dev = mgmtdev.rpartition("/")
        self._ask(self.family, self.DEV_NEW, [(self.MGMT_BUS, bus.encode() + b"\0")] * bool(bus) + [
            (self.MGMT_DEV, dev.encode() + b"\0"), (self.NAME, name.encode() + b"\0"),
            (self.NET_MAC, bytes.fromhex(mac.replace(":", "")))])

    def delete(self, name):
        self._ask(self.family, self.DEV_DEL, [(self.NAME, name.encode() + b"\0")])


# ---- uplinks ----

VNIC = "/sys/bus/vnic"


def load():
    run("modprobe", "-a", "vhost_vdpa", "vnic")


def uplink(netdev_name):
    write(f"{VNIC}/new_uplink", netdev_name)
    assert os.path.isdir(f"{VNIC}/devices/{netdev_name}")


def uplink_stats(name):
    """An uplink's counters."""
    return {k: int(v) for k, v in (line.split() for line in read(f"{VNIC}/devices/{name}/stats").splitlines())}


def no_uplink(netdev_name):
    write(f"{VNIC}/del_uplink", netdev_name)


def veth(name="u0", peer="eth0", ns="out"):
    """An uplink of the kind that every host has; its other end is eth0 in a namespace."""
    if not os.path.exists(f"/run/netns/{ns}"):
        run("ip", "netns", "add", ns)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", ns)
    run("ip", "link", "set", name, "up")
    run("ip", "-n", ns, "link", "set", peer, "up")
    run("ip", "-n", ns, "link", "set", "lo", "up")
    for n in (name, f"{ns}:{peer}"):
        # Nothing but what a test sends.
        where, _, dev = n.rpartition(":")
        at = ("ip", "netns", "exec", where) if where else ()
        run(*at, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6")


# ---- programs ----

class Program:
    """One of tests/vdpa's programs: a line in, a line of JSON out."""

    def __init__(self, *argv):
        self.argv = [os.path.join(PROGRAMS, argv[0]), *argv[1:]]
        self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def tell(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def answer(self):
        text = self.p.stdout.readline()
        if not text:
            raise Failed(f"{' '.join(self.argv)} ended with {self.p.wait()}")
        return json.loads(text)

    def raw(self, line):
        self.tell(line)
        return self.answer()

    def __call__(self, line):
        """Do it, and say what came; Failed where it was not what it should be."""
        a = self.raw(line)
        if a["r"] < 0:
            raise Failed(f"{line}: {a['said']}")
        return a

    def fails(self, line, error=None):
        a = self.raw(line)
        assert a["r"] < 0 and (error is None or a["r"] == -error), f"{line}: {a}"
        return a

    def alive(self):
        return self.p.poll() is None

    def kill(self):
        self.p.kill()
        self.p.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.alive():
            self.p.stdin.close()
            try:
                self.p.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def driver():
    return Program("vvdrv")


# ---- what is left behind ----

def memory():
    """What would show a leak, in KiB, pages (pinned) or objects: what the kernel has that no cache can give back."""
    write("/proc/sys/vm/drop_caches", "3")
    # What is free within a slab goes, and with KASAN what it keeps of freed objects.
    for cache in {os.path.realpath(x) for x in glob.glob("/sys/kernel/slab/*")}:
        write(f"{cache}/shrink", "1")
    info = {k: int(v.split()[0]) for k, v in (line.split(":") for line in read("/proc/meminfo").splitlines())}
    out = {"gone": info["MemTotal"] - info["MemFree"] - info["Cached"] - info["Buffers"] - info["SReclaimable"] -
           info["AnonPages"], "slab": info["SUnreclaim"], "vmalloc": info["VmallocUsed"]}
    # Nor are the pages free that each CPU keeps at hand; their number tunes itself since Linux 6.7.
    out["gone"] -= sum(int(n) for n in re.findall(r"^ +count: +(\d+)", read("/proc/zoneinfo"), re.M)) * (os.sysconf("SC_PAGESIZE") >> 10)
    with contextlib.suppress(OSError):
        write("/proc/sys/vm/stat_refresh", "1")
    pages = dict(line.split() for line in read("/proc/vmstat").splitlines())
    out["pinned"] = int(pages["nr_foll_pin_acquired"]) - int(pages["nr_foll_pin_released"])
    for line in read("/proc/slabinfo").splitlines():
        f = line.split()
        if f[0].startswith("skbuff_"):
            out[f[0]] = int(f[1])
    return out


def grown(before, after):
    """What has grown by more than the kernel's own ups and downs explain."""
    bound = {"gone": 3 << 10, "slab": 3 << 10, "vmalloc": 512, "pinned": 0}
    return {k: (before[k], after[k]) for k in before if after.get(k, 0) - before[k] > bound.get(k, 600)}


def unreferenced():
    """What vnic.ko has allocated and nothing points to any more, by a kernel that has kmemleak; ask before it is unloaded."""
    path = "/sys/kernel/debug/kmemleak"
    try:
        # It tells of what is older than five seconds; and twice, as what moves while it looks may escape it.
        time.sleep(6)
        for _ in range(2):
            write(path, "scan")
        found = read(path)
    except OSError:
        return []
    return [x for x in re.split(r"^(?=unreferenced object)", found, flags=re.M) if "[vnic]" in x]
