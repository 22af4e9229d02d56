import { BitloomError } from "../../errors/index.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import type { AnyModel } from "../dsl/model.ts";

/** Chooses among a model's parameters. */
export type ParameterFilter = (parameter: ParameterDeclaration) => boolean;

/** The factors of low-rank corrections alone: what is trained beside a frozen model. */
export const onlyCorrections: ParameterFilter = ({ kind }) => kind === "correction";

/**
 * The paths that a trainer is given as `parameters`: what the filter takes is trained, all else is frozen.
 *
 * ```ts
 * trainingGraph(model, { optimizer: adamW(), parameters: trainable(model, onlyCorrections) });
 * ```
 * @throws BitloomError INVALID_OPTION where nothing would be trained.
 */
export function trainable(model: AnyModel, filter: ParameterFilter): readonly string[] {
  const paths = model
    .parameters()
    .filter(filter)
    .map(({ path }) => path);
  if (paths.length > 0) return paths;
  throw new BitloomError("INVALID_OPTION", `Nothing of ${model.name} would be trained`, {
    expected: "a filter that takes one parameter at least",
    received: "one that takes none",
  });
}

/** The paths that are left when more is frozen. */
export function freeze(
  model: AnyModel,
  paths: readonly string[],
  filter: ParameterFilter,
): readonly string[] {
  const trained = new Set(paths);
  return trainable(model, (parameter) => trained.has(parameter.path) && !filter(parameter));
}

/** The paths with what is trained again, in the model's order. */
export function unfreeze(
  model: AnyModel,
  paths: readonly string[],
  filter: ParameterFilter,
): readonly string[] {
  const trained = new Set(paths);
  return trainable(model, (parameter) => trained.has(parameter.path) || filter(parameter));
}
