// The database room: an object that looks like another one, but for some members, and keeps to itself what is written to it.

/**
 * The object as it is, but for some members. A method that returns the object returns what looks like it. What is assigned to it,
 * defined or deleted stays on it: the object below never sees it, and deleting brings the member back, never the object's own.
 */
export function overlay<T extends object>(target: T, members: object): T {
  // What is written needs a proxy's target of its own: one that is there already could forbid it.
  const written = Object.create(Object.getPrototypeOf(target)) as T;
  const layers = new Layers(target, members, written);
  const proxy = new Proxy(written, layers as ProxyHandler<T>);
  layers.proxy = proxy;
  return proxy;
}

interface Bound {
  method: unknown;
  call: unknown;
}

/** The traps of an overlay: of one class, and few objects each, since an application makes one for each statement of an ORM. */
class Layers<T extends object> {
  proxy: T | undefined;
  #bound: Map<PropertyKey, Bound> | undefined;

  constructor(
    private readonly target: T,
    private readonly members: object,
    private readonly written: object,
  ) {}

  get(_: T, key: PropertyKey): unknown {
    if (Object.hasOwn(this.written, key)) return Reflect.get(this.written, key, this.proxy);
    if (Object.hasOwn(this.members, key)) return Reflect.get(this.members, key);
    return this.#boundMethod(key);
  }

  set(_: T, key: PropertyKey, value: unknown): boolean {
    const accessor = Object.getOwnPropertyDescriptor(this.written, key)?.set;
    if (accessor === undefined) return Reflect.defineProperty(this.written, key, { ...plain, value });
    Reflect.apply(accessor, this.proxy, [value]);
    return true;
  }

  has(_: T, key: PropertyKey): boolean {
    return this.#owner(key) !== undefined || Reflect.has(this.target, key);
  }

  ownKeys(): (string | symbol)[] {
    return [...new Set(this.#all.flatMap((layer) => Reflect.ownKeys(layer)))];
  }

  getOwnPropertyDescriptor(_: T, key: PropertyKey): PropertyDescriptor | undefined {
    const layer = this.#owner(key);
    const found = layer === undefined ? undefined : Object.getOwnPropertyDescriptor(layer, key);
    return layer === this.written || found === undefined ? found : { ...found, configurable: true };
  }

  get #all(): object[] {
    return [this.written, this.members, this.target];
  }

  #owner(key: PropertyKey): object | undefined {
    return this.#all.find((layer) => Object.hasOwn(layer, key));
  }

  #boundMethod(key: PropertyKey): unknown {
    const { target } = this;
    const method: unknown = Reflect.get(target, key, target);
    if (typeof method !== "function" || key === "constructor" || Object.hasOwn(target, key)) return method;
    this.#bound ??= new Map();
    const known = this.#bound.get(key);
    if (known?.method === method) return known.call;
    const call = (...args: unknown[]) => {
      const result: unknown = Reflect.apply(method, target, args);
      return result === target ? this.proxy : result;
    };
    this.#bound.set(key, { method, call });
    return call;
  }
}

const plain = { writable: true, enumerable: true, configurable: true };
