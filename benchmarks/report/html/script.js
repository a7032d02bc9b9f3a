'use strict';
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add('js');

  // A click on a head sorts by that column; runs without a value stay at the end.
  const sortBy = (table, head) => {
    const column = [...head.parentNode.children].indexOf(head);
    const descending = head.getAttribute('aria-sort') === 'ascending';
    const value = (row) => row.children[column].dataset.v;
    const asNumber = head.classList.contains('number');
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      const order = asNumber ? Number(x) - Number(y) : x < y ? -1 : Number(x > y);
      return descending ? -order : order;
    };
    const body = table.tBodies[0];
    [...body.rows].sort(compare).forEach((row) => body.append(row));
    all('th[aria-sort]', table).forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
  };
  for (const head of all('th.sorts')) {
    head.firstElementChild.addEventListener('click', () => sortBy(head.closest('table'), head));
  }

  // A row and its lines belong together: pointing at one shows the other, its box hides them.
  const drawn = (run) => all(`.charts .of${run}`);
  for (const row of all('tr[data-run]')) {
    const mark = (on) => {
      drawn(row.dataset.run).forEach((part) => part.classList.toggle('hot', on));
    };
    row.addEventListener('pointerenter', () => mark(true));
    row.addEventListener('pointerleave', () => mark(false));
    row.addEventListener('focusin', () => mark(true));
    row.addEventListener('focusout', () => mark(false));
    for (const part of drawn(row.dataset.run)) {
      part.addEventListener('pointerenter', () => { mark(true); row.classList.add('hot'); });
      part.addEventListener('pointerleave', () => { mark(false); row.classList.remove('hot'); });
    }
    const box = row.querySelector('input');
    if (!box) continue; // nothing of it is drawn
    const show = () => drawn(row.dataset.run).forEach((part) => part.classList.toggle('off', !box.checked));
    box.addEventListener('change', show);
    show(); // a browser may restore the boxes of an earlier visit
  }

  // A link to a run opens it; on paper all are open.
  const open = () => {
    const run = /^#run\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (run) { run.open = true; run.scrollIntoView(); }
  };
  addEventListener('hashchange', open);
  open();
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = all('details:not([open])');
    closed.forEach((part) => { part.open = true; });
  });
  addEventListener('afterprint', () => closed.forEach((part) => { part.open = false; }));
})();
