// The HTTP API as functions. Errors become Error objects with the sentence of the problem document.

export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// The key, where one is needed (writing, admin paths, everything under --auth-all), lives in this variable only: never stored, gone with the tab.
let key = '';
export const setKey = (value) => { key = value.trim(); };
export const hasKey = () => key !== '';
const keyHeader = () => (key.split('.').length === 3 ? { Authorization: `Bearer ${key}` } : { 'X-API-Key': key });

const sleep = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  const text = body.detail || body.title || `The server answered ${response.status}.`;
  const sentence = text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
  return new ApiError(response.status, sentence, Number(response.headers.get('Retry-After')) || 0);
}

async function send(path, { method = 'GET', body, signal, text = false } = {}) {
  const headers = { Accept: text ? 'text/plain' : 'application/json', ...(key && keyHeader()) };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server cannot be reached.');
  }
  if (!response.ok) throw await problem(response);
  return text ? response.text() : response.json();
}

// A busy server says when to come back: reads wait for it once.
async function get(path, options) {
  try {
    return await send(path, options);
  } catch (error) {
    if (error.status !== 503 || !error.retryAfter || error.retryAfter > 5) throw error;
    await sleep(error.retryAfter * 1000, options?.signal);
    return send(path, options);
  }
}

const query = (values) => {
  const set = new URLSearchParams(Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== ''));
  return set.size ? `?${set}` : '';
};

const v1 = '/api/v1';
export const models = (signal) => get(`${v1}/models`, { signal });
export const reloadModel = (name) => send(`${v1}/models/${name}/reload`, { method: 'POST' });

export const users = (options, signal) => get(`${v1}/users${query(options)}`, { signal });
export const someUsers = (limit, cluster, signal) => users({ limit, cluster, sample: Math.floor(Math.random() * 1e9) }, signal);
export const user = (id, signal) => get(`${v1}/users/${id}`, { signal });
export const recommendations = (id, options, signal) => get(`${v1}/users/${id}/recommendations${query(options)}`, { signal });
export const visitor = (body, signal) => send(`${v1}/recommendations`, { method: 'POST', body, signal });

export const movies = (options, signal) => get(`${v1}/movies${query(options)}`, { signal });
export const movie = (id, signal) => get(`${v1}/movies/${id}`, { signal });
export const metadata = (id, signal) => get(`/movie/${id}/metadata`, { signal });
export const similar = (id, signal) => get(`${v1}/movies/${id}/most_similar_movies`, { signal });

export const clusters = (points, signal) => get(`${v1}/clusters${query({ points })}`, { signal });
export const cluster = (id, signal) => get(`${v1}/clusters/${id}`, { signal });

export const jobs = (signal) => get(`${v1}/jobs`, { signal });
export const submitJob = (spec) => send(`${v1}/jobs`, { method: 'POST', body: spec });
export const cancelJob = (id) => send(`${v1}/jobs/${id}`, { method: 'DELETE' });

export const metrics = (signal) => get('/metrics', { signal, text: true });
export const ready = async (signal) => (await fetch('/readyz', { signal })).ok;
