/** WAT text: folded s-expressions laid out for people. */
export type SExpression = string | readonly SExpression[];

const WIDTH = 100;

function flat(expression: SExpression): string {
  return typeof expression === "string" ? expression : `(${expression.map(flat).join(" ")})`;
}

function isComment(expression: SExpression): boolean {
  return typeof expression === "string" && expression.startsWith(";;");
}

/** Heads whose children each start a line, however short they are. */
const blocks = new Set(["module", "func", "block", "loop"]);

function mustBreak(expression: SExpression): boolean {
  if (typeof expression === "string") return isComment(expression);
  const [head] = expression;
  if ((head === "then" || head === "else") && expression.length > 2) return true;
  if (typeof head === "string" && blocks.has(head) && expression.some((e, i) => i > 0 && isStatement(e))) {
    return true;
  }
  return expression.some(mustBreak);
}
function isStatement(expression: SExpression): boolean {
  if (typeof expression === "string") return isComment(expression);
  return expression[0] !== "param" && expression[0] !== "result" && expression[0] !== "export";
}

/** Lays an expression out with two spaces an indent, on one line where it fits and is no block. */
export function layOut(expression: SExpression, indent = ""): string {
  if (typeof expression === "string") return indent + expression;
  if (!mustBreak(expression)) {
    const line = indent + flat(expression);
    if (line.length <= WIDTH) return line;
  }
  // Leading atoms and short signature parts stay on the first line.
  let first = 0;
  while (
    first < expression.length &&
    (typeof expression[first] === "string" || !isStatement(expression[first]!))
  ) {
    if (isComment(expression[first]!)) break;
    first++;
  }
  const isIf = expression[0] === "if";
  if (isIf && first < expression.length && layOutFits(expression[first]!, indent)) first++;
  const head = `${indent}(${expression.slice(0, first).map(flat).join(" ")}`;
  const rest = expression.slice(first).map((child) => layOut(child, `${indent}  `));
  const last = expression.at(-1);
  // A comment would swallow the closing parenthesis.
  const close = last !== undefined && isComment(last) ? `\n${indent})` : ")";
  return `${[head, ...rest].join("\n")}${close}`;
}

function layOutFits(expression: SExpression, indent: string): boolean {
  return !mustBreak(expression) && indent.length + 6 + flat(expression).length <= WIDTH;
}
