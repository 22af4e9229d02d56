/**
 * Little stories to learn from, as many as one likes: who it is, what it is and how many there are is settled in the
 * first sentences and has to be remembered in the later ones.
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

const girls = [
  "Mia",
  "Anna",
  "Lucy",
  "Clara",
  "Ruth",
  "Nora",
  "Emma",
  "Ida",
  "Sara",
  "Molly",
  "Zoe",
  "Julia",
];
const boys = ["Tom", "Ben", "Max", "Paul", "Oscar", "Hugo", "Sam", "Leo", "Jack", "Felix", "Noah", "Peter"];
const relatives = [
  "sister",
  "brother",
  "mother",
  "father",
  "grandmother",
  "grandfather",
  "neighbour",
  "teacher",
];
const places = ["river", "forest", "market", "school", "garden", "beach", "park", "lake", "farm", "station"];
const hidings = [
  "under a bench",
  "behind a tree",
  "in the tall grass",
  "between two stones",
  "on the bridge",
];
const things = [
  "ball",
  "kite",
  "book",
  "hat",
  "boat",
  "drum",
  "umbrella",
  "apron",
  "lamp",
  "scarf",
  "bag",
  "egg",
];
const colours = ["red", "blue", "green", "yellow", "white", "orange", "old", "little", "new", "golden"];
const animals = ["dog", "cat", "horse", "duck", "owl", "goat", "mouse", "hedgehog", "bear", "rabbit"];
const sounds = [
  "barked",
  "purred",
  "neighed",
  "quacked",
  "hooted",
  "bleated",
  "squeaked",
  "snuffled",
  "growled",
  "hopped",
];
const fruits = [
  ["apple", "apples"],
  ["pear", "pears"],
  ["cherry", "cherries"],
  ["plum", "plums"],
  ["nut", "nuts"],
  ["berry", "berries"],
] as const;
const weathers = ["sunny", "rainy", "windy", "cold", "warm", "foggy"];
const feelings = ["happy", "sad", "tired", "hungry", "proud", "afraid"];
const remedies = [
  "laughed",
  "sat down and cried",
  "slept under a tree",
  "ate some bread",
  "sang a song",
  "hid in a corner",
];
const times = ["One day", "One morning", "In the evening", "After school", "On Sunday", "Last summer"];
const numbers =
  "no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen".split(
    " ",
  );

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

  /** A whole number from 1 to `most`. */
  count(most: number): number {
    return 1 + Math.floor(this.#uniform() * most);
  }

  pick<T>(of: readonly T[]): T {
    return of[this.count(of.length) - 1]!;
  }

  /** Someone who is not `other`. */
  person(other?: Person): Person {
    const isGirl = this.#uniform() < 0.5;
    const name = this.pick((isGirl ? girls : boys).filter((name) => name !== other?.name));
    return isGirl
      ? { name, they: "she", them: "her", their: "her" }
      : { name, they: "he", them: "him", their: "his" };
  }

  story(): string {
    const hero = this.person();
    const tell = this.pick([this.#lost, this.#counted, this.#met, this.#felt]);
    return tell.call(this, hero, this.person(hero)).join(" ");
  }

  #lost(hero: Person, friend: Person): string[] {
    const { name, they, their } = hero;
    const thing = this.pick(things);
    const colour = this.pick(colours);
    const place = this.pick(places);
    return [
      this.pick([
        `${name} had ${a(colour)} ${thing}.`,
        `${name} got ${a(colour)} ${thing} from ${their} ${this.pick(relatives)}.`,
      ]),
      `${this.pick(times)}, ${they} took the ${thing} to the ${place}.`,
      this.pick([`There ${they} lost it.`, `But soon the ${thing} was gone.`, `The wind carried it away.`]),
      this.pick([
        `"Where is my ${colour} ${thing}?" asked ${name}.`,
        `${name} looked for it everywhere at the ${place}.`,
        `${capital(they)} ran home and called ${friend.name}.`,
      ]),
      `${friend.name} found the ${thing} ${this.pick(hidings)}.`,
      this.pick([
        `"Thank you, ${friend.name}!" said ${name}, and hugged ${friend.them}.`,
        `${name} gave ${friend.them} a kiss, and took ${their} ${thing} home.`,
        `Now ${name} and ${friend.name} play with the ${colour} ${thing} every day.`,
      ]),
    ];
  }

  #counted(hero: Person, friend: Person): string[] {
    const { name, they, them } = hero;
    const fruit = this.pick(fruits);
    const first = this.count(9);
    const more = this.count(9);
    const eaten = this.count(first + more);
    const left = first + more - eaten;
    return [
      `${name} had ${some(first, fruit)}.`,
      this.pick([
        `${friend.name} gave ${them} ${numbers[more]} more.`,
        `Then ${they} found ${numbers[more]} more at the ${this.pick(places)}.`,
      ]),
      this.pick([
        `"Now I have ${some(first + more, fruit)}," said ${name}.`,
        `That made ${some(first + more, fruit)}.`,
      ]),
      this.pick([`${capital(they)} ate ${numbers[eaten]},`, `${friend.name} ate ${numbers[eaten]} of them,`]),
      `and ${numbers[left]} ${left === 1 ? "was" : "were"} left.`,
    ];
  }

  #met(hero: Person, friend: Person): string[] {
    const { name, they, their } = hero;
    const kind = this.count(animals.length) - 1;
    const animal = animals[kind]!;
    const colour = this.pick(colours);
    const place = this.pick(places);
    return [
      `${this.pick(times)}, ${name} and ${their} friend ${friend.name} went to the ${place}.`,
      `There they met ${a(colour)} ${animal}.`,
      this.pick([
        `The ${animal} ${sounds[kind]}.`,
        `"Look, ${a(animal)}!" said ${friend.name}, and the ${animal} ${sounds[kind]}.`,
      ]),
      this.pick([
        `"May I take it home?" asked ${name}, but ${friend.name} said no.`,
        `${name} gave it ${this.pick(["some bread", "a cake", "some water"])}, and it followed ${friend.name} home.`,
        `It was afraid of ${friend.name}, but ${name} stroked it.`,
      ]),
      this.pick([
        `Since then ${they} often thought of the ${colour} ${animal}.`,
        `The next day the ${animal} was at the ${place} again.`,
      ]),
    ];
  }

  #felt(hero: Person, friend: Person): string[] {
    const { name, they, their } = hero;
    const weather = this.pick(weathers);
    const feeling = this.count(feelings.length) - 1;
    const relative = this.pick(relatives);
    return [
      `It was a ${weather} day, and ${name} was ${feelings[feeling]}.`,
      this.pick([
        `${capital(they)} ${remedies[feeling]}.`,
        `"I am ${feelings[feeling]}," ${they} told ${their} ${relative}, and ${remedies[feeling]}.`,
      ]),
      this.pick([
        `"On ${weather} days I am ${feelings[feeling]} too," said ${friend.name}.`,
        `Then ${friend.name} came, and they went to the ${this.pick(places)} with ${friend.their} ${this.pick(animals)}.`,
      ]),
      `${name} was not ${feelings[feeling]} any more.`,
    ];
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
