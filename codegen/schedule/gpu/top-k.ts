import { topKRuleFor } from "../top-k.ts";
import { strided } from "./grid.ts";

/** Two rounds find the 65 largest of 256,000. */
const CHUNK = 4096;

export const topKRule = topKRuleFor({ chunk: CHUNK, options: { workgroupSize: 256 }, range: strided });
