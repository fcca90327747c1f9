# SPDX-License-Identifier: Apache-2.0
"""A page that shows the OpenAPI document. It loads nothing from elsewhere."""

import base64
import hashlib
from typing import Final

__all__ = ["CONTENT_SECURITY_POLICY", "PAGE", "SCRIPT"]

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#222;
background:#fff}
h2{margin:2rem 0 .5rem;border-bottom:1px solid #ccc}
details{border:1px solid #ddd;border-radius:.3rem;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f5f5f5;overflow:auto;padding:.6rem}
.method{display:inline-block;min-width:4rem;font-weight:700}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#222}
details{border-color:#444}}
"""

PAGE: Final = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>qpher-core HTTP API</title>
<style>{_STYLE}</style>
<h1>qpher-core HTTP API</h1>
<p>The document that this page shows: <a href="openapi.json">openapi.json</a>.
Requests need an API key in the header <code>x-api-key</code>.</p>
<main id="api"><noscript>This page needs JavaScript; the document does not.</noscript></main>
<script src="docs/page.js" defer></script>
</html>
""".encode()

SCRIPT: Final = b"""'use strict';
const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const resolve = (api, schema) => {
  if (Array.isArray(schema)) return schema.map(part => resolve(api, part));
  if (!schema || typeof schema !== 'object') return schema;
  if (schema.$ref) return resolve(api, api.components.schemas[schema.$ref.split('/').pop()]);
  return Object.fromEntries(Object.entries(schema).map(([k, v]) => [k, resolve(api, v)]));
};
const schemaOf = (api, content) => {
  const [type, body] = Object.entries(content || {})[0] || [];
  const shown = type ? JSON.stringify(resolve(api, body.schema), null, 1) : 'none';
  return make('pre', type ? `${type}\\n${shown}` : shown);
};
const show = (api, path, method, operation) => {
  const label = make('span', method.toUpperCase());
  label.className = 'method';
  const head = make('summary', '', label, make('code', path), ' ' + operation.summary);
  const parameters = make('table');
  for (const p of operation.parameters || [])
    parameters.append(make('tr', '', make('td', p.name), make('td', p.in),
      make('td', p.required ? 'required' : ''), make('td', JSON.stringify(p.schema))));
  const answers = make('table');
  for (const [status, answer] of Object.entries(operation.responses))
    answers.append(make('tr', '', make('td', status), make('td', answer.description)));
  const good = Object.entries(operation.responses).find(([status]) => status < 300);
  return make('details', '', head, make('p', operation.description || ''),
    make('h4', 'Parameters'), parameters,
    make('h4', 'Body'), schemaOf(api, (operation.requestBody || {}).content),
    make('h4', 'Answers'), answers, schemaOf(api, good && good[1].content));
};
fetch('openapi.json').then(answer => answer.json()).then(api => {
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(show(api, path, method, operation));
    }
  const main = document.getElementById('api');
  main.replaceChildren();
  for (const [tag, items] of groups) main.append(make('h2', tag), ...items);
});
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; "
    f"style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
