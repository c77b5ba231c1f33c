"""What the probe costs and whether its bandwidth is true: CPU time against lstopo and Typer, reading against C."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from planner.hardware.bandwidth import ALL_S, GOOD_RATIO, MOST_PASSES, _buffer_bytes, measure, reader_plan
from planner.hardware.bandwidth_windows import chunk_rate, window_rates
from planner.hardware.cpu import physical_cores
from planner.hardware.memory_reader import Sample
from planner.hardware.probe import probe
from planner.hardware.tree import Tree
from planner.units import MIB
from tools.timed import run

CPU_BOUND = 2.0  # of lstopo's and a bare Typer command's CPU time together
BANDWIDTH_TOLERANCE = 0.15
C_CHUNK_BYTES = 8 * MIB  # what the probe compares at a time: two halves of 4 MiB

BARE_TYPER = """\
import typer

app = typer.Typer()


@app.command()
def main() -> None:
    print("ok")


app()
"""

# One thread per CPU reads its own buffer in chunks through four accumulators 32 bytes wide, and prints when it read
# each chunk. The statistic and the rule for another pass are the probe's, so only the reading itself is compared.
C_READ_LOOP = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef long long vector __attribute__((vector_size(32)));
enum { CHUNK = 8 << 20, MOST = 1 << 15 };
struct sample { double start, end; };
struct reader { int cpu; size_t size; int count; struct sample samples[MOST]; };
static pthread_barrier_t barrier;
static double seconds;
static volatile long long sink;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *work(void *argument) {
  struct reader *me = argument;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(me->cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
  char *memory = mmap(NULL, me->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(1);
  madvise(memory, me->size, MADV_HUGEPAGE);
  memset(memory, 1, me->size);
  pthread_barrier_wait(&barrier);
  vector a = {0}, b = {0}, c = {0}, d = {0};
  size_t offset = 0;
  double start = now(), end = start + seconds;
  while (start < end && me->count < MOST) {
    const vector *from = (const vector *)(memory + offset);
    for (size_t i = 0; i < CHUNK / sizeof(vector); i += 4) {
      a ^= from[i]; b ^= from[i + 1]; c ^= from[i + 2]; d ^= from[i + 3];
    }
    double after = now();
    me->samples[me->count++] = (struct sample){start, after};
    start = after;
    offset = offset + 2 * (size_t)CHUNK <= me->size ? offset + CHUNK : 0;
  }
  a ^= b ^ c ^ d;
  sink = a[0] ^ a[1] ^ a[2] ^ a[3];
  return NULL;
}

int main(int count, char **words) {
  int threads = count - 3;
  seconds = atof(words[1]);
  struct reader *readers = calloc(threads, sizeof *readers);
  pthread_t *ids = calloc(threads, sizeof *ids);
  pthread_barrier_init(&barrier, NULL, threads);
  for (int i = 0; i < threads; i++) {
    readers[i].cpu = atoi(words[i + 3]);
    readers[i].size = strtoull(words[2], NULL, 10);
    pthread_create(&ids[i], NULL, work, &readers[i]);
  }
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    for (int j = 0; j < readers[i].count; j++)
      printf("%d %.9f %.9f\n", i, readers[i].samples[j].start, readers[i].samples[j].end);
  }
  return 0;
}
"""


def probe_cost(rounds: int) -> bool:
    """CPU time of a probe over lstopo's plus a bare Typer command's, in turns; True when inside the bound."""
    name = "probe CPU time / (lstopo + a bare Typer command)"
    if shutil.which("lstopo") is None:
        print(f"{name}: not measured, lstopo is not installed (apt-get install hwloc)")
        return True
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_TYPER)
        ours_command = [sys.executable, "-m", "planner", "probe", "--no-bandwidth", "--json"]
        commands = (ours_command, ["lstopo", "--of", "xml"], [sys.executable, str(bare)])
        # bytecode is kept, as an installed program's is
        runs = [[run(command, PYTHONPYCACHEPREFIX=folder)[1] for command in commands] for _ in range(rounds + 1)][1:]
    ours, lstopo, typer = (statistics.median(times) * 1e3 for times in zip(*runs, strict=True))
    ratio = statistics.median(probed / (peer + command) for probed, peer, command in runs)
    print(f"{name}: {ratio:.2f} (bound {CPU_BOUND:g}); CPU {ours:.0f} ms against {lstopo:.0f} ms + {typer:.0f} ms")
    return ratio <= CPU_BOUND


def c_samples(program: Path, size_bytes: int, cpus: list[int]) -> list[list[Sample]]:
    """One pass of the C loop: the chunks that each thread read."""
    command = [str(program), str(ALL_S), str(size_bytes), *map(str, cpus)]
    samples: list[list[Sample]] = [[] for _ in cpus]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        number, start, end = line.split()
        samples[int(number)].append(Sample(float(start), float(end), C_CHUNK_BYTES))
    return samples


def c_rate(program: Path, size_bytes: int, cpus: list[int]) -> float:
    """Bytes per second of all threads: the best of as many passes as the probe would take."""
    best = 0.0
    for _ in range(MOST_PASSES):
        samples = c_samples(program, size_bytes, cpus)
        total = sum(window_rates(samples, {0: list(range(len(cpus)))}).values())
        best = max(best, total)
        if total and sum(chunk_rate(thread) for thread in samples) <= GOOD_RATIO * total:
            break
    return best


def read_bandwidth(rounds: int) -> bool:
    """All-core read bandwidth of the probe over a C loop's with its CPUs and buffers, in turns; True when near 1."""
    name = "all-core read bandwidth / C read loop"
    if shutil.which("gcc") is None:
        print(f"{name}: not measured, gcc is not installed (apt-get install gcc)")
        return True
    tree, hardware = Tree("/"), probe(measure_bandwidth=False)
    cpus = [cpu for _, cpu in reader_plan(hardware, physical_cores(tree))]
    size_bytes = _buffer_bytes(hardware, len(cpus))
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "read.c", Path(folder) / "read"
        source.write_text(C_READ_LOOP)
        subprocess.run(["gcc", "-O3", "-march=native", "-pthread", "-o", program, source], check=True)
        for _ in range(rounds):
            measured = measure(tree, hardware)
            ours = sum(measured.nodes.values()) if measured else 0.0
            pairs.append((ours, c_rate(program, size_bytes, cpus)))
    ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    print(
        f"{name}: {ours / theirs:.2f} (bound 1 +- {BANDWIDTH_TOLERANCE:g}); {ours / 1e9:.1f} against"
        f" {theirs / 1e9:.1f} GB/s, medians of {rounds} runs in turns on {len(cpus)} CPUs"
    )
    return abs(ours / theirs - 1) <= BANDWIDTH_TOLERANCE
