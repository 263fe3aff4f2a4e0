// The database room: an object that looks like another one, but for some members, and keeps to itself what is written to it.

/**
 * The object as it is, but for some members. A method that returns the object returns what looks like it. What is assigned to it,
 * defined or deleted stays on it: the object below never sees it, and deleting brings the member back, never the object's own.
 */
export function overlay<T extends object>(target: T, members: object): T {
  const written: object = Object.create(Object.getPrototypeOf(target));
  const bound = new Map<PropertyKey, { method: unknown; call: unknown }>();
  const layers = [written, members, target];
  const owner = (key: PropertyKey) => layers.find((layer) => Object.hasOwn(layer, key));

  function boundMethod(key: PropertyKey): unknown {
    const method: unknown = Reflect.get(target, key, target);
    if (typeof method !== "function" || key === "constructor" || Object.hasOwn(target, key)) return method;
    const known = bound.get(key);
    if (known?.method === method) return known.call;
    const call = (...args: unknown[]) => {
      const result: unknown = Reflect.apply(method, target, args);
      return result === target ? proxy : result;
    };
    bound.set(key, { method, call });
    return call;
  }

  // What is written needs a proxy's target of its own: one that is there already could forbid it.
  const proxy: T = new Proxy(written as T, {
    get(_, key) {
      if (Object.hasOwn(written, key)) return Reflect.get(written, key, proxy);
      if (Object.hasOwn(members, key)) return Reflect.get(members, key);
      return boundMethod(key);
    },
    set(_, key, value) {
      const accessor = Object.getOwnPropertyDescriptor(written, key)?.set;
      if (accessor === undefined) return Reflect.defineProperty(written, key, { ...plain, value });
      Reflect.apply(accessor, proxy, [value]);
      return true;
    },
    has: (_, key) => owner(key) !== undefined || Reflect.has(target, key),
    ownKeys: () => [...new Set(layers.flatMap((layer) => Reflect.ownKeys(layer)))],
    getOwnPropertyDescriptor(_, key) {
      const layer = owner(key);
      const found = layer === undefined ? undefined : Object.getOwnPropertyDescriptor(layer, key);
      return layer === written || found === undefined ? found : { ...found, configurable: true };
    },
  });
  return proxy;
}

const plain = { writable: true, enumerable: true, configurable: true };
