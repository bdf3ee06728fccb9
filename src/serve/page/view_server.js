// Server: throughput, latency, queue, cache and loaded models, from /metrics.
import * as api from './api.js';
import { announce, bytes, count, duration, fill, fixed, h, svg, toast } from './dom.js';

const EVERY_MS = 2000;
const KEPT = 60;

// Prometheus text as [{ name, labels, value }].
function parse(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    const match = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)/i.exec(line);
    if (!match || line.startsWith('#')) continue;
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

const sum = (samples, name) => samples.filter((s) => s.name === name).reduce((all, s) => all + s.value, 0);
const one = (samples, name) => samples.find((s) => s.name === name)?.value;

// The latency histogram as Map(upper bound -> count), added up over the routes that `of` takes.
function spread(samples, of = () => true) {
  const all = new Map();
  for (const { name, labels, value } of samples) if (name === 'reel_request_seconds_bucket' && of(labels)) {
    const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
    all.set(bound, (all.get(bound) ?? 0) + value);
  }
  return new Map([...all].sort((a, b) => a[0] - b[0]));
}

// The quantile of what came between two readings, linear inside a bucket.
function quantile(now, before, q) {
  const counts = [...now].map(([le, n]) => [le, n - (before?.get(le) ?? 0)]);
  const all = counts.at(-1)?.[1] ?? 0;
  if (!all) return NaN;
  let [low, under] = [0, 0];
  for (const [le, n] of counts) {
    if (n >= q * all) return le === Infinity ? low : low + (le - low) * ((q * all - under) / (n - under || 1));
    [low, under] = [le, n];
  }
  return low;
}

function sparkline(values, words) {
  const known = values.filter(Number.isFinite);
  const most = Math.max(...known, 1e-9);
  const place = (v, i) => `${(((i + KEPT - values.length) / (KEPT - 1)) * 240).toFixed(1)},${(46 - (v / most) * 42).toFixed(1)}`;
  const points = values.map((v, i) => (Number.isFinite(v) ? place(v, i) : null)).filter(Boolean);
  return svg('svg', { class: 'spark', viewBox: '0 0 240 48', preserveAspectRatio: 'none', role: 'img', 'aria-label': words },
    svg('path', { class: 'ground', d: 'M0 46.5H240' }), points.length > 1 && svg('polyline', { points: points.join(' ') }));
}

const tile = (name, value, extra) => h('div', { class: 'stat' }, h('dt', {}, name), h('dd', {}, value, extra));

function modelTable(models) {
  const reload = async (name) => {
    try {
      await api.reloadModel(name);
      announce(`${name} is loaded again`);
    } catch (error) {
      toast(error.status === 401 || error.status === 403 ? `${error.message} (enter a key under Jobs)` : error.message);
    }
  };
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Loaded models' }, h('table', {}, h('thead', {}, h('tr', {}, ['Model', 'Algorithm', 'Held-out RMSE', 'Dataset'].map((t) => h('th', { scope: 'col' }, t)), h('td', {}))),
    h('tbody', {}, models.map((m) => h('tr', {}, h('th', { scope: 'row' }, m.name), h('td', {}, m.algorithm), h('td', {}, fixed(m.metrics?.rmse, 4)), h('td', { class: 'code' }, (m.fingerprint ?? '').slice(0, 12)),
      h('td', {}, h('button', { type: 'button', class: 'quiet', onclick: () => reload(m.name), 'aria-label': `Load ${m.name} again` }, 'Reload')))))));
}

function routeTable(samples) {
  const routes = samples.filter((s) => s.name === 'reel_request_seconds_count' && s.labels.route).sort((a, b) => b.value - a.value).slice(0, 12);
  const at = ({ route, method }) => (labels) => labels.route === route && labels.method === method;
  const number = (text) => h('td', { class: 'number' }, text);
  return h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Route'), ['Requests', 'Median', '99 %'].map((t) => h('th', { scope: 'col', class: 'number' }, t)))),
    h('tbody', {}, routes.map(({ labels, value }) => h('tr', {}, h('th', { scope: 'row', class: 'code' }, `${labels.method} ${labels.route}`),
      number(count(value)), number(duration(quantile(spread(samples, at(labels)), null, 0.5))), number(duration(quantile(spread(samples, at(labels)), null, 0.99)))))));
}

export default async function server(page) {
  const curves = h('dl', { class: 'stats', id: 'curves' });
  const tiles = h('dl', { class: 'stats small' });
  const routes = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Requests by route' });
  const models = h('div', {});
  const history = [];
  let before;
  const draw = async () => {
    const samples = parse(await api.metrics(page.signal));
    const now = { at: performance.now(), requests: sum(samples, 'reel_requests_total'), spread: spread(samples) };
    if (before) {
      const seconds = (now.at - before.at) / 1000;
      history.push({ rate: (now.requests - before.requests) / seconds, p50: quantile(now.spread, before.spread, 0.5), p99: quantile(now.spread, before.spread, 0.99) });
      if (history.length > KEPT) history.shift();
    }
    before = now;
    const last = history.at(-1) ?? { rate: NaN, p50: quantile(now.spread, null, 0.5), p99: quantile(now.spread, null, 0.99) };
    const hits = sum(samples, 'reel_cache_hits_total');
    const asked = hits + sum(samples, 'reel_cache_misses_total');
    const batches = sum(samples, 'reel_batches_total');
    fill(curves,
      tile('Requests a second', fixed(last.rate, 1), sparkline(history.map((p) => p.rate), `Requests a second over two minutes, now ${fixed(last.rate, 1)}`)),
      tile('Latency, median', duration(last.p50), sparkline(history.map((p) => p.p50), `Median latency, now ${duration(last.p50)}`)),
      tile('Latency, 99 %', duration(last.p99), sparkline(history.map((p) => p.p99), `99th percentile of latency, now ${duration(last.p99)}`)));
    fill(tiles, tile('Requests in all', count(now.requests)), tile('Connections', count(one(samples, 'reel_connections') ?? 0)),
      tile('Waiting for a score', count(one(samples, 'reel_queue_depth') ?? 0)),
      tile('Requests a batch', batches ? fixed(sum(samples, 'reel_batched_requests_total') / batches, 1) : '–'),
      tile('Cache hits', asked ? `${fixed((100 * hits) / asked, 1)} %` : '–'),
      tile('Memory', bytes(one(samples, 'process_resident_memory_bytes') ?? 0)));
    fill(routes, routeTable(samples));
  };
  fill(page.main, page.heading('Server'), h('p', { class: 'lead' }, 'What this server does right now, read from its metrics every two seconds.'), curves, tiles,
    h('section', {}, h('h2', {}, 'By route, since it started'), routes), h('section', {}, h('h2', {}, 'Loaded models'), models));
  const loaded = await api.models(page.signal);
  fill(models, modelTable(loaded.models));
  await page.every(EVERY_MS, draw);
}
