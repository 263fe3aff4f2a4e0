// Runtime tests: a Prisma client as its generator makes it, for one model; generating one needs a binary from a host that CI can't reach.
// It was made by `prisma generate` 7.9.1 from the schema below, and is what that writes to internal/class.ts.
import { getPrismaClient } from "@prisma/client/runtime/client";

const schema =
  'generator client {\n  provider = "prisma-client"\n  output   = "../generated"\n}\n\ndatasource db {\n  provider = "postgresql"\n}\n\nmodel notes {\n  id    Int    @id\n  owner String\n}\n';

const model = {
  models: {
    notes: {
      fields: [
        { name: "id", kind: "scalar", type: "Int" },
        { name: "owner", kind: "scalar", type: "String" },
      ],
      dbName: null,
    },
  },
  enums: {},
  types: {},
};

const strings = [
  "where",
  "notes.findUnique",
  "notes.findUniqueOrThrow",
  "orderBy",
  "cursor",
  "notes.findFirst",
  "notes.findFirstOrThrow",
  "notes.findMany",
  "data",
  "notes.createOne",
  "notes.createMany",
  "notes.createManyAndReturn",
  "notes.updateOne",
  "notes.updateMany",
  "notes.updateManyAndReturn",
  "create",
  "update",
  "notes.upsertOne",
  "notes.deleteOne",
  "notes.deleteMany",
  "having",
  "_count",
  "_avg",
  "_sum",
  "_min",
  "_max",
  "notes.groupBy",
  "notes.aggregate",
  "AND",
  "OR",
  "NOT",
  "id",
  "owner",
  "equals",
  "in",
  "notIn",
  "lt",
  "lte",
  "gt",
  "gte",
  "contains",
  "startsWith",
  "endsWith",
  "not",
  "set",
  "increment",
  "decrement",
  "multiply",
  "divide",
];

const graph = [
  "KwsQBRwAACIAMB0AAAQAEB4AACIAMB8CAAAAASABACQAIQEAAAABACABAAAAAQAgBRwAACIAMB0AAAQAEB4AACIAMB8CACMAISAB",
  "ACQAIQADAAAABAAgAwAABQAwBAAAAQAgAwAAAAQAIAMAAAUAMAQAAAEAIAMAAAAEACADAAAFADAEAAABACACHwIAAAABIAEAAAAB",
  "AQgAAAkAIAIfAgAAAAEgAQAAAAEBCAAACwAwAQgAAAsAMAIfAgAqACEgAQArACECAAAAAQAgCAAADgAgAh8CACoAISABACsAIQIA",
  "AAAEACAIAAAQACACAAAABAAgCAAAEAAgAwAAAAEAIA8AAAkAIBAAAA4AIAEAAAABACABAAAABAAgBRUAACUAIBYAACYAIBcAACkA",
  "IBgAACgAIBkAACcAIAUcAAAaADAdAAAXABAeAAAaADAfAgAbACEgAQAcACEDAAAABAAgAwAAFgAwFAAAFwAgAwAAAAQAIAMAAAUA",
  "MAQAAAEAIAUcAAAaADAdAAAXABAeAAAaADAfAgAbACEgAQAcACENFQAAHgAgFgAAIQAgFwAAHgAgGAAAHgAgGQAAHgAgIQIAAAAB",
  "IgIAAAAEIwIAAAAEJAIAAAABJQIAAAABJgIAAAABJwIAAAABKwIAIAAhDhUAAB4AIBgAAB8AIBkAAB8AICEBAAAAASIBAAAABCMB",
  "AAAABCQBAAAAASUBAAAAASYBAAAAAScBAAAAASgBAAAAASkBAAAAASoBAAAAASsBAB0AIQ4VAAAeACAYAAAfACAZAAAfACAhAQAA",
  "AAEiAQAAAAQjAQAAAAQkAQAAAAElAQAAAAEmAQAAAAEnAQAAAAEoAQAAAAEpAQAAAAEqAQAAAAErAQAdACEIIQIAAAABIgIAAAAE",
  "IwIAAAAEJAIAAAABJQIAAAABJgIAAAABJwIAAAABKwIAHgAhCyEBAAAAASIBAAAABCMBAAAABCQBAAAAASUBAAAAASYBAAAAAScB",
  "AAAAASgBAAAAASkBAAAAASoBAAAAASsBAB8AIQ0VAAAeACAWAAAhACAXAAAeACAYAAAeACAZAAAeACAhAgAAAAEiAgAAAAQjAgAA",
  "AAQkAgAAAAElAgAAAAEmAgAAAAEnAgAAAAErAgAgACEIIQgAAAABIggAAAAEIwgAAAAEJAgAAAABJQgAAAABJggAAAABJwgAAAAB",
  "KwgAIQAhBRwAACIAMB0AAAQAEB4AACIAMB8CACMAISABACQAIQghAgAAAAEiAgAAAAQjAgAAAAQkAgAAAAElAgAAAAEmAgAAAAEn",
  "AgAAAAErAgAeACELIQEAAAABIgEAAAAEIwEAAAAEJAEAAAABJQEAAAABJgEAAAABJwEAAAABKAEAAAABKQEAAAABKgEAAAABKwEA",
  "HwAhAAAAAAAFLAIAAAABLQIAAAABLgIAAAABLwIAAAABMAIAAAABASwBAAAAAQAAAAAFFQAGFgAHFwAIGAAJGQAKAAAAAAAFFQAG",
  "FgAHFwAIGAAJGQAKAQIBAgMBBQYBBgcBBwgBCQoBCgwCCw0DDA8BDRECDhIEERMBEhQBExUCGhgFGxkL",
].join("");

interface Note {
  id: number;
  owner: string;
}

/** What the tests use of it. */
export interface PrismaClient {
  notes: {
    findUnique(query: { where: { id: number } }): Promise<Note | null>;
    findMany(query?: object): Promise<Note[]>;
    create(query: { data: Note }): Promise<Note>;
  };
  $queryRawUnsafe<T>(text: string, ...values: unknown[]): Promise<T>;
  $transaction<T>(fn: (client: PrismaClient) => Promise<T>, options?: { isolationLevel: string }): Promise<T>;
  $disconnect(): Promise<void>;
}

const compiler = "@prisma/client/runtime/query_compiler_small_bg.postgresql"; // it has no types

function compiled(bytes: Uint8Array): unknown {
  const { Module } = Reflect.get(globalThis, "WebAssembly") as { Module: new (bytes: Uint8Array) => unknown };
  return new Module(bytes);
}

const runtime = {
  previewFeatures: [],
  clientVersion: "7.9.1",
  engineVersion: "e922089b7d7502aff4249d5da3420f6fa55fc6ad",
  activeProvider: "postgresql",
  inlineSchema: schema,
  runtimeDataModel: model,
  parameterizationSchema: { strings, graph },
  compilerWasm: {
    getRuntime: () => import(`${compiler}.mjs`),
    getQueryCompilerWasmModule: async () => {
      const { wasm }: { wasm: string } = await import(`${compiler}.wasm-base64.mjs`);
      return compiled(Buffer.from(wasm, "base64"));
    },
    importName: "./query_compiler_small_bg.js",
  },
};

export const PrismaClient = getPrismaClient(runtime as never) as unknown as new (options: {
  adapter: unknown;
}) => PrismaClient;
