import axios, { type InternalAxiosRequestConfig } from 'axios';

export type InProcessAnswer = { readonly status?: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> };
export type InProcessRequest = { readonly method: string; readonly url: URL; readonly body: string };

/**
 * Answers every HTTP request of this process without a socket, so that a property can play thousands of answers: all of the client is used but the
 * connection. Clients made before are not reached.
 */
export function answerInProcess(answer: (request: InProcessRequest) => InProcessAnswer): Disposable {
  const usual = axios.defaults.adapter;
  axios.defaults.adapter = async (config: InternalAxiosRequestConfig) => {
    const {
      status = 200,
      body,
      headers = {},
    } = answer({
      method: (config.method ?? 'get').toUpperCase(),
      url: new URL(config.url ?? ''),
      body: typeof config.data === 'string' ? config.data : '',
    });
    return { data: body, status, statusText: '', headers: { ...headers }, config, request: {} };
  };
  return {
    [Symbol.dispose]: () => {
      if (usual === undefined) delete axios.defaults.adapter;
      else axios.defaults.adapter = usual;
    },
  };
}
