#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { BitloomError } from "../../errors/index.ts";
import { version } from "../version.ts";
import { inFlags } from "./flags.ts";

/** A whole number of at least `minimum`, or a message for the person who typed something else. */
function integer(minimum: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < minimum) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${minimum}.`);
    }
    return value;
  };
}

function decimal(minimum: number, maximum = Number.POSITIVE_INFINITY) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= minimum && value <= maximum)) {
      const range =
        maximum === Number.POSITIVE_INFINITY ? `of at least ${minimum}` : `in ${minimum}..${maximum}`;
      throw new InvalidArgumentError(`Expected a number ${range}.`);
    }
    return value;
  };
}

/** `5%` or `5`. */
function percentage(text: string): number {
  return decimal(0, 100)(text.replace(/%$/, ""));
}

function tokenList(text: string): number[] {
  return text.split(",").map((id) => integer(0)(id.trim()));
}

function nameList(text: string): string[] {
  return text.split(",").map((name) => name.trim());
}

const program = new Command("bitloom")
  .description("Compiles BitNet models into one small artifact and runs it.")
  .version(version)
  // Its errors are told as all others are, below.
  .configureOutput({ outputError: () => undefined })
  .exitOverride();

const modelArgument = "a model file (model.ts) or a Hugging Face checkpoint folder";
const randomOption = () =>
  new Option("--random [name]", "random weights: for the given model, or for a known one by name");
const weightsOption = () =>
  new Option("--weights <path>", "a safetensors file or folder with a model file's weights");
const headOption = () =>
  new Option(
    "--head <storage>",
    "storage of the embedding and output head; default: as in the checkpoint",
  ).choices(["f32", "bf16", "f16", "int8"]);
const devices = ["auto", "cuda", "webgpu", "wasm"];
const deviceOption = () =>
  new Option(
    "--device <name>",
    "where to run; auto takes the fastest that is here of what the artifact was built for",
  )
    .choices(devices)
    .default("auto");
const boundOptions = (command: Command) =>
  command
    .option("--context <tokens>", "longest sequence; default: the model's own", integer(1))
    .option("--chunk <tokens>", "tokens of a prompt computed at once", integer(1))
    .option("--batch <rows>", "bound of every `batch` dimension", integer(1));

boundOptions(
  program.command("build").description("compile a model, or its training, into an artifact folder"),
)
  .argument("[model]", `${modelArgument}, or a training (training.ts)`)
  .requiredOption("--out <folder>", "where the artifact goes")
  .option("--target <targets>", "what to compile for, comma-separated: wasm, webgpu, cuda", nameList, [
    "wasm",
  ])
  .option("--arch <names>", "with the target cuda: what nvcc compiles for, such as sm_80,sm_90", nameList)
  .addOption(weightsOption())
  .addOption(randomOption())
  .addOption(headOption())
  .option("--seed <number>", "seed of --random", integer(0), 0)
  .option("--max-threads <count>", "most threads the artifact may use", integer(1))
  .option("--no-compare", "with --head: do not measure how the logits change")
  .option("--verify", "check the graph after every pass")
  .action(async (model, options) => (await import("./commands/build.ts")).build(model, options));

program
  .command("train")
  .description("train a language model on text")
  .argument("<training>", "a file that exports defineTraining({ … })")
  .requiredOption("--out <folder>", "where checkpoints, the loss curve and the trained model go")
  .option("--resume", "go on from the checkpoint in that folder")
  .option("--recompute", "compute activations again for the gradients, which takes less memory and more time")
  .option("--threads <count>", "threads; default: one for each core", integer(1))
  .addOption(
    new Option(
      "--device <name>",
      "what to train on; auto takes the fastest that is here, wasm gives the same weights everywhere",
    )
      .choices(devices)
      .default("wasm"),
  )
  .action(async (training, options) => (await import("./commands/train.ts")).train(training, options));

program
  .command("run")
  .description("generate text from an artifact")
  .argument("<artifact>", "an artifact folder")
  .option("--prompt <text>", "the prompt; read from stdin when it is not a terminal")
  .option("--tokens <ids>", "the prompt as comma-separated token ids", tokenList)
  .option("--chat", "render the prompt as a user's turn with the model's chat template")
  .option("--max-tokens <count>", "most tokens to generate", integer(1), 128)
  .option("--temperature <value>", "0 takes the likeliest token", decimal(0), 0)
  .option("--top-k <count>", "sample among the k likeliest tokens", integer(1))
  .option("--top-p <mass>", "sample among the likeliest tokens with this mass", decimal(0, 1))
  .option("--min-p <ratio>", "drop tokens below this share of the likeliest", decimal(0, 1))
  .option("--repetition-penalty <factor>", "above 1 discourages tokens already seen", decimal(0.01))
  .option("--seed <number>", "seed of sampling", integer(0))
  .option("--threads <count>", "threads; default: as many cores as the model is worth", integer(1))
  .addOption(deviceOption())
  .option("--json", "print one JSON object instead of text")
  .option("--logits", "with --json: add the logits of the last prompt position")
  .action(async (artifact, options) => (await import("./commands/run.ts")).run(artifact, options));

program
  .command("convert")
  .description("make a BitNet checkpoint to train of a Llama-style Hugging Face checkpoint")
  .argument("<checkpoint>", "a Hugging Face checkpoint folder")
  .requiredOption("--out <folder>", "where the new checkpoint goes")
  .addOption(
    new Option(
      "--subln <placement>",
      "where norms are inserted: before o and down, before every projection, or not",
    )
      .choices(["output", "every", "none"])
      .default("output"),
  )
  .option("--stage-one", "insert the norms alone and leave all projections in full precision")
  .option(
    "--lrc-rank <percent>",
    "add a low-rank correction to each projection, of a rank in percent of its smaller size, such as 5%",
    percentage,
  )
  .addOption(
    new Option("--lrc-init <start>", "how corrections begin: without effect, or with the best approximation")
      .choices(["zeros", "svd_residual"])
      .default("svd_residual"),
  )
  .action(async (folder, options) => (await import("./commands/convert.ts")).convert(folder, options));

boundOptions(
  program.command("inspect").description("show what the compiler made: graph, plan, memory, kernels, sizes"),
)
  .argument("[subject]", `an artifact folder, ${modelArgument}`)
  .addOption(randomOption())
  .addOption(weightsOption())
  .addOption(headOption())
  .option("--after <stage>", "print the graph after this stage of the compiler")
  .option("--entry <name>", "the entry point to print")
  .option("--target <name>", "whose plan and kernels; default: wasm, or all an artifact was built for")
  .option("--plan", "print every step of the plan")
  .option("--kernel <name>", "print a kernel's source")
  .option("--verify", "check the graph after every pass")
  .action(async (subject, options) => (await import("./commands/inspect.ts")).inspect(subject, options));

program
  .command("bench")
  .description("measure an artifact on this machine")
  .argument("<artifact>", "an artifact folder")
  .addOption(deviceOption())
  .option("--threads <count>", "threads; default: as many cores as the model is worth", integer(1))
  .option(
    "--prefill <tokens>",
    "length of the prompt; default: 64, or what the context has room for",
    integer(1),
  )
  .option(
    "--decode <tokens>",
    "tokens to generate; default: 32, or what the context has room for",
    integer(1),
  )
  .option("--repeat <count>", "repetitions; the median is reported", integer(1), 3)
  .option("--json", "print one JSON object instead of a table")
  .action(async (artifact, options) => (await import("./commands/bench.ts")).bench(artifact, options));

program
  .command("doctor")
  .description("tell what this machine can run, and what to install for the rest")
  .option("--json", "print one JSON object instead of a list")
  .option("--build-addon", "first build the addon for NVIDIA cards, for platforms that none is packed for")
  .action(async (options) => (await import("./commands/doctor.ts")).doctor(options));

// Whoever reads the output may have enough of it (`| head`), which is no failure.
process.stderr.on("error", () => undefined);
process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
  if (cause.code === "EPIPE") return;
  fail(new BitloomError("WRITE_FAILED", "The output cannot be written", { received: cause.message, cause }));
});

try {
  await program.parseAsync();
} catch (error) {
  fail(error);
}

/** How a command is called wrongly, as commander found it. */
function usageError({ code, message }: CommanderError): BitloomError {
  const [summary = "", ...suggestions] = message.replace(/^error: /, "").split("\n");
  const command = program.commands.find((known) => known.name() === process.argv[2]);
  const hints = suggestions.map((text) => text.replace(/^\((.*)\)$/, "$1"));
  if (code === "commander.missingMandatoryOptionValue") {
    // Commander looks for what is missing before it looks at what is there.
    const known = new Set(command?.options.map(({ long }) => long));
    const unknown = process.argv.find((word) => word.startsWith("--") && !known.has(word.split("=")[0]));
    if (unknown !== undefined) hints.push(`There is no option ${unknown}.`);
  }
  hints.push(
    command ? `bitloom ${command.name()} --help lists its options.` : "bitloom --help lists the commands.",
  );
  const sentence = summary.replace(/^./, (first) => first.toUpperCase()).replace(/\.$/, "");
  return new BitloomError("INVALID_OPTION", sentence, { hint: hints.join(" ") });
}

/** What a person can act on; a stack trace only for what is a bug. */
function fail(thrown: unknown): void {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return;
  const error = thrown instanceof CommanderError ? usageError(thrown) : thrown;
  const text = error instanceof BitloomError ? `error: ${inFlags(error).message}` : describeBug(error);
  process.stderr.write(`${text}\n`);
  process.exitCode = 1;
}

function describeBug(error: unknown): string {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `internal error (please report it):\n${detail}`;
}
