// BullMQ with job ids, attempts and backoff (https://docs.bullmq.io), and undici's Pool.
//
//   node peer.mjs worker
//   node peer.mjs enqueue FIRST COUNT
//   node peer.mjs pace FIRST COUNT INTERVAL_MS
import { Queue, Worker } from 'bullmq';
import { Pool } from 'undici';

const redis = new URL(process.env.BENCH_REDIS_URL);
const api = new URL(process.env.BENCH_API_URL);
const name = process.env.BENCH_QUEUE;
const connections = Number(process.env.BENCH_CONNECTIONS);
const connection = {
  host: redis.hostname,
  port: Number(redis.port),
  db: Number(redis.pathname.slice(1) || 0),
};
const CHUNK = 1000;

// A job id must not contain a colon.
const job = (n) => ({ name: 'stop', data: { n }, opts: { jobId: `stop-${n}` } });

function work() {
  const pool = new Pool(api.origin, { connections, pipelining: 1 });
  const headers = { authorization: 'Bearer x', accept: 'application/json' };
  const stop = async ({ data: { n } }) => {
    const path = `/agent-api/user/u/task_stop/${n}`;
    const reply = await pool.request({ method: 'GET', path, headers });
    const body = await reply.body.json();
    if (reply.statusCode !== 200 || body.code !== 200 || body.status !== 'success') {
      throw new Error(`HTTP ${reply.statusCode}: ${JSON.stringify(body)}`);
    }
    return { n, code: body.code };
  };
  const worker = new Worker(name, stop, { connection, concurrency: connections });
  worker.on('error', (error) => console.error(error.message));
  process.on('SIGTERM', async () => {
    await worker.close();
    await pool.close();
    process.exit(0);
  });
}

async function enqueue(queue, first, count) {
  const started = process.hrtime.bigint();
  for (let i = 0; i < count; i += CHUNK) {
    const length = Math.min(CHUNK, count - i);
    await queue.addBulk(Array.from({ length }, (_, k) => job(first + i + k)));
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(JSON.stringify({ count, seconds }));
}

async function pace(queue, first, count, intervalMs) {
  const sent = [];
  for (let i = 0; i < count; i++) {
    await new Promise((wake) => setTimeout(wake, intervalMs));
    // The same clock as CLOCK_MONOTONIC.
    sent.push([first + i, Number(process.hrtime.bigint())]);
    const { name: jobName, data, opts } = job(first + i);
    await queue.add(jobName, data, opts);
  }
  console.log(JSON.stringify(sent));
}

const [command, ...numbers] = process.argv.slice(2);
if (command === 'worker') {
  work();
} else {
  const queue = new Queue(name, {
    connection,
    defaultJobOptions: {
      attempts: 8,
      backoff: { type: 'exponential', delay: 1000, jitter: 0.5 },
      removeOnComplete: { age: 3600 },
      removeOnFail: { age: 86400 },
    },
  });
  await queue.waitUntilReady();
  await (command === 'enqueue' ? enqueue : pace)(queue, ...numbers.map(Number));
  await queue.close();
}
