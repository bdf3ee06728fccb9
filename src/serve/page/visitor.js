// The visitor's own ratings: kept in this browser only, sent along with each question, stored nowhere else.
const NAME = 'reel.visitor';
const listeners = new Set();
let ratings = load();

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem(NAME) ?? '[]');
    return saved.filter((r) => Number.isInteger(r.id) && r.rating >= 0.5 && r.rating <= 5 && typeof r.title === 'string');
  } catch {
    return []; // storage is off or holds something else: start empty
  }
}

function changed(movie) {
  try { localStorage.setItem(NAME, JSON.stringify(ratings)); } catch { /* lasts for this tab only */ }
  for (const listener of listeners) listener(movie);
}

export const all = () => ratings;
export const of = (id) => ratings.find((r) => r.id === id)?.rating ?? 0;

// rating 0 takes the movie out.
export function rate({ id, title, genres }, rating) {
  const at = ratings.findIndex((r) => r.id === id);
  const entry = { id, title, genres, rating };
  if (!rating) ratings = ratings.filter((r) => r.id !== id);
  else if (at < 0) ratings = [entry, ...ratings];
  else ratings = ratings.with(at, entry);
  changed(id);
}

export function clear() {
  ratings = [];
  changed(0);
}

export function onchange(listener, signal) {
  listeners.add(listener);
  signal.addEventListener('abort', () => listeners.delete(listener));
}
