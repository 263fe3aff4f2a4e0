// node enqueue.js <tenant> <kind> [payload]
import { createTenancy } from "tenantctl/runtime";

const [tenant = "", kind = "", payload = "{}"] = process.argv.slice(2);
const tenancy = await createTenancy();
try {
  // As an application would, in the transaction that gives it a reason to: both are there, or neither.
  const job = await tenancy.withTenant(tenant, () =>
    tenancy.transaction(async (client) => {
      const { rows } = await client.query(
        "insert into public.jobs (tenant, kind, payload) values ($1, $2, $3) returning id",
        [tenancy.currentTenant()?.name, kind, payload],
      );
      return rows[0];
    }),
  );
  console.log(`queued job ${job.id}`);
} finally {
  await tenancy.close();
}
