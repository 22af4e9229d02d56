/**
 * How the threads of one run meet. Thread 0 calls `run`, the others sit in `work`. All of it is a few words
 * of shared memory:
 *
 * - `job` is what workers wait on. It packs a counter and the number of threads that take part, so that one
 *   atomic read says both; a worker outside the job only remembers that it has seen it.
 * - The barrier counts arrivals; the last thread resets the count and advances `phase`, which the others
 *   watch, first spinning (a step is often shorter than a trip through the operating system), then asleep.
 * - A browser's main thread may not sleep. Unless `setMayWait(1)` was called, thread 0 spins.
 * - A trap cannot be caught inside WebAssembly. Whoever runs `work` calls `fail()` when it throws; the flag is
 *   looked at in every waiting loop, which then traps too, so the failure reaches `run`. A worker that dies
 *   without a word is found by patience: no step keeps others waiting for two minutes. After a failure the
 *   module refuses to run again.
 */

/** Bytes of the control block, which must be zero at first. Words that change are a cache line apart. */
export const CONTROL_BYTES = 256;

/** The number of threads is packed into 8 bits of the job word. */
export const MAX_THREADS = 255;

const JOB = 0;
const ENTRY = 4;
const THREADS = 8;
const MAY_WAIT = 12;
const RUNNING = 16;
const STOPPED = 20;
const FAILED = 24;
const SLEEPERS = 64;
const ARRIVED = 128;
const PHASE = 192;

/** About 20 microseconds: longer than a fair step's imbalance, far shorter than a scheduler's time slice. */
const BARRIER_SPINS = 1 << 14;
/** About 100 microseconds: what sampling a token takes between two runs. */
const JOB_SPINS = 1 << 16;
const SECOND = 1_000_000_000;
/** Seconds asleep at one barrier after which another thread must be dead. */
const PATIENCE = 120;
/** The same for a thread that only spins, in rounds of BARRIER_SPINS. */
const SPINNING_PATIENCE = 1 << 23;

/** `run`, `setThreads`, `setMayWait`, `stop` and `fail` of a module without shared memory: one thread. */
export function renderSingleThreadControl(control: number): string {
  const at = (word: number) => `(i32.const ${control + word})`;
  return `
  ;; Runs an entry. A trap leaves the running mark set, and the module refuses to run again.
  (func (export "run") (param $entry i32)
    (if (i32.load ${at(RUNNING)}) (then (unreachable)))
    (i32.store ${at(RUNNING)} (i32.const 1))
    (call $execute (local.get $entry) (i32.const 0) (i32.const 1))
    (i32.store ${at(RUNNING)} (i32.const 0)))
  (func (export "work") (param $thread i32))
  (func (export "setThreads") (param $threads i32))
  (func (export "setMayWait") (param $mayWait i32))
  (func (export "stop"))
  (func (export "fail"))`;
}

/** The same over shared memory, with `work` for threads 1 and up. */
export function renderThreadControl(control: number): string {
  const at = (word: number) => `(i32.const ${control + word})`;
  return `
  ;; Runs an entry as thread 0, with the workers' help.
  (func (export "run") (param $entry i32)
    (local $threads i32)
    ;; Still running: the last run trapped, and the workers may be anywhere.
    (if (i32.atomic.load ${at(RUNNING)}) (then (call $fail)))
    (if (i32.atomic.load ${at(FAILED)}) (then (unreachable)))
    (i32.atomic.store ${at(RUNNING)} (i32.const 1))
    (i32.atomic.store ${at(ENTRY)} (local.get $entry))
    (local.set $threads (i32.atomic.load ${at(THREADS)}))
    (if (i32.gt_u (local.get $threads) (i32.const 1))
      (then (call $announce (local.get $threads)))
      (else (local.set $threads (i32.const 1))))
    (call $execute (local.get $entry) (i32.const 0) (local.get $threads))
    (i32.atomic.store ${at(RUNNING)} (i32.const 0)))

  ;; The life of a worker: returns after stop, traps after fail.
  (func (export "work") (param $thread i32)
    (local $job i32) (local $threads i32)
    (loop $again
      (local.set $job
        (call $await ${at(JOB)} (local.get $job) (i32.const ${JOB_SPINS}) (i32.const 1) (i32.const 0)))
      (if (i32.atomic.load ${at(STOPPED)}) (then (return)))
      (local.set $threads (i32.and (local.get $job) (i32.const ${MAX_THREADS})))
      (if (i32.lt_u (local.get $thread) (local.get $threads))
        (then
          (call $execute (i32.atomic.load ${at(ENTRY)}) (local.get $thread) (local.get $threads))))
      (br $again)))

  ;; How many threads take part from the next run on.
  (func (export "setThreads") (param $threads i32)
    (if (i32.gt_u (local.get $threads) (i32.const ${MAX_THREADS})) (then (unreachable)))
    (i32.atomic.store ${at(THREADS)} (local.get $threads)))

  ;; Whether thread 0 may sleep while it waits.
  (func (export "setMayWait") (param $mayWait i32)
    (i32.atomic.store ${at(MAY_WAIT)} (local.get $mayWait)))

  ;; Lets every work return.
  (func (export "stop")
    (i32.atomic.store ${at(STOPPED)} (i32.const 1))
    (call $announce (i32.const 0))
    (drop (memory.atomic.notify ${at(PHASE)} (i32.const -1))))

  ;; Makes every waiting thread trap.
  (func $fail (export "fail")
    (i32.atomic.store ${at(FAILED)} (i32.const 1))
    (drop (memory.atomic.notify ${at(JOB)} (i32.const -1)))
    (drop (memory.atomic.notify ${at(PHASE)} (i32.const -1))))

  ;; Publishes the next job for this many threads.
  (func $announce (param $threads i32)
    (i32.atomic.store ${at(JOB)}
      (i32.or
        (i32.add
          (i32.and (i32.atomic.load ${at(JOB)}) (i32.const ${~MAX_THREADS}))
          (i32.const ${MAX_THREADS + 1}))
        (local.get $threads)))
    (call $wake ${at(JOB)}))

  ;; A sleeper counts itself before it looks at the word a last time, so none is missed.
  (func $wake (param $word i32)
    (if (i32.atomic.load ${at(SLEEPERS)})
      (then (drop (memory.atomic.notify (local.get $word) (i32.const -1))))))

  ;; Between two steps.
  (func $barrier (param $thread i32) (param $threads i32)
    (local $phase i32) (local $mayWait i32)
    (if (i32.eq (local.get $threads) (i32.const 1)) (then (return)))
    (local.set $phase (i32.atomic.load ${at(PHASE)}))
    (if
      (i32.eq
        (i32.add (i32.atomic.rmw.add ${at(ARRIVED)} (i32.const 1)) (i32.const 1))
        (local.get $threads))
      (then
        (i32.atomic.store ${at(ARRIVED)} (i32.const 0))
        (i32.atomic.store ${at(PHASE)} (i32.add (local.get $phase) (i32.const 1)))
        (call $wake ${at(PHASE)})
        (return)))
    (local.set $mayWait (i32.or (local.get $thread) (i32.atomic.load ${at(MAY_WAIT)})))
    (drop
      (call $await ${at(PHASE)} (local.get $phase) (i32.const ${BARRIER_SPINS}) (local.get $mayWait)
        (select (i32.const ${PATIENCE}) (i32.const ${SPINNING_PATIENCE}) (local.get $mayWait)))))

  ;; Waits until the word is no longer old and returns it. Traps after a failure, or, unless patience is 0,
  ;; after that many rounds.
  (func $await
    (param $word i32) (param $old i32) (param $spins i32) (param $mayWait i32) (param $patience i32)
    (result i32)
    (local $value i32) (local $spin i32) (local $round i32)
    (loop $again
      (local.set $spin (local.get $spins))
      (loop $spinning
        (local.set $value (i32.atomic.load (local.get $word)))
        (if (i32.ne (local.get $value) (local.get $old)) (then (return (local.get $value))))
        (local.set $spin (i32.sub (local.get $spin) (i32.const 1)))
        (br_if $spinning (local.get $spin)))
      ;; stop leaves barriers too: a trapped run must not keep its workers.
      (if
        (i32.or
          (i32.atomic.load ${at(FAILED)})
          (i32.and (i32.atomic.load ${at(STOPPED)}) (i32.ne (local.get $word) ${at(JOB)})))
        (then (unreachable)))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (if (i32.and (i32.ne (local.get $patience) (i32.const 0))
                   (i32.gt_u (local.get $round) (local.get $patience)))
        (then (call $fail) (unreachable)))
      (if (local.get $mayWait)
        (then
          (drop (i32.atomic.rmw.add ${at(SLEEPERS)} (i32.const 1)))
          (drop (memory.atomic.wait32 (local.get $word) (local.get $old) (i64.const ${SECOND})))
          (drop (i32.atomic.rmw.sub ${at(SLEEPERS)} (i32.const 1)))))
      (br $again))
    (unreachable))`;
}
