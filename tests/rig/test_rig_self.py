#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.12/9 6.1/11 6.1/9
# time limit: 240
"""The rig itself: what a scenario may rely on."""
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Hung, fresh, kind, main, start, test  # noqa: E402
import nested  # noqa: E402
import store  # noqa: E402
import vm  # noqa: E402

PF = "/sys/bus/pci/devices/0000:01:00.0"


@test("the kernel and the libvirt are those that were asked for, and the project is installed")
def _kind():
    host = start()
    assert host.sh("uname -r").startswith(kind()["kernel"] + ".")
    version = nested.virsh(host, "version")
    assert f"libvirt {kind()['libvirt']}." in version, version
    assert host.sh("systemctl is-system-running") == "running", host.sh("systemctl --failed")
    host.sh("vnicctl --version")


@test("igb makes 7 VFs, each in an IOMMU group of its own, and takes them back")
def _vfs():
    host = start()
    host.sh(f"echo 7 >{PF}/sriov_numvfs")
    groups = host.sh(f"for v in {PF}/virtfn*; do readlink $v/iommu_group; done").split()
    assert len(groups) == 7 and len(set(groups)) == 7, groups
    host.sh("udevadm settle")
    drivers = set(host.sh(f"for v in {PF}/virtfn*; do basename $(readlink $v/driver); done").split())
    assert drivers == {"igbvf"}, drivers
    host.sh(f"echo 0 >{PF}/sriov_numvfs; [ ! -e {PF}/virtfn0 ]")


@test("a VF can be bound to vfio-pci")
def _vfio():
    host = start()
    host.sh(f"""set -e
        echo 0 >{PF}/sriov_drivers_autoprobe; echo 1 >{PF}/sriov_numvfs
        vf=$(basename $(readlink {PF}/virtfn0)); echo vfio-pci >/sys/bus/pci/devices/$vf/driver_override
        echo $vf >/sys/bus/pci/drivers_probe; [ -e /dev/vfio/$(basename $(readlink {PF}/virtfn0/iommu_group)) ]
        echo 0 >{PF}/sriov_numvfs; echo 1 >{PF}/sriov_drivers_autoprobe""")


@test("netdevsim makes VFs, and vDPA devices come from vdpa_sim_net and vp_vdpa")
def _modules():
    host = start()
    host.sh("""set -e
        modprobe -a netdevsim vdpa_sim_net vp_vdpa vhost_vdpa
        echo '9 1' >/sys/bus/netdevsim/new_device; echo 4 >/sys/bus/netdevsim/devices/netdevsim9/sriov_numvfs
        ls -d /sys/bus/netdevsim/devices/netdevsim9/net/*; echo 9 >/sys/bus/netdevsim/del_device
        vdpa dev add name sim0 mgmtdev vdpasim_net; [ -e /dev/vhost-vdpa-0 ]; vdpa dev del sim0
        d=0000:02:00.0; echo $d >/sys/bus/pci/devices/$d/driver/unbind
        echo vp-vdpa >/sys/bus/pci/devices/$d/driver_override; echo $d >/sys/bus/pci/drivers_probe
        vdpa dev add name vp0 mgmtdev pci/$d; [ -e /dev/vhost-vdpa-0 ]; vdpa dev del vp0""")


@test("a guest of a guest boots by KVM, runs commands and pings")
def _nested():
    host = start()
    host.sh("ip link add brt type bridge forward_delay 0 && ip link set brt up && ip addr add 10.8.0.254/24 dev brt")
    g = nested.Guest(host, "self", nested.bridged("52:54:00:00:08:01", "brt")).define().start()
    assert g.sh("uname -r").startswith(kind()["kernel"] + ".")
    g.ip("10.8.0.1/24").ping("10.8.0.254")
    g.destroy().undefine()
    assert g.state() == ""


@test("a VM that hangs is told from one that works, and a fresh one takes its place")
def _hang():
    host = start()
    host.sh("touch /run/before")
    os.kill(host.proc.pid, signal.SIGSTOP)
    grace, vm.GRACE = vm.GRACE, 2
    try:
        host.sh("true", 1)
    except Hung:
        pass
    else:
        raise AssertionError("a stopped VM has answered")
    finally:
        vm.GRACE = grace
    host = fresh()
    host.sh("[ ! -e /run/before ]")


@test("a scenario whose VM hung is started again, and that is said")
def _again():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "test_hangs_once.py")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# hosts: 0\nimport os, sys\n"
                    f"seen = {os.path.join(d, 'seen')!r}\n"
                    "if not os.path.exists(seen):\n"
                    "    open(seen, 'w').close()\n    print('# host1: QEMU: running\\n# nothing')\n"
                    "    print('Bail out! hung: as planned', flush=True)\n    sys.exit(75)\n"
                    "print('1..1\\nok 1 - went well')\n")
        env = {k: v for k, v in os.environ.items() if not k.startswith("VNIC_RIG_")}
        p = subprocess.run([sys.executable, "-B", os.path.join(store.HERE, "lane"), path], capture_output=True, text=True,
                           timeout=120, env=env, check=False)
        assert p.returncode == 0, p.stdout + p.stderr
        said = p.stdout.splitlines()
        assert said[0].startswith("# rig: hangs_once") and said[0].endswith("hung: as planned"), said
        assert said[1:3] == ["# host1: QEMU: running", "ok - hangs_once (6.12/11): went well"], said


main()
