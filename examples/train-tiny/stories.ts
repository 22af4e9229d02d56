/**
 * Little stories to learn from, as many as one likes. Who it is about, what it is and how many there are is settled in
 * the first sentences and has to be remembered in the later ones; what surrounds that is new each time.
 */

/** A uniform number in [0, 1). */
type Uniform = () => number;

/** Mulberry32: the same seed tells the same stories everywhere. */
function generator(seed: number): Uniform {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const girls = words(
  "Mia Anna Lucy Clara Ruth Nora Emma Ida Sara Molly Zoe Julia Alma Rosa Greta Tilda Vera Elsa",
);
const boys = words(
  "Tom Ben Max Paul Oscar Hugo Sam Leo Jack Felix Noah Peter Anton Emil Karl Otto Rufus Theo",
);
const numbers = words(
  "no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen",
);
/** One, many, and what they did. */
const creatures = words(
  `dog/dogs/barked cat/cats/purred horse/horses/neighed duck/ducks/quacked owl/owls/hooted goat/goats/bleated
  mouse/mice/squeaked bear/bears/growled rabbit/rabbits/hopped cow/cows/mooed fox/foxes/yelped frog/frogs/croaked
  goose/geese/hissed wolf/wolves/howled crow/crows/cawed pony/ponies/trotted eagle/eagles/screamed ox/oxen/snorted`,
).map((forms) => forms.split("/") as [string, string, string]);
const fruits = words(
  "apple/apples pear/pears cherry/cherries plum/plums nut/nuts berry/berries cake/cakes orange/oranges",
).map((forms) => forms.split("/") as [string, string]);
/** Feelings, and what they lead to. */
const feelings = [
  ["happy", "laughed"],
  ["sad", "cried"],
  ["tired", "fell asleep"],
  ["hungry", "ate some bread"],
  ["proud", "sang a song"],
  ["afraid", "hid in a corner"],
  ["angry", "slammed the door"],
  ["ill", "stayed in bed"],
] as const;

/**
 * What a name in braces stands for: a choice, made anew each time. `{a …}` adds the article, and a capital begins a
 * sentence.
 */
const grammar: Readonly<Record<string, readonly string[]>> = {
  quality: words(
    `old little new big heavy round green blue red yellow white black golden silver wooden broken clean dirty soft
    warm cold quiet pretty tiny shiny strange empty narrow ugly open`,
  ),
  object: words(
    `ball kite book hat boat drum umbrella apron lamp scarf bag egg cup bell rope ring box letter key spoon basket
    flute doll coin mirror blanket violin whistle bucket ladder`,
  ),
  site: words(
    `river forest market school garden beach park lake farm station bridge mill castle island hill village tower
    harbour bakery meadow field library church inn`,
  ),
  relative: words("sister brother mother father grandmother grandfather neighbour teacher uncle aunt"),
  weather: words("sunny rainy windy cold warm foggy stormy snowy"),
  time: [
    ...["one day", "one morning", "in the evening", "after school", "on Sunday", "last summer", "at noon"],
    ...["before breakfast", "when it was dark", "in the spring", "on a {weather} day", "a week later"],
  ],
  near: ["under", "behind", "near", "beside", "in front of", "next to"],
  somewhere: ["{near} {a quality} {object}", "{near} the {quality} {site}", "not far from the {site}"],
  rested: ["slept", "waited", "sat", "hid", "danced", "sang", "rested", "stood", "played", "ate"],
  scenery: [
    "{A quality} {one} {rested} {somewhere}.",
    "{Several} {many} {rested} {somewhere}.",
    "There was {a quality} {object} {somewhere}.",
    "The {site} was {quality} and {quality}.",
    "It was {a quality} {site}, and {a quality} {one} {rested} there.",
  ],
};

/** Whoever a story is about, and the words that stand for them. */
interface Person {
  readonly name: string;
  readonly they: string;
  readonly them: string;
  readonly their: string;
}

class Teller {
  readonly #uniform: Uniform;

  constructor(uniform: Uniform) {
    this.#uniform = uniform;
  }

  story(): string {
    const hero = this.#person();
    const friend = this.#person(hero);
    const settled = {
      ...hero,
      friend: friend.name,
      friendly: friend.them,
      thing: this.#tell("{object}"),
      look: this.#tell("{quality}"),
      place: this.#tell("{site}"),
    };
    const kinds = [() => this.#lost(), () => this.#met(), () => this.#felt(), () => this.#counted()];
    const sentences = this.#pick(kinds)();
    // Something that has nothing to do with it, between two sentences.
    const between = this.#count(sentences.length - 1);
    const all = [...sentences.slice(0, between), "{scenery}", ...sentences.slice(between)];
    return all.map((sentence) => this.#tell(sentence, settled)).join(" ");
  }

  #lost(): string[] {
    return [
      this.#pick(["{name} had {a look} {thing}.", "{name} got {a look} {thing} from {their} {relative}."]),
      "{Time}, {they} took the {thing} to the {place}.",
      this.#pick(["There {they} lost it.", "But soon the {thing} was gone.", "Someone took it from {them}."]),
      this.#pick([
        `"Where is my {look} {thing}?" asked {name}.`,
        "{name} looked for it everywhere at the {place}.",
        "{They} ran home and called {friend}.",
      ]),
      "{friend} found the {thing} {somewhere}.",
      this.#pick([
        `"Thank you, {friend}!" said {name}, and hugged {friendly}.`,
        "{name} gave {friendly} {a quality} {object}, and took {their} {thing} home.",
        "Now {name} and {friend} play with the {look} {thing} every day.",
      ]),
    ];
  }

  #met(): string[] {
    const [animal, , cried] = this.#pick(creatures);
    return [
      "{Time}, {name} and {their} friend {friend} went to the {place}.",
      `There they met {a look} ${animal}.`,
      this.#pick([
        `The ${animal} ${cried}.`,
        `"Look, ${a(animal)}!" said {friend}, and the ${animal} ${cried}.`,
      ]),
      this.#pick([
        `"May I take it home?" asked {name}, but {friend} said no.`,
        "{name} gave it {a quality} {object}, and it followed {friend} home.",
        "It was afraid of {friend}, but {name} stroked it.",
      ]),
      this.#pick([
        `{name} often thought of the {look} ${animal}.`,
        `The next day the ${animal} was at the {place} again.`,
      ]),
    ];
  }

  #felt(): string[] {
    const [feeling, reaction] = this.#pick(feelings);
    const weather = this.#tell("{weather}");
    return [
      `It was a ${weather} day, and {name} was ${feeling}.`,
      this.#pick([
        `{They} ${reaction}.`,
        `"I am ${feeling}," {they} told {their} {relative}, and ${reaction}.`,
        `{They} went to the {site} and ${reaction} there.`,
      ]),
      this.#pick([
        `"On ${weather} days I am ${feeling} too," said {friend}.`,
        "Then {friend} came and gave {them} {a look} {thing}.",
      ]),
      `{name} was not ${feeling} any more.`,
    ];
  }

  #counted(): string[] {
    const fruit = this.#pick(fruits);
    const [first, more] = [this.#count(9), this.#count(9)];
    const eaten = this.#count(first + more);
    const left = first + more - eaten;
    return [
      `{name} had ${some(first, fruit)}.`,
      this.#pick([
        `{friend} gave {them} ${numbers[more]} more.`,
        `{Time}, {they} found ${numbers[more]} more {somewhere}.`,
      ]),
      this.#pick([
        `"Now I have ${some(first + more, fruit)}," said {name}.`,
        `That made ${some(first + more, fruit)}.`,
      ]),
      this.#pick([
        `{They} ate ${numbers[eaten]}, and ${numbers[left]} ${left === 1 ? "was" : "were"} left.`,
        `{They} gave {friend} ${numbers[eaten]}, and kept ${numbers[left]}.`,
      ]),
    ];
  }

  /** Someone who is not `other`. */
  #person(other?: Person): Person {
    const isGirl = this.#uniform() < 0.5;
    const name = this.#pick((isGirl ? girls : boys).filter((own) => own !== other?.name));
    return isGirl
      ? { name, they: "she", them: "her", their: "her" }
      : { name, they: "he", them: "him", their: "his" };
  }

  /** A sentence with what is settled in it, and all else made up. */
  #tell(sentence: string, settled: Readonly<Record<string, string>> = {}): string {
    return sentence.replace(/\{(a )?(\w+)\}/gi, (_, article: string | undefined, key: string) => {
      const lower = key.toLowerCase();
      const word = settled[lower] ?? this.#made(lower, settled);
      const said = article === undefined ? word : a(word);
      return /^[A-Z]/.test(article ?? key) ? capital(said) : said;
    });
  }

  #made(key: string, settled: Readonly<Record<string, string>>): string {
    if (key === "one") return this.#pick(creatures)[0];
    if (key === "many") return this.#pick(creatures)[1];
    if (key === "several") return numbers[1 + this.#count(9)]!;
    return this.#tell(this.#pick(grammar[key]!), settled);
  }

  /** A whole number from 1 to `most`. */
  #count(most: number): number {
    return 1 + Math.floor(this.#uniform() * most);
  }

  #pick<T>(of: readonly T[]): T {
    return of[this.#count(of.length) - 1]!;
  }
}

function a(word: string): string {
  return `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
}

function some(count: number, [one, many]: readonly [string, string]): string {
  return `${numbers[count]} ${count === 1 ? one : many}`;
}

function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}

/**
 * Stories of one paragraph each, one after another.
 * @param characters how many there are at least; the last story is told to its end
 * @param seed stories of one seed are always the same
 */
export function stories(characters: number, seed: number): string {
  const teller = new Teller(generator(seed));
  const told: string[] = [];
  for (let length = 0; length < characters; length += told.at(-1)!.length) told.push(`${teller.story()}\n`);
  return told.join("");
}
