import { BYTES } from "../../runtime/training/byte-tokenizer.ts";

/** How GPT-2 cuts a text into words, which no token crosses. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Two tokens that become one: token 256 + i by the merge number i, where a token below 256 is a byte. */
export type Merge = readonly [left: number, right: number];

/** A word of the texts, as tokens, and how often it is there. */
interface Word {
  tokens: readonly number[];
  readonly count: number;
}

/**
 * Byte-pair encoding (arXiv:1508.07909) over bytes: again and again, the pair of neighbours that is most frequent within
 * the words of the texts becomes a token; of equally frequent ones, the pair of the lowest tokens.
 * @param texts UTF-8
 * @returns as many merges as `most`, or fewer where no pair is left
 */
export function learnBytePairs(texts: readonly Uint8Array[], most: number): readonly Merge[] {
  const words = wordsOf(texts);
  const pairs = new PairCounts();
  for (const word of words) pairs.add(word, 1);
  const merges: Merge[] = [];
  while (merges.length < most) {
    const merge = pairs.mostFrequent();
    if (merge === undefined) break;
    const joined = BYTES + merges.length;
    for (const word of pairs.wordsWith(merge)) {
      pairs.add(word, -1);
      word.tokens = join(word.tokens, merge, joined);
      pairs.add(word, 1);
    }
    merges.push(merge);
  }
  return merges;
}

function wordsOf(texts: readonly Uint8Array[]): readonly Word[] {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of new TextDecoder().decode(text).matchAll(WORDS)) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  const encoder = new TextEncoder();
  return Array.from(counts, ([word, count]) => ({ tokens: [...encoder.encode(word)], count }));
}

/** How often each pair of neighbours is there, and in which words. */
class PairCounts {
  readonly #pairs = new Map<string, { readonly merge: Merge; count: number; readonly words: Set<Word> }>();

  /** Counts the pairs of a word, or no longer. */
  add(word: Word, sign: 1 | -1): void {
    for (let i = 1; i < word.tokens.length; i++) {
      const merge = [word.tokens[i - 1]!, word.tokens[i]!] as const;
      const key = merge.join();
      const pair = this.#pairs.get(key) ?? { merge, count: 0, words: new Set() };
      pair.count += sign * word.count;
      if (sign === 1) pair.words.add(word);
      else pair.words.delete(word);
      if (pair.count === 0) this.#pairs.delete(key);
      else this.#pairs.set(key, pair);
    }
  }

  mostFrequent(): Merge | undefined {
    let best: { readonly merge: Merge; readonly count: number } | undefined;
    for (const pair of this.#pairs.values()) {
      if (
        best === undefined ||
        pair.count > best.count ||
        (pair.count === best.count && precedes(pair, best))
      ) {
        best = pair;
      }
    }
    return best?.merge;
  }

  wordsWith(merge: Merge): readonly Word[] {
    return [...(this.#pairs.get(merge.join())?.words ?? [])];
  }
}

function precedes({ merge: a }: { readonly merge: Merge }, { merge: b }: { readonly merge: Merge }): boolean {
  return a[0] === b[0] ? a[1] < b[1] : a[0] < b[0];
}

/** Tokens with a pair joined wherever it is, from the left. */
function join(tokens: readonly number[], [left, right]: Merge, joined: number): readonly number[] {
  const result: number[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const isPair = tokens[i] === left && tokens[i + 1] === right;
    result.push(isPair ? joined : tokens[i]!);
    if (isPair) i++;
  }
  return result;
}
