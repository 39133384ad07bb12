import { controlPlaneKinds } from '../adapters/control-planes/index.ts';
import { leaseKinds } from '../adapters/leases/index.ts';
import { receiverKinds } from '../adapters/notify/index.ts';
import { sourcePlugins } from '../adapters/sources/index.ts';
import type { Registries } from '../config/schema.ts';

/** What the loader of the files must know of the plug-ins at hand. */
export const registries: Registries = {
  sources: Object.fromEntries(
    Object.values(sourcePlugins).map((plugin) => [
      plugin.kind,
      { schema: plugin.schema, promql: plugin.hasPromql, registry: 'isRegistry' in plugin && (plugin.isRegistry ?? false) },
    ]),
  ),
  controlPlanes: Object.fromEntries(
    [...controlPlaneKinds].map(([kind, plugin]) => [kind, { schema: plugin.config, planeKeys: plugin.planeKeys, actuator: plugin.actuator }]),
  ),
  leases: leaseKinds,
  receivers: Object.fromEntries([...receiverKinds].map(([key, plugin]) => [key, { schema: plugin.config }])),
};
