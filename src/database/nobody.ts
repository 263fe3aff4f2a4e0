// The database room: the context of nobody, in which connections live, so that none speaks in the name of whoever opened it.

import { AsyncResource } from "node:async_hooks";

export const nobody = new AsyncResource("tenantctl.nobody");
