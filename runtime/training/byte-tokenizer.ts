/** Bytes a token can stand for, and so the tokens of a model of bytes. */
export const BYTES = 256;

/**
 * The character that stands for a byte in a byte-level tokenizer: itself where it is printable in Latin-1, and else one of
 * those from U+0100 on, in order (the table of GPT-2).
 */
function byteCharacters(): readonly string[] {
  let next = BYTES;
  return Array.from({ length: BYTES }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/**
 * The files of a tokenizer of bytes, by name, as Hugging Face has them: tokens are the bytes of UTF-8.
 * @param merges pairs of tokens that become one, the first of them token 256
 */
export function byteTokenizerFiles(
  merges: readonly (readonly [number, number])[] = [],
): Readonly<Record<string, string>> {
  const tokens = [...byteCharacters()];
  const pairs = merges.map((pair) => {
    const [left, right] = pair.map((token) => tokens[token]!) as [string, string];
    tokens.push(left + right);
    return [left, right];
  });
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, vocab, merges: pairs },
  };
  return {
    "tokenizer.json": JSON.stringify(tokenizer),
    "tokenizer_config.json": JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast" }),
  };
}
