import { journalContract } from '../../../../test/contract/journal.ts';
import { openMemoryJournal } from './open.ts';

journalContract('memory', async (clock) => await openMemoryJournal({ clock }));
