export { BitloomError, type BitloomErrorOptions, type ErrorCode } from "./bitloom-error.ts";
