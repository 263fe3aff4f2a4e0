// Config room: what the environment says of where our output goes.

/** Whether the environment asks for no colour: NO_COLOR set to anything, or a terminal without any. */
export function colourUnwanted(env: Readonly<Record<string, string | undefined>> = process.env): boolean {
  return (env.NO_COLOR ?? "") !== "" || env.TERM === "dumb";
}

/** The file that GitHub Actions shows as a job's summary, where it is GitHub Actions that runs us. */
export function githubSummaryFile(env: Readonly<Record<string, string | undefined>> = process.env): string | undefined {
  return env.GITHUB_STEP_SUMMARY || undefined;
}

/** The password for a login role that is to be made, where one is given. */
export function loginPassword(): string | undefined {
  return process.env.TENANTCTL_LOGIN_PASSWORD || undefined;
}
