import { located } from "./located.ts";
import { describe, positiveInteger } from "./options.ts";

/**
 * What a parameter is to its layer: what a checkpoint reader may do with it (pack, keep in f16, …), and what a
 * trainer may leave frozen. A `correction` is a factor of a low-rank one.
 */
export type ParameterKind = "bitLinear" | "linear" | "embedding" | "norm" | "bias" | "correction";

/** A weight tensor that a model needs: the checkpoint holds it under `path`. */
export interface ParameterDeclaration {
  readonly path: string;
  readonly dims: readonly number[];
  readonly kind: ParameterKind;
}

/** What a layer owns. Parameter names are relative: `weight`, `bias`. */
export interface LayerDeclaration {
  /** The function that made it: `bitLinear`. */
  readonly type: string;
  readonly parameters: Readonly<Record<string, Omit<ParameterDeclaration, "path">>>;
}

const declaration = Symbol("bitloom.layer");
const children = Symbol("bitloom.block");
const unnamed = Symbol("bitloom.unnamed");
const rebuild = Symbol("bitloom.rebuild");

/**
 * A piece of a model that owns parameters or state. Its path in the `layers` tree names them. The callable
 * ones are intersection types: TypeScript postpones calls that return an interface with a call signature,
 * and would no longer know the layers in the parameters of `forward`.
 */
export interface Layer {
  readonly [declaration]: LayerDeclaration;
}

/** A group of layers with its own forward function; see `block`. */
export interface BlockNode {
  readonly [children]: NamedLayers;
  /** The layers that stand at the block's own path and not below it. */
  readonly [unnamed]: ReadonlySet<string>;
  /** The same block of other layers. */
  readonly [rebuild]: (layers: NamedLayers) => BlockNode;
}

/** How a model's layers are arranged: layers and blocks in objects and arrays, nested at will. */
export type LayerTree = Layer | BlockNode | readonly LayerTree[] | { readonly [name: string]: LayerTree };

/** The `layers` of a model or a block. */
export type NamedLayers = { readonly [name: string]: LayerTree };

export function makeLayer<Call extends (...args: never[]) => unknown, Extra extends object = object>(
  declared: LayerDeclaration,
  call: Call,
  extra: Extra = {} as Extra,
): Call & Extra & Layer {
  const layer = Object.assign(call, extra, { [declaration]: declared });
  Object.defineProperty(layer, "name", { value: declared.type });
  return layer;
}

/** A layer that is not called but handed to a function: it owns state. */
export function makeState<Fields extends object>(declared: LayerDeclaration, fields: Fields): Fields & Layer {
  return { ...fields, [declaration]: declared };
}

export function declarationOf(layer: Layer): LayerDeclaration {
  return layer[declaration];
}

/**
 * Groups layers with the function that uses them, so that a part of a model reads like one formula and can
 * be repeated. Its layers get paths below the block's own.
 *
 * ```ts
 * const feedForward = () =>
 *   block({ up: bitLinear(256, 1024), down: bitLinear(1024, 256) }, ({ up, down }) =>
 *     (x: Tensor<"f32", ["batch", 256]>) => down(relu2(up(x))),
 *   );
 * ```
 * @param layers the layers of the block, by name.
 * @param build gets the layers and returns the function that the block is when called.
 */
export function block<L extends NamedLayers, F extends (...args: never[]) => unknown>(
  layers: L,
  build: (layers: L) => F,
): F & BlockNode {
  return compound(layers, [], build);
}

/**
 * A block some of whose layers have no name of their own: their parameters are those of the block. So a layer
 * that is made of others keeps its paths, `down.weight` beside `down.lrc_U`.
 */
export function compound<L extends NamedLayers, F extends (...args: never[]) => unknown>(
  layers: L,
  nameless: readonly (keyof L & string)[],
  build: (layers: L) => F,
): F & BlockNode {
  const forward = build(layers);
  if (typeof forward !== "function") {
    throw located("INVALID_MODEL", "a block's second argument must return a function", {
      expected: "(layers) => (...inputs) => tensor",
      received: describe(forward),
    });
  }
  const call = (...args: never[]) => forward(...args);
  // Without the symbols: the forward may be one of the layers itself.
  const fields = Object.fromEntries(Object.entries(forward));
  return Object.assign(call as unknown as F, fields, {
    [children]: layers,
    [unnamed]: new Set<string>(nameless),
    [rebuild]: (other: NamedLayers) => compound(other as L, nameless, build),
  });
}

/** `count` blocks or layers in a row, as a list whose indices are part of the paths: `layers.0`, `layers.1`, … */
export function repeat<L extends LayerTree>(count: number, make: (index: number) => L): readonly L[] {
  return Array.from({ length: positiveInteger("repeat: count", count) }, (_, index) => make(index));
}

/**
 * The path of every layer in a tree.
 * @throws BitloomError INVALID_MODEL for what is not a layer, a name with a dot, or a layer in two places.
 */
export function layerPaths(root: NamedLayers): ReadonlyMap<Layer, string> {
  const paths = new Map<Layer, string>();
  walk(root, "", paths);
  return paths;
}

/** @param nameless names in `node` that are no part of a path. */
function walk(
  node: LayerTree,
  path: string,
  paths: Map<Layer, string>,
  nameless: ReadonlySet<string> = new Set(),
): void {
  if (isLayer(node)) {
    const other = paths.get(node);
    if (other !== undefined) {
      throw located("INVALID_MODEL", `one layer stands in two places: ${other} and ${path}`, {
        hint: "Make two layers, or declare it once and call it twice to share its weights.",
      });
    }
    paths.set(node, path);
    return;
  }
  if (isBlock(node)) {
    walk(node[children], path, paths, node[unnamed]);
    return;
  }
  if (typeof node !== "object" || node === null) {
    throw located("INVALID_MODEL", `${path === "" ? "layers" : path} is not a layer`, {
      expected: "a layer, a block, or an object or array of them",
      received: describe(node),
    });
  }
  for (const [name, child] of Object.entries(node)) {
    if (name === "" || name.includes(".")) {
      throw located("INVALID_MODEL", `"${name}" cannot be the name of a layer`, {
        expected: "a name without dots, because dots separate the names of a path",
        received: describe(name),
        hint: "Nest an object for each dot.",
      });
    }
    walk(child, nameless.has(name) ? path : join(path, name), paths);
  }
}

const join = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

/**
 * The same tree with other layers in the places of some; blocks are made anew of what stands in them then.
 * @param replace gets each layer with its path, and returns it or what takes its place.
 */
export function mapLayers(
  root: NamedLayers,
  replace: (layer: Layer, path: string) => LayerTree,
): NamedLayers {
  const paths = layerPaths(root);
  const map = (node: LayerTree): LayerTree => {
    if (isLayer(node)) return replace(node, paths.get(node)!);
    if (isBlock(node)) return node[rebuild](mapNamed(node[children]));
    return Array.isArray(node) ? node.map(map) : mapNamed(node as NamedLayers);
  };
  const mapNamed = (layers: NamedLayers): NamedLayers =>
    Object.fromEntries(Object.entries(layers).map(([name, child]) => [name, map(child)]));
  return mapNamed(root);
}

function isLayer(node: unknown): node is Layer {
  return typeof node === "function" || (typeof node === "object" && node !== null)
    ? declaration in node
    : false;
}

function isBlock(node: unknown): node is BlockNode {
  return typeof node === "function" && children in node;
}

/** Every parameter a tree of layers declares, in the order of the tree. */
export function declaredParameters(root: NamedLayers): readonly ParameterDeclaration[] {
  return [...layerPaths(root)].flatMap(([layer, path]) =>
    Object.entries(declarationOf(layer).parameters).map(([name, info]) => ({
      path: `${path}.${name}`,
      ...info,
    })),
  );
}
