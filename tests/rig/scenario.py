# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario in the rig (tests/rig/test_*.py) is written with.

    # rig: 6.12/11 6.1/9        the kernels and libvirts it runs with, one run each; the first where run by hand
    # hosts: 1                  how many host VMs it starts at a time
    # cpus: 1                   each has; 2 where no guest runs in it (see CPUS in vm.py)
    # time limit: 300

    from scenario import main, start, test
    @test("a sentence that is true")
    def _():
        host = start()          # host 1, with the project installed; the same one in every test of this run
        ...
    main()

Prints TAP, as tests/lib/vt.py does. Where a host VM hangs, the run ends with status 75 and ./check rig tries once more.
`./check rig NAME`, or tests/rig/test_NAME.py [TEST...] by hand."""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import store  # noqa: E402
import vt  # noqa: E402
from vm import CPUS, Failed, Hung, Pair, Slots, Vm, at_once, payload  # noqa: E402
from vt import Skip, table, wait_for  # noqa: E402

HUNG = 75
_state = {}


def declared(path):
    """What a scenario says of itself: ([(kernel, libvirt)…], hosts, CPUs of each, time limit)."""
    with open(path, encoding="utf-8") as f:
        text = f.read(4096)

    def line(name, default):
        m = re.search(rf"^# {name}: *(.*)$", text, re.M)
        return m.group(1).split() if m else [str(default)]
    return ([tuple(k.split("/")) for k in line("rig", "6.12/11")], int(line("hosts", "1")[0]),
            int(line("cpus", CPUS)[0]), int(line("time limit", "300")[0]))


def kind():
    """{"kernel", "libvirt", "cpus"} of this run."""
    kinds, _, cpus, _ = declared(os.path.abspath(sys.argv[0]))
    said = os.environ.get("VNIC_RIG_KIND")
    kernel, libvirt, *more = said.split("/") if said else kinds[0]
    return {"kernel": kernel, "libvirt": libvirt, "cpus": int(more[0]) if more else cpus}


def folder():
    return os.environ.get("VNIC_RIG_RUN") or os.path.join(store.RUN, os.path.basename(sys.argv[0]).removesuffix(".py"))


def slots(count):
    """The lane that runs us has got our places already."""
    if "VNIC_RIG_SLOTS" in os.environ:
        return Slots.inherited(os.environ.pop("VNIC_RIG_SLOTS"))
    return Slots(count)


def start(hosts=1):
    """The host VMs of this run: the Vm, or with hosts=2 a Pair. Started at the first call."""
    if "pair" not in _state:
        file = os.environ.get("VNIC_RIG_PAYLOAD") or payload(kind()["kernel"])
        _state["pair"] = Pair(hosts, folder(), leave=slots(hosts), **kind())
        vt.SLOW = _state["pair"][0].slow
        _state["pair"].start(file)
    pair = _state["pair"]
    return pair if hosts > 1 else pair[0]


def fresh():
    """The same host VMs, started anew: what tests did to them is gone."""
    pair = _state.get("pair")
    if pair is None:
        return start()
    pair.start(os.environ.get("VNIC_RIG_PAYLOAD") or payload(kind()["kernel"]))
    return pair if len(pair) > 1 else pair[0]


def test(name):
    """A test of this scenario. A hang ends the whole run."""
    def register(fn):
        def run():
            try:
                fn()
            except Hung as e:
                print(f"# {vms_said()}".replace("\n", "\n# "))
                print(f"Bail out! hung: {e}".split("\n", maxsplit=1)[0], flush=True)
                end()
                os._exit(HUNG)
        return vt.test(name)(run)
    return register


def vms_said():
    """What is known of the VMs after a hang, for who looks into it: lines that begin with the VM's name."""
    def monitor(command, wanted):
        def ask(vm):
            text = vm.qmp("human-monitor-command", 5, command_line=command)
            return "\n".join(x for x in text.splitlines() if re.match(wanted, x))
        return ask
    asked = (("said", lambda vm: vm.said()),
             ("QEMU", lambda vm: vm.qmp("query-status", 5)["status"]),
             ("the agent", lambda vm: vm.sh("cut -d' ' -f1 /proc/uptime; ps -eo stat,comm | grep ^D || true", 5)),
             ("a second of its", lambda vm: vm.sh("sleep 1; echo has passed", 5)),
             ("its commands", lambda vm: vm.sh("ps -eo etimes,stat,wchan:24,args | grep -v ' \\[' | tail -n 9 | cut -c 1-150", 5)),
             # Of many registers, those that say whether it waits, and for which interrupt.
             ("timer", monitor("info lapic 0", r"LVTT\b|Timer|ISR|IRR")),
             ("processors", monitor("info registers -a", "CPU#|RIP=")))
    lines = []
    for vm in _state.get("pair", ()):
        for what, ask in asked:
            try:
                text = str(ask(vm))
            except Exception as e:  # noqa: it is broken, and this is about how
                text = str(e)
            lines += [f"{vm.name}: {what}: {x}" for x in text.splitlines()]
    return "\n".join(lines)


def end():
    if "pair" in _state:
        _state.pop("pair").end()


def main():
    try:
        vt.main()
    finally:
        end()


__all__ = ["Failed", "Hung", "Pair", "Skip", "Vm", "at_once", "end", "fresh", "kind", "main", "start", "table", "test",
           "wait_for"]
