# SPDX-License-Identifier: GPL-2.0-or-later
"""A real libvirtd inside tests/lib/sandbox, started by hand, and the XML of tiny domains for it.

Guests are emulated (type='qemu'), 32 MiB, without an operating system. Start them paused with
`virsh("start", "--paused", NAME)` where the guest need not run at all."""
import os
import signal
import subprocess
import time
import uuid as uuidlib
from xml.sax.saxutils import escape, quoteattr

from vt import run, wait_for

URI = "qemu:///system"
_CONF = {
    "/etc/libvirt/qemu.conf": """
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
""",
    "/etc/libvirt/libvirtd.conf": """
auth_unix_rw = "none"
auth_unix_ro = "none"
log_filters = "1:qemu.qemu_hook"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
""",
}


class Libvirtd:
    """libvirtd of this sandbox. It reads its hooks' presence at start: install them before."""
    uri = URI
    log = "/var/log/libvirt/libvirtd.log"

    def __init__(self):
        self.proc = None

    def start(self, timeout=60.0):
        """Start it and wait until it answers."""
        if not os.path.exists("/proc/1/comm"):
            raise AssertionError("no /proc")
        for d in ("/run/libvirt", "/var/log/libvirt/qemu", "/var/lib/libvirt/qemu", "/var/cache/libvirt",
                  "/etc/libvirt/hooks"):
            os.makedirs(d, exist_ok=True)
        for name, text in _CONF.items():
            with open(name, "w", encoding="utf-8") as f:
                f.write(text)
        # Debian's default network would start a bridge and dnsmasq.
        for link in ("/etc/libvirt/qemu/networks/autostart/default.xml",):
            if os.path.lexists(link):
                os.unlink(link)
        with open("/var/log/libvirt/libvirtd.out", "ab") as out:
            self.proc = subprocess.Popen(["libvirtd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                         start_new_session=True)
        try:
            wait_for("libvirtd to answer", self._answers, timeout=timeout, every=0.05)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.tail()}") from None
        return self

    def _answers(self):
        if self.proc.poll() is not None:
            raise AssertionError(f"libvirtd exited with {self.proc.returncode}: {self.tail()}")
        if not os.path.exists("/run/libvirt/libvirt-sock"):
            return False
        p = self.virsh("list", check=False)
        return p.returncode == 0

    def tail(self, lines=15):
        text = ""
        for name in ("/var/log/libvirt/libvirtd.out", self.log):
            if os.path.exists(name):
                with open(name, encoding="utf-8", errors="replace") as f:
                    text += "".join(f.readlines()[-lines:])
        return text

    def _end(self, sig, timeout):
        if self.proc is None:
            return
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(f"libvirtd did not end within {timeout:g} s after signal {sig}") from None
        finally:
            self.proc = None

    def stop(self, timeout=20.0):
        """End it in an orderly way; running guests stay."""
        self._end(signal.SIGTERM, timeout)

    def kill(self):
        """kill -9; running guests stay."""
        self._end(signal.SIGKILL, 10.0)

    def reload(self):
        """SIGHUP: hooks are looked for anew."""
        self.proc.send_signal(signal.SIGHUP)
        time.sleep(0.3)

    def virsh(self, *args, check=True, timeout=120.0):
        """Run virsh; stdout as text, or with check=False the finished process."""
        return run("virsh", "-q", "-c", self.uri, *args, check=check, timeout=timeout)

    def define(self, xml):
        """Define a domain from XML text."""
        name = f"/run/define-{uuidlib.uuid4()}.xml"
        with open(name, "w", encoding="utf-8") as f:
            f.write(xml)
        try:
            return self.virsh("define", name)
        finally:
            os.unlink(name)

    def state(self, name):
        """'running', 'paused', 'shut off', or '' where there is no such domain."""
        p = self.virsh("domstate", name, check=False)
        return p.stdout.strip() if p.returncode == 0 else ""

    def pid(self, name):
        """The pid of a running guest's QEMU."""
        with open(f"/run/libvirt/qemu/{name}.pid", encoding="ascii") as f:
            return int(f.read())


def vdpa(mac, dev, queues=None):
    """A NIC that is a vDPA device of vnicd's."""
    more = f"<driver queues='{queues}'/>" if queues else ""
    return (f"<interface type='vdpa'><mac address={quoteattr(mac)}/><source dev={quoteattr(dev)}/>"
            f"<model type='virtio'/>{more}</interface>")


def vhostuser(mac, socket, mode="client", reconnect=1, model="virtio", queues=None, extra=""):
    """An <interface type='vhostuser'>. reconnect: seconds, or None for no <reconnect>."""
    again = f"<reconnect enabled='yes' timeout='{reconnect}'/>" if reconnect is not None else ""
    driver = f"<driver queues='{queues}'/>" if queues else ""
    return (f"<interface type='vhostuser'>{f'<mac address={quoteattr(mac)}/>' if mac else ''}"
            f"<source type='unix' path={quoteattr(socket)} mode='{mode}'>{again}</source>"
            f"<model type='{model}'/>{driver}{extra}</interface>")


def ports(*attributes):
    """vnicd's <metadata> from dicts: ports({'mac': '52:54:…', 'vlan': '12'})."""
    rows = "".join("<vnic:port " + " ".join(f"{k}={quoteattr(v)}" for k, v in a.items()) + "/>" for a in attributes)
    return f"<vnic:ports xmlns:vnic='urn:vnicd:1'>{rows}</vnic:ports>"


def domain(name, *interfaces, uuid=None, memory=32, shared=True, metadata="", vcpus=1, os_xml="",
           devices="", cpu=""):
    """A tiny domain's XML. interfaces: XML text, e.g. from vhostuser(). memory in MiB; os_xml goes into
    <os> (kernel, initrd, cmdline), devices into <devices>."""
    backing = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" if shared else ""
    return f"""<domain type='qemu'>
  <name>{escape(name)}</name>
  <uuid>{uuid or uuidlib.uuid4()}</uuid>
  {f'<metadata>{metadata}</metadata>' if metadata else ''}
  <memory unit='MiB'>{memory}</memory>
  {backing}
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>{os_xml}</os>
  <features><acpi/></features>
  {cpu}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {''.join(interfaces)}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""
