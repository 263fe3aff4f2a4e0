// Writes tenants.config.schema.json, which editors read, from the compiled zod schema.
import { writeFileSync } from "node:fs";
import { configJsonSchema } from "../dist/config/schema.js";

const json = JSON.stringify(configJsonSchema(), null, 2);
// short lists on one line, as the formatter has them
const formatted = json.replace(/\[\n([^[\]{}]*)\n\s*\]/g, (_, items) => `[${items.trim().replace(/\s*\n\s*/g, " ")}]`);
writeFileSync(new URL("../tenants.config.schema.json", import.meta.url), `${formatted}\n`);
