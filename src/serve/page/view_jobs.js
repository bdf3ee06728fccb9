// Jobs: what trains now, what waits, what came of the rest; submit and cancel with a key.
import * as api from './api.js';
import { announce, bytes, count, duration, empty, fill, fixed, h, loading, toast } from './dom.js';
import { field, keyForm, select } from './widgets.js';

const LIVE = ['queued', 'running'];
const ALGORITHMS = ['svd', 'als', 'bmf', 'gbdt', 'bias', 'mean'];

const when = (seconds) => h('time', { datetime: new Date(seconds * 1000).toISOString() },
  new Date(seconds * 1000).toLocaleString('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' }));

function what({ kind, spec }) {
  const params = Object.entries(spec.params ?? {}).map(([name, value]) => `${name}=${value}`).join(' ');
  const words = { train: `Train ${spec.algorithm}`, cv: `Cross-validate ${spec.algorithm}, ${spec.folds ?? 5} folds`,
    cluster: `Cluster users, k = ${spec.k ?? '?'}`, precompute: `Precompute lists of ${spec.model}` };
  return [words[kind] ?? kind, params && h('span', { class: 'note' }, ` ${params}`), spec.model && kind === 'train' && h('span', { class: 'note' }, ` as ${spec.model}`)];
}

function progress({ state, progress: p }) {
  if (!p || !LIVE.includes(state)) return null;
  const share = p.total > 0 ? p.done / p.total : undefined;
  const metric = p.metric_name && Number.isFinite(p.metric) ? ` · ${p.metric_name} ${fixed(p.metric, 4)}` : '';
  return h('div', { class: 'progress' }, h('progress', { max: 1, value: share, 'aria-label': p.stage || 'progress' }),
    h('span', { class: 'note' }, `${p.stage ?? ''} ${p.total > 0 ? `${p.done} of ${p.total}` : ''}${metric}`));
}

// What a result says in a line; all of it is in the API.
function result({ result: r, error }) {
  if (error) return h('p', { class: 'bad' }, error);
  if (!r) return null;
  const { rmse, mae } = r.mean ?? r.metrics ?? r;
  const words = [
    rmse && `RMSE ${fixed(rmse, 4)}${r.std ? ` ± ${fixed(r.std.rmse, 4)}` : ''}`, mae && `MAE ${fixed(mae, 4)}`,
    r.fit_seconds && `fitted in ${duration(r.fit_seconds)}`, r.ratings_per_second && `${count(Math.round(r.ratings_per_second))} ratings/s`,
    r.peak_rss_bytes && `${bytes(r.peak_rss_bytes)} at most`, r.sizes && `sizes ${r.sizes.join(', ')}`,
  ].filter(Boolean);
  return words.length > 0 && h('p', { class: 'note' }, words.join(' · '));
}

function row(job, cancel) {
  const ran = job.started && (job.finished || Date.now() / 1000) - job.started;
  return h('li', { class: 'job', 'data-job': job.id, 'data-state': job.state },
    h('div', { class: 'row' }, h('h3', {}, `${job.id}. `, what(job)), h('span', { class: `badge ${job.state}` }, job.state)),
    progress(job), result(job),
    h('div', { class: 'row' }, h('p', { class: 'note' }, 'Submitted ', when(job.created), job.started && ` · ran ${ran < 1 ? 'under a second' : duration(ran)}`),
      LIVE.includes(job.state) && h('button', { type: 'button', class: 'quiet', onclick: () => cancel(job), 'aria-label': `Cancel job ${job.id}` }, 'Cancel')));
}

const typed = (text) => (Number.isFinite(Number(text)) ? Number(text) : text === 'true' || text === 'false' ? text === 'true' : text);

// "factors=50 epochs=20" as an object; throws on a word without "=".
function parameters(text) {
  return Object.fromEntries(text.split(/[\s,]+/).filter(Boolean).map((word) => {
    const [name, value] = word.split('=');
    if (!name || !value) throw new Error(`“${word}” is not name=value.`);
    return [name, typed(value)];
  }));
}

function form(submitted) {
  const kind = select([['train', 'Train a model'], ['cv', 'Cross-validate'], ['cluster', 'Cluster users'], ['precompute', 'Precompute lists']], 'train', { id: 'job-kind' });
  const input = {
    algorithm: select(ALGORITHMS.map((a) => [a, a]), 'svd', { id: 'job-algorithm' }),
    model: h('input', { type: 'text', id: 'job-model', value: 'trial', pattern: '[a-z0-9_\\-]{1,32}', autocomplete: 'off' }),
    params: h('input', { type: 'text', id: 'job-params', placeholder: 'factors=50 epochs=20', autocomplete: 'off' }),
    folds: h('input', { type: 'number', id: 'job-folds', value: 5, min: 2, max: 20 }),
    k: h('input', { type: 'number', id: 'job-k', value: 4, min: 2, max: 64 }),
    seed: h('input', { type: 'number', id: 'job-seed', value: 1, min: 0 }),
  };
  const uses = { train: ['algorithm', 'model', 'params', 'seed'], cv: ['algorithm', 'params', 'folds', 'seed'], cluster: ['k', 'seed'], precompute: ['model'] };
  const names = { algorithm: 'Algorithm', model: 'Model name', params: 'Parameters', folds: 'Folds', k: 'Clusters', seed: 'Seed' };
  const fields = Object.fromEntries(Object.entries(input).map(([name, control]) => [name, field(names[name], control)]));
  const fit = () => { for (const name of Object.keys(fields)) fields[name].hidden = !uses[kind.value].includes(name); };
  const number = ['folds', 'k', 'seed'];
  const submit = async (event) => {
    event.preventDefault();
    try {
      const entries = uses[kind.value].map((name) => [name, name === 'params' ? parameters(input.params.value) : number.includes(name) ? Number(input[name].value) : input[name].value]);
      const job = await api.submitJob({ kind: kind.value, ...Object.fromEntries(entries) });
      announce(`Job ${job.id} submitted`);
      await submitted();
    } catch (error) {
      toast(error.message);
    }
  };
  kind.addEventListener('change', fit);
  fit();
  return h('form', { class: 'controls', onsubmit: submit, 'aria-labelledby': 'submit-title' }, field('Job', kind), Object.values(fields),
    h('button', { type: 'submit', class: 'primary' }, 'Submit'));
}

export default async function jobs(page) {
  const list = h('ol', { class: 'jobs', id: 'jobs' });
  const states = new Map();
  const cancel = async (job) => {
    try {
      await api.cancelJob(job.id);
      await draw();
    } catch (error) {
      toast(error.message);
    }
  };
  const draw = async () => {
    const { jobs: all } = await api.jobs(page.signal);
    const held = document.activeElement?.closest?.('[data-job]')?.dataset.job;
    fill(list, all.length ? all.map((job) => row(job, cancel)) : h('li', {}, empty('No job yet. Submit one above.')));
    if (held) list.querySelector(`[data-job="${held}"] button`)?.focus();
    for (const job of all) {
      if (states.has(job.id) && states.get(job.id) !== job.state) announce(`Job ${job.id} is ${job.state}`);
      states.set(job.id, job.state);
    }
  };
  fill(page.main, page.heading('Jobs'), h('p', { class: 'lead' }, 'Training runs on the server, with its progress as it goes. A finished model is loaded under its name at once.'),
    h('section', { class: 'panel' }, h('h2', { id: 'submit-title' }, 'Submit'), form(draw), keyForm('Needed to submit and cancel.')),
    h('section', {}, h('h2', {}, 'All jobs'), list));
  fill(list, h('li', {}, loading('jobs')));
  await page.every(1000, draw);
}

