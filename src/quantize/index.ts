/** Conversion of ordinary models, low-rank correction, adapters. */
export {
  type Adapter,
  type AdapterModule,
  applyAdapter,
  mergeAdapter,
  readAdapter,
  writeAdapter,
} from "./adapter.ts";
export {
  autoConvertIfNeeded,
  type ConvertOptions,
  convertToBitnet,
  initializeSubLN,
  insertSubLN,
  isBitnetModel,
  type SubLNOptions,
  type SubLNPlacement,
} from "./convert.ts";
export {
  type CheckpointCorrections,
  type ConversionProgress,
  type ConversionReport,
  type ConvertCheckpointOptions,
  convertCheckpoint,
  isBitnetCheckpoint,
} from "./convert-checkpoint.ts";
export {
  addCorrections,
  type CorrectionInit,
  type CorrectionOptions,
  type CorrectionStatistics,
  type InitializeOptions,
  initializeCorrections,
} from "./correct.ts";
export { freeze, onlyCorrections, type ParameterFilter, trainable, unfreeze } from "./trainable.ts";
