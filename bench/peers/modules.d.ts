// The peers are installed here only, by `npm run bench`; types are checked without them.
declare module "drizzle-multitenant/migrator";
declare module "node-pg-migrate";
declare module "knex" {
  // biome-ignore lint/suspicious/noExplicitAny: whatever knex has
  export type Knex = any;
  // biome-ignore lint/suspicious/noExplicitAny: whatever knex has
  const knex: any;
  export default knex;
}
