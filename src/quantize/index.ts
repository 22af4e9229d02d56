/** Conversion of ordinary models, low-rank correction, adapters. */
export {
  addCorrections,
  type CorrectionInit,
  type CorrectionOptions,
  type CorrectionStatistics,
  type InitializeOptions,
  initializeCorrections,
} from "./correct.ts";
export { freeze, onlyCorrections, type ParameterFilter, trainable, unfreeze } from "./trainable.ts";
