/** What somebody who signed in may do, least first: look; also act on rollbacks; everything. */
export const webRoles = ['viewer', 'operator', 'admin'] as const;
export type WebRole = (typeof webRoles)[number];

/** Whether `role` includes what `needed` may do. */
export function includesRole(role: WebRole, needed: WebRole): boolean {
  return webRoles.indexOf(role) >= webRoles.indexOf(needed);
}
