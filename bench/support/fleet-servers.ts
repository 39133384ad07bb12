import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseFlags } from '../../test/support/tensorflow-serving/flags.ts';
import { serve } from '../../test/support/tensorflow-serving/serve.ts';
import { makeModelRepository } from '../../test/support/tensorflow-serving/start.ts';
import { type FleetPlaces, modelName } from './fleet.ts';

/** Model servers in this process, each with its part of the fleet. */
export type FleetServers = AsyncDisposable & { readonly planes: FleetPlaces['planes'] };

/** Starts them: two versions of every model in `folder`, of which the second serves. */
export async function startFleetServers(folder: string, fleet: { readonly models: number; readonly modelsPerServer: number }): Promise<FleetServers> {
  await using owned = new AsyncDisposableStack();
  const names = Array.from({ length: fleet.models }, (_, index) => modelName(index));
  const repository = await makeModelRepository(folder, Object.fromEntries(names.map((name) => [name, { 1: {}, 2: {} }])));
  const planes: { grpc: string; modelConfigFile: string; models: number }[] = [];
  for (let from = 0; from < names.length; from += fleet.modelsPerServer) {
    const own = names.slice(from, from + fleet.modelsPerServer);
    const modelConfigFile = join(folder, `${from}.config`);
    await writeFile(modelConfigFile, repository.configText(own.map((name) => ({ name, versions: [2] }))));
    const flags = { ...parseFlags([]), port: 0, model_config_file: modelConfigFile, file_system_poll_wait_seconds: 10, manage_state_interval_micros: 1_000 };
    const ports = await serve(
      flags,
      (close) => owned.defer(close),
      () => undefined,
    );
    planes.push({ grpc: `127.0.0.1:${ports.grpc}`, modelConfigFile, models: own.length });
  }
  const stack = owned.move();
  return { planes, [Symbol.asyncDispose]: async () => await stack.disposeAsync() };
}
