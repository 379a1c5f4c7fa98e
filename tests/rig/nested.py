# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests inside a host VM: a small Linux in a libvirt domain, by KVM on the emulated CPU.

    a = Guest(vm, "a", vhostuser(MAC, "/run/vnicd/sock/gold/a.sock", alias="ua-net", teaming="persistent"))
    a.define().start()                  # virsh define, virsh start, until its agent answers
    a.ip("10.9.0.1/24")
    a.ping("10.9.0.254")
    a.sh("ip -br link")
    a.destroy().undefine()

Its agent and its programs are those of tests/lib/guest-image (busybox, ethtool, iperf3, wire), its kernel is the host
VM's, with virtio-net, its failover (standby) part and igbvf loaded."""
import os
import shlex
import sys
import threading
import time
from xml.sax.saxutils import quoteattr

import store
from vm import Failed, Hung

sys.path.insert(0, os.path.join(store.TOP, "tests/lib"))
from guest import PORT  # noqa: E402
from libvirtd import domain, vdpa  # noqa: E402
from libvirtd import vhostuser as plain_vhostuser  # noqa: E402

IMAGE = "/var/lib/rig-guest"
CMDLINE = "console=ttyS0 quiet mitigations=off nokaslr no_timer_check rcupdate.rcu_expedited=1 panic=-1"
BOOT_LIMIT = 200


def vhostuser(mac, path, alias=None, teaming=None, queues=None):
    """A NIC on a socket of vnicd's. teaming "persistent" makes it the standby of a VF; it needs an alias then."""
    more = f"<teaming type={quoteattr(teaming)}/>" if teaming else ""
    more += f"<alias name={quoteattr(alias)}/>" if alias else ""
    return plain_vhostuser(mac, path, queues=queues, extra=more)


def bridged(mac, bridge):
    """A NIC on a tap of libvirt's in a bridge: without any part of ours."""
    return (f"<interface type='bridge'><mac address={quoteattr(mac)}/><source bridge={quoteattr(bridge)}/>"
            "<model type='virtio'/></interface>")


def hostdev(address, persistent=None, managed=False, alias=None):
    """A PCI function passed through as a device; `persistent`: the alias of its standby NIC."""
    dom, bus, rest = address.split(":")
    slot, function = rest.split(".")
    more = f"<teaming type='transient' persistent={quoteattr(persistent)}/>" if persistent else ""
    more += f"<alias name={quoteattr(alias)}/>" if alias else ""
    return (f"<hostdev mode='subsystem' type='pci' managed='{'yes' if managed else 'no'}'><source>"
            f"<address domain='0x{dom}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source>{more}</hostdev>")


def hostdev_nic(mac, address, vlan=None):
    """A VF that libvirt itself manages (<interface type='hostdev'>)."""
    dom, bus, rest = address.split(":")
    slot, function = rest.split(".")
    tag = f"<vlan><tag id='{vlan}'/></vlan>" if vlan else ""
    return (f"<interface type='hostdev' managed='yes'><mac address={quoteattr(mac)}/><source><address type='pci' "
            f"domain='0x{dom}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source>{tag}</interface>")


def virsh(vm, *args, limit=120.0):
    """virsh in the host VM; its output."""
    return vm.sh(shlex.join(["virsh", "-q", "-c", "qemu:///system", *args]), limit)


class Guest:
    """One domain. interfaces: XML text, of the functions above; devices: more of <devices>; metadata: of <metadata>
    (ports() of tests/lib/libvirtd.py). Ports for hotplug are there."""

    def __init__(self, vm, name, *interfaces, memory=128, vcpus=1, metadata="", devices="", uuid=None):
        self.vm, self.name = vm, name
        self.interfaces, self.memory, self.vcpus = list(interfaces), memory, vcpus
        self.metadata, self.devices, self.uuid = metadata, devices, uuid
        self.lock = threading.Lock()  # its agent hears one at a time

    def xml(self):
        os_xml = f"<kernel>{IMAGE}/vmlinuz</kernel><initrd>{IMAGE}/initrd</initrd><cmdline>{CMDLINE}</cmdline>"
        root_ports = "<controller type='pci' index='0' model='pcie-root'/>" + "".join(
            f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 9))
        devices = (f"<channel type='unix'><source mode='bind' path='/run/rig/{self.name}.agent'/>"
                   f"<target type='virtio' name='{PORT}'/></channel>"
                   f"<serial type='file'><source path='/var/log/libvirt/qemu/{self.name}-console.log'/></serial>"
                   f"{root_ports}{self.devices}")
        text = domain(self.name, *self.interfaces, uuid=self.uuid, memory=self.memory, vcpus=self.vcpus,
                      metadata=self.metadata, os_xml=os_xml, devices=devices,
                      cpu="<cpu mode='host-passthrough' migratable='off'/>")
        return text.replace("<domain type='qemu'>", "<domain type='kvm'>", 1)

    def define(self):
        """virsh define."""
        self.vm.write(f"/run/rig/{self.name}.xml", self.xml())
        self.virsh("define", f"/run/rig/{self.name}.xml", where=None)
        return self

    def start(self, wait=True):
        """virsh start; with wait, until the guest's agent answers."""
        self.virsh("start")
        return self.wait() if wait else self

    def wait(self, limit=BOOT_LIMIT):
        """Until it has booted."""
        end = time.monotonic() + limit * self.vm.slow
        while True:
            status, out = self.run("true", 5)
            if status == 0:
                return self
            if time.monotonic() > end or self.state() != "running":
                raise Failed(f"guest {self.name} did not come up: {self.state()}: {out.strip()}: {self.said()}")
            time.sleep(0.2)

    def said(self):
        """The end of its console and of its QEMU's log."""
        log = f"/var/log/libvirt/qemu/{self.name}"
        return self.vm.sh(f"tail -n 6 {log}-console.log {log}.log 2>&1 || true")

    def virsh(self, verb, *args, where=True, limit=120.0):
        """virsh VERB NAME ARGS…; where=None leaves the name out."""
        return virsh(self.vm, verb, *((self.name,) if where else ()), *args, limit=limit)

    def state(self):
        """running, paused, shut off, or '' where there is no such domain."""
        status, out = self.vm.run(["virsh", "-q", "-c", "qemu:///system", "domstate", self.name], 60)
        return out.decode().strip() if status == 0 else ""

    def pid(self):
        """Its QEMU's, in the host VM."""
        return int(self.vm.sh(f"cat /run/libvirt/qemu/{self.name}.pid"))

    def attach(self, device_xml):
        """virsh attach-device of a running guest."""
        return self._device("attach-device", device_xml)

    def detach(self, device_xml):
        """virsh detach-device; returns when it was asked for, which is before it is gone."""
        return self._device("detach-device", device_xml)

    def _device(self, verb, device_xml):
        self.vm.write(f"/run/rig/{self.name}.device.xml", device_xml)
        self.virsh(verb, f"/run/rig/{self.name}.device.xml", "--live")
        return self

    def destroy(self):
        if self.state() not in ("shut off", ""):
            self.virsh("destroy")
        return self

    def undefine(self):
        self.virsh("undefine")
        return self

    # In the guest.

    def run(self, command, limit=20.0):
        """Run a shell command in the guest: (status, output). Status 125: its agent did not answer."""
        with self.lock:
            status, out = self.vm.run(["/usr/local/sbin/rig-guest", self.name, str(limit * self.vm.slow), command], limit + 10)
        return status, out.decode(errors="replace")

    def sh(self, command, limit=20.0):
        """Run a shell command in the guest; its output. Raises Failed on another status than 0."""
        status, out = self.run(command, limit)
        if status != 0:
            raise Failed(f"guest {self.name}: {command[:200]}: status {status}: {out.strip()}"
                         f"{': ' + self.said() if status == 125 else ''}")
        return out.strip()

    def bg(self, command, out="/tmp/bg.out"):
        """Run a command in the background; its output goes to a file in the guest, its status to FILE.rc."""
        self.sh(f"rm -f {out}.rc; ( ( {command} ) >{out} 2>&1; echo $? >{out}.tmp; mv {out}.tmp {out}.rc ) "
                f"</dev/null >/dev/null 2>&1 &")

    def bg_wait(self, out="/tmp/bg.out", limit=60.0):
        """Wait for a command of bg(): (status, output)."""
        text = self.sh(f"n=0; until [ -e {out}.rc ]; do n=$((n+1)); [ $n -lt {int(limit * 5)} ] || exit 1; "
                       f"usleep 200000; done; cat {out}.rc {out}", limit + 10)
        rc, _, rest = text.partition("\n")
        return int(rc), rest

    def nics(self):
        """{name: (MAC, driver, master or "")} of the guest's interfaces, lo left out."""
        out = self.sh("cd /sys/class/net; for n in *; do [ $n = lo ] || { d=$(readlink $n/device/driver); "
                      "m=$(readlink $n/master); echo $n $(cat $n/address) ${d##*/}- ${m##*/}; }; done")
        found = (line.split(" ") for line in out.splitlines())
        return {f[0]: (f[1], f[2].rstrip("-"), f[3] if len(f) > 3 else "") for f in found}

    def nic_of(self, driver, limit=30.0):
        """The name of its first interface with that driver (igbvf, virtio_net), once it is there."""
        end = time.monotonic() + limit * self.vm.slow
        while True:
            nics = self.nics()
            for name, (_, drv, _) in nics.items():
                if drv == driver:
                    return name
            if time.monotonic() > end:
                raise Failed(f"guest {self.name}: no interface of driver {driver} within {limit:g} s: {nics}")
            time.sleep(0.3)

    def ip(self, address, dev="eth0"):
        """Bring an interface up with an address, as "10.0.0.1/24"."""
        self.sh(f"ip link set {dev} up; ip addr add {address} dev {dev}")
        return self

    def ping(self, to, count=3, size=56, limit=15.0):
        """Ping with each answer wanted; raises otherwise."""
        return self.sh(f"ping -c {count} -i 0.3 -s {size} -w {int(limit)} {to}", limit + 3)

    def reaches(self, to, seconds=5):
        """Whether one ping is answered within that time."""
        return self.run(f"ping -c 1 -w {int(seconds)} {to}", seconds + 3)[0] == 0


__all__ = ["Failed", "Guest", "Hung", "bridged", "hostdev", "hostdev_nic", "vdpa", "vhostuser", "virsh"]
