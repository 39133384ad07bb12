import type { Leadership } from '../domain/ports.ts';

/** Of a process with a journal of its own: nobody else could act. */
export const soleLeadership: Leadership = { leads: () => true, leader: () => null };
