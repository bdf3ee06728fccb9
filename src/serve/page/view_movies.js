// Movies: search with filters and paging; one movie with its facts, your rating and what is like it.
import * as api from './api.js';
import * as visitor from './visitor.js';
import { announce, count, empty, failed, fill, fixed, h, loading, marquee, plural } from './dom.js';
import { field, movieCard, rater, real, select, settle, strip } from './widgets.js';

const facts = (movie) => movie.n_ratings > 0 && h('span', { class: 'note' }, `★ ${fixed(movie.mean_rating, 2)} · ${plural(movie.n_ratings, 'rating')}`);

export async function moviesView(page) {
  const { query } = page;
  fill(page.main, page.heading('Movies'), loading('movies'));
  const { dataset } = await api.models(page.signal);
  const text = h('input', { type: 'search', id: 'movie-search', value: query.get('query') ?? '', placeholder: 'Title …', autocomplete: 'off' });
  const genre = select([['', 'all'], ...dataset.genres.map((g) => [g, g])], query.get('genre'));
  const list = h('ul', { class: 'movies grid', id: 'found' });
  const state = h('div', {});
  const more = h('button', { type: 'button', hidden: true }, 'Show more');
  let asked = 0;
  const load = async (cursor) => {
    const mine = ++asked;
    const values = { query: text.value.trim(), genre: genre.value };
    page.remember(values);
    if (!cursor) fill(state, !list.children.length && loading('movies'));
    try {
      const { movies, next_cursor: next } = await api.movies({ ...values, limit: 30, cursor }, page.signal);
      if (mine !== asked) return;
      if (!cursor) list.replaceChildren();
      list.append(...movies.map((movie) => movieCard(movie, { extra: facts(movie), level: 'h2' })));
      fill(state, !list.children.length && empty(values.query ? `No title matches “${values.query}”.` : 'No movie matches.'));
      more.hidden = !next;
      more.onclick = () => load(next);
      announce(`${plural(list.children.length, 'movie')} shown`);
    } catch (error) {
      if (!page.signal.aborted) fill(state, failed(error, () => load(cursor)));
    }
  };
  const later = settle(() => load(), 200);
  for (const input of [text, genre]) input.addEventListener('input', later);
  fill(page.main, page.heading('Movies'),
    h('form', { class: 'controls', role: 'search', onsubmit: (event) => { event.preventDefault(); load(); } },
      field('Search', text), field('Genre', genre)), list, state, more);
  await load();
}

function details(movie, meta) {
  const rows = [
    ['Average', movie.n_ratings > 0 && `${fixed(movie.mean_rating, 2)} stars of ${plural(movie.n_ratings, 'rating')}`],
    ['Running time', meta.runtime && `${meta.runtime} min`],
    ['Revenue', meta.revenue && `$ ${count(meta.revenue)}`],
    ['IMDb', meta.imdb_id && `tt${String(meta.imdb_id).padStart(7, '0')}`],
    ['MovieLens id', movie.id],
  ].filter(([, value]) => value);
  return h('dl', { class: 'facts' }, rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

export async function movieView(page) {
  fill(page.main, page.heading(`Movie ${page.id}`), loading('movie'));
  const list = h('ul', { class: 'movies grid', id: 'similar' });
  const [found, [meta]] = await Promise.all([api.movie(page.id, page.signal), api.metadata(page.id, page.signal)]);
  // Its number of ratings is what the search knows.
  const { movies } = await api.movies({ query: found.title.slice(0, 200), limit: 50 }, page.signal);
  const movie = movies.find((m) => m.id === page.id) ?? found;
  const { name, year } = marquee(movie.title);
  const said = h('p', { class: 'note' });
  const tell = (value) => { said.textContent = value ? 'Part of your list under For you.' : ''; };
  tell(visitor.of(movie.id));
  const mine = rater({ title: movie.title, value: visitor.of(movie.id), onchange: (value) => { visitor.rate(movie, value); tell(value); } });
  const more = h('button', { type: 'button', hidden: true }, 'Show more');
  fill(page.main,
    h('div', { class: 'hero' }, strip(movie.genres), h('div', {}, page.heading(name, year && [' ', h('span', { class: 'year' }, year)]),
      h('p', { class: 'genres' }, real(movie.genres).join(' · ') || 'no genres listed'), details(movie, meta),
      h('p', { class: 'yours' }, h('span', {}, 'Your rating'), mine), said)),
    h('section', { 'aria-labelledby': 'similar-title' }, h('h2', { id: 'similar-title' }, 'Like it by genre'), list, more));
  fill(list, h('li', {}, loading('similar movies')));
  const { most_similar_movies: all } = await api.similar(page.id, page.signal);
  const draw = (n) => {
    fill(list, all.slice(0, n).map((other) => movieCard(other, { extra: h('span', { class: 'note' }, `similarity ${fixed(other.cosine_similarity, 2)}`) })));
    more.hidden = n >= all.length;
    more.onclick = () => draw(n + 24);
  };
  draw(12);
  if (!all.length) fill(list, h('li', {}, empty('Nothing can be compared with this movie.')));
}

