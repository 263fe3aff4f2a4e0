// The fleet room: where doctor looks, and what it found: all of it, and in groups that a person can read.

/** Where doctor looks. */
export interface Examined {
  tenants: readonly { name: string; schema: string }[];
  /** What comes after a tenant's schema in the search_path. */
  sharedSchemas: readonly string[];
  /** Tenants are kept apart by roles. */
  isolated: boolean;
  /** What tenants' names are by their schemas; a shared schema's is its own. */
  nameOf(schema: string): string;
}

/** One thing that is wrong. */
export interface Finding {
  severity: "error" | "warning";
  /**
   * What was looked at: `config`, `registry`, `migrations`, `database`, `schema`, `ledger`, `role`, `extension`, `function`, `owner`, `public`,
   * `shared`, `index`, `limit`; `fix` for what --fix could not mend.
   */
  check: string;
  /** A tenant's name, a schema, a file with its line, the database. */
  where: string;
  message: string;
  hint: string;
}

/** Findings that differ in where they are. */
export interface FindingGroup extends Omit<Finding, "where"> {
  where: string[];
}

/** How doctor --fix puts a finding right. */
export interface Mend {
  what: "stamp" | "rights" | "share" | "text" | "shared-text";
  tenant: { name: string; schema: string };
  /** What belongs in the tenant's transaction besides; for a shared schema, what is sent in one of its own. */
  texts?: readonly string[];
  /** What was done, afterwards. */
  done: string;
}

/** A finding, and what is known of it besides. */
export interface Noted extends Finding {
  /** Its words where several have it in common, if they name the one place. */
  alike?: { message?: string; hint?: string };
  mend?: Mend;
  /** Whether the tenant's rights, looked at as a whole, are then not in order either: one thing, told once. */
  isOfRights?: boolean;
}

/** Puts findings together that say the same of several places: errors first, else in their order. */
export function groupsOf(findings: readonly Noted[]): FindingGroup[] {
  const groups = new Map<string, FindingGroup>();
  for (const { severity, check, where, message, hint, alike } of findings) {
    const common = { message, hint, ...alike };
    const key = JSON.stringify([severity, check, common.message, common.hint]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { severity, check, message, hint, where: [where] });
    else Object.assign(group, common).where.push(where);
  }
  const inOrder = [...groups.values()];
  return [
    ...inOrder.filter(({ severity }) => severity === "error"),
    ...inOrder.filter(({ severity }) => severity !== "error"),
  ];
}

/** A finding as it is told: without what is known besides. */
export function plain({ severity, check, where, message, hint }: Noted): Finding {
  return { severity, check, where, message, hint };
}

const shown = 5;

/** The first few of many, and how many more there are. */
export function few(names: readonly string[]): string {
  const more = names.length - shown;
  return more <= 0 ? names.join(", ") : `${names.slice(0, shown).join(", ")} and ${more} more`;
}
