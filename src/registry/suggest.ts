// Registry room: what a mistyped tenant's name probably meant, for the rooms above, which don't see the config.

export { nearest } from "../config/nearest.js";
