// Trains, so that the page stays responsive meanwhile.
import { type CompiledTraining, loadTraining, type Trainer, withSteps } from "bitloom/training";
import { failureOf } from "../web/failure.ts";
import type { Reply, Request, SampleSettings } from "./messages.ts";
import { zip } from "./zip.ts";

let training: CompiledTraining | undefined;
let trainer: Trainer | undefined;
let settings: SampleSettings;
let isStopped = false;
/** While there is one, the next step waits for it. */
let pause: Promise<void> | undefined;
let resume = (): void => undefined;

const reply = (message: Reply): void => postMessage(message);

/** The model does one thing at a time, in the order in which it was asked: samples come between steps. */
let last: Promise<unknown> = Promise.resolve();
function alone<T>(work: () => Promise<T>): Promise<T> {
  const result = last.then(work);
  last = result.catch(() => undefined);
  return result;
}

const answer: { readonly [Type in Request["type"]]: (request: Extract<Request, { type: Type }>) => unknown } =
  {
    load: (request) => alone(() => load(request)),
    start,
    pause() {
      pause = new Promise((resolve) => (resume = resolve));
    },
    resume: () => resume(),
    stop() {
      isStopped = true;
      resume();
    },
    settings(request) {
      settings = request.settings;
    },
    sample: () => alone(sample),
    save: () => alone(save),
  };

addEventListener("message", async ({ data: request }: MessageEvent<Request>) => {
  try {
    await answer[request.type](request as never);
  } catch (error) {
    tell(error);
  }
});

function tell(error: unknown): void {
  reply({ type: "failed", failure: failureOf(error) });
}

async function load({ address, options }: Extract<Request, { type: "load" }>): Promise<void> {
  // First, so that there is never memory for two.
  await training?.dispose();
  training = undefined;
  training = await loadTraining(address, {
    ...options,
    onWarning: (warning) => reply({ type: "warning", warning }),
  });
  const { model, recipe } = training;
  const { name, parameters, batch, sequence, accumulation, steps, seed, heldOut } = recipe;
  const sizes = parameters.map(({ dims }) => dims.reduce((product, dim) => product * dim, 1));
  reply({
    type: "loaded",
    training: {
      name,
      device: model.device.description,
      targets: Object.keys(model.manifest.targets),
      parameters: sizes.reduce((sum, size) => sum + size, 0),
      tokens: batch * sequence * accumulation,
      steps,
      seed,
      heldOut,
    },
  });
}

async function start(request: Extract<Request, { type: "start" }>): Promise<void> {
  const { text, steps, seed } = request;
  const recipe = { ...withSteps(training!.recipe, steps), seed };
  settings = request.settings;
  isStopped = false;
  pause = undefined;
  trainer = await alone(() => training!.start([text], recipe));
  reply({ type: "started" });
  try {
    await alone(sample).catch(tell);
    await run(trainer, steps);
  } finally {
    reply({ type: "ended" });
  }
}

async function run(trainer: Trainer, steps: number): Promise<void> {
  const before = await alone(() => trainer.evaluate());
  if (before !== undefined) reply({ type: "evaluated", evaluation: before });
  const run = trainer.run();
  while (!isStopped) {
    const { value, done } = await alone(() => run.next());
    if (done) return;
    reply({ type: "step", trained: value });
    if (value.step % settings.every === 0 || value.step === steps) await alone(sample).catch(tell);
    await pause;
  }
}

/** Has the model write something, another thing after each step. */
async function sample(): Promise<void> {
  const { losses } = trainer!.progress;
  const { prompt, temperature, maxTokens } = settings;
  const about = { type: "sampled", prompt, step: losses.length, loss: losses.at(-1) } as const;
  let text = "";
  for await (const piece of training!.generate(prompt, { temperature, maxTokens, seed: losses.length })) {
    text += piece;
    reply({ ...about, text, isWhole: false });
  }
  reply({ ...about, text, isWhole: true });
}

async function save(): Promise<void> {
  const { name } = training!.recipe;
  const files = [...(await training!.modelFiles())].map(async ([path, pieces]) => ({
    path: `${name}/${path}`,
    bytes: new Uint8Array(await new Blob([...pieces]).arrayBuffer()),
  }));
  reply({ type: "saved", name: `${name}.zip`, file: zip(await Promise.all(files)) });
}
