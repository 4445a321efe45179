import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './broker.ts';
import { Engine } from './engine.ts';

/** Brokers from Debian's packages: one mosquitto, three nodes of nats-server, three nodes of RabbitMQ; all on loopback. */

export interface BrokerCluster {
  readonly name: string;
  readonly nodes: readonly Engine[];
  stop(): Promise<void>;
}

const NODES = [1, 2, 3];
/** Formed: every node knows the others, and takes sessions. */
const SETTLE_MS = 5000;

/** One mosquitto that keeps what it holds when it is asked to stop, and each second besides. */
export async function mosquitto(folder: string): Promise<BrokerCluster> {
  const port = await freePort();
  const file = join(folder, 'mosquitto.conf');
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'user root',
    'log_dest stderr',
    'persistence true',
    `persistence_location ${folder}/`,
    'autosave_interval 1',
    // Without a bound it drops what a consumer does not take fast enough, having acknowledged it: 1,000 by default.
    'max_queued_messages 0',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return cluster('mosquitto', [
    new Engine({ name: 'mosquitto', command: 'mosquitto', args: ['-c', file], folder, port }),
  ]);
}

/** JetStream keeps sessions and messages three times; MQTT 3.1.1 is all that it speaks. */
export async function nats(folder: string): Promise<BrokerCluster> {
  installed('nats-server', 'nats-server');
  const routePorts = await Promise.all(NODES.map(freePort));
  const routes = routePorts.map((port) => `"nats://127.0.0.1:${port}"`).join(', ');
  const nodes: Engine[] = [];
  for (const n of NODES) {
    const [listen, port] = [await freePort(), await freePort()];
    const file = join(folder, `n${n}.conf`);
    const lines = [
      `server_name: n${n}`,
      `listen: "127.0.0.1:${listen}"`,
      `jetstream { store_dir: "${join(folder, `n${n}`)}" }`,
      `cluster { name: bench, listen: "127.0.0.1:${routePorts[n - 1]}", routes: [${routes}] }`,
      `mqtt { listen: "127.0.0.1:${port}", stream_replicas: 3 }`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    nodes.push(new Engine({ name: `nats-${n}`, command: 'nats-server', args: ['-c', file], folder, port }));
  }
  return cluster('nats-server, 3 nodes', nodes);
}

/** Sessions are quorum queues; MQTT 3.1.1 is all that the plugin of 3.10 speaks. */
export async function rabbitmq(folder: string): Promise<BrokerCluster> {
  installed('/usr/lib/rabbitmq/bin/rabbitmq-server', 'rabbitmq-server');
  const epmdPort = await freePort();
  // Else the first node starts one that stays when all are gone.
  const epmdArgs = ['-port', String(epmdPort), '-address', '127.0.0.1'];
  const epmd = new Engine({ name: 'epmd', command: 'epmd', args: epmdArgs, folder, port: epmdPort });
  writeFileSync(join(folder, 'plugins'), '[rabbitmq_mqtt].\n');
  const names = NODES.map((n) => `hf${n}@localhost`);
  const nodes: Engine[] = [];
  for (const n of NODES) {
    const [amqp, port, distribution] = [await freePort(), await freePort(), await freePort()];
    const base = join(folder, `r${n}`);
    mkdirSync(base);
    const lines = [
      'loopback_users = none',
      'mqtt.allow_anonymous = true',
      `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
      'mqtt.durable_queue_type = quorum',
      'cluster_formation.peer_discovery_backend = classic_config',
      ...names.map((name, i) => `cluster_formation.classic_config.nodes.${i + 1} = ${name}`),
    ];
    writeFileSync(`${base}.conf`, `${lines.join('\n')}\n`);
    const environment = {
      HOME: folder,
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
      RABBITMQ_NODENAME: names[n - 1]!,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(amqp),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_MNESIA_BASE: base,
      RABBITMQ_LOG_BASE: base,
      RABBITMQ_CONFIG_FILE: `${base}.conf`,
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    };
    const command = '/usr/lib/rabbitmq/bin/rabbitmq-server';
    nodes.push(new Engine({ name: `rabbitmq-${n}`, command, args: [], environment, folder, port }));
  }
  return cluster('RabbitMQ, 3 nodes', nodes, [epmd]);
}

/** Starts `before`, which the nodes need, and the nodes. */
async function cluster(name: string, nodes: readonly Engine[], before: readonly Engine[] = []): Promise<BrokerCluster> {
  const stop = async () => {
    for (const engine of [...nodes, ...before]) if (engine.running) await engine.kill();
  };
  try {
    for (const engines of [before, nodes]) {
      for (const engine of engines) engine.start();
      for (const engine of engines) await engine.listening();
    }
    if (nodes.length > 1) await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  } catch (error) {
    await stop();
    throw error;
  }
  return { name, nodes, stop };
}

/** Installs a Debian package when its command is not there, and says so. Its service is not started where `policy-rc.d` forbids it. */
function installed(command: string, debianPackage: string): void {
  try {
    execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin"; command -v ${command}`], { stdio: 'ignore' });
  } catch {
    process.stderr.write(`  ${command} is not there: apt-get install ${debianPackage}\n`);
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', debianPackage], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
}
