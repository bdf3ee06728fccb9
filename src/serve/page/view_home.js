// For you: rate movies on one side, watch the recommendations change on the other.
import * as api from './api.js';
import * as visitor from './visitor.js';
import { announce, empty, failed, fill, h, loading, marquee, plural } from './dom.js';
import { movieCard, rater, reasons, score, select, settle, shuffle } from './widgets.js';

const SHOWN = 20;
const SUGGESTED = 8;

const ratingRow = (movie) => movieCard(movie, {
  aside: rater({ title: movie.title, value: visitor.of(movie.id), onchange: (value) => visitor.rate(movie, value) }),
});

// What to rate: the search's hits, or well-known movies that have no rating yet.
function suggestions(page) {
  const list = h('ul', { class: 'movies suggested' });
  const note = h('p', { class: 'note' });
  const input = h('input', { type: 'search', id: 'rate-search', autocomplete: 'off', placeholder: 'Title …' });
  let known = [];
  let asked = 0;
  const draw = (movies) => shuffle(list, movies.map(ratingRow));
  const popular = () => {
    note.textContent = '';
    draw(known.filter((movie) => !visitor.of(movie.id)).slice(0, SUGGESTED));
  };
  const search = async () => {
    const mine = ++asked;
    const text = input.value.trim();
    if (!text) return popular();
    const { movies } = await api.movies({ query: text, limit: SUGGESTED }, page.signal);
    if (mine !== asked) return;
    draw(movies);
    note.textContent = movies.length ? '' : `No title matches “${text}”.`;
    announce(`${plural(movies.length, 'title')} found`);
  };
  input.addEventListener('input', settle(search, 200));
  visitor.onchange(settle(() => { if (!input.value.trim()) popular(); }, 600), page.signal);
  const start = async () => {
    fill(list, h('li', {}, loading('movies')));
    known = (await api.movies({ limit: 100 }, page.signal)).movies;
    popular();
  };
  start().catch((error) => { if (!page.signal.aborted) fill(list, h('li', {}, failed(error, start))); });
  return h('section', { 'aria-labelledby': 'rate-title' }, h('h2', { id: 'rate-title' }, 'Rate what you have seen'),
    h('label', { class: 'field', for: 'rate-search' }, h('span', {}, 'Find a movie'), input),
    h('p', { class: 'note' }, 'Point at the stars, or use arrow keys and 1 to 5; Delete takes a rating away.'), list, note);
}

function yours(page) {
  const list = h('ul', { class: 'movies' });
  const title = h('h2', { id: 'yours-title' });
  const clear = h('button', { type: 'button', class: 'quiet', onclick: () => { visitor.clear(); announce('All your ratings are gone.'); } }, 'Start over');
  const see = h('button', { type: 'button', class: 'quiet jump', onclick: () => document.getElementById('list-title').scrollIntoView() }, 'See the list');
  const section = h('section', { 'aria-labelledby': 'yours-title' }, h('div', { class: 'row' }, title, see, clear), list);
  const draw = (id) => {
    const ratings = visitor.all();
    section.hidden = !ratings.length;
    title.textContent = plural(ratings.length, 'rating of yours', 'ratings of yours');
    // A rating that changed in this list keeps its row, and with it the focus.
    const same = ratings.length === list.children.length && id && list.querySelector(`[data-movie="${id}"]`);
    if (!same || !list.contains(document.activeElement)) shuffle(list, ratings.map(ratingRow));
  };
  visitor.onchange(draw, page.signal);
  draw(0);
  return section;
}

// Ratings of movies that another data set had: the server knows them no more, so they are dropped.
async function forgetUnknown(signal) {
  for (const rating of visitor.all()) {
    try {
      await api.movie(rating.id, signal);
    } catch (error) {
      if (error.status === 404) visitor.rate(rating, 0);
    }
  }
}

// Where each movie stood before: "new", or how many places it moved.
function movement(before, id, rank) {
  if (!before.size) return null;
  if (!before.has(id)) return h('span', { class: 'moved new' }, 'new');
  const by = before.get(id) - rank;
  if (!by) return null;
  return h('span', { class: `moved ${by > 0 ? 'up' : 'down'}` }, h('span', { 'aria-hidden': 'true' }, `${by > 0 ? '▲' : '▼'}${Math.abs(by)}`),
    h('span', { class: 'hidden' }, `${by > 0 ? 'up' : 'down'} ${Math.abs(by)}`));
}

function recommended(page, models) {
  if (!models.length) return h('section', { class: 'panel' }, h('h2', {}, 'Recommended for you'), empty('No model is loaded that takes in ratings as you give them.'));
  const list = h('ol', { class: 'movies ranked', id: 'recommended' });
  const state = h('div', {});
  const model = select(models.map((m) => [m.name, m.name]), page.query.get('model') ?? models[0]?.name);
  const least = select([['', 'any'], ['10', '10 or more'], ['50', '50 or more'], ['200', '200 or more']], '10');
  let before = new Map();
  let asking = new AbortController();
  const draw = ({ recommendations: items }) => {
    shuffle(list, items.map((item, i) => movieCard(item, {
      aside: [score(item.score, item.sd), movement(before, item.id, i)], extra: reasons(item.because),
    })));
    const fresh = before.size ? items.filter((item) => !before.has(item.id)).length : 0;
    before = new Map(items.map((item, i) => [item.id, i]));
    fill(state, !items.length && empty('Nothing is left to recommend with these filters.'));
    announce(items.length ? `${plural(items.length, 'recommendation')}, first ${marquee(items[0].title).name}${fresh ? `, ${fresh} new` : ''}` : 'No recommendations');
  };
  const ask = async () => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const ratings = visitor.all().map((r) => ({ movieId: r.id, rating: r.rating }));
    if (!ratings.length) {
      before = new Map();
      list.replaceChildren();
      fill(state, empty('Rate one movie and your list appears here. It is worked out from your ratings alone; they stay in this browser.'));
      return;
    }
    list.setAttribute('aria-busy', 'true');
    try {
      draw(await api.visitor({ ratings, limit: SHOWN, model: model.value || undefined, min_ratings: Number(least.value) || undefined, explain: 1 }, signal));
    } catch (error) {
      if (signal.aborted) return;
      list.replaceChildren();
      fill(state, failed(error, ask));
      if (error.status === 404) forgetUnknown(page.signal);
    } finally {
      if (!signal.aborted) list.removeAttribute('aria-busy');
    }
  };
  page.signal.addEventListener('abort', () => asking.abort());
  visitor.onchange(settle(ask, 250), page.signal);
  for (const control of [model, least]) control.addEventListener('change', () => { before = new Map(); ask(); });
  ask();
  return h('section', { class: 'panel', 'aria-labelledby': 'list-title' }, h('h2', { id: 'list-title' }, 'Recommended for you'),
    h('div', { class: 'controls' }, models.length > 1 && h('label', { class: 'field' }, h('span', {}, 'Model'), model),
      h('label', { class: 'field' }, h('span', {}, 'Rated by'), least)), state, list);
}

export default async function home(page) {
  fill(page.main, page.heading('What to watch next'), loading('models'));
  const { models } = await api.models(page.signal);
  const able = models.filter((m) => m.folds_in !== false);
  fill(page.main, page.heading('What to watch next'),
    h('p', { class: 'lead' }, 'Rate a few movies. Each rating is folded into the model as you give it, without training again, and the list moves.'),
    h('div', { class: 'columns' }, h('div', {}, suggestions(page), yours(page)), recommended(page, able)));
}
