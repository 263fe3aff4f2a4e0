// The migrations room: before a tenant's transaction is committed: has it changed anything that is not the tenant's own?

import type { Client } from "../database/database.js";
import { sqlState } from "../database/errors.js";
import type { Statement } from "../database/message.js";
import type { Onlooker } from "../database/onlooker.js";
import { identifier, literal, qualified } from "../database/quote.js";
import { type Place as FilePlace, MigrationFailure, type Origin, placeOf } from "./failure.js";
import type { Prepared } from "./prepare.js";
import { hintFor, listed, nameOf, type Reach } from "./reach.js";
import { knownCatalogs, type Place, placesText, type Suspect, statesText, suspectsText } from "./reach-locks.js";
import { type Change, inOrder, isFree, isWeighed, verdict } from "./reach-verdict.js";
import { allowedAt, allowedIn } from "./reach-written.js";
import { NoAnswer, type Target, type TenantTransaction } from "./transaction.js";

/** Looks at one transaction. */
export interface ReachCheck {
  /** Before the first migration. */
  begin(transaction: Pick<TenantTransaction, "queue">): Promise<void>;
  /** After the last one. @throws MigrationFailure OUTSIDE_SCHEMA; NoAnswer. */
  finish(transaction: Pick<TenantTransaction, "client" | "queue" | "flush">): Promise<void>;
}

/** The check for these migrations; undefined where none of them can change what is not the tenant's own. */
export function reachCheck(target: Target, prepared: readonly Prepared[]): ReachCheck | undefined {
  const { reach, database, sharedSchemas } = target;
  const suspicious = prepared.filter((one) => one.kind === "module" || !one.confined);
  if (reach === undefined || prepared.length === 0) return undefined;
  if (suspicious.length === 0 && sharedSchemas.length === 0) return undefined;
  let onlooker: Onlooker | undefined;
  return {
    async begin({ queue }) {
      onlooker = await database.onlooker();
      if (onlooker === undefined) await queue(...cursorTexts().map((text) => ({ text })));
    },
    async finish(transaction) {
      // What was put off to the commit would be done after we looked.
      await transaction.queue({ text: "set constraints all immediate" });
      const found = await suspects(transaction, suspectsText(target.tenant.schema, reach.shared));
      if (found.length === 0) return;
      const { client } = transaction;
      const before = onlooker === undefined ? fromCursors(client) : fromOnlooker(onlooker);
      const allowed = await Promise.all(prepared.map(allowedIn));
      const wider = { ...reach, mayChange: [...reach.mayChange, ...allowed.flat()] };
      const changes = await changesOf(client, before, found, target.tenant.schema, wider);
      if (changes.length > 0) throw refusal(target, changes, blame(prepared, suspicious, changes));
    },
  };
}

async function suspects(
  { queue, flush }: Pick<TenantTransaction, "queue" | "flush">,
  text: string,
): Promise<Suspect[]> {
  const found: Suspect[] = [];
  const statement: Statement<Origin> = {
    text,
    rows: {
      columns: () => {},
      row([catalog, oid, mode]) {
        if (catalog && oid && mode && knownCatalogs.includes(catalog)) found.push({ catalog, oid, mode });
        return undefined;
      },
      done: () => {},
    },
  };
  await queue(statement);
  await flush();
  return found;
}

/**
 * Answers from before the transaction: places of objects, and what tables are made of.
 * @throws NoAnswer; MigrationFailure OUTSIDE_SCHEMA.
 */
interface Before {
  places(catalogs: readonly string[], oids: readonly string[]): Promise<Place[]>;
  states(oids: readonly string[]): Promise<State[]>;
}

interface State {
  oid: string;
  state: string;
}

const list = (oids: readonly string[]) => literal([...new Set(oids)].join(","));

function fromOnlooker(onlooker: Onlooker): Before {
  const ask = async <Row extends object>(text: string) =>
    await onlooker.ask<Row>(text).catch(() => {
      throw new NoAnswer("the onlooker gave no answer"); // its error is not the transaction's: its connection may be lost, and ours not
    });
  return {
    places: (catalogs, oids) => ask<Place>(placesText(catalogs, list(oids))),
    states: (oids) => ask<State>(statesText(list(oids))),
  };
}

// With one connection, cursors that were opened before show what was: a cursor sees nothing that came after it. What it is asked about,
// it reads from a setting when its first row is fetched.
const cursors = { places: "tenantctl_places", states: "tenantctl_states" };
const asked = "pg_catalog.current_setting('tenantctl.asked', true)";

function cursorTexts(): string[] {
  const declare = (name: string, text: string) => `declare ${name} no scroll cursor for ${text}`;
  return [declare(cursors.places, placesText(knownCatalogs, asked)), declare(cursors.states, statesText(asked))];
}

function fromCursors(client: Client): Before {
  const ask = async <Row extends object>(cursor: string, oids: readonly string[]) => {
    await client.query(`select pg_catalog.set_config('tenantctl.asked', ${list(oids)}, true)`);
    const fetched = client.query<Row>(`fetch all from ${cursor}`);
    return (await fetched.catch((error: unknown) => Promise.reject(sqlState(error) === "34000" ? closedAll() : error)))
      .rows;
  };
  return {
    places: (_catalogs, oids) => ask<Place>(cursors.places, oids),
    states: (oids) => ask<State>(cursors.states, oids),
  };
}

function closedAll(): MigrationFailure {
  const message = "it closed all cursors, ours too, so nothing tells what it changed outside of its schema";
  return new MigrationFailure("OUTSIDE_SCHEMA", message, {
    hint: "take CLOSE ALL out: the transaction's end closes its cursors",
  });
}

async function changesOf(
  client: Client,
  before: Before,
  found: readonly Suspect[],
  schema: string,
  reach: Reach,
): Promise<Change[]> {
  const oids = found.map(({ oid }) => oid);
  const catalogs = [...new Set(found.map(({ catalog }) => catalog))];
  const nowPlaces = byObject((await client.query<Place>(placesText(catalogs, list(oids)))).rows);
  const beforePlaces = byObject(await before.places(catalogs, oids));
  const weighed = found
    .filter((suspect) => isWeighed(suspect) && beforePlaces.get(keyOf(suspect))?.schema !== schema)
    .map(({ oid }) => oid);
  const same = weighed.length === 0 ? new Set<string>() : await sameTables(client, before, weighed);
  const changes = found.flatMap((suspect): Change[] => {
    const [now, was] = [nowPlaces.get(keyOf(suspect)), beforePlaces.get(keyOf(suspect))];
    const change = verdict({ suspect, now, before: was, same: same.has(suspect.oid) }, schema, reach);
    return change === undefined ? [] : [change];
  });
  return inOrder(changes);
}

async function sameTables(client: Client, before: Before, oids: readonly string[]): Promise<Set<string>> {
  const now = (await client.query<State>(statesText(list(oids)))).rows;
  const was = new Map((await before.states(oids)).map(({ oid, state }) => [oid, state]));
  return new Set(now.filter(({ oid, state }) => was.get(oid) === state).map(({ oid }) => oid));
}

const keyOf = ({ catalog, oid }: { catalog: string; oid: string }) => `${catalog} ${oid}`;

function byObject(places: readonly Place[]): Map<string, Place> {
  return new Map(places.map((place) => [keyOf(place), place]));
}

/**
 * Looks up where the names lead that a statement changes which can't be within a transaction.
 * @throws MigrationFailure OUTSIDE_SCHEMA.
 */
export async function requireOwn(
  client: Client,
  target: Target,
  { origin }: Statement<Origin>,
  names: readonly { schema: string | undefined; name: string }[],
): Promise<void> {
  if (target.reach === undefined || names.length === 0 || origin === undefined) return;
  const paths = names.map(({ schema, name }) => (schema === undefined ? identifier(name) : qualified(schema, name)));
  const { rows } = await client.query<{ oid: string }>(
    "select pg_catalog.to_regclass(n)::oid::text as oid from pg_catalog.unnest($1::text[]) n where pg_catalog.to_regclass(n) is not null",
    [paths],
  );
  const oids = rows.map(({ oid }) => oid);
  if (oids.length > 0) await refusePlaces(client, target, origin, placesText(["pg_class"], list(oids)));
}

/**
 * Looks up where the names lead that a statement changes without a lock which would tell of it.
 * @throws MigrationFailure OUTSIDE_SCHEMA.
 */
export async function requireOwnUnlocked(client: Client, target: Target, statement: Statement<Origin>): Promise<void> {
  const { origin } = statement;
  if (!mayLeadElsewhere(target, statement) || origin === undefined) return;
  for (const { catalog, prefix, name } of origin.statement.unlocked) {
    const { rows } = await client.query<{ oid: string }>(
      `select o.oid::text as oid from pg_catalog.unnest(pg_catalog.current_schemas(true)) with ordinality s(name, at)
       join pg_catalog.pg_namespace n on n.nspname = s.name
       join pg_catalog.${catalog} o on o.${prefix}namespace = n.oid and o.${prefix}name = $1 order by s.at limit 1`,
      [name],
    );
    const [first] = rows;
    if (first !== undefined) await refusePlaces(client, target, origin, placesText([catalog], list([first.oid])));
  }
}

/** Whether a statement has names that have to be looked up before it is run. */
export function mayLeadElsewhere({ reach, sharedSchemas }: Target, { origin }: Statement<Origin>): boolean {
  return reach !== undefined && sharedSchemas.length > 0 && (origin?.statement.unlocked.length ?? 0) > 0;
}

async function refusePlaces(client: Client, target: Target, origin: Origin, text: string): Promise<void> {
  const { reach = { shared: [], mayChange: [] }, tenant } = target;
  const places = await client.query<Place>(text);
  const allowed = await allowedAt(origin);
  const changes = places.rows
    .filter((place) => !isFree(place, tenant.schema, { ...reach, mayChange: [...reach.mayChange, ...allowed] }))
    .map((place): Change => ({ verb: "changes", name: nameOf(place.schema, place.name) }));
  if (changes.length > 0) throw refusal(target, inOrder(changes), placeOf(origin, 0));
}

function refusal(target: Target, changes: readonly Change[], place: FilePlace | undefined): MigrationFailure {
  const names = changes.map(({ name }) => name);
  const [first] = changes;
  const verb = changes.every((change) => change.verb === first?.verb) ? first?.verb : "changes";
  const message = `it ${verb} ${listed(names)}, outside of its schema ${JSON.stringify(target.tenant.schema)}`;
  return new MigrationFailure("OUTSIDE_SCHEMA", message, { place, hint: hintFor(names) });
}

// The locks don't tell which migration took them: the only one that could have, or the first that names the object.
function blame(
  all: readonly Prepared[],
  suspicious: readonly Prepared[],
  changes: readonly Change[],
): FilePlace | undefined {
  for (const { name } of changes) {
    const word = wordOf(name);
    for (const prepared of all) {
      const statement = prepared.kind === "sql" ? prepared.statements.find(({ text }) => word.test(text)) : undefined;
      if (statement?.origin !== undefined) return placeOf(statement.origin, 0);
    }
  }
  const [only, ...others] = suspicious.length > 0 ? suspicious : all;
  if (only === undefined || others.length > 0) return undefined;
  const [first, ...more] = only.kind === "sql" ? only.statements : [];
  if (first?.origin !== undefined && more.length === 0) return placeOf(first.origin, 0);
  return { migration: only.migration.name, file: only.migration.file };
}

function wordOf(name: string): RegExp {
  const last = name.split(/[. ]/).at(-1) ?? name;
  return new RegExp(`(?<![\\p{L}\\p{N}_$])${last.replaceAll(/[.*+?^$(){}|[\]\\]/g, "\\$&")}(?![\\p{L}\\p{N}_$])`, "iu");
}
