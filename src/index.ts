export { BitloomError, type ErrorCode } from "../errors/index.ts";
export * from "./dsl/index.ts";
