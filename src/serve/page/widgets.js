// What several views draw: movie cards on a strip of film, stars to rate with, scores with their uncertainty.
import { hasKey, setKey } from './api.js';
import { h, calm, fixed, marquee, plural, stars } from './dom.js';

// Hue of each genre's frame on the strip.
const HUES = {
  Action: 28, Adventure: 58, Animation: 100, Children: 80, "Children's": 80, Comedy: 90, Crime: 8, Documentary: 210,
  Drama: 265, Fantasy: 315, 'Film-Noir': 250, Horror: 18, IMAX: 220, Musical: 335, Mystery: 290, Romance: 355,
  'Sci-Fi': 195, Thriller: 240, War: 130, Western: 50,
};
export const real = (genres) => (genres ?? []).filter((genre) => genre !== '(no genres listed)');

// A piece of film whose frames are the movie's genres: decoration, so hidden from screen readers.
export function strip(genres) {
  const frames = real(genres).slice(0, 4);
  return h('span', { class: 'strip', 'aria-hidden': 'true' },
    (frames.length ? frames : ['']).map((genre) => h('span', { vars: { hue: HUES[genre] ?? 0 }, class: HUES[genre] === undefined ? 'blank' : '' })));
}

export function movieLink(movie) {
  const { name, year } = marquee(movie.title);
  return [h('a', { href: `#/movies/${movie.id}` }, name), year && [' ', h('span', { class: 'year' }, year)]];
}

// A movie on one row; `extra` stands below title and genres, `aside` at the end.
export function movieCard(movie, { extra, aside, level = 'h3' } = {}) {
  return h('li', { class: 'movie', 'data-movie': movie.id }, strip(movie.genres),
    h('div', { class: 'movie-text' }, h(level, {}, movieLink(movie)),
      h('p', { class: 'genres' }, real(movie.genres).join(' · ') || 'no genres listed'), extra),
    aside && h('div', { class: 'movie-aside' }, aside));
}

// The predicted stars on the scale 0.5 to 5: a mark, and a band of one standard deviation where the model knows it.
export function score(value, sd) {
  const place = (x) => `${((Math.min(5, Math.max(0.5, x)) - 0.5) / 4.5) * 100}%`;
  const known = Number.isFinite(sd);
  const spoken = `${fixed(value, 2)} of 5 stars predicted${known ? `, give or take ${fixed(sd, 2)}` : ''}`;
  return h('div', { class: 'score' }, h('span', { class: 'hidden' }, spoken),
    h('span', { class: 'score-value', 'aria-hidden': 'true' }, fixed(value, 2)),
    h('span', { class: 'scale', 'aria-hidden': 'true', title: spoken, vars: { at: place(value), low: place(value - sd), high: place(value + sd) } },
      known && h('span', { class: 'band' }), h('span', { class: 'mark' })),
    known && h('span', { class: 'sd', 'aria-hidden': 'true' }, `± ${fixed(sd, 2)}`));
}

// The ratings that carried a score, with the stars each added or took away.
export function reasons(list) {
  const shown = (list ?? []).filter((reason) => Math.abs(reason.share) >= 0.015).slice(0, 3);
  if (!shown.length) return null;
  const part = (items, word) => items.length > 0 && [`${word} `, items.map((reason, i) => [i > 0 && ', ',
    h('a', { href: `#/movies/${reason.movieId}` }, marquee(reason.title).name),
    h('span', { class: 'share' }, ` ★\u202f${Number(reason.rating)} (${reason.share > 0 ? '+' : '−'}${Math.abs(reason.share).toFixed(2)})`)])];
  const [for_, against] = [shown.filter((r) => r.share > 0), shown.filter((r) => r.share < 0)];
  return h('p', { class: 'reasons' }, part(for_, 'Because of'), for_.length && against.length ? '; ' : '', part(against, for_.length ? 'despite' : 'Despite'));
}

// Five stars in half steps: a slider for keyboards and screen readers, a click or tap for pointers. onchange(value) gets
// 0 when the rating is taken away.
export function rater({ title, value = 0, onchange }) {
  const name = marquee(title).name;
  const element = h('span', { class: 'rater', role: 'slider', tabindex: '0', 'aria-label': `Your rating of ${name}`, 'aria-valuemin': '0', 'aria-valuemax': '5' });
  const draw = (shown) => element.style.setProperty('--v', `${shown * 20}%`);
  const set = (next, tell) => {
    value = Math.min(5, Math.max(0, next));
    element.setAttribute('aria-valuenow', value);
    element.setAttribute('aria-valuetext', value ? stars(value) : 'not rated');
    draw(value);
    if (tell) onchange(value);
  };
  const under = (event) => {
    const box = element.getBoundingClientRect();
    return Math.min(5, Math.max(0.5, Math.ceil(((event.clientX - box.left) / box.width) * 10) / 2));
  };
  element.addEventListener('pointermove', (event) => { if (event.pointerType === 'mouse') draw(under(event)); });
  element.addEventListener('pointerleave', () => draw(value));
  element.addEventListener('click', (event) => { if (event.detail) set(under(event) === value ? 0 : under(event), true); });
  element.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 0.5, ArrowUp: 0.5, ArrowLeft: -0.5, ArrowDown: -0.5 }[event.key];
    const fixedTo = { Home: 0.5, End: 5, Delete: 0, Backspace: 0 }[event.key] ?? (/^[0-5]$/.test(event.key) ? Number(event.key) : undefined);
    if ((step === undefined && fixedTo === undefined) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    set(fixedTo ?? value + step, true);
  });
  set(value, false);
  return element;
}

// Changes the rows of a list and lets those that stay glide to their new places.
export function shuffle(list, rows) {
  const before = new Map([...list.children].map((row) => [row.dataset.movie, row.getBoundingClientRect().top]));
  list.replaceChildren(...rows);
  if (calm() || !before.size) return;
  for (const row of rows) {
    const old = before.get(row.dataset.movie);
    const moved = old === undefined ? 0 : old - row.getBoundingClientRect().top;
    const from = old === undefined ? { opacity: 0 } : { transform: `translateY(${moved}px)` };
    if (old === undefined || moved) row.animate([from, { opacity: 1, transform: 'none' }], { duration: 350, easing: 'cubic-bezier(.2,.7,.2,1)' });
  }
}

// Bars for how many ratings each star value got.
export function histogram(values) {
  const counts = Array(10).fill(0);
  for (const value of values) counts[Math.round(value * 2) - 1]++;
  const most = Math.max(...counts, 1);
  return h('div', { class: 'histogram', role: 'img', 'aria-label': `Ratings by stars: ${counts.map((n, i) => `${(i + 1) / 2}: ${n}`).join(', ')}` },
    counts.map((n, i) => h('span', { vars: { share: n / most }, title: `${(i + 1) / 2} stars: ${plural(n, 'rating')}` }, h('i', {}), h('b', {}, i % 2 ? (i + 1) / 2 : ''))));
}

export const field = (label, control, hint) => h('label', { class: 'field' }, h('span', {}, label), control, hint && h('small', {}, hint));

export function select(options, value, props) {
  const element = h('select', props, options.map(([key, text]) => h('option', { value: key }, text)));
  element.value = value ?? '';
  return element;
}

// Calls fn once the calls have paused for `ms`.
export function settle(fn, ms) {
  let timer;
  return (...args) => { clearTimeout(timer); timer = setTimeout(() => fn(...args), ms); };
}

// Where a key is entered; it takes effect as it is typed. `entered` runs on Enter.
export function keyForm(why, entered = () => {}) {
  const input = h('input', { type: 'password', id: 'key', autocomplete: 'off', spellcheck: 'false', oninput: () => setKey(input.value) });
  return h('form', { class: 'controls', onsubmit: (event) => { event.preventDefault(); entered(); } },
    field('API key or token', input, `${hasKey() ? 'A key is set; type to replace it.' : why} Kept in this tab’s memory only.`));
}
