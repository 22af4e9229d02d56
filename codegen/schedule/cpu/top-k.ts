import { topKRuleFor } from "../top-k.ts";

/** Enough that choosing among what chunks kept is little work, few enough that threads share a vocabulary. */
const CHUNK = 8192;

export const topKRule = topKRuleFor({ chunk: CHUNK, options: {}, range: (chunks) => chunks });
