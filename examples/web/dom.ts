/** The element of index.html with this id. */
export const byId = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;

/** A new element; "div.notice.error" has the classes `notice` and `error`. */
export function create<Tag extends keyof HTMLElementTagNameMap>(
  selector: Tag | `${Tag}.${string}`,
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag as Tag);
  element.classList.add(...classes);
  element.append(...children);
  return element;
}
