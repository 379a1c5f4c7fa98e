# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices of a host VM as its kernel tells of them: an igb with SR-IOV, netdevsims; and systool, which does steps."""
import json
import os
import queue
import re
import subprocess
import threading

from vt import TOP, run, wait_for

IGB = "0000:01:00.0"
SYSTOOL = os.path.join(TOP, "tests/unit/systool")
PCI = "/sys/bus/pci"


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def driver(addr):
    """The driver bound to a PCI device, '' where there is none."""
    link = f"{PCI}/devices/{addr}/driver"
    return os.path.basename(os.readlink(link)) if os.path.exists(link) else ""


def override(addr):
    text = read(f"{PCI}/devices/{addr}/driver_override")
    return "" if text == "(null)" else text


def bind(addr, name):
    """By hand, as the kernel's documentation says it."""
    write(f"{PCI}/devices/{addr}/driver_override", name or "\n")
    if driver(addr):
        write(f"{PCI}/devices/{addr}/driver/unbind", addr)
    if name:
        write(f"{PCI}/drivers_probe", addr)


def netdev(addr, bus="pci"):
    """The name of a device's interface in this network namespace, '' where there is none."""
    try:
        return next(iter(os.listdir(f"/sys/bus/{bus}/devices/{addr}/net")), "")
    except OSError:
        return ""


def link(name, *more):
    return json.loads(run("ip", "-j", "-d", *more, "link", "show", "dev", name))[0]


def rename(old, new):
    """Kernel 6.1 renames none that is up."""
    up = "UP" in link(old)["flags"]
    run("ip", "link", "set", "dev", old, "down")
    run("ip", "link", "set", "dev", old, "name", new)
    if up:
        run("ip", "link", "set", "dev", new, "up")


# Has a VF open by vfio until it is killed: arguments are its IOMMU group and address.
HOLD = r"""
import ctypes, fcntl, os, struct, sys, time
group, addr = sys.argv[1:]
c = os.open("/dev/vfio/vfio", os.O_RDWR)
g = os.open(f"/dev/vfio/{group}", os.O_RDWR)
fcntl.ioctl(g, 0x3B68, struct.pack("i", c))
fcntl.ioctl(c, 0x3B66, 1)
name = ctypes.create_string_buffer(addr.encode())
libc = ctypes.CDLL(None, use_errno=True)
d = libc.ioctl(g, 0x3B6A, name)
assert d >= 0, os.strerror(ctypes.get_errno())
print("held", flush=True)
time.sleep(60)
"""


class Pf:
    """A function with VFs."""

    def __init__(self, addr, bus="pci"):
        self.addr, self.bus = addr, bus
        self.dir = f"/sys/bus/{bus}/devices/{addr}"

    @property
    def dev(self):
        return wait_for(f"the interface of {self.addr}", lambda: netdev(self.addr, self.bus))

    def back(self):
        """Its driver was bound: until its interface has the name that udev gives it."""
        wait_for(f"the interface of {self.addr}", lambda: netdev(self.addr, self.bus))
        run("udevadm", "settle")
        return self.dev

    def numvfs(self):
        return int(read(f"{self.dir}/sriov_numvfs"))

    def set_numvfs(self, n):
        if self.numvfs() not in (0, n):
            write(f"{self.dir}/sriov_numvfs", "0")
        write(f"{self.dir}/sriov_numvfs", str(n))

    def autoprobe(self):
        return int(read(f"{self.dir}/sriov_drivers_autoprobe"))

    def set_autoprobe(self, on):
        write(f"{self.dir}/sriov_drivers_autoprobe", str(int(on)))

    def vf_addr(self, i):
        return os.path.basename(os.readlink(f"{self.dir}/virtfn{i}"))

    def vfs(self):
        """What rtnetlink tells of each VF."""
        return link(self.dev).get("vfinfo_list", [])

    def vf(self, i):
        return self.vfs()[i]

    def set_vf(self, i, *words):
        run("ip", "link", "set", "dev", self.dev, "vf", str(i), *words)

    def whole(self, n, driver_name="igbvf"):
        """Every VF is there, told of by the driver, with its group and, bound to a net driver, its netdev."""
        links = [d for d in os.listdir(self.dir) if re.fullmatch(r"virtfn\d+", d)]
        if self.numvfs() != n or len(links) != n or len(self.vfs()) != n:
            return False
        for i in range(n):
            a = self.vf_addr(i)
            if not os.path.exists(f"{PCI}/devices/{a}/iommu_group") or driver(a) != driver_name:
                return False
            if driver_name == "igbvf" and not netdev(a):
                return False
        return True

    def is_whole(self, n, driver_name):
        wait_for(f"{n} whole VFs", lambda: self.whole(n, driver_name), 20)
        if driver_name == "igbvf":
            self.hear_vfs()

    def hear_vfs(self):
        """igb of 6.1 resets itself after it has made its VFs, whose drivers have not got through to it by then: such a VF
        has no carrier, no VLAN, and no MAC by the PF's word."""
        run("ip", "link", "set", "dev", self.dev, "up")
        for v in self.vfs():
            a = self.vf_addr(v["vf"])
            if v["address"] == "00:00:00:00:00:00" and driver(a) == "igbvf":
                write(f"{PCI}/drivers/igbvf/unbind", a)
                write(f"{PCI}/drivers/igbvf/bind", a)
        # It gives their interfaces MACs that last, which their driver tells the PF's.
        run("udevadm", "settle")

    def make(self, n, autoprobe=True):
        """VFs by hand, whole."""
        self.set_numvfs(0)
        self.set_autoprobe(autoprobe)
        self.set_numvfs(n)
        self.is_whole(n, "igbvf" if autoprobe else "")


def netdevsim(ident, vfs=4):
    run("modprobe", "netdevsim")
    write("/sys/bus/netdevsim/new_device", f"{ident} 1")
    pf = Pf(f"netdevsim{ident}", "netdevsim")
    pf.dev  # noqa: waits for it
    pf.set_numvfs(vfs)
    return pf


def no_netdevsims():
    if os.path.isdir("/sys/bus/netdevsim/devices"):
        for name in os.listdir("/sys/bus/netdevsim/devices"):
            write("/sys/bus/netdevsim/del_device", name[len("netdevsim"):])


class Tool:
    """systool exec: steps done by daemon/exec."""

    def __init__(self, sock_dir="/run/vnicd-test-sock"):
        self.p = subprocess.Popen([SYSTOOL, "exec", sock_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))

    def tell(self, verb, kind, **fields):
        words = [verb, kind, *(f"{k.replace('_', '-')}={v}" for k, v in fields.items())]
        self.p.stdin.write(" ".join(words) + "\n")
        self.p.stdin.flush()

    def answer(self, timeout=60):
        return self.lines.get(timeout=timeout)

    def step(self, verb, kind, error="", says="", **fields):
        """One step; error: the name of the errno it must end with, says: words that its message must have."""
        self.tell(verb, kind, **fields)
        a = self.answer()
        assert a["error"] == error, f"{verb} {kind} {fields}: {a}, expected '{error}'"
        assert says in a["message"], f"{verb} {kind} {fields}: {a}, expected '{says}'"
        return a

    def children(self):
        with open(f"/proc/{self.p.pid}/task/{self.p.pid}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()
