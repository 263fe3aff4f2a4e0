// The process of one peer: node run.js <peer> <migrate|status> <job.json>
import { readFileSync } from "node:fs";

const [tool, action = "", job = ""] = process.argv.slice(2);
const peer = await import(`./${tool}.js`);
await peer[action](JSON.parse(readFileSync(job, "utf8")));
