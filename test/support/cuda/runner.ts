import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import type { LaunchArgument } from "../../../runtime/devices/cuda/addon.ts";
import { buildHostProgram } from "./host-library.ts";

/** Commands of runner.cpp. */
const command = { library: 1, region: 2, write: 3, launch: 4, read: 5, finish: 6 };
const WORD = 0xffffffff;

export interface HostLaunch {
  /** A library's path, and a kernel's name in it. */
  readonly library: string;
  readonly kernel: string;
  readonly grid: readonly [x: number, y: number];
  readonly blockSize: number;
  readonly arguments: readonly LaunchArgument[];
}

/** What is done together, from fresh memory on. */
export interface HostWork {
  /** Bytes of each region; what is not written is 0xff. */
  readonly regions: readonly number[];
  readonly writes: readonly {
    readonly region: number;
    readonly offset: number;
    readonly bytes: Uint8Array;
  }[];
  readonly launches: readonly HostLaunch[];
  readonly reads: readonly { readonly region: number; readonly offset: number; readonly bytes: number }[];
}

/** What runs such work, one piece at a time. */
export interface Runner {
  /** @returns what each read reads after all launches @throws what a kernel did wrong */
  run(work: HostWork): Promise<Uint8Array[]>;
  close(): void | Promise<void>;
}

/** A process that runs kernels compiled for the processor, one piece of work at a time. */
export class HostRunner implements Runner {
  readonly #program: string;
  #process: ChildProcessWithoutNullStreams | undefined;
  #said = "";

  private constructor(program: string) {
    this.#program = program;
  }

  /** @throws that there is no compiler */
  static async open(): Promise<HostRunner> {
    return new HostRunner(await buildHostProgram("runner.cpp"));
  }

  /**
   * @returns what each read reads after all launches
   * @throws what a kernel did wrong: threads that do not meet, memory that is not its own, undefined arithmetic
   */
  async run(work: HostWork): Promise<Uint8Array[]> {
    const child = this.#start();
    const length = work.reads.reduce((sum, { bytes }) => sum + bytes, 0);
    child.stdin.write(encode(work));
    const answer = await this.#receive(child, length);
    const message = Buffer.from(answer.subarray(length + 4)).toString();
    if (message !== "") throw new Error(message);
    let at = 0;
    return work.reads.map(({ bytes }) => {
      at += bytes;
      return answer.subarray(at - bytes, at);
    });
  }

  close(): void {
    this.#process?.kill();
    this.#process = undefined;
  }

  #start(): ChildProcessWithoutNullStreams {
    if (this.#process !== undefined) return this.#process;
    const child = spawn(this.#program, [], { stdio: "pipe" });
    this.#said = "";
    child.stderr.on("data", (text) => {
      this.#said += text;
    });
    // What it says about its end is more telling than that it is gone.
    child.stdin.on("error", () => undefined);
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr])
      (stream as unknown as { unref(): void }).unref();
    this.#process = child;
    return child;
  }

  /** So many bytes, and a message with its length before it. */
  #receive(child: ChildProcessWithoutNullStreams, length: number): Promise<Buffer> {
    (child.stdout as unknown as { ref(): void }).ref();
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let have = 0;
      const done = () => {
        child.stdout.off("data", take);
        child.off("close", fail);
        (child.stdout as unknown as { unref(): void }).unref();
      };
      const fail = () => {
        done();
        this.#process = undefined;
        reject(new Error(this.#said.trim() || "the process that runs the kernels has ended"));
      };
      const take = (chunk: Buffer) => {
        chunks.push(chunk);
        have += chunk.length;
        if (have < length + 4) return;
        const all = Buffer.concat(chunks);
        if (have < length + 4 + all.readUInt32LE(length)) return;
        done();
        resolve(all);
      };
      child.stdout.on("data", take);
      child.once("close", fail);
    });
  }
}

function encode({ regions, writes, launches, reads }: HostWork): Buffer {
  const parts: Uint8Array[] = [];
  const words = (...values: readonly number[]) => {
    parts.push(new Uint8Array(Uint32Array.from(values).buffer));
  };
  const long = (value: number) => words(value, Math.floor(value / 2 ** 32));
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    words(bytes.length);
    parts.push(bytes);
  };
  for (const bytes of regions) {
    words(command.region);
    long(bytes);
  }
  for (const { region, offset, bytes } of writes) {
    words(command.write, region);
    long(offset);
    long(bytes.length);
    parts.push(bytes);
  }
  let library = "";
  for (const launch of launches) {
    if (launch.library !== library) {
      library = launch.library;
      words(command.library);
      text(library);
    }
    words(command.launch);
    text(launch.kernel);
    words(...launch.grid, 1, launch.blockSize, 1, 1, launch.arguments.length);
    for (const argument of launch.arguments) {
      if ("region" in argument) words(argument.region, argument.offset);
      else if ("i32" in argument) words(WORD, argument.i32);
      else words(WORD, new Uint32Array(Float32Array.of(argument.f32).buffer)[0]!);
    }
  }
  for (const { region, offset, bytes } of reads) {
    words(command.read, region);
    long(offset);
    long(bytes);
  }
  words(command.finish);
  return Buffer.concat(parts);
}
