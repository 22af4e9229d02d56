import type { Warning } from "bitloom/runtime";
import { create } from "./dom.ts";
import type { Failure } from "./failure.ts";

/** What went wrong and what to do about it; the particulars unfold. Announced at once. */
export function failureNotice({ code, summary, hint, ...particulars }: Failure): HTMLElement {
  const notice = create("div.notice.failure", create("p", create("strong", summary)));
  notice.role = "alert";
  if (hint !== undefined) notice.append(create("p", hint));
  const rows = Object.entries(particulars).flatMap(([name, value]) =>
    value === undefined ? [] : [create("dt", name), create("dd", value)],
  );
  if (rows.length > 0) notice.append(create("details", create("summary", "Details"), create("dl", ...rows)));
  if (code !== undefined) notice.append(create("code", code));
  return notice;
}

export const warningNotice = ({ code, message }: Warning): HTMLElement =>
  create("div.notice.warning", create("p", message), create("code", code));
