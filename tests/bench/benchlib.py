# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: the backends under test, medians, and honest noise figures."""
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('VNIC_BENCH_BUILD') or os.path.join(TOP, 'build/check')
BACKEND_CPU, FRONTEND_CPU = 1, 0


def need(path, what):
    """Where a file is in the build; a message that says how to get it if it is not."""
    if not os.path.exists(path):
        sys.exit(f'{os.path.basename(sys.argv[0])}: {path} is missing ({what}): run ./check quick first, '
                 'or name another build directory in VNIC_BENCH_BUILD')
    return path


def frontend():
    return need(os.path.join(BUILD, 'tests/bench/frontend'), 'the front end')


def mac(i):
    return f'52:54:be:{i >> 16 & 255:02x}:{i >> 8 & 255:02x}:{i & 255:02x}'


def first_in_line():
    """
    Before exec: ahead of a shared machine's other processes, where we may (root), for these few seconds.
    With autogroups nice only counts within a session, and the session has a nice of its own.
    """
    os.setsid()
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -19)
        with open('/proc/self/autogroup', 'w') as f:
            f.write('-19')
    except OSError:
        pass
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: out of the terminal's reach, so not left over


class Figures(list):
    """A list of samples; prints as median (min … max)."""

    @property
    def median(self):
        return statistics.median(self)

    def text(self, digits=2):
        if not self:
            return '-'
        return f'{self.median:.{digits}f} ({min(self):.{digits}f} … {max(self):.{digits}f})'

    def json(self):
        return {'median': self.median, 'min': min(self), 'max': max(self), 'n': len(self)}


def tasks(pid):
    """Threads of a process and of its children, as (pid, tid)."""
    todo, found = [pid], []
    while todo:
        p = todo.pop()
        try:
            for t in os.listdir(f'/proc/{p}/task'):
                found.append((p, int(t)))
                with open(f'/proc/{p}/task/{t}/children') as f:
                    todo += [int(c) for c in f.read().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid):
    """CPU time of a process and its living children, seconds."""
    ran = 0
    for p, t in tasks(pid):
        try:
            with open(f'/proc/{p}/task/{t}/schedstat') as f:
                ran += int(f.read().split()[0])
        except OSError:
            continue
    return ran / 1e9


def undisturbed(windows, share=0.05):
    """
    The windows [a, b, waited] in which neither side waited long for its CPU, and (the kernel counts a wait
    when it is over) none followed in the next.
    """
    return [w for w, after in zip(windows, windows[1:]) if w[2] < share and after[2] < share]


class Backend:
    """A vhost-user backend of n ports, its sockets and logs in a private directory."""
    name = None

    def __init__(self, n=2):
        self.n = n
        self.dir = tempfile.mkdtemp(prefix='vnic-bench-')
        self.process = None

    def socket(self, i):
        return os.path.join(self.dir, f'{i}.sock')

    def ports(self):
        """The front end's options."""
        return [f'--port={self.socket(i)},{mac(i)}' for i in range(self.n)]

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        with open(os.path.join(self.dir, 'log'), 'w') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=log,
                                            stderr=subprocess.STDOUT, env=self.environment(),
                                            preexec_fn=first_in_line)
        end = time.monotonic() + 10
        while not all(os.path.exists(self.socket(i)) for i in range(self.n)):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f'{self.name} did not start:\n{self.log()}')
            time.sleep(0.01)
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        shutil.rmtree(self.dir)

    def environment(self):
        return os.environ

    def pause(self):
        """Take no CPU while another backend is measured; needed only where it polls when idle."""

    def resume(self):
        pass

    def log(self):
        with open(os.path.join(self.dir, 'log')) as f:
            return f.read()[-3000:]


class Testpmd(Backend):
    """Debian's dpdk-testpmd: each frame from one vhost port to the other, unread (io mode)."""
    name = 'testpmd'

    def command(self):
        # tso=1: else it does not offer HOST_TSO, and the two would not have negotiated the same.
        vdevs = [f'--vdev=net_vhost{i},iface={self.socket(i)},queues=1,tso=1' for i in range(self.n)]
        return ['dpdk-testpmd', '-l', f'{FRONTEND_CPU},{BACKEND_CPU}', '--no-huge', '--no-shconf', '-m', '256',
                '--no-pci', '--no-telemetry', *vdevs, '--', '--forward-mode=io', '--nb-cores=1',
                '--total-num-mbufs=4096']

    def environment(self):
        return {**os.environ, 'RUNTIME_DIRECTORY': self.dir}  # instead of /run/dpdk

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def __exit__(self, *exc):
        self.resume()
        try:
            self.process.stdin.write(b'\n')
            self.process.stdin.flush()
            self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            pass
        super().__exit__(*exc)


class Vnicd(Backend):
    """Our vnicd-datapath, stand-alone and without uplink: sorts by MAC, checks the source."""
    name = 'vnicd'

    @staticmethod
    def binary():
        return os.path.join(BUILD, 'vnicd-datapath')

    def command(self):
        ports = [f'--port=name=p{i},socket={self.socket(i)},mac={mac(i)}' for i in range(self.n)]
        return [need(self.binary(), 'vnicd-datapath'), *ports, '--cores', str(BACKEND_CPU)]

    def worker(self):
        """The pid that moves the frames; None where it is just being replaced."""
        pids = {p for p, _ in tasks(self.process.pid)} - {self.process.pid}
        return max(pids, key=cpu_seconds, default=None)


def run_frontend(backend, mode, *args, timeout=60):
    """Run the front end on its CPU to its end; its stdout."""
    p = subprocess.run(['taskset', '-c', str(FRONTEND_CPU), frontend(), mode, *backend.ports(), *map(str, args)],
                       capture_output=True, text=True, timeout=timeout, preexec_fn=first_in_line)
    if p.returncode != 0:
        raise AssertionError(f'{backend.name}: the front end said: {p.stderr.strip() or p.stdout.strip()}\n'
                             f'{backend.log()}')
    return p.stdout


class RateSession:
    """A backend and a front end that stay connected, measured a step at a time."""

    def __init__(self, backend, *args):
        self.backend = backend
        self.process = subprocess.Popen(
            ['taskset', '-c', str(FRONTEND_CPU), frontend(), 'rate', '--steps', *backend.ports(), *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=first_in_line)
        self._line()
        backend.pause()

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f'{self.backend.name}: the front end said: {self.process.stderr.read().strip()}\n'
                                 f'{self.backend.log()}')
        return line

    def _run(self, size, warmup, seconds):
        self.backend.resume()
        self.process.stdin.write(f'{size} {warmup} {seconds}\n')
        self.process.stdin.flush()
        r = json.loads(self._line())
        self.backend.pause()
        return r

    def step(self, size, warmup, seconds, tries=4):
        """One measurement, again where others had the CPUs for most of it; the last try counts in any case."""
        for left in range(tries, 0, -1):
            r = self._run(size, warmup, seconds)
            clean = undisturbed(r['windows'])
            r['undisturbed'] = len(clean) / len(r['windows'])
            if r['undisturbed'] > 0.2:
                r['windows'] = clean
                break
            if left > 1:
                time.sleep(0.1)
        if r['received'] == 0:
            raise AssertionError(f'{self.backend.name}: nothing was received\n{self.backend.log()}')
        r['mpps'] = Figures(w[0] + w[1] for w in r['windows'])
        return r

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.backend.resume()
        for f in (self.process.stdin, self.process.stdout, self.process.stderr):
            f.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
