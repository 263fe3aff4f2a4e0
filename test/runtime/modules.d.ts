// An old pg beside the one of today: its types are the same, but for what the tests look at.
declare module "pg-8.11" {
  import pg from "pg";
  export default pg;
}
