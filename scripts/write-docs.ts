/** Writes the documents that are generated from code; tests say when they are stale. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { renderMetricsDocument } from '../src/telemetry/metrics.ts';

writeFileSync(path.resolve(import.meta.dirname, '../docs/metrics.md'), renderMetricsDocument());
