import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, expect, it } from 'vitest';

describe('no-network', () => {
  it('fails a connection that leaves this machine and says where it wanted to go', async () => {
    const socket = net.connect({ host: '192.0.2.1', port: 80 });

    await expect(once(socket, 'connect')).rejects.toThrow('wanted to connect to 192.0.2.1');
  });

  it('fails an HTTP request by name the same way', async () => {
    await expect(once(http.get('http://prometheus.example.org/'), 'response')).rejects.toThrow('wanted to connect to prometheus.example.org');
  });

  it('lets a test talk to a server of its own', async () => {
    const server = net.createServer((socket) => socket.end('hello'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as net.AddressInfo;

    const [data] = await once(net.connect(port, '127.0.0.1'), 'data');

    expect(String(data)).toBe('hello');
    server.close();
  });
});
