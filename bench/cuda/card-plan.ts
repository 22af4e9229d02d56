import type { Plan } from "../../codegen/schedule/plan.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import type { Graph } from "../../ir/graph.ts";
import type { CudaSession, Launch } from "../../runtime/devices/cuda/addon.ts";
import { loadImage } from "../../runtime/devices/cuda/image.ts";
import type { CudaMachine } from "../../runtime/devices/cuda/machine.ts";
import { type LoadedKernel, planLaunches, regionOrder } from "../../runtime/devices/cuda/program.ts";
import type { CudaTarget, Region } from "../../runtime/manifest.ts";
import { writeCudaTarget } from "../../src/compiler/cuda-target.ts";
import { architecturesFor } from "./compile-here.ts";

/** A graph's kernels and memory on a card, by the code that builds and loads artifacts. */
export class CardPlan {
  readonly plan: Plan;
  readonly session: CudaSession;
  readonly #target: CudaTarget;
  readonly #kernels: ReadonlyMap<string, LoadedKernel>;

  private constructor(
    plan: Plan,
    session: CudaSession,
    target: CudaTarget,
    kernels: ReadonlyMap<string, LoadedKernel>,
  ) {
    this.plan = plan;
    this.session = session;
    this.#target = target;
    this.#kernels = kernels;
  }

  static async load(graph: Graph, machine: CudaMachine): Promise<CardPlan> {
    const plan = await schedule({ run: graph }, { targets: ["cuda"], maxThreads: 1 });
    const files = new Map<string, Uint8Array>();
    const write = async (path: string, content: string | Uint8Array) => {
      files.set(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
    };
    const { target } = await writeCudaTarget({ write }, plan, { architectures: architecturesFor(machine) });
    const session = await machine.open();
    try {
      const { module } = await loadImage(session, machine, target, async (path) => files.get(path)!);
      const kernels = new Map(
        target.kernels.map((kernel) => {
          const number = session.addKernel(module, kernel.entryPoint, kernel.blockSize);
          return [kernel.name, { kernel, number } satisfies LoadedKernel];
        }),
      );
      const sizes = { ...plan.regions, arena: target.arena };
      await session.allocate(regionOrder.map((region) => sizes[region]));
      return new CardPlan(plan, session, target, kernels);
    } catch (error) {
      await session.dispose();
      throw error;
    }
  }

  /** Launches of the graph, those of `template` alone where one is named. */
  launches(symbols: Readonly<Record<string, number>>, template?: RegExp): Launch[] {
    const { kernels, plans } = this.#target;
    const wanted = new Set(
      kernels.filter((kernel) => template?.test(kernel.template) ?? true).map(({ name }) => name),
    );
    const steps = plans.run!.filter(({ kernel }) => wanted.has(kernel));
    const outputs = this.plan.entries.run!.outputs.map(({ name }) => name);
    return planLaunches(steps, this.#kernels, new Map(Object.entries(symbols)), outputs);
  }

  write(region: Region, offset: number, bytes: Uint8Array): void {
    this.session.write(regionOrder.indexOf(region), offset, bytes);
  }

  async run(launches: readonly Launch[], reads: readonly { offset: number; bytes: number }[] = []) {
    const program = this.session.addProgram(launches);
    try {
      const io = regionOrder.indexOf("io");
      return await this.session.run(
        program,
        reads.map((read) => ({ region: io, ...read })),
      );
    } finally {
      this.session.removeProgram(program);
    }
  }
}
